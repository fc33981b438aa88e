"""The exercises: the one list that every command, check, page and test goes by."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where a learner reads on: a page, a heading on it (or a hint's title), and if need be which part of that."""

    page: str
    heading: str
    detail: str = ""

    def __str__(self) -> str:
        """Return it as it stands in a message."""
        return ", ".join(filter(None, [self.page, self.heading, self.detail]))


TROUBLESHOOTING = Place("docs/troubleshooting.md", "Troubleshooting")


@dataclass(frozen=True)
class Exercise:
    """An exercise, and all that differs between one and the next."""

    number: int
    title: str
    about: str
    """What it is about, in the table on the front page."""
    minutes: int
    page: str
    start: str
    """The version of the workflow from which it starts."""
    solution: str
    """The version that solves it."""
    writes_workflow: bool = True
    """Whether the learner writes a workflow: else there is nothing to `start`."""
    writes_activities: bool = False
    """Whether the learner has activities of their own too."""
    writes_tests: bool = False
    """Whether the learner writes tests of the workflow, and nothing else."""
    client_function: str = ""
    """The function of the client that the learner writes."""
    settings: bool = False
    """Whether `check` judges a worker's settings, not code."""
    pace: float = 1.0
    """The pace of the worker in the exercise's first run."""
    time_limit: float = 30.0
    """How many seconds each step of `check` may take, on a machine with nothing else to do."""

    @property
    def has_solution(self) -> bool:
        """Whether the solution changes anything."""
        return self.start != self.solution or self.writes_tests

    def place(self, heading: str, detail: str = "") -> Place:
        """Return a place on its page."""
        return Place(self.page, heading, detail)


EXERCISES = {
    exercise.number: exercise
    for exercise in [
        Exercise(
            number=0,
            title="Run it",
            about="server, worker, client, Web UI",
            minutes=15,
            page="exercises/0_run_it.md",
            start="v1",
            solution="v1",
            writes_workflow=False,
        ),
        Exercise(
            number=1,
            title="Wait for an approval",
            about="updates, signals, timers; reading a history",
            minutes=35,
            page="exercises/1_wait_for_an_approval.md",
            start="v1",
            solution="v2",
            client_function="answer_approval",
            pace=0.2,
        ),
        Exercise(
            number=2,
            title="Ask for the progress",
            about="queries",
            minutes=15,
            page="exercises/2_ask_for_the_progress.md",
            start="v2",
            solution="v3",
            client_function="print_progress",
            time_limit=90,
        ),
        Exercise(
            number=3,
            title="Survive a crash",
            about="timeouts, retries, heartbeats",
            minutes=40,
            page="exercises/3_survive_a_crash.md",
            start="v3",
            solution="v4",
            writes_activities=True,
        ),
        Exercise(
            number=4,
            title="Patch side by side",
            about="concurrency with asyncio",
            minutes=20,
            page="exercises/4_patch_side_by_side.md",
            start="v4",
            solution="v5",
            pace=0.2,
        ),
        Exercise(
            number=5,
            title="A child for each cluster and host",
            about="child workflows",
            minutes=35,
            page="exercises/5_a_child_for_each_cluster_and_host.md",
            start="v5",
            solution="v6",
            pace=0.2,
        ),
        Exercise(
            number=6,
            title="Stop the others",
            about="failure and cancellation",
            minutes=45,
            page="exercises/6_stop_the_others.md",
            start="v6",
            solution="v7",
            writes_activities=True,
        ),
        Exercise(
            number=7,
            title="Find what the workflows wait for",
            about="worker settings, metrics, Prometheus and Grafana",
            minutes=40,
            page="exercises/7_find_what_the_workflows_wait_for.md",
            start="v7",
            solution="v8",
            writes_workflow=False,
            settings=True,
            time_limit=120,
        ),
        Exercise(
            number=8,
            title="Change it while it waits",
            about="versions of the code: patching, replay, worker deployments",
            minutes=45,
            page="exercises/8_change_it_while_it_waits.md",
            start="v8",
            solution="v9",
        ),
        Exercise(
            number=9,
            title="Test it",
            about="tests on a real server, of one activity, and by replay",
            minutes=45,
            page="exercises/9_test_it.md",
            start="v9",
            solution="v9",
            writes_workflow=False,
            writes_activities=True,
            writes_tests=True,
        ),
    ]
}
STARTED = [exercise for exercise in EXERCISES.values() if exercise.writes_workflow or exercise.writes_tests]
"""The exercises in which a learner writes something."""
SOLVED = [exercise for exercise in EXERCISES.values() if exercise.has_solution]
"""The exercises whose solution changes something."""


def place(number: int, heading: str, detail: str = "") -> Place:
    """Return a place on the page of the exercise with this number."""
    return EXERCISES[number].place(heading, detail)

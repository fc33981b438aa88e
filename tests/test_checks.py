"""The exercises' checks: they let right solutions pass, and say what is wrong with the others."""

from checks.apart import judge_apart
from checks.clues import activities_that_are_not_used
from checks.exercise_1 import TIMEOUT, waits_for_the_timeout
from checks.exercises import EXERCISES, STARTED, Exercise
from checks.explain import explain_workflow_error
from checks.judge import Submission, Verdict, judge
from checks.lab import Lab
from checks.solutions import Solution, files_of, read_solutions, said_to_starting_point
from commands.start import learners_workflow
from support import PROJECT
from workflow.versions import find_version, released_versions, version_number

import asyncio
import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent, TimerStartedEventAttributes
from temporalio.client import Client

WRITTEN = [exercise.number for exercise in STARTED if exercise.writes_workflow]
SOLUTIONS = [solution for number in WRITTEN for solution in read_solutions(number)]
TIME_LIMIT = 60.0  # Seconds. A busy machine may take its time.

Write = Callable[[Solution], Submission]


def versions_that_pass(exercise: Exercise) -> list[str]:
    """The versions in which the exercise's lesson holds: its solution, and the later ones."""
    first = version_number(exercise.solution)
    versions = [name for name in released_versions() if version_number(name) >= first]
    # Exercise 0 is about version 1. Version 8 has no host that fails, and is not about exercise 6. From exercise 8 on,
    # Vault comes before the approval.
    if exercise.number in (0, 6):
        return versions[:1]
    vault_first = version_number(EXERCISES[8].solution)
    return [name for name in versions if (version_number(name) >= vault_first) == (exercise.number >= 8)]


def said(verdict: Verdict) -> str:
    """All that the check says, for a message of the test's own."""
    return f"{verdict.passed}\n{verdict.failed}\n{verdict.failure}"


@pytest.mark.parametrize(
    ("number", "version"),
    [
        (each.number, version)
        for each in EXERCISES.values()
        if not each.settings and not each.writes_tests
        for version in versions_that_pass(each)
    ],
)
async def test_the_solution_and_every_later_version_pass(
    client: Client, number: int, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if number > 1 and version != EXERCISES[number].solution:  # What all exercises have in common was tried with 1.
        for step in ("patch_five_clusters", "take_the_same_path"):
            monkeypatch.setattr(f"checks.judge.{step}", nothing)
    verdict = await judge(EXERCISES[number], Submission(version), client, TIME_LIMIT)
    assert verdict.failure is None, said(verdict)


async def nothing(*_: object, **__: object) -> None:
    pass


@pytest.mark.parametrize("number", WRITTEN)
async def test_the_starting_point_is_told_what_is_missing(client: Client, number: int) -> None:
    verdict = await judge(EXERCISES[number], Submission(EXERCISES[number].start), client, TIME_LIMIT)
    assert verdict.failure is not None
    assert re.search(said_to_starting_point(number), verdict.failure.seen), said(verdict)


_numbers = itertools.count(1)


@pytest.fixture
def written() -> Iterator[Write]:
    """Write a solution into files that Git ignores."""
    files: list[Path] = []

    def write(solution: Solution) -> Submission:
        # A name of its own, since Python loads a module once, and other processes write here too.
        name = f"solution{os.getpid()}n{next(_numbers)}_mine"
        for file, text in files_of(solution, EXERCISES[solution.exercise].solution, name).items():
            files.append(file)
            file.write_text(text)
        return Submission(name, None if solution.client is None else PROJECT / f"temporal_client_{name}.py")

    yield write
    for file in files:
        file.unlink()


@pytest.mark.parametrize("solution", SOLUTIONS, ids=lambda solution: f"{solution.exercise} {solution.name}")
async def test_a_right_solution_passes_and_a_wrong_one_is_told_why(
    client: Client, written: Write, solution: Solution
) -> None:
    exercise, submission = EXERCISES[solution.exercise], written(solution)
    if solution.apart:
        verdict = await judge_apart(exercise, submission)
    else:
        verdict = await judge(exercise, submission, client, TIME_LIMIT)
    if solution.is_right:
        assert verdict.failure is None, said(verdict)
    else:
        assert verdict.failure is not None and re.search(solution.says, str(verdict.failure)), said(verdict)


def task_begun(milliseconds: int) -> HistoryEvent:
    """The event of a workflow task that begins then, which is what a workflow takes for the time."""
    time = Timestamp()
    time.FromMilliseconds(milliseconds)
    return HistoryEvent(event_type=EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED, event_time=time)


def timer_set(milliseconds: int) -> HistoryEvent:
    """The event of a timer that is to take so long."""
    duration = Duration()
    duration.FromMilliseconds(milliseconds)
    timer = TimerStartedEventAttributes(start_to_fire_timeout=duration)
    return HistoryEvent(event_type=EventType.EVENT_TYPE_TIMER_STARTED, timer_started_event_attributes=timer)


@pytest.mark.parametrize(
    ("begun_and_set", "ended", "is_right"),
    [
        ([(0, 2000)], 2003, True),
        ([(0, 2000)], 9000, True),
        ([(0, 2)], 1003, False),
        ([(0, 1500)], 3000, False),
        ([(0, 2)], 2100, None),  # As late on a busy machine as if it had waited.
        ([(0, 100)], 3000, None),  # On a busy machine it looked at the time once, or that is all it does.
        ([(0, 4000)], 4003, False),
        ([(0, 100), (1000, 100)], 2003, True),
        ([(0, 100), (1900, 100)], 3900, True),  # On a busy machine. The last look but one was in time.
        ([(0, 100)], 1003, False),
        ([(0, 100), (1000, 100), (2000, 100), (3000, 100)], 4003, False),
        ([(0, 500)] * 4, 2003, True),
        ([(0, 1000), (1000, 60000)], 61000, False),
    ],
)
def test_check_1_judges_the_wait_by_what_the_code_decides_and_not_by_how_late_the_machine_lets_it(
    begun_and_set: list[tuple[int, int]], ended: int, is_right: bool | None
) -> None:
    assert TIMEOUT == 2
    events = [event for begun, timer in begun_and_set for event in (task_begun(begun), timer_set(timer))]
    assert waits_for_the_timeout([*events, task_begun(ended)]) is is_right


def test_a_group_of_errors_is_told_by_its_first_real_one() -> None:
    """Python has such groups since 3.11."""

    class Group(Exception):
        def __init__(self, *errors: Exception) -> None:
            super().__init__("unhandled errors in a TaskGroup")
            self.exceptions = errors

    failure = explain_workflow_error(Group(Group(ValueError("no route")), ValueError("later")))
    assert "An ExceptionGroup left your workflow. The first error in it is ValueError: no route." in failure.seen
    assert "TaskGroup" in failure.expected


OWN_CLASS = "class SystemPatchActivities_Mine(SystemPatchActivities):\n    pass\n"
OTHER_METHOD = """
class SystemPatchActivities_Mine(SystemPatchActivities):
    @activity.defn
    async def perform_update(self, host: HostPatchInput) -> None:
        await self._work(1.0)
"""
OUTSIDE = f"""
{OWN_CLASS}

@activity.defn
async def perform_update_activity(self, host: HostPatchInput) -> None:
    await self._work(1.0)
"""
OTHER_NAME = """
class SystemPatchActivities_Mine(SystemPatchActivities):
    @activity.defn(name="update")
    async def perform_update_activity(self, host: HostPatchInput) -> None:
        await self._work(1.0)
"""


@pytest.mark.parametrize(
    ("code", "imported", "says"),
    [
        (OWN_CLASS, False, "imports SystemPatchActivities from workflow.activities"),
        (OTHER_METHOD, True, "Your class has an activity perform_update, which is none of those"),
        (OUTSIDE, True, "perform_update_activity is a function outside of the class SystemPatchActivities_Mine"),
        (OTHER_NAME, True, "@activity.defn calls it 'update'"),
        (OWN_CLASS, True, None),
    ],
    ids=["not imported", "method of another name", "function outside of the class", "other name", "all well"],
)
def test_activities_that_the_worker_does_not_run_are_told(code: str, imported: bool, says: str | None) -> None:
    name = f"clue{os.getpid()}n{next(_numbers)}_mine"
    files = {
        PROJECT / "workflow" / f"activities_{name}.py": "from temporalio import activity\n\n"
        "from workflow.activities import SystemPatchActivities\nfrom workflow.types import HostPatchInput\n\n" + code,
        PROJECT / "workflow" / f"system_patch_workflow_{name}.py": learners_workflow(EXERCISES[3])
        .replace("_Mine:", f"_{name.capitalize()}:")
        .replace("activities_mine", f"activities_{name}"),
    }
    if not imported:
        [workflow] = [file for file in files if "system_patch" in file.name]
        own = f"workflow.activities_{name} import SystemPatchActivities_Mine as SystemPatchActivities"
        assert own in files[workflow]
        files[workflow] = files[workflow].replace(own, "workflow.activities import SystemPatchActivities")
    try:
        for file, text in files.items():
            file.write_text(text)
        found = activities_that_are_not_used(find_version(name))
    finally:
        for file in files:
            file.unlink(missing_ok=True)
    assert (says is None and found == []) or (len(found) == 1 and says is not None and says in found[0])


def test_a_solution_can_be_applied_to_every_later_version_that_has_the_changed_lines() -> None:
    """A later version may have other lines there, but most have not."""
    applied = 0
    for solution in SOLUTIONS:
        for version in versions_that_pass(EXERCISES[solution.exercise])[1:]:
            try:
                applied += bool(files_of(solution, version, "any_mine"))
            except ValueError as error:
                assert "not there to be changed" in str(error)
    assert applied >= 400


@pytest.mark.parametrize("turns", range(6))
async def test_a_wait_that_is_cancelled_just_when_news_comes_ends(client: Client, turns: int) -> None:
    """`asyncio.wait_for` lost such a cancellation up to Python 3.11 (https://github.com/python/cpython/issues/86296)."""
    lab = Lab(client, find_version("v2"))
    waiting = lab.begin(lab.wait(lambda: False))
    await asyncio.sleep(0.05)
    lab.notify()
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting], timeout=1)
    assert waiting.cancelled()

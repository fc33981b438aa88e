"""Is it right: `python workshop.py check N` tries out a learner's files, on a server of its own."""

from checks.apart import judge_apart
from checks.exercises import EXERCISES, Exercise
from checks.habits import remarks
from checks.judge import Submission, Verdict
from checks.machine import REMARK
from checks.report import Report
from commands import progress
from commands.diff import text_of
from commands.start import (
    ACTIVITIES,
    BEFORE,
    CLIENT,
    TESTS,
    WORKFLOW,
    for_learner,
    learners_activities,
    learners_workflow,
    text_at,
)
from room.report import Room, find_room
from room.report import report as report_to
from support import PROJECT
from support.dev_server import own_server
from support.script import UserError
from support.temporal_cli import find_temporal_cli
from workflow.versions import VersionError, version_name

import tempfile
from pathlib import Path

MOST_NAMESPACES = 160  # For all runs of a learner's tests, in exercise 9.


async def check(exercise: Exercise, version: str | None, worker_flags: list[str]) -> int:
    """Judge a version and its client, or a worker's flags, and print it. Returns the exit code: 0 if all steps pass.

    By default a learner's own version, where there is nothing to write the solution itself. Raises `UserError` if there
    is no such version, or if no server can be had.
    """
    room = find_room() if version is None else None
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        verdict = await judge_files(exercise, version, worker_flags, report, Path(folder))
    conclude(exercise, verdict, report)
    if version is None:
        await keep(exercise, verdict, room)
    return 0 if verdict.failure is None else 1


async def judge_files(
    exercise: Exercise, version: str | None, worker_flags: list[str], report: Report, folder: Path
) -> Verdict:
    """Judge, and have the report print the steps that pass. For arguments and errors see `check`.

    The folder is for files, and must be there as long as this process judges anything.
    """
    try:
        if exercise.writes_tests:
            return await judge_learners_tests(exercise, version, report, folder)
        submission = what_to_judge(exercise, version, worker_flags)
        begin(exercise, described(exercise, submission))
        async with own_server():
            return await judge_apart(exercise, submission, report.passed, report.begin)
    except (UserError, OSError):
        raise
    except Exception as error:
        raise UserError(f"The check itself is broken here, sorry: {error}") from error
    finally:
        report.end()


def begin(exercise: Exercise, what: str) -> None:
    """Print what is checked."""
    print(f"Exercise {exercise.number}: {exercise.title}. Checking {what}", flush=True)


async def judge_learners_tests(exercise: Exercise, version: str | None, report: Report, folder: Path) -> Verdict:
    """Judge a learner's tests, or with the name of the exercise's version those of the reference.

    Raises `UserError` if there are none, or if no server can be had.
    """
    # They load pytest, which other commands need not wait for.
    from checks.exercise_9 import Bench, judge_tests
    from checks.test_runs import TestRunner

    reference = {
        str(WORKFLOW.relative_to(PROJECT)): learners_workflow(exercise),
        str(ACTIVITIES.relative_to(PROJECT)): learners_activities(exercise),
        BEFORE.name: for_learner(text_at("before_v9.json")),
    }
    own = reference
    name = (version or "mine").lower()
    if name == "mine":
        if not TESTS.exists():
            force = " --force" if WORKFLOW.exists() else ""
            raise UserError(f"You have no tests of your own yet: python workshop.py start {exercise.number}{force}")
        tests = text_of(TESTS)
        own = {path: text_of(PROJECT / path) for path in reference if (PROJECT / path).exists()}
        reference[BEFORE.name] = own.setdefault(BEFORE.name, reference[BEFORE.name])
    elif name == exercise.solution:
        tests = for_learner(text_at("test_v9.py"))
    else:
        raise UserError(f"--version: in exercise {exercise.number} there are tests of {exercise.solution} only.")
    file = TESTS.name if name == "mine" else "test_v9.py"
    begin(exercise, f"{file}. It takes up to a minute.")
    cli = await find_temporal_cli()
    namespaces = [f"run-{number}" for number in range(MOST_NAMESPACES)]
    async with own_server(namespaces) as address:
        bench = Bench(TestRunner(address, namespaces, cli, folder), tests, own, reference, report.mistake)
        verdict = await judge_tests(bench, report.passed, report.begin)
    if bench.seconds:  # They could be run.
        verdict.remarks = remarks(tests, bench.seconds)
    return verdict


def what_to_judge(exercise: Exercise, version: str | None, worker_flags: list[str]) -> Submission:
    """Return the submission. Raises `UserError` if there is no such version, or if a learner has no files yet."""
    name = version or ("mine" if exercise.writes_workflow else exercise.solution)
    if name == "mine" and not WORKFLOW.exists():
        raise UserError(f"You have no files of your own yet: python workshop.py start {exercise.number}")
    try:
        name = version_name(name)
    except VersionError as error:
        raise UserError(str(error)) from None
    # In the exercises that come after the client's last function, the client is what it was before.
    tries_client = any(other.client_function and other.number >= exercise.number for other in EXERCISES.values())
    client = CLIENT if name == "mine" and CLIENT.exists() else PROJECT / "temporal_client.py"
    return Submission(name, client if tries_client else None, worker_flags)


def described(exercise: Exercise, submission: Submission) -> str:
    """Return what is judged, in words."""
    if exercise.settings:
        return f"python temporal_worker_v8.py {' '.join(submission.worker_flags)}"
    files = [Path("workflow", f"system_patch_workflow_{submission.version}.py")]
    if submission.client is not None:
        files.append(submission.client.relative_to(PROJECT))
    if submission.version == "mine" and exercise.writes_activities:
        files.append(Path("workflow", "activities_mine.py"))
    return ", ".join(str(file) for file in files if (PROJECT / file).exists())


async def keep(exercise: Exercise, verdict: Verdict, room: Room | None) -> None:
    """Keep how a check of a learner's own files ended, and report it to the room, if there is one."""
    known = progress.keep(exercise, verdict)
    if room is not None:
        step = verdict.failed.title if verdict.failed else ""
        message = verdict.failure.seen.partition(REMARK)[0] if verdict.failure else ""
        said = await report_to(room, exercise.number, step, message, known.tries, len(verdict.passed))
        print(f"\n{said}")


def conclude(exercise: Exercise, verdict: Verdict, report: Report) -> None:
    """Print what is left to say."""
    if verdict.failure is not None:
        assert verdict.failed is not None  # A check that has not begun yet finds nothing.
        report.failed(verdict.failed, verdict.failure)
    else:
        print(f"\nAll steps pass. {what_next(exercise)}")
    for remark in verdict.remarks:
        report.remark(remark)


def what_next(exercise: Exercise) -> str:
    """Return how to go on when all steps of an exercise pass."""
    solution = f"What the solution changes: python workshop.py diff {exercise.number}"
    next_exercise = EXERCISES.get(exercise.number + 1)
    return {
        0: "Everything is ready. Go on with: python workshop.py start 1",
        7: "That was the last exercise of part one. Go on with: python workshop.py start 8",
    }.get(exercise.number, solution if next_exercise is None else f"{solution}\nThen go on: {next_exercise.page}")

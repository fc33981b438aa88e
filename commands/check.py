"""Is it right: `python workshop.py check N` tries out a learner's files, on a server of its own."""

from checks.apart import judge_apart
from checks.exercises import EXERCISES, Exercise
from checks.judge import Submission, Verdict
from checks.report import Report
from commands.start import CLIENT, WORKFLOW
from support import PROJECT
from support.dev_server import own_server
from support.script import UserError
from workflow.versions import VersionError, version_name

from pathlib import Path


async def check(exercise: Exercise, version: str | None, worker_flags: list[str]) -> int:
    """Judge a version and its client, or a worker's flags. Returns the exit code: 0 if all steps pass, else 1.

    By default a learner's own version, where there is nothing to write the solution itself. Raises `UserError` if there
    is no such version, or if no server can be had.
    """
    submission = what_to_judge(exercise, version, worker_flags)
    report = Report()
    print(f"Exercise {exercise.number}: {exercise.title}. Checking {described(exercise, submission)}", flush=True)
    try:
        async with own_server():
            verdict = await judge_apart(exercise, submission, report.passed)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"The check itself is broken here, sorry: {error}") from error
    return conclude(exercise, verdict, report)


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


def conclude(exercise: Exercise, verdict: Verdict, report: Report) -> int:
    """Print what is left to say. Returns the exit code."""
    if verdict.failure is not None:
        assert verdict.failed is not None  # A check that has not begun yet finds nothing.
        report.failed(verdict.failed, verdict.failure)
        return 1
    what_next = {
        0: "Everything is ready. Go on with: python workshop.py start 1",
        7: "That was the last exercise of part one. Go on with: python workshop.py start 8",
    }
    solution = f"What the solution changes: python workshop.py diff {exercise.number}"
    print(f"\nAll steps pass. {what_next.get(exercise.number, solution)}")
    return 0

"""What a check says: the steps of a task, and what is wrong with a solution, in plain words."""

import dataclasses
import re
import traceback
from pathlib import Path
from types import FrameType

from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError

PROJECT = Path(__file__).parent.parent.parent
WORKFLOWS_FAIL_BY = (
    "A workflow fails by an ApplicationError. Any other exception counts as a bug: Temporal tries that piece of the "
    "workflow again and again, until a worker with mended code is there."
)
ATTRIBUTES = (
    "Set in `__init__` what a handler uses: a signal or update can come before `run` has begun. And each workflow has "
    "attributes of its own: a child does not see those of its parent."
)
DETERMINISTIC = (
    "Workflow code takes the same path each time it is run again: no random, no clock, no set whose order differs, "
    "and asyncio.gather instead of asyncio.wait. A query and a validator change nothing."
)


@dataclasses.dataclass
class Step:
    """A step of the task: what a solution does, and where the README says so."""

    title: str
    where: str


class Wrong(Exception):
    """A step that is not done: what was seen, what was expected, and the learner's own lines if there was an error."""

    def __init__(self, seen: str, expected: str, lines: str = "") -> None:
        """Take whole sentences in plain words."""
        super().__init__()
        self.seen = seen
        self.expected = expected
        self.lines = lines
        self.is_error = False
        """Whether it is an error that came from a learner's code, and not what a step was found to do."""

    def __str__(self) -> str:
        return "\n".join(filter(None, [self.seen, self.expected, self.lines]))


BLOCKS = Wrong(
    "An activity calls time.sleep, which stops the whole worker: nothing else gets a turn, no heartbeat gets out.",
    "An activity that is an `async def` awaits `self._work(1.0)` or `asyncio.sleep(1)`.",
)


def what_python_warned_of(warnings: list[str]) -> str:
    """Return the warnings that are about a learner's code, as sentences, or nothing."""
    found = {f"{text}." for text in warnings if "is non-deterministic" in text}
    for text in warnings:
        match = re.search(r"coroutine '(SystemPatch.*)' was never awaited", text)
        if match:
            found.add(f"{match[1]} was called, but never awaited.")
    return " ".join(sorted(found))


def is_learners(file: str) -> bool:
    """Return whether code in this file is what a learner works on."""
    path = Path(file)
    return (path.parent == PROJECT / "workflow" and path.name not in ("types.py", "__init__.py")) or (
        path.parent == PROJECT and path.name.startswith("temporal_client")
    )


def shortened(error: BaseException) -> str:
    """Return an error as Python prints it, but of its traceback only the lines in a learner's files."""
    lines: list[str] = []
    for frame in traceback.extract_tb(error.__traceback__):
        if is_learners(frame.filename) and frame.name != "<listcomp>":
            lines += [f"{_relative(frame.filename)}, line {frame.lineno}, in {frame.name}", f"    {frame.line}"]
    if isinstance(error, SyntaxError) and error.filename:
        lines += [f"{_relative(error.filename)}, line {error.lineno}", f"    {(error.text or '').strip()}"]
        return "\n".join([*lines, f"{type(error).__name__}: {error.msg}"])
    return "\n".join([*lines, f"{type(error).__name__}: {error}"])


def shortened_output(lines: list[str]) -> str:
    """Return what a process printed last, of a traceback only the lines in a learner's files."""
    kept: list[str] = []
    frame = ""
    for line in lines:
        found = re.match(r' +File "(.*?)", line', line)
        if found:
            frame = found[1]
        elif not line.startswith("    "):
            frame = ""
        if line and (not frame or is_learners(frame)) and not set(line.strip()) <= {"^", "~"}:
            kept.append(line.replace(f"{PROJECT}/", ""))
    return "\n".join(kept[-8:])


def where_it_is(frame: FrameType | None) -> str:
    """Return the innermost of a learner's lines that a thread is at, or nothing."""
    while frame is not None and not is_learners(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{_relative(frame.f_code.co_filename)}, line {frame.f_lineno}, in {frame.f_code.co_name}" if frame else ""


def _relative(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else file


def explain_workflow_error(error: BaseException) -> Wrong:
    """Return what an error says that left workflow code and so failed its task."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, RestrictedWorkflowAccessError):
        cause = cause.__cause__
    if cause is not None:
        what = re.sub(r"\.__call__$", "", cause.qualified_name)
        return Wrong(
            f"Your workflow uses {what}, which the sandbox does not allow.",
            "Workflow code must do the same each time it is run, so it does not look outside. The time is "
            "workflow.now(), chance is workflow.random(), and everything else belongs into an activity.",
            shortened(error),
        )
    if "TMPRL1101" in str(error):
        return Wrong(
            "Your workflow ran for 2 seconds without once waiting for anything: a loop that never ends, or a call "
            "that blocks.",
            "Between two awaits, workflow code takes no time. To wait for something, it awaits "
            "workflow.wait_condition(...) or asyncio.sleep(...).",
            shortened(error),
        )
    if "is not registered on this worker" in str(error):
        return Wrong(f"{error}", "All workflow classes are in the workflow's file, each with @workflow.defn.")
    if "cannot pickle" in str(error) or "not JSON serializable" in str(error):
        seen = "An activity or a child workflow is given something that can't be sent to it."
        return Wrong(seen, "It gets plain data. Is an `await` missing where that data comes from?", shortened(error))
    if "'dict' object has no attribute" in str(error):
        seen = "A dict has arrived where an object was expected."
        expected = "A parameter of `run` or of a handler has its type beside it, as in `answer: ApprovalAnswer`."
        return Wrong(seen, expected, shortened(error))
    if "ChildWorkflowError.__init__()" in str(error):
        seen = "An exception that `gather` has returned has become a part of a result."
        return Wrong(seen, "Such an exception is raised: `task.result()` does that.", shortened(error))
    lines = [frame.line or "" for frame in traceback.extract_tb(error.__traceback__) if is_learners(frame.filename)]
    if lines and lines[-1].startswith("raise "):
        seen, expected = "Your workflow raised an exception that is no ApplicationError.", WORKFLOWS_FAIL_BY
    elif isinstance(error, AttributeError) and "SystemPatchWorkflow" in str(error):
        seen, expected = "Your workflow uses an attribute that is not there.", ATTRIBUTES
    else:
        seen, expected = "There is an error in your workflow's code.", "It runs without one."
    return Wrong(seen, expected, shortened(error))


def explain_registration_error(error: BaseException) -> Wrong:
    """Return what an error says that kept a worker from being made of a learner's classes."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, RestrictedWorkflowAccessError):
        return explain_workflow_error(cause)
    return Wrong(
        f"No worker can be made of your workflow and activities: {error}",
        "Each workflow class has @workflow.defn and a method with @workflow.run, each activity is an `async def` with "
        "@activity.defn.",
        shortened(cause) if cause is not error else "",
    )


def explain_core_message(message: str) -> Wrong | None:
    """Return what a message of the SDK's core says, if it is about the workflow's code."""
    if "TMPRL1100" not in message:
        return None
    reason = message.partition("Nondeterminism error: ")[2] or message
    return Wrong(f"Your workflow took another path when it was run again: {reason}", DETERMINISTIC)

"""What an error in a learner's code means, in plain words."""

from checks.failure import CheckFailure
from checks.traces import is_learners, relative, shortened

import re
import traceback
from pathlib import Path

from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError

WORKFLOWS_FAIL_BY = (
    "A workflow fails with an ApplicationError. Any other exception counts as a bug: Temporal tries that piece of the "
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

ENDS_PYTHON = (
    "No code of a workflow or an activity ends Python: the worker would be gone, with all that it does for others. A "
    "workflow fails with an ApplicationError, and so does an activity."
)


def ends_python(error: SystemExit) -> CheckFailure:
    """Return what it means that a learner's code has called `sys.exit`, or raised `SystemExit` itself."""
    return CheckFailure(f"Your code would end Python here: SystemExit: {error}", ENDS_PYTHON, shortened(error))


def blocking_call() -> CheckFailure:
    """Return what it means that an activity has called `time.sleep`."""
    return CheckFailure(
        "An activity calls time.sleep, which stops the whole worker: nothing else gets a turn, no heartbeat gets out.",
        "An activity that is an `async def` awaits `self._work(1.0)` or `asyncio.sleep(1)`. One that has to block is a "
        "plain `def`.",
    )


def what_python_warned_of(warnings: list[str], version: str) -> str:
    """Return the warnings that are about a learner's code, the files of this version, as sentences, or nothing."""
    found = [f"{text}." for text in warnings if "is non-deterministic" in text]
    for text in warnings:
        match = re.search(r"coroutine '(?:_\w+\.)?(.*)' was never awaited(?:.*\n)+  File \"(.*)\", line (\d+)", text)
        if match and is_learners(match[2]) and Path(match[2]).stem.endswith(f"_{version}"):
            found.append(f"{match[1]} was called, but never awaited: {relative(match[2])}, line {match[3]}.")
    return " ".join(dict.fromkeys(found))


def explain_workflow_error(error: BaseException) -> CheckFailure:
    """Return what an error says that left workflow code and so failed its task."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, RestrictedWorkflowAccessError):
        cause = cause.__cause__
    if cause is not None:
        what = re.sub(r"\.__call__$", "", cause.qualified_name)
        return CheckFailure(
            f"Your workflow uses {what}, which the sandbox does not allow.",
            "Workflow code must do the same each time it is run, so it does not look outside. The time is "
            "workflow.now(), chance is workflow.random(), and everything else belongs into an activity.",
            shortened(error),
        )
    if has_blocked(error):
        return CheckFailure(
            "Your workflow ran for seconds without once waiting for anything: a loop that never ends, or a call that "
            "blocks.",
            "Between two awaits, workflow code takes no time. To wait for something, it awaits "
            "workflow.wait_condition(...) or asyncio.sleep(...). (asyncio.sleep(0) waits for nothing.)",
            shortened(error),
        )
    if "object is not callable" in str(error) and not learners_lines(error):
        return CheckFailure(
            "wait_condition is given a value, where it needs a function that it can call again and again.",
            "With a lambda it looks at the attribute each time: wait_condition(lambda: self._answer is not None).",
        )
    if first := getattr(error, "exceptions", None):
        while hasattr(first[0], "exceptions"):
            first = first[0].exceptions
        return CheckFailure(
            f"An ExceptionGroup left your workflow. The first error in it is {type(first[0]).__name__}: {first[0]}.",
            "A TaskGroup raises such a group, which no workflow fails by, and it cancels the others in no fixed order. "
            "asyncio.gather raises the error itself. Or catch the group, and raise an ApplicationError.",
            shortened(error),
        )
    if found := re.search(r"type (\w*(?:Error|Exception)) is not JSON serializable", every_message(error)):
        return CheckFailure(
            f"Your workflow returns an exception, or sends one: {found[1]}.",
            "An exception is raised. What is returned or sent is plain data. (Exceptions can be among the results of "
            "gather, by return_exceptions=True.)",
            shortened(error),
        )
    if "is not registered on this worker" in str(error):
        return CheckFailure(f"{error}", "All workflow classes are in the workflow's file, each with @workflow.defn.")
    if "cannot pickle" in str(error) or "not JSON serializable" in str(error):
        seen = "An activity or a child workflow is given something that can't be sent to it."
        return CheckFailure(
            seen, "It gets plain data. Is an `await` missing where that data comes from?", shortened(error)
        )
    if "'dict' object has no attribute" in str(error):
        seen = "A dict has arrived where an object was expected."
        expected = "A parameter of `run` or of a handler has its type beside it, as in `answer: ApprovalAnswer`."
        return CheckFailure(seen, expected, shortened(error))
    if "ChildWorkflowError.__init__()" in str(error):
        seen = "An exception that `gather` has returned has become a part of a result."
        return CheckFailure(seen, "Such an exception is raised: `task.result()` does that.", shortened(error))
    lines = learners_lines(error)
    if lines and lines[-1].startswith("raise "):
        seen, expected = "Your workflow raised an exception that is no ApplicationError.", WORKFLOWS_FAIL_BY
    elif isinstance(error, AttributeError) and "SystemPatchWorkflow" in str(error):
        seen, expected = "Your workflow uses an attribute that is not there.", ATTRIBUTES
    else:
        seen, expected = "There is an error in your workflow's code.", "It runs without one."
    return CheckFailure(seen, expected, shortened(error))


def has_blocked(error: BaseException) -> bool:
    """Return whether an error is the SDK's, that a workflow ran for seconds without waiting."""
    return "TMPRL1101" in str(error)


def learners_lines(error: BaseException) -> list[str]:
    """Return the lines of a learner's code through which an error came."""
    return [frame.line or "" for frame in traceback.extract_tb(error.__traceback__) if is_learners(frame.filename)]


def every_message(error: BaseException) -> str:
    """Return what an error and its causes say."""
    messages: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        messages.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    return "\n".join(messages)


def explain_wrong_call(error: BaseException) -> CheckFailure | None:
    """Return what it means that an activity could not be called, if it is that."""
    found = re.search(r"(\w+_activity)\(\) (missing|takes)", str(error)) if isinstance(error, TypeError) else None
    if found is None or learners_lines(error):
        return None
    return CheckFailure(
        f"{found[1]} was called without its argument." if found[2] == "missing" else f"It was called wrongly: {error}.",
        f"After the activity comes what it is about: execute_activity_method(SystemPatchActivities.{found[1]}, ...).",
    )


def explain_registration_error(error: BaseException) -> CheckFailure:
    """Return what an error says that kept a worker from being made of a learner's classes."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, RestrictedWorkflowAccessError):
        return explain_workflow_error(cause)
    return CheckFailure(
        f"No worker can be made of your workflow and activities: {error}",
        "Each workflow class has @workflow.defn and a method with @workflow.run, each activity is an `async def` with "
        "@activity.defn.",
        shortened(cause) if cause is not error else "",
    )


def explain_core_message(message: str) -> CheckFailure | None:
    """Return what a message of the SDK's core says, if it is about the workflow's code."""
    if "TMPRL1100" not in message:
        return None
    reason = message.partition("Nondeterminism error: ")[2] or message
    return CheckFailure(f"Your workflow took another path when it was run again: {reason}", DETERMINISTIC)

"""What a client says of a worker that is missing, of a server that is gone, and of a workflow's end."""

from support.failing_tasks import failing_tasks
from support.histories import own_name
from support.pid_lock import running_workers
from support.script import UserError
from workflow.versions import Version

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    TerminatedError,
    TimeoutError,
)
from temporalio.service import RPCError, RPCStatusCode

# Seconds.
WORKER_TIMEOUT = 3.0
FAILING_TASK_INTERVAL = 2.0
FAILING_TASK_PATIENCE = 10.0


async def latest_run_id(client: Client, version: Version) -> str:
    """Return the id of the version's latest run. Raises `UserError` if there has been none."""
    try:
        return (await client.get_workflow_handle(version.workflow_id).describe()).run_id
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise UserError(f"There is no run of {version.name} to attach to. Start one without --attach.") from error


async def make_way(client: Client, workflow_id: str) -> None:
    """Terminate the run that has this id, if one is under way, and wait until its children have ended too.

    From version 7 on these are asked to stop when their parent is gone, and need a moment for that. The children of the
    next run have the same ids. Those that no worker has stopped after three seconds are terminated.
    """
    children = f"WorkflowId STARTS_WITH '{workflow_id}/' AND ExecutionStatus = 'Running'"
    await _terminate(client, workflow_id)
    deadline = time.monotonic() + WORKER_TIMEOUT
    while (await client.count_workflows(children)).count and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    left = [child async for child in client.list_workflows(children)]
    if left:
        print(f"Of the run before, {len(left)} children are still under way. They are terminated.", flush=True)
    for child in left:
        await _terminate(client, child.id)


async def _terminate(client: Client, workflow_id: str) -> None:
    try:
        await client.get_workflow_handle(workflow_id).terminate("Another run takes its place")
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


@asynccontextmanager
async def following(client: Client, handle: WorkflowHandle[Any, Any], version: Version) -> AsyncIterator[None]:
    """Within this, what keeps a run from moving on is told.

    A workflow task that fails again and again is told in a line; a server that is gone becomes a `UserError` that says
    how to follow the run later.
    """
    watching = asyncio.create_task(tell_of_failing_tasks(client, handle))
    try:
        yield
    except RPCError as error:
        if error.status is not RPCStatusCode.UNAVAILABLE:
            raise
        again = f"python {Path(sys.argv[0]).name} {version.name} --attach"
        raise UserError(
            f"The Temporal server is gone: {error.message}. The run goes on when it is back. Follow it by: {again}"
        ) from error
    finally:
        watching.cancel()


async def tell_of_failing_tasks(client: Client, handle: WorkflowHandle[Any, Any]) -> None:
    """Print a line when a task of the workflow, or of one that it started, has failed again and again for ten seconds.

    Each reason is told once, and again if it comes back. Never returns: cancel it.
    """
    failing_since: dict[str, float] = {}
    told: set[str] = set()
    while True:
        await asyncio.sleep(FAILING_TASK_INTERVAL)
        try:
            found = {task.reason: task for task in await failing_tasks(client, handle)}
        except RPCError:  # Whoever waits for the workflow's end hears of it too.
            continue
        now = time.monotonic()
        failing_since = {reason: failing_since.get(reason, now) for reason in found}
        told &= found.keys()
        for reason, task in found.items():
            if now - failing_since[reason] >= FAILING_TASK_PATIENCE and reason not in told:
                told.add(reason)
                print(
                    f"Nothing moves: the code of workflow {task.workflow_id} fails again and again, by {reason}. Look "
                    "at the worker's log. Mend it, restart the worker, and the workflow goes on at its next attempt.",
                    flush=True,
                )


def typed(command: str, learner: str) -> str:
    """Return a command as a learner types it in a terminal that does not know their name yet."""
    return f"WORKSHOP_LEARNER={learner} {command}" if learner else command


async def look_for_worker(handle: WorkflowHandle[Any, Any], version: Version) -> None:
    """Say so if no live worker of this version takes up the workflow, with the command that starts one."""
    deadline = time.monotonic() + WORKER_TIMEOUT
    # The server lists pollers of a task queue, but also those that died minutes ago. What proves a live worker is that
    # it takes the first workflow task, the third event of the history.
    while time.monotonic() < deadline:
        if (await handle.describe()).history_length > 2:
            return
        await asyncio.sleep(0.05)
    remedy = f"Start one in another terminal: {typed(f'python temporal_worker.py {version.name}', version.learner)}"
    others = [worker.learner for worker in running_workers() if worker.version == version.name]
    if others and version.learner not in others:
        remedy = (
            f"The one that runs in this folder takes tasks of WORKSHOP_LEARNER={others[0] or 'nobody'} only, this "
            "client's "
        )
        remedy += f"are of {version.learner or 'nobody'}. It must be the same in all terminals."
    print(f"No worker of {version.name} answers, so the workflow waits. {remedy}", flush=True)


async def is_closed(handle: WorkflowHandle[Any, Any]) -> bool:
    """Return whether the workflow has ended."""
    return (await handle.describe()).close_time is not None


async def seconds_of(handle: WorkflowHandle[Any, Any]) -> float:
    """Return how many seconds the workflow, which has ended, took by the server's clock."""
    description = await handle.describe()
    assert description.close_time is not None
    return (description.close_time - description.start_time).total_seconds()


def ending_of(error: WorkflowFailureError) -> str:
    """Return how the workflow ended, and if it failed, the cause at the root, in one line."""
    stopped = {CancelledError: "was cancelled", TerminatedError: "was terminated"}
    ended = {**stopped, TimeoutError: "timed out"}
    cause: BaseException = error.cause
    # Only an error with a failure of its own was raised by the workflow. Another one is the SDK's word for the end.
    if type(cause) in ended and getattr(cause, "failure", None) is None:
        return ended[type(cause)]
    # A parent that fails because a child or an activity failed: what happened stands at the end of the chain, and
    # the first ApplicationError on the way there is the one that the workflow's author wrote.
    what = "something that it had started"
    while not isinstance(cause, ApplicationError) and cause.__cause__ is not None:
        if isinstance(cause, ChildWorkflowError):
            what = own_name(cause.workflow_id)
        elif isinstance(cause, ActivityError):
            what = cause.activity_type
        cause = cause.__cause__
    if type(cause) in stopped:
        return f"failed: {what} {stopped[type(cause)]}"
    why = " ".join(str(cause).split())
    if why == "Workflow execution already started":  # All that the SDK says of two with one id.
        why += ": a cluster or host of an earlier run is under way, and must end first"
    return f"failed: {why}"

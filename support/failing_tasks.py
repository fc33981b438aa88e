"""Workflow tasks that fail again and again: what a bug in a workflow's code looks like to those who wait for it."""

from support.histories import Handle, history
from support.script import one_line

from dataclasses import dataclass

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

# How a workflow task can end.
OUTCOMES = {
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
}
LONGEST_REASON = 200  # Letters. Some failures quote whole objects.


@dataclass(frozen=True)
class FailingTask:
    """A workflow whose task has failed and is tried again."""

    workflow_id: str
    reason: str
    """The failure's type and message, in one line."""


async def failing_tasks(client: Client, handle: Handle) -> list[FailingTask]:
    """Return the failing tasks of a run and of all that it has started and waits for. Raises `RPCError`."""
    description = (await handle.describe()).raw_description
    found = []
    for child in description.pending_children:
        found += await failing_tasks(client, client.get_workflow_handle(child.workflow_id, run_id=child.run_id or None))
    if description.pending_workflow_task.attempt > 1 and (reason := await why_failing(handle)):
        found.append(FailingTask(handle.id, reason))
    return found


async def why_failing(handle: Handle) -> str | None:
    """Return why the latest workflow task of a run failed, or None if it did not: it may have had no worker in time.

    The history has the first of several failures of the same task; those that follow are not written down.
    """
    events = [event for event in await history(handle) if event.event_type in OUTCOMES]
    if not events or events[-1].event_type != EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
        return None
    failure = events[-1].workflow_task_failed_event_attributes.failure
    kind = failure.application_failure_info.type
    return one_line(f"{kind}: {failure.message}" if kind else failure.message)[:LONGEST_REASON]

"""What event histories say."""

from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle

Handle = WorkflowHandle[Any, Any]


async def history(handle: Handle) -> list[HistoryEvent]:
    """Return the events of a run so far."""
    return [event async for event in handle.fetch_history_events()]


async def children(client: Client, handle: Handle) -> list[Handle]:
    """Return the children of a run, in the order in which they were started."""
    return [
        client.get_workflow_handle(
            event.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id,
            run_id=event.child_workflow_execution_started_event_attributes.workflow_execution.run_id,
        )
        for event in await history(handle)
        if event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED
    ]


async def family(client: Client, handle: Handle) -> list[Handle]:
    """Return the run and all that it started, and that these started, and so on."""
    found = [handle]
    for child in await children(client, handle):
        found += await family(client, child)
    return found


async def tree(client: Client, handle: Handle) -> dict[str, Handle]:
    """Return the run and all below it, as `family` does, by the last part of the workflow id."""
    return {own_name(run.id): run for run in await family(client, handle)}


def own_name(workflow_id: str) -> str:
    """Return the last part of a workflow id: of a child's, the part that its parents' ids have not."""
    return workflow_id.rpartition("/")[2]

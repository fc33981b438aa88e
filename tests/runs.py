"""Runs of a workflow version in the test's own process, and what their histories say."""

from checks.names import VAULT, YES
from support.histories import Handle
from workflow.types import ApprovalAnswer, ClusterPatchInput, HostPatchInput, SystemPatchInput
from workflow.versions import Version, activities_of, find_version

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.worker import Worker

_numbers = itertools.count(1)
CLUSTERS = ["cluster1", "cluster2", "cluster3"]
HOSTS = {cluster: [f"{cluster}_host{number}" for number in range(1, 6)] for cluster in CLUSTERS}


def patch_input(clusters: list[str] = CLUSTERS, pilot_count: int = 3, approval_timeout: int = 300) -> SystemPatchInput:
    return SystemPatchInput(clusters, pilot_count, VAULT, approval_timeout)


def id_of(name: str) -> str:
    """The id of a version's workflow that a client of this process starts, which is its task queue too."""
    return "-".join(filter(None, ["system-patch", name, os.environ.get("WORKSHOP_LEARNER")]))


def with_three_hosts(version: str) -> Any:
    """The version's activities, with three hosts in each cluster: enough to see them wait for each other."""

    class ThreeHosts(find_version(version).activities):  # type: ignore[misc]
        @activity.defn
        async def get_cluster_hosts_activity(self, cluster: ClusterPatchInput) -> list[str]:
            return HOSTS[cluster.name][:3]

    return ThreeHosts


def with_hosts_that_wait(version: str, *names: str, until: asyncio.Event | None = None) -> Any:
    """The version's activities, in which these hosts, or all, get no further than their first step until an event.

    So it does not matter how long a test takes to stop them: no time limit runs out for a minute and a half.
    """
    go_on = until or asyncio.Event()

    class HostsThatWait(find_version(version).activities):  # type: ignore[misc]
        @activity.defn
        async def check_host_preconditions_activity(self, host: HostPatchInput) -> None:
            if not names or host.hostname in names:
                await go_on.wait()  # Without a heartbeat timeout: three attempts of 30 seconds.
            await super().check_host_preconditions_activity(host)

    return HostsThatWait


@asynccontextmanager
async def worker(
    client: Client, version: str, pace: float = 0, activities: Any = None, **options: Any
) -> AsyncIterator[Version]:
    """A worker of the version, as `temporal_worker.py` makes it, or with other activities than the version's own."""
    found = find_version(version)
    async with Worker(
        client,
        task_queue=found.task_queue,
        workflows=found.workflows,
        activities=activities_of(activities or found.activities(pace)),
        # By default a heartbeat may be held back for 1.6 of the 2 seconds after which it is missed.
        max_heartbeat_throttle_interval=timedelta(seconds=0.2),
        **options,
    ):
        yield found


async def start(client: Client, version: Version, input: Any = None, **options: Any) -> Handle:
    """Start the version under an id of the running test's own."""
    return await client.start_workflow(
        version.workflow.run,
        patch_input() if input is None else input,
        id=options.pop("id", f"{version.workflow_id}-{next(_numbers)}"),
        task_queue=version.task_queue,
        **options,
    )


async def approve(handle: Handle, version: Version, answer: ApprovalAnswer = YES) -> None:
    """Answer the approval request, where the version has one."""
    if hasattr(version.workflow, "answer_approval"):
        await handle.execute_update("answer_approval", answer)


def scheduled(events: list[HistoryEvent]) -> list[tuple[str, str]]:
    """Activity type and summary of each activity, in the order in which they were scheduled."""
    return [
        (
            event.activity_task_scheduled_event_attributes.activity_type.name,
            event.user_metadata.summary.data.decode().strip('"'),
        )
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]


def attempts(events: list[HistoryEvent], activity: str) -> dict[str, tuple[int, str]]:
    """For each run of an activity type, by its summary: the attempt that ended it, and the failure before that."""
    summaries = {
        event.event_id: event.user_metadata.summary.data.decode().strip('"')
        for event in events
        if event.activity_task_scheduled_event_attributes.activity_type.name == activity
    }
    started = [event.activity_task_started_event_attributes for event in events]
    return {
        summaries[attributes.scheduled_event_id]: (attributes.attempt, attributes.last_failure.message)
        for attributes in started
        if attributes.scheduled_event_id in summaries
    }


def failed_tasks(events: list[HistoryEvent]) -> list[str]:
    """Why workflow tasks failed: for each that did, the cause and the message.

    That the workflow wanted to end just when news came, as from an activity that it has cancelled, is no fault in it:
    the server has it look again. https://docs.temporal.io/references/workflow-task-errors#unhandled-command
    """
    failed = [
        event.workflow_task_failed_event_attributes
        for event in events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    ]
    return [
        f"{WorkflowTaskFailedCause.Name(each.cause)}: {each.failure.message}"
        for each in failed
        if each.cause != WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
    ]

"""Exercises 4 to 6: what runs side by side, what is a child of what, what is cancelled with what."""

from support.histories import Handle, children, history, tree
from tests.runs import (
    CLUSTERS,
    HOSTS,
    approve,
    failed_tasks,
    patch_input,
    scheduled,
    start,
    with_hosts_that_wait,
    with_three_hosts,
    worker,
)
from workflow.versions import released_versions

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError

COMPLETED = WorkflowExecutionStatus.COMPLETED
FAILED = WorkflowExecutionStatus.FAILED
CANCELED = WorkflowExecutionStatus.CANCELED
# The other pilots of the host that fails are still under way then, however slow the machine is.
ONE_FAILS = with_hosts_that_wait("v7", "cluster2_host1", "cluster2_host3")


def positions(events: list[HistoryEvent], activity: str) -> tuple[dict[str, int], dict[str, int]]:
    """For each run of an activity type, by its summary: the ids of the events that scheduled and completed it."""
    begun: dict[str, int] = {}
    done: dict[str, int] = {}
    for event in events:
        if event.activity_task_scheduled_event_attributes.activity_type.name == activity:
            begun[event.user_metadata.summary.data.decode().strip('"')] = event.event_id
        for name, scheduled_id in begun.items():
            if event.activity_task_completed_event_attributes.scheduled_event_id == scheduled_id:
                done[name] = event.event_id
    return begun, done


async def test_clusters_and_hosts_of_a_batch_begin_before_the_first_of_them_ends(client: Client) -> None:
    async with worker(client, "v5") as found:
        handle = await start(client, found)
        await approve(handle, found)
        await handle.result()
    events = await history(handle)
    begun, done = positions(events, "get_cluster_hosts_activity")
    assert max(begun.values()) < min(done.values()) and sorted(begun) == CLUSTERS
    begun, done = positions(events, "check_host_preconditions_activity")
    for cluster in CLUSTERS:
        for batch in (HOSTS[cluster][:3], HOSTS[cluster][3:]):
            assert max(begun[host] for host in batch) < min(done[host] for host in batch)


async def test_in_earlier_versions_one_host_ends_before_the_next_begins(client: Client) -> None:
    async with worker(client, "v4") as found:
        handle = await start(client, found, patch_input(["cluster2"]))
        await approve(handle, found)
        await handle.result()
    begun, _ = positions(await history(handle), "check_host_preconditions_activity")
    _, done = positions(await history(handle), "send_success_notification_activity")
    hosts = HOSTS["cluster2"]
    assert all(done[host] < begun[following] for host, following in itertools.pairwise(hosts))


async def test_each_cluster_is_a_child_and_each_host_a_child_of_its_cluster(client: Client) -> None:
    async with worker(client, "v6") as found:
        handle = await start(client, found)
        await approve(handle, found)
        await handle.result()
    clusters = await children(client, handle)
    assert sorted(cluster.id for cluster in clusters) == [f"{handle.id}/{name}" for name in CLUSTERS]
    for cluster in clusters:
        description = await cluster.describe()
        assert description.workflow_type == "SystemPatchWorkflow_Cluster_V6"
        assert description.status == COMPLETED and description.parent_id == handle.id
        hosts = await children(client, cluster)
        name = cluster.id.rpartition("/")[2]
        assert sorted(host.id for host in hosts) == [f"{cluster.id}/{host}" for host in HOSTS[name]]
        for host in hosts:
            description = await host.describe()
            assert description.workflow_type == "SystemPatchWorkflow_Host_V6"
            assert description.status == COMPLETED and description.parent_id == cluster.id


async def test_a_host_of_a_run_that_was_replaced_reports_nothing_to_the_new_run(client: Client) -> None:
    """A host's signal names the run that it belongs to, not only the workflow's id, which the next run has too."""
    async with worker(client, "v6") as found:
        handle = await start(client, found, patch_input(["cluster2"]))
        await approve(handle, found)
        await handle.result()
    signals = [
        event.signal_external_workflow_execution_initiated_event_attributes.workflow_execution
        for name, run in (await tree(client, handle)).items()
        if "host" in name
        for event in await history(run)
        if event.event_type == EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED
    ]
    assert {(signal.workflow_id, signal.run_id) for signal in signals} == {(handle.id, handle.result_run_id)}
    assert len(signals) == 5


@dataclass
class FailedRun:
    failure: WorkflowFailureError
    statuses: dict[str, WorkflowExecutionStatus | None]
    histories: dict[str, list[HistoryEvent]]


async def statuses(runs: dict[str, Handle]) -> dict[str, WorkflowExecutionStatus | None]:
    return {name: (await run.describe()).status for name, run in runs.items()}


@pytest.fixture(scope="module")
async def failed_run(client: Client) -> AsyncIterator[FailedRun]:
    """A full run of version 7, in which cluster2_host2 fails while the other pilots of its cluster are under way."""
    async with worker(client, "v7", activities=ONE_FAILS(0.1)) as found:
        handle = await start(client, found, id="v7")
        await approve(handle, found)
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    runs = await tree(client, handle)
    histories = {name: await history(run) for name, run in runs.items()}
    yield FailedRun(failed.value, await statuses(runs), histories)


async def test_a_failing_host_cancels_the_other_hosts_of_its_cluster_and_only_those(failed_run: FailedRun) -> None:
    expected = {"v7": FAILED, "cluster2": FAILED, "cluster1": COMPLETED, "cluster3": COMPLETED}
    expected |= {"cluster2_host1": CANCELED, "cluster2_host2": FAILED, "cluster2_host3": CANCELED}
    expected |= {host: COMPLETED for cluster in ("cluster1", "cluster3") for host in HOSTS[cluster]}
    assert failed_run.statuses == expected  # cluster2_host4 and _host5 are not in it: they were never started.


async def test_there_is_one_alert_for_the_host_that_failed_and_none_for_the_cancelled(failed_run: FailedRun) -> None:
    alerts = [
        name
        for name, events in failed_run.histories.items()
        for activity, _ in scheduled(events)
        if activity == "send_failure_alert_activity"
    ]
    assert alerts == ["cluster2_host2"]


async def test_the_failed_workflow_names_host_and_reason(failed_run: FailedRun) -> None:
    assert isinstance(failed_run.failure.cause, ApplicationError)
    assert failed_run.failure.cause.message == "cluster2_host2: PreconditionsNotMet: preconditions are not met"
    assert failed_run.failure.cause.type == "HostNotPatched"


async def test_the_failing_host_of_exercise_6_patches_no_host_twice(failed_run: FailedRun) -> None:
    for name, events in failed_run.histories.items():
        completed = [event for event in events if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED]
        if failed_run.statuses[name] == COMPLETED and "host" in name:
            assert len(completed) == 6


@pytest.mark.parametrize("version", released_versions())
async def test_a_worker_that_forgets_everything_after_each_task_comes_to_the_same_end(
    client: Client, version: str
) -> None:
    """Without a cache each workflow task replays the whole history, and fails if the code takes another path."""
    activities = ONE_FAILS(0.1) if version == "v7" else with_three_hosts(version)(0)
    async with worker(client, version, activities=activities, max_cached_workflows=0) as found:
        handle = await start(client, found, patch_input(["cluster2"]))
        await approve(handle, found)
        if version == "v7":
            with pytest.raises(WorkflowFailureError):
                await handle.result()
        else:
            assert (await handle.result()).clusters[0].patched_hosts == HOSTS["cluster2"][:3]
    runs = await tree(client, handle)
    for run in runs.values():
        assert failed_tasks(await history(run)) == []
    if version == "v7":
        ends = await statuses(runs)
        assert (ends["cluster2_host1"], ends["cluster2_host2"], ends["cluster2_host3"]) == (CANCELED, FAILED, CANCELED)


async def test_a_rollout_without_the_broken_host_completes(client: Client) -> None:
    async with worker(client, "v7") as found:
        handle = await start(client, found, patch_input(["cluster1", "cluster3"]))
        await approve(handle, found)
        result = await handle.result()
    assert [cluster.patched_hosts for cluster in result.clusters] == [HOSTS["cluster1"], HOSTS["cluster3"]]


async def test_cancelling_the_whole_workflow_cancels_every_child_without_an_alert(client: Client) -> None:
    async with worker(client, "v7", activities=with_hosts_that_wait("v7")(0)) as found:
        handle = await start(client, found)
        await approve(handle, found)
        # Hosts are under way in every cluster: the last of the nine pilots has been started.
        while len(await tree(client, handle)) < 1 + 3 + 9:
            await asyncio.sleep(0.1)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    assert isinstance(failed.value.cause, CancelledError)
    runs = await tree(client, handle)
    assert set((await statuses(runs)).values()) == {CANCELED}
    assert len(runs) == 1 + 3 + 9
    for run in runs.values():
        assert "send_failure_alert_activity" not in [activity for activity, _ in scheduled(await history(run))]

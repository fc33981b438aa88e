"""What each version does, on a real server."""

from support.histories import history, tree
from tests.runs import CLUSTERS, HOSTS, approve, attempts, failed_tasks, patch_input, scheduled, start, worker
from workflow.types import ClusterPatchResult, HostFailure, HostPatchInput, SystemPatchInput, SystemPatchResult
from workflow.versions import find_version, released_versions, version_number

import asyncio
from dataclasses import dataclass
from datetime import datetime

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

HOST_STEPS = [
    "check_host_preconditions_activity",
    "send_start_notification_activity",
    "run_pre_downtime_scripts_activity",
    "perform_update_activity",
    "check_service_health_activity",
    "send_success_notification_activity",
]


COMPLETING = [name for name in released_versions() if name != "v7"]  # In which a host fails.
PILOT_COUNTS = [0, 3, 5, 9]


@dataclass
class Run:
    """One run that completed: its result, its own history, and all histories by the last part of the workflow id."""

    result: SystemPatchResult
    history: list[HistoryEvent]
    histories: dict[str, list[HistoryEvent]]


async def complete(client: Client, version: str, *inputs: SystemPatchInput) -> list[Run]:
    """Run the version once for each input, all side by side."""
    async with worker(client, version) as found:
        handles = [await start(client, found, input) for input in inputs]
        for handle in handles:
            await approve(handle, found)
        results = [await handle.result() for handle in handles]
    runs = []
    for handle, result in zip(handles, results, strict=True):
        histories = {name: await history(run) for name, run in (await tree(client, handle)).items()}
        runs.append(Run(result, await history(handle), histories))
    return runs


@pytest.fixture(scope="module")
async def runs(client: Client) -> dict[str, Run]:
    """One full run of each version. They run side by side, which saves most of their time."""
    found = await asyncio.gather(*[complete(client, version, patch_input()) for version in COMPLETING])
    return {version: run for version, [run] in zip(COMPLETING, found, strict=True)}


@pytest.mark.parametrize("version", COMPLETING)
async def test_all_hosts_are_patched_and_the_result_names_them_by_cluster(runs: dict[str, Run], version: str) -> None:
    assert runs[version].result == SystemPatchResult([ClusterPatchResult(name, HOSTS[name]) for name in CLUSTERS])


@pytest.mark.parametrize("version", COMPLETING)
async def test_each_host_goes_through_every_step_in_order(runs: dict[str, Run], version: str) -> None:
    steps = [step for events in runs[version].histories.values() for step in scheduled(events)]
    for hosts in HOSTS.values():
        for host in hosts:
            assert [name for name, summary in steps if summary == host] == HOST_STEPS
    assert scheduled(runs[version].history)[-1][0] == "send_final_success_notification_activity"


@pytest.mark.parametrize("version", COMPLETING)
async def test_the_web_ui_shows_a_summary_of_every_activity_and_child(runs: dict[str, Run], version: str) -> None:
    for events in runs[version].histories.values():
        for event in events:
            if event.event_type in (
                EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
                EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
            ):
                assert event.user_metadata.summary.data


@pytest.mark.parametrize("version", COMPLETING)
async def test_the_health_check_of_one_host_passes_at_its_second_attempt(runs: dict[str, Run], version: str) -> None:
    checks: dict[str, tuple[int, str]] = {}
    for events in runs[version].histories.values():
        checks |= attempts(events, "check_service_health_activity")
    assert checks.pop("cluster1_host1") == (2, "cluster1_host1: services do not answer yet")
    assert len(checks) == 14 and set(checks.values()) == {(1, "")}


@pytest.mark.parametrize("version", COMPLETING)
async def test_the_update_has_3_attempts_of_10_s_and_from_v4_on_a_heartbeat_timeout_of_2_s(
    runs: dict[str, Run], version: str
) -> None:
    updates = [
        event.activity_task_scheduled_event_attributes
        for events in runs[version].histories.values()
        for event in events
        if event.activity_task_scheduled_event_attributes.activity_type.name == "perform_update_activity"
    ]
    assert len(updates) == 15
    assert {update.start_to_close_timeout.seconds for update in updates} == {10}
    assert {update.retry_policy.maximum_attempts for update in updates} == {3}
    assert {update.heartbeat_timeout.seconds for update in updates} == {2 if version_number(version) >= 4 else 0}


@pytest.mark.parametrize("version", COMPLETING)
async def test_no_workflow_task_fails(runs: dict[str, Run], version: str) -> None:
    for events in runs[version].histories.values():
        assert failed_tasks(events) == []


@pytest.fixture(scope="module")
async def pilot_runs(client: Client) -> dict[tuple[str, int], Run]:
    """Runs on one cluster, with no pilots, some, all hosts, and more pilots than there are hosts."""
    versions = ["v1", "v5", "v6"]
    inputs = [patch_input(["cluster2"], count) for count in PILOT_COUNTS]
    found = await asyncio.gather(*[complete(client, version, *inputs) for version in versions])
    return {
        (version, count): run
        for version, runs in zip(versions, found, strict=True)
        for count, run in zip(PILOT_COUNTS, runs, strict=True)
    }


@pytest.mark.parametrize("pilot_count", PILOT_COUNTS)
@pytest.mark.parametrize("version", ["v1", "v5", "v6"])
async def test_all_pilots_are_patched_before_any_other_host_begins(
    pilot_runs: dict[tuple[str, int], Run], version: str, pilot_count: int
) -> None:
    run = pilot_runs[version, pilot_count]
    hosts = HOSTS["cluster2"]
    begins: dict[str, datetime] = {}
    ends: dict[str, datetime] = {}
    for events in run.histories.values():
        for event in events:
            summary = event.user_metadata.summary.data.decode().strip('"')
            if summary in hosts and event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                begins.setdefault(summary, event.event_time.ToDatetime())
                ends[summary] = event.event_time.ToDatetime()
    assert run.result.clusters == [ClusterPatchResult("cluster2", hosts)]
    assert sorted(begins) == hosts
    for pilot in hosts[:pilot_count]:
        for other in hosts[pilot_count:]:
            assert ends[pilot] < begins[other]


@pytest.mark.parametrize("version", ["v1", "v2", "v3", "v4", "v5", "v6"])
async def test_a_failing_host_raises_one_alert_and_stops_the_rollout_with_host_and_reason(
    client: Client, version: str
) -> None:
    alerts: list[HostFailure] = []
    begun: list[str] = []
    all_have_begun = asyncio.Event()
    found = find_version(version)

    class Broken(found.activities):  # type: ignore[misc, name-defined]
        @activity.defn
        async def run_pre_downtime_scripts_activity(self, host: HostPatchInput) -> None:
            begun.append(host.hostname)
            if len(begun) == 3:
                all_have_begun.set()
            if host.hostname == "cluster2_host3":
                await all_have_begun.wait()  # Side by side, it may be the first: then no other would begin after it.
                raise ApplicationError("disk is full", non_retryable=True)

        @activity.defn
        async def send_failure_alert_activity(self, failure: HostFailure) -> None:
            alerts.append(failure)

    async with worker(client, version, activities=Broken(0)):
        handle = await start(client, found, patch_input(["cluster2"]))
        await approve(handle, found)
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    reasons = []
    cause: BaseException | None = failed.value.cause
    while cause is not None:
        reasons.append(str(cause))
        cause = cause.__cause__
    assert any("cluster2_host3: disk is full" in reason for reason in reasons)
    assert alerts == [HostFailure("cluster2_host3", "disk is full")]
    assert sorted(begun) == HOSTS["cluster2"][:3]


async def test_a_version_cannot_run_with_the_activities_of_another() -> None:
    names = {version: find_version(version).activities.__name__ for version in ("v1", "v3", "v4", "v6", "v7", "v8")}
    assert names == {
        "v1": "SystemPatchActivities",
        "v3": "SystemPatchActivities",
        "v4": "SystemPatchActivities_V4",
        "v6": "SystemPatchActivities_V4",
        "v7": "SystemPatchActivities_V7",
        "v8": "SystemPatchActivities_V4",
    }
    assert find_version("v3").task_queue != find_version("v4").task_queue

"""Tests of the workflow, on a real server:  pytest test_v9.py

pyproject.toml says that async tests need no marker, and all run in one event loop, so that they can share the client.
"""

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import activity
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowHistory,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment
from temporalio.worker import Replayer, Worker

from support.temporal_cli import find_temporal_cli
from workflow.activities import SystemPatchActivities_V4 as SystemPatchActivities
from workflow.system_patch_workflow_v9 import (
    SystemPatchWorkflow_Cluster_V9,
    SystemPatchWorkflow_Host_V9,
    SystemPatchWorkflow_V9,
)
from workflow.types import (
    ApprovalAnswer,
    HostFailure,
    HostPatchInput,
    SystemPatchInput,
    SystemPatchResult,
    VaultReference,
)
from workflow.versions import activities_of

pytestmark = pytest.mark.timeout(60)  # Seconds, for a test that waits for ever for something else than a rollout.
LONGEST_ROLLOUT = timedelta(seconds=30)  # After that the server ends it, and the test that waits for it fails.

WORKFLOWS = [SystemPatchWorkflow_V9, SystemPatchWorkflow_Cluster_V9, SystemPatchWorkflow_Host_V9]
VAULT = VaultReference("https://vault.example.com:8200", "ssh/hosts")
PILOTS = ["cluster3_host1", "cluster3_host2"]
INPUT = SystemPatchInput(["cluster3"], pilot_count=2, vault=VAULT)
YES = ApprovalAnswer(approved=True, approver="Ann")
NO = ApprovalAnswer(approved=False, approver="Bob")


@pytest.fixture(scope="session")
async def client() -> AsyncIterator[Client]:
    """A client of a server that these tests have for themselves. It keeps everything in memory."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=await find_temporal_cli(), dev_server_startup_timeout=timedelta(seconds=30)
    ) as server:
        yield server.client


@asynccontextmanager
async def started(
    client: Client, activities: SystemPatchActivities, input: SystemPatchInput = INPUT
) -> AsyncIterator[WorkflowHandle[SystemPatchWorkflow_V9, SystemPatchResult]]:
    """Start a rollout, and a worker that runs it with these activities."""
    name = str(uuid.uuid4())  # No other test has this task queue, nor this workflow id.
    async with Worker(client, task_queue=name, workflows=WORKFLOWS, activities=activities_of(activities)):
        yield await client.start_workflow(
            SystemPatchWorkflow_V9.run, input, id=name, task_queue=name, execution_timeout=LONGEST_ROLLOUT
        )


async def test_an_approved_rollout_patches_all_hosts(client: Client) -> None:
    async with started(client, SystemPatchActivities(pace=0)) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, YES)
        result = await rollout.result()
    assert result.clusters[0].patched_hosts == [f"cluster3_host{number}" for number in range(1, 6)]


# Exercise 9: the solution.


class Noting(SystemPatchActivities):
    """They take no time, and note what is done with which host, in this order."""

    def __init__(self) -> None:
        super().__init__(pace=0)
        self.noted: list[tuple[str, str]] = []

    def hosts(self, what: str) -> list[str]:
        return sorted(host for noted, host in self.noted if noted == what)

    @activity.defn
    async def check_host_preconditions_activity(self, host: HostPatchInput) -> None:
        self.noted.append(("begun", host.hostname))

    @activity.defn
    async def send_success_notification_activity(self, host: HostPatchInput) -> None:
        self.noted.append(("patched", host.hostname))

    @activity.defn
    async def send_failure_alert_activity(self, failure: HostFailure) -> None:
        self.noted.append(("alert", failure.hostname))


async def failure_of(rollout: WorkflowHandle[SystemPatchWorkflow_V9, SystemPatchResult]) -> ApplicationError:
    """Wait for the end of a rollout, and return what it failed by."""
    with pytest.raises(WorkflowFailureError) as failed:
        await rollout.result()
    assert isinstance(failed.value.cause, ApplicationError)
    return failed.value.cause


async def test_without_an_answer_in_time_no_host_is_touched(client: Client) -> None:
    activities = Noting()
    async with started(client, activities, dataclasses.replace(INPUT, approval_timeout_seconds=1)) as rollout:
        failure = await failure_of(rollout)
    assert failure.type == "ApprovalTimeout"
    assert activities.noted == []


async def test_after_a_rejection_no_host_is_touched(client: Client) -> None:
    activities = Noting()
    async with started(client, activities) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, NO)
        failure = await failure_of(rollout)
    assert failure.type == "ApprovalRejected"
    assert activities.noted == []


class Stopping(Noting):
    """All hosts stop in the middle, until the test lets them go on."""

    def __init__(self) -> None:
        super().__init__()
        self.one_is_there = asyncio.Event()
        self.go_on = asyncio.Event()

    @activity.defn
    async def run_pre_downtime_scripts_activity(self, host: HostPatchInput) -> None:
        self.one_is_there.set()
        await self.go_on.wait()


async def test_a_second_answer_is_refused(client: Client) -> None:
    activities = Stopping()
    async with started(client, activities) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, YES)
        await activities.one_is_there.wait()
        with pytest.raises(WorkflowUpdateFailedError):
            await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, NO)
        activities.go_on.set()
        await rollout.result()


async def test_the_steps_are_told_as_they_are_done(client: Client) -> None:
    async with started(client, Noting()) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, YES)
        await rollout.result()
        steps = await rollout.query(SystemPatchWorkflow_V9.completed_steps)
    assert steps[0] == "patching approved"
    assert sorted(steps[1:]) == [f"cluster3_host{number} patched" for number in range(1, 6)]


class Unlucky(Noting):
    """The update of one host fails at its first attempt."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[int] = []

    @activity.defn
    async def perform_update_activity(self, host: HostPatchInput) -> None:
        if host.hostname == "cluster3_host1":
            self.attempts.append(activity.info().attempt)
            if activity.info().attempt == 1:
                raise ApplicationError("connection lost")


async def test_an_update_that_fails_is_tried_again(client: Client) -> None:
    activities = Unlucky()
    async with started(client, activities) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, YES)
        await rollout.result()
    assert activities.attempts == [1, 2]


class SideBySide(Noting):
    """No host goes on before all of its batch have begun: two pilots, and then all five."""

    def __init__(self) -> None:
        super().__init__()
        self.all_pilots_are_there = asyncio.Event()
        self.all_are_there = asyncio.Event()

    @activity.defn
    async def run_pre_downtime_scripts_activity(self, host: HostPatchInput) -> None:
        begun = self.hosts("begun")
        if {*PILOTS} <= {*begun}:
            self.all_pilots_are_there.set()
        if len(begun) == 5:
            self.all_are_there.set()
        await (self.all_pilots_are_there if host.hostname in PILOTS else self.all_are_there).wait()


async def test_pilots_come_first_and_the_hosts_of_a_batch_side_by_side(client: Client) -> None:
    activities = SideBySide()
    async with started(client, activities) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, YES)
        await rollout.result()
    assert len(activities.hosts("patched")) == 5
    assert {host for _, host in activities.noted[:4]} == {*PILOTS}  # Both begun and patched.


class Broken(Noting):
    """A pilot of cluster2 can't be patched while the other one hangs. Other clusters wait until they know of it."""

    def __init__(self) -> None:
        super().__init__()
        self.other_pilot_is_there = asyncio.Event()
        self.alert_is_sent = asyncio.Event()

    @activity.defn
    async def run_pre_downtime_scripts_activity(self, host: HostPatchInput) -> None:
        if host.hostname == "cluster2_host1":
            self.other_pilot_is_there.set()
            await asyncio.Event().wait()
        if host.hostname == "cluster2_host2":
            await self.other_pilot_is_there.wait()
            raise ApplicationError("disk full", non_retryable=True)
        await self.alert_is_sent.wait()

    @activity.defn
    async def send_failure_alert_activity(self, failure: HostFailure) -> None:
        await super().send_failure_alert_activity(failure)
        self.alert_is_sent.set()


async def test_a_host_that_fails_stops_the_others_of_its_cluster_only(client: Client) -> None:
    activities = Broken()
    both = dataclasses.replace(INPUT, target_clusters=["cluster2", "cluster3"])
    async with started(client, activities, both) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, YES)
        failure = await failure_of(rollout)
    assert failure.type == "HostNotPatched"
    assert "cluster2_host2: disk full" in failure.message
    assert activities.hosts("alert") == ["cluster2_host2"]
    assert activities.hosts("patched") == [f"cluster3_host{number}" for number in range(1, 6)]
    assert activities.hosts("begun")[:3] == ["cluster2_host1", "cluster2_host2", "cluster3_host1"]


async def test_a_rollout_that_is_cancelled_ends_without_an_alert(client: Client) -> None:
    activities = Stopping()
    async with started(client, activities) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, YES)
        await activities.one_is_there.wait()
        await rollout.cancel()
        with pytest.raises(WorkflowFailureError) as failed:
            await rollout.result()
    assert isinstance(failed.value.cause, CancelledError)
    assert {what for what, _ in activities.noted} == {"begun"}


@pytest.mark.parametrize(("details", "steps"), [([], range(1, 10)), ([7], [8, 9])], ids=["begins", "goes on"])
async def test_an_update_reports_each_step_and_goes_on_after_the_last_one_reported(
    details: list[int], steps: Iterable[int]
) -> None:
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, heartbeat_details=details)
    reported: list[int] = []
    environment.on_heartbeat = reported.append
    host = HostPatchInput("cluster3_host1", "cluster3", VAULT)
    await environment.run(SystemPatchActivities(pace=0).perform_update_activity, host)
    assert reported == [*steps]


async def test_a_run_from_before_can_go_on() -> None:
    history = WorkflowHistory.from_json("system-patch-v9", Path(__file__).with_name("before_v9.json").read_text())
    await Replayer(workflows=WORKFLOWS).replay_workflow(history)

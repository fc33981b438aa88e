"""Tests of the workflow, on a real server:  pytest test_v9.py

pyproject.toml says that async tests need no marker, and all run in one event loop, so that they can share the client.
"""

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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

pytestmark = pytest.mark.timeout(20)  # Seconds. A workflow that waits for ever fails its test, and no more.

WORKFLOWS = [SystemPatchWorkflow_V9, SystemPatchWorkflow_Cluster_V9, SystemPatchWorkflow_Host_V9]
VAULT = VaultReference("https://vault.example.com:8200", "ssh/hosts")
INPUT = SystemPatchInput(["cluster3"], pilot_count=2, vault=VAULT)
YES = ApprovalAnswer(approved=True, approver="Ann")
NO = ApprovalAnswer(approved=False, approver="Bob")


@pytest.fixture(scope="session")
async def client() -> AsyncIterator[Client]:
    """A client of a server that these tests have for themselves. It keeps everything in memory."""
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=await find_temporal_cli()) as server:
        yield server.client


@asynccontextmanager
async def started(
    client: Client, activities: SystemPatchActivities, input: SystemPatchInput = INPUT
) -> AsyncIterator[WorkflowHandle[SystemPatchWorkflow_V9, SystemPatchResult]]:
    """Start a rollout, and a worker that runs it with these activities."""
    name = str(uuid.uuid4())  # No other test has this task queue, nor this workflow id.
    async with Worker(client, task_queue=name, workflows=WORKFLOWS, activities=activities_of(activities)):
        yield await client.start_workflow(SystemPatchWorkflow_V9.run, input, id=name, task_queue=name)


async def test_an_approved_rollout_patches_all_hosts(client: Client) -> None:
    async with started(client, SystemPatchActivities(pace=0)) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, YES)
        result = await rollout.result()
    assert result.clusters[0].patched_hosts == [f"cluster3_host{number}" for number in range(1, 6)]


# Exercise 9: the solution.

PILOTS = ["cluster3_host1", "cluster3_host2"]


class Noting(SystemPatchActivities):
    """They take no time, and note what is done: "cluster3_host1 begun", for instance."""

    def __init__(self) -> None:
        super().__init__(pace=0)
        self.notes: list[str] = []

    def noted(self, what: str) -> list[str]:
        return sorted(note for note in self.notes if note.endswith(what))

    @activity.defn
    async def check_host_preconditions_activity(self, host: HostPatchInput) -> None:
        self.notes.append(f"{host.hostname} begun")

    @activity.defn
    async def send_success_notification_activity(self, host: HostPatchInput) -> None:
        self.notes.append(f"{host.hostname} patched")

    @activity.defn
    async def send_failure_alert_activity(self, failure: HostFailure) -> None:
        self.notes.append(f"{failure.hostname} alert")


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


class Unlucky(Noting):
    """The update of one host fails at its first attempt."""

    @activity.defn
    async def perform_update_activity(self, host: HostPatchInput) -> None:
        if host.hostname == "cluster3_host1" and activity.info().attempt == 1:
            raise ApplicationError("connection lost")
        await super().perform_update_activity(host)


class Meeting(Noting):
    """No host goes on before all of its batch are there: they must be under way side by side."""

    @activity.defn
    async def run_pre_downtime_scripts_activity(self, host: HostPatchInput) -> None:
        all_of_them = 2 if host.hostname in PILOTS else 5
        while len(self.noted("begun")) < all_of_them:
            await asyncio.sleep(0.01)


class Broken(Noting):
    """A pilot of cluster1 can't be patched. The other hosts of its cluster hang, those elsewhere wait for its alert."""

    @activity.defn
    async def perform_update_activity(self, host: HostPatchInput) -> None:
        if host.hostname == "cluster1_host2":
            raise ApplicationError("disk full", non_retryable=True)
        if host.cluster == "cluster1":
            await asyncio.Event().wait()
        while not self.noted("alert"):
            await asyncio.sleep(0.01)


async def failure_of(rollout: WorkflowHandle[SystemPatchWorkflow_V9, SystemPatchResult]) -> BaseException | None:
    """Wait for the end of a rollout. Returns what it failed by."""
    with pytest.raises(WorkflowFailureError) as failed:
        await rollout.result()
    return failed.value.cause


async def test_the_steps_are_told_as_they_are_done(client: Client) -> None:
    async with started(client, Noting()) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, YES)
        await rollout.result()
        steps = await rollout.query(SystemPatchWorkflow_V9.completed_steps)
    assert steps[0] == "patching approved"
    assert sorted(steps[1:]) == [f"cluster3_host{number} patched" for number in range(1, 6)]


async def test_without_an_answer_in_time_no_host_is_touched(client: Client) -> None:
    activities = Noting()
    async with started(client, activities, dataclasses.replace(INPUT, approval_timeout_seconds=1)) as rollout:
        failure = await failure_of(rollout)
    assert isinstance(failure, ApplicationError) and failure.type == "ApprovalTimeout"
    assert activities.notes == []


async def test_after_a_rejection_no_host_is_touched(client: Client) -> None:
    activities = Noting()
    async with started(client, activities) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, NO)
        failure = await failure_of(rollout)
    assert isinstance(failure, ApplicationError) and failure.type == "ApprovalRejected"
    assert "Bob" in failure.message
    assert activities.notes == []


async def test_a_second_answer_is_refused(client: Client) -> None:
    activities = Stopping()
    async with started(client, activities) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, YES)
        await activities.one_is_there.wait()
        with pytest.raises(WorkflowUpdateFailedError):
            await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, NO)
        activities.go_on.set()
        await rollout.result()


async def test_an_update_that_fails_is_tried_again(client: Client) -> None:
    activities = Unlucky()
    async with started(client, activities) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, YES)
        await rollout.result()
    assert "cluster3_host1 patched" in activities.notes
    assert activities.noted("alert") == []


async def test_pilots_come_first_and_the_hosts_of_a_batch_side_by_side(client: Client) -> None:
    activities = Meeting()
    async with started(client, activities) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, YES)
        await rollout.result()
    assert {*activities.notes[:4]} == {f"{pilot} {what}" for pilot in PILOTS for what in ("begun", "patched")}


async def test_a_host_that_fails_stops_the_others_of_its_cluster_only(client: Client) -> None:
    activities = Broken()
    both = dataclasses.replace(INPUT, target_clusters=["cluster1", "cluster3"])
    async with started(client, activities, both) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, YES)
        failure = await failure_of(rollout)
    assert isinstance(failure, ApplicationError) and failure.type == "HostNotPatched"
    assert "cluster1_host2: disk full" in failure.message
    assert activities.noted("alert") == ["cluster1_host2 alert"]
    assert activities.noted("patched") == [f"cluster3_host{number} patched" for number in range(1, 6)]


async def test_a_rollout_that_is_cancelled_ends_without_an_alert(client: Client) -> None:
    activities = Stopping()
    async with started(client, activities) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_V9.answer_approval, YES)
        await activities.one_is_there.wait()
        await rollout.cancel()
        assert isinstance(await failure_of(rollout), CancelledError)
    assert activities.noted("patched") == activities.noted("alert") == []


async def test_an_update_reports_each_step_and_goes_on_after_the_last_one_reported() -> None:
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, attempt=2, heartbeat_details=[7])
    reported: list[int] = []
    environment.on_heartbeat = reported.append
    host = HostPatchInput("cluster3_host1", "cluster3", VAULT)
    await environment.run(SystemPatchActivities(pace=0).perform_update_activity, host)
    assert reported == [8, 9]


async def test_a_run_from_before_can_go_on() -> None:
    file = Path(__file__).with_name("before_v9.json")
    history = WorkflowHistory.from_json("system-patch-v9", file.read_text())
    await Replayer(workflows=WORKFLOWS).replay_workflow(history)

"""Exercises 1 and 2: the approval by update and signal, the progress by query."""

from checks.names import NO, VAULT, YES
from support.histories import history
from tests.conftest import Run
from tests.runs import HOSTS, approve, patch_input, scheduled, start, worker
from workflow.types import HostPatchInput
from workflow.versions import find_version, released_versions, version_number

import asyncio
import math
import os
import signal
import time
from datetime import timedelta
from typing import Any

import psutil
import pytest
from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.workflowservice.v1 import QueryWorkflowRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

WITH_APPROVAL = [name for name in released_versions() if find_version(name).has_approval]
SLOW = 2  # A pace at which an approved workflow surely still runs when the next answer arrives.


def until_the_request(version: str) -> list[tuple[str, str]]:
    """The activities until approval is requested. From version 9 on, the access to Vault is checked before."""
    vault = [("check_vault_access_activity", VAULT.address)] if version_number(version) >= 9 else []
    return [*vault, ("request_approval_activity", "All hosts")]


@pytest.mark.parametrize("version", WITH_APPROVAL)
@pytest.mark.parametrize("by_signal", [False, True], ids=["by update", "by signal"])
async def test_a_rejection_fails_the_workflow_before_any_host_is_touched(
    client: Client, version: str, by_signal: bool
) -> None:
    async with worker(client, version) as found:
        handle = await start(client, found)
        if by_signal:
            await handle.signal("answer_approval_signal", NO)
        else:
            assert await handle.execute_update("answer_approval", NO) == "rejected"
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    assert isinstance(failed.value.cause, ApplicationError)
    assert (failed.value.cause.type, failed.value.cause.message) == ("ApprovalRejected", "Rejected by Bob")
    assert scheduled(await history(handle)) == until_the_request(version)


async def test_no_answer_fails_the_workflow_when_its_time_is_over(client: Client) -> None:
    async def unanswered(version: str) -> None:
        async with worker(client, version) as found:
            handle = await start(client, found, patch_input(approval_timeout=1))
            with pytest.raises(WorkflowFailureError) as failed:
                await handle.result()
        assert isinstance(failed.value.cause, ApplicationError)
        assert (failed.value.cause.type, failed.value.cause.message) == ("ApprovalTimeout", "No answer within 0:00:01")
        assert scheduled(await history(handle)) == until_the_request(version)

    await asyncio.gather(*[unanswered(version) for version in WITH_APPROVAL])


async def test_a_client_and_the_web_ui_can_ask_at_the_same_moment(client: Client) -> None:
    """Asked without the SDK's own new attempts, for the Web UI makes none."""
    async with worker(client, "v3") as found:
        handle = await start(client, found)
        await approve(handle, found)
        execution = WorkflowExecution(workflow_id=handle.id)
        query = WorkflowQuery(query_type="completed_steps")
        asked = QueryWorkflowRequest(namespace=client.namespace, execution=execution, query=query)
        ending = asyncio.create_task(handle.result())
        while not ending.done():
            try:
                await asyncio.gather(*[client.workflow_service.query_workflow(asked) for _ in range(10)])
            except RPCError as error:  # Not that too many ask: that has another status.
                if error.status is not RPCStatusCode.UNAVAILABLE:
                    raise


@pytest.mark.parametrize("version", WITH_APPROVAL)
async def test_an_approval_that_comes_with_the_start_is_not_lost(client: Client, version: str) -> None:
    """The signal's handler runs before the first line of `run`."""
    async with worker(client, version, pace=SLOW) as found:
        handle = await start(client, found, start_signal="answer_approval_signal", start_signal_args=[YES])
        await found_activity(handle, "check_vault_access_activity")
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update("answer_approval", NO)
        assert isinstance(refused.value.cause, ApplicationError)
        assert refused.value.cause.message == "Already answered by Ann"
        await handle.terminate()


@pytest.mark.parametrize("version", WITH_APPROVAL)
async def test_only_the_first_answer_counts(client: Client, version: str) -> None:
    async with worker(client, version, pace=SLOW) as found:
        handle = await start(client, found)
        assert await handle.execute_update("answer_approval", YES) == "approved"
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update("answer_approval", NO)
        assert isinstance(refused.value.cause, ApplicationError)
        assert refused.value.cause.type == "AlreadyAnswered"
        await handle.signal("answer_approval_signal", NO)
        await found_activity(handle, "check_vault_access_activity")
        await handle.terminate()


async def found_activity(handle: Any, activity_type: str) -> None:
    """Wait until an activity of this type is scheduled: the workflow got that far."""
    while activity_type not in [name for name, _ in scheduled(await history(handle))]:
        await asyncio.sleep(0.05)


class Gate:
    """Holds the update of one host until it is opened."""

    def __init__(self, version: str, host: str) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        gate = self

        class Gated(find_version(version).activities):  # type: ignore[misc]
            @activity.defn
            async def perform_update_activity(self, input: HostPatchInput) -> None:
                if input.hostname == host:
                    gate.reached.set()
                    while not gate.opened.is_set():
                        activity.heartbeat()
                        await asyncio.sleep(0.1)

        self.activities = Gated(0)


@pytest.mark.parametrize("version", ["v3", "v4"])
async def test_the_query_tells_in_mid_run_which_steps_are_completed(client: Client, version: str) -> None:
    gate = Gate(version, "cluster2_host3")
    async with worker(client, version, activities=gate.activities) as found:
        handle = await start(client, found, patch_input(["cluster2"]))
        await approve(handle, found)
        await gate.reached.wait()
        steps = ["patching approved", "cluster2_host1 patched", "cluster2_host2 patched"]
        assert await handle.query("completed_steps") == steps
        gate.opened.set()
        await handle.result()
        steps += ["cluster2_host3 patched", "cluster2_host4 patched", "cluster2_host5 patched"]
        assert await handle.query("completed_steps") == steps


@pytest.mark.parametrize("version", ["v5", "v6", "v7"])
async def test_the_query_still_tells_it_when_hosts_are_patched_side_by_side(client: Client, version: str) -> None:
    gate = Gate(version, "cluster1_host3")
    async with worker(client, version, activities=gate.activities) as found:
        handle = await start(client, found, patch_input(["cluster1"]))
        await approve(handle, found)
        await gate.reached.wait()
        while len(steps := await handle.query("completed_steps")) < 3:
            await asyncio.sleep(0.05)
        assert steps[0] == "patching approved"
        assert sorted(steps[1:]) == ["cluster1_host1 patched", "cluster1_host2 patched"]
        gate.opened.set()
        await handle.result()
        assert sorted((await handle.query("completed_steps"))[1:]) == [f"{host} patched" for host in HOSTS["cluster1"]]


async def test_a_query_without_a_worker_ends_with_an_error_and_not_with_a_hang(client: Client) -> None:
    async with worker(client, "v3", pace=SLOW) as found:
        handle = await start(client, found)
    with pytest.raises(RPCError):
        await handle.query("completed_steps", rpc_timeout=timedelta(seconds=1))
    await handle.terminate()


async def test_whoever_stands_still_for_a_moment_while_a_query_waits_gets_the_answer_nevertheless(
    client: Client, run: Run
) -> None:
    """As happens on a busy machine. The server must not take it for a connection that is cut."""
    async with worker(client, "v3") as found:
        handle = await start(client, found, patch_input(["cluster1"]))
        await approve(handle, found)
        await handle.result()
    query = ["workflow", "query", "--workflow-id", handle.id, "--type", "completed_steps"]
    stopped = math.inf
    while stopped > 2.8:  # Seconds. On a busy machine it may be longer than meant, and the server waits for 3 to 4.
        asking = run(os.environ["TEMPORAL_CLI"], *query, "--address", os.environ["TEMPORAL_ADDRESS"])
        while not any(each.status == psutil.CONN_ESTABLISHED for each in psutil.Process(asking.pid).net_connections()):
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # Until the query is under way, of which nothing is to be seen.
        begun = time.monotonic()
        asking.signal(signal.SIGSTOP)
        await asyncio.sleep(2)
        asking.signal(signal.SIGCONT)
        stopped = time.monotonic() - begun
    async with worker(client, "v3"):
        assert await asking.ended() == 0, asking.text()
    assert "cluster1_host5 patched" in asking.text()

"""What operators do to rollouts that are under way: cancel, terminate, reset, replace and pause them."""

from support.client import ending_of, make_way
from support.dev_server import SERVER_ENVIRONMENT, server_command
from support.histories import Handle, children, history, tree
from support.ports import UI_PORT_DISTANCE, free_port
from tests.conftest import Run
from tests.runs import (
    HOSTS,
    approve,
    attempts,
    id_of,
    patch_input,
    scheduled,
    start,
    with_hosts_that_wait,
    worker,
)
from workflow.versions import Version, released_versions

import asyncio
import logging
import os
import uuid
from collections.abc import Sequence

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import (
    PauseActivityRequest,
    PauseWorkflowExecutionRequest,
    ResetWorkflowExecutionRequest,
    UnpauseActivityRequest,
    UnpauseWorkflowExecutionRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError

LAST = released_versions()[-1]
RUNNING = WorkflowExecutionStatus.RUNNING
COMPLETED = WorkflowExecutionStatus.COMPLETED
CANCELED = WorkflowExecutionStatus.CANCELED
TERMINATED = WorkflowExecutionStatus.TERMINATED


async def statuses(runs: dict[str, Handle]) -> dict[str, WorkflowExecutionStatus | None]:
    return {name: (await run.describe()).status for name, run in runs.items()}


def alerts(histories: list[list[HistoryEvent]]) -> list[tuple[str, str]]:
    return [call for events in histories for call in scheduled(events) if call[0] == "send_failure_alert_activity"]


async def ends_of(client: Client, handle: Handle) -> dict[str, WorkflowExecutionStatus | None]:
    """The statuses of a rollout and of all below it, when all have ended."""
    runs = await tree(client, handle)
    while RUNNING in (ends := await statuses(runs)).values():
        await asyncio.sleep(0.05)
    assert not alerts([await history(run) for run in runs.values()])
    return ends


async def under_way(client: Client, version: Version, *clusters: str) -> Handle:
    """A rollout of these clusters, or of cluster1 and cluster3, each with its three pilots started."""
    clusters = clusters or ("cluster1", "cluster3")
    handle = await start(client, version, patch_input(list(clusters)))
    await approve(handle, version)
    while len(await tree(client, handle)) < 1 + 4 * len(clusters):
        await asyncio.sleep(0.05)
    return handle


@pytest.mark.parametrize("version", ["v7", "v8", LAST])
@pytest.mark.parametrize("starter", ["the rollout", "a cluster"])
async def test_a_cancel_that_comes_while_a_child_is_being_started_cuts_nobody_off(
    client: Client, version: str, starter: str
) -> None:
    async with worker(client, version, pace=1) as found:
        for _ in range(3):
            handle = await start(client, found, patch_input(["cluster1"]))
            await approve(handle, found)
            run = handle
            if starter == "a cluster":
                while not (below := await children(client, handle)):
                    await asyncio.sleep(0.02)
                [run] = below
            async for event in run.fetch_history_events(wait_new_event=True):
                if event.event_type == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
                    break
            await run.cancel()
            with pytest.raises(WorkflowFailureError):
                await handle.result()
            ends = await ends_of(client, handle)
            ends.pop(handle.id)
            assert set(ends.values()) == {CANCELED}


@pytest.mark.parametrize("version", ["v7", "v8", LAST])
async def test_what_a_terminated_rollout_has_under_way_is_stopped_and_not_cut_off(client: Client, version: str) -> None:
    async with worker(client, version, activities=with_hosts_that_wait(version)(0)) as found:
        handle = await under_way(client, found)
        await handle.terminate()
        ends = await ends_of(client, handle)
    assert ends.pop(handle.id) == TERMINATED
    assert set(ends.values()) == {CANCELED} and len(ends) == 2 + 6


async def test_a_new_run_waits_until_the_children_of_the_last_one_have_stopped(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("support.client.WORKER_TIMEOUT", 30.0)  # On a busy machine they take their time.
    async with worker(client, LAST, activities=with_hosts_that_wait(LAST)(0)) as found:
        handle = await under_way(client, found)
        await make_way(client, handle.id)
        ends = await statuses(await tree(client, handle))
    assert ends.pop(handle.id) == TERMINATED
    assert set(ends.values()) == {CANCELED} and len(ends) == 2 + 6


async def test_a_new_run_does_not_wait_for_children_that_no_worker_stops(client: Client) -> None:
    async with worker(client, LAST, activities=with_hosts_that_wait(LAST)(0)) as found:
        handle = await under_way(client, found)
    await make_way(client, handle.id)
    assert set((await statuses(await tree(client, handle))).values()) == {TERMINATED}


async def reset(client: Client, run: Handle, event_type: "EventType.ValueType") -> Handle:
    """Have a run go back to the first workflow task that is completed after an event of this type."""
    is_there = False
    async for event in run.fetch_history_events(wait_new_event=True):
        is_there = is_there or event.event_type == event_type
        if is_there and event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            break
    execution = WorkflowExecution(workflow_id=run.id, run_id=run.run_id or run.first_execution_run_id or "")
    response = await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=execution,
            workflow_task_finish_event_id=event.event_id,
            request_id=str(uuid.uuid4()),
        )
    )
    return client.get_workflow_handle(run.id, run_id=response.run_id)


@pytest.mark.parametrize("version", ["v6", "v8", LAST])
async def test_a_rollout_that_is_reset_while_its_hosts_are_under_way_completes_with_all_of_them(
    client: Client, version: str
) -> None:
    go_on = asyncio.Event()
    async with worker(client, version, activities=with_hosts_that_wait(version, until=go_on)(0)) as found:
        handle = await under_way(client, found)
        new = await reset(client, handle, EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
        go_on.set()
        result = await client.get_workflow_handle_for(found.workflow.run, new.id, run_id=new.run_id).result()
        ends = await ends_of(client, new)
    assert [cluster.patched_hosts for cluster in result.clusters] == [HOSTS["cluster1"], HOSTS["cluster3"]]
    assert set(ends.values()) == {COMPLETED} and len(ends) == 1 + 2 + 10


@pytest.mark.parametrize("version", ["v6", "v8", LAST])
async def test_a_rollout_that_is_reset_to_its_begin_starts_no_second_patcher_of_a_host_and_says_why(
    client: Client, version: str
) -> None:
    go_on = asyncio.Event()
    async with worker(client, version, activities=with_hosts_that_wait(version, until=go_on)(0)) as found:
        handle = await under_way(client, found)
        new = await reset(client, handle, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
        with pytest.raises(WorkflowFailureError) as failed:
            await new.result()
        go_on.set()
        assert "a cluster or host of an earlier run is under way" in ending_of(failed.value)
        assert not await children(client, new)
        ends = await ends_of(client, client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id))
    assert ends.pop(handle.id) == TERMINATED
    assert set(ends.values()) == {COMPLETED} and len(ends) >= 2 + 6


@pytest.mark.parametrize("version", ["v6", "v8", LAST])
async def test_a_rollout_waits_for_the_new_run_of_a_host_that_is_reset(client: Client, version: str) -> None:
    go_on = asyncio.Event()
    async with worker(client, version, activities=with_hosts_that_wait(version, until=go_on)(0)) as found:
        handle = await under_way(client, found, "cluster1")
        host = (await tree(client, handle))["cluster1_host2"]
        new = await reset(client, host, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
        go_on.set()
        assert (await handle.result()).clusters[0].patched_hosts == HOSTS["cluster1"]
        assert await statuses({"old": host, "new": new}) == {"old": TERMINATED, "new": COMPLETED}


async def test_an_update_that_is_paused_goes_on_after_the_last_step_that_it_had_reported(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with worker(client, LAST, pace=0.3) as found:
        handle = await start(client, found, patch_input(["cluster1"], pilot_count=1))
        await approve(handle, found)
        while len(await tree(client, handle)) < 1 + 1 + 1:
            await asyncio.sleep(0.05)
        host = client.get_workflow_handle(f"{handle.id}/cluster1/cluster1_host1")
        while not (pending := await pending_activities(host)) or not pending[0].HasField("heartbeat_details"):
            await asyncio.sleep(0.05)
        execution, update = WorkflowExecution(workflow_id=host.id), pending[0].activity_id
        await client.workflow_service.pause_activity(
            PauseActivityRequest(namespace=client.namespace, execution=execution, id=update)
        )
        paused = PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED
        while paused not in [pending.state for pending in await pending_activities(host)]:
            await asyncio.sleep(0.05)
        await client.workflow_service.unpause_activity(
            UnpauseActivityRequest(namespace=client.namespace, execution=execution, id=update)
        )
        assert (await handle.result()).clusters[0].patched_hosts == HOSTS["cluster1"]
        events = await history(host)
    assert attempts(events, "perform_update_activity")["cluster1_host1"][0] == 2
    assert len([line for line in caplog.messages if "cluster1_host1: update step 1 of 9 done" in line]) == 1
    assert not alerts([events])


async def pending_activities(run: Handle) -> Sequence[PendingActivityInfo]:
    return (await run.describe()).raw_description.pending_activities


async def test_a_client_follows_a_run_that_is_paused(run: Run) -> None:
    """A server can be told to take pauses of whole runs. Its API and its Web UI may have them on elsewhere."""
    port = free_port()
    command = server_command(os.environ["TEMPORAL_CLI"], port, port + UI_PORT_DISTANCE, None)
    command += ["--dynamic-config-value", "frontend.WorkflowPauseEnabled=true", "--headless"]
    run(*command, **SERVER_ENVIRONMENT).wait_for("Server:")
    address = {"TEMPORAL_ADDRESS": f"127.0.0.1:{port}"}
    client = await Client.connect(address["TEMPORAL_ADDRESS"])
    about = {"namespace": client.namespace, "workflow_id": id_of(LAST)}
    async with worker(client, LAST, pace=0.5):  # Ten seconds: long enough for the pause to come before the end.
        follower = run("python", "temporal_client.py", LAST, "--clusters", "cluster1", **address)
        await follower.printed("patching approved")
        await client.workflow_service.pause_workflow_execution(PauseWorkflowExecutionRequest(**about))
        other = run("python", "temporal_client.py", LAST, "--attach", **address)
        code, output = await other.ended(), other.text()
        last_line = output.splitlines()[-1]
        assert code == 2 and last_line.endswith("Workflow is paused. Cannot update the workflow."), output
        await client.workflow_service.unpause_workflow_execution(UnpauseWorkflowExecutionRequest(**about))
        code, output = await follower.ended(), follower.text()
        assert code == 0 and "cluster1_host5 patched" in output, output


@pytest.mark.parametrize(
    ("version", "what", "how"),
    [
        ("v6", "cluster1_host2", "was terminated"),
        ("v8", "cluster1_host2", "was terminated"),
        (LAST, "cluster1_host2", "was terminated"),
        (LAST, "cluster1_host2", "was cancelled"),
        (LAST, "cluster1", "was cancelled"),
    ],
)
async def test_the_client_names_the_cluster_or_host_that_somebody_stopped(
    client: Client, version: str, what: str, how: str
) -> None:
    async with worker(client, version, pace=1) as found:
        handle = await under_way(client, found, "cluster1")
        run = (await tree(client, handle))[what]
        await (run.cancel() if how == "was cancelled" else run.terminate())
        assert await ending(handle) == f"failed: {what} {how}"
        assert (await handle.describe()).status == WorkflowExecutionStatus.FAILED


@pytest.mark.parametrize("how", ["was cancelled", "was terminated"])
async def test_the_client_says_so_when_the_rollout_itself_is_stopped(client: Client, how: str) -> None:
    async with worker(client, LAST, pace=1) as found:
        handle = await under_way(client, found, "cluster1")
        await (handle.cancel() if how == "was cancelled" else handle.terminate())
        assert await ending(handle) == how


async def ending(handle: Handle) -> str:
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    return ending_of(failed.value)

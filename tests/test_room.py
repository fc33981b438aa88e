"""A room full of learners on one server: WORKSHOP_LEARNER keeps them apart."""

from checks.names import NO, YES
from support.connection import connect
from support.histories import history
from temporal_client import run_client
from tests.runs import id_of, patch_input, start, worker
from workflow.versions import Version, VersionError, find_version

import asyncio
from contextlib import AsyncExitStack

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

LEARNERS = 30


async def test_thirty_learners_at_once_each_get_the_end_that_they_chose(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All use the same version, and every second one rejects: an answer that went astray would be found out."""
    async with AsyncExitStack() as workers:
        versions: list[Version] = []
        for number in range(LEARNERS):
            monkeypatch.setenv("WORKSHOP_LEARNER", f"learner{number}")
            versions.append(await workers.enter_async_context(worker(client, "v3")))
        codes = await asyncio.gather(
            *[
                run_client(version, patch_input(["cluster3"]), NO if number % 2 else YES, poll_interval=0.5)
                for number, version in enumerate(versions)
            ]
        )
    assert codes == [number % 2 for number in range(LEARNERS)]
    for version in versions:
        events = await history(client.get_workflow_handle(version.workflow_id))
        accepted = [event for event in events if event.HasField("workflow_execution_update_accepted_event_attributes")]
        assert len(accepted) == 1


@pytest.mark.parametrize("name", [" ", "a b", "../x", "a\nb", "\x1b[2J", "x" * 41, "ä"])
def test_a_learners_name_that_cannot_be_part_of_an_id_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_LEARNER", name)
    with pytest.raises(VersionError, match="WORKSHOP_LEARNER"):
        find_version("v1")


def test_without_a_name_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_LEARNER", "")
    assert find_version("v3").workflow_id == find_version("v3").task_queue == "system-patch-v3"
    monkeypatch.setenv("WORKSHOP_LEARNER", "ann")
    assert find_version("v3").workflow_id == find_version("v3").task_queue == "system-patch-v3-ann"


async def test_a_namespace_of_ones_own_keeps_learners_apart_as_well(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = RegisterNamespaceRequest(namespace="ann", workflow_execution_retention_period=Duration(seconds=86_400))
    await client.workflow_service.register_namespace(request)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "ann")
    anns = await connect()
    while True:  # The server takes a moment to know it.
        try:
            mine = await start(anns, find_version("v3"), id=id_of("the-same"))
            break
        except RPCError as error:
            assert error.status is RPCStatusCode.NOT_FOUND
            await asyncio.sleep(0.1)
    theirs = await start(client, find_version("v3"), id=id_of("the-same"))
    await theirs.terminate()
    assert (await mine.describe()).status == WorkflowExecutionStatus.RUNNING
    await mine.terminate()

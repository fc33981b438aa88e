"""Input that makes no sense is refused at once, by the client's own check and by the workflow's."""

from checks.names import NO, YES
from support.histories import history
from tests.runs import approve, failed_tasks, patch_input, start, worker
from workflow.types import ApprovalAnswer, SystemPatchInput, VaultReference
from workflow.versions import find_version, released_versions

import json
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

GOOD = json.loads(json.dumps(patch_input(), default=vars))
BAD: dict[str, tuple[Any, str]] = {
    "no cluster": ({**GOOD, "target_clusters": []}, "target_clusters"),
    "a cluster twice": ({**GOOD, "target_clusters": ["a", "b", "a"]}, "target_clusters"),
    "an empty name": ({**GOOD, "target_clusters": ["a", ""]}, "target_clusters"),
    "a name with a path in it": ({**GOOD, "target_clusters": ["../a"]}, "target_clusters"),
    "a name with a line break": ({**GOOD, "target_clusters": ["a\nb"]}, "target_clusters"),
    "a name that is endless": ({**GOOD, "target_clusters": ["a" * 5000]}, "target_clusters"),
    "a text for the clusters": ({**GOOD, "target_clusters": "cluster1"}, "target_clusters"),
    "numbers for the clusters": ({**GOOD, "target_clusters": [1, 2]}, "target_clusters"),
    "null for the clusters": ({**GOOD, "target_clusters": None}, "target_clusters"),
    "clusters missing": ({name: value for name, value in GOOD.items() if name != "target_clusters"}, "target_clusters"),
    "a negative pilot count": ({**GOOD, "pilot_count": -1}, "pilot_count"),
    "a text for the pilot count": ({**GOOD, "pilot_count": "three"}, "pilot_count"),
    "half a host for the pilot count": ({**GOOD, "pilot_count": 2.5}, "pilot_count"),
    "true for the pilot count": ({**GOOD, "pilot_count": True}, "pilot_count"),
    "null for the pilot count": ({**GOOD, "pilot_count": None}, "pilot_count"),
    "pilot count missing": ({name: value for name, value in GOOD.items() if name != "pilot_count"}, "pilot_count"),
    "no time to answer": ({**GOOD, "approval_timeout_seconds": 0}, "approval_timeout_seconds"),
    "a time that no timer can hold": ({**GOOD, "approval_timeout_seconds": 10**20}, "approval_timeout_seconds"),
    "more pilots than there could be hosts": ({**GOOD, "pilot_count": 10**400}, "pilot_count"),
    "more clusters than a history holds": ({**GOOD, "target_clusters": [f"c{n}" for n in range(201)]}, "at most 200"),
    "control characters for a terminal": ({**GOOD, "vault": {**GOOD["vault"], "address": "\x1b[2J"}}, "vault.address"),
    "a vault with an endless address": ({**GOOD, "vault": {**GOOD["vault"], "address": "x" * 501}}, "vault.address"),
    "null for the vault": ({**GOOD, "vault": None}, "vault"),
    "vault missing": ({name: value for name, value in GOOD.items() if name != "vault"}, "vault"),
    "a vault without address": ({**GOOD, "vault": {"secret_path_prefix": "x"}}, "address"),
    "a vault with an empty address": ({**GOOD, "vault": {**GOOD["vault"], "address": " "}}, "vault.address"),
    "null": (None, "SystemPatchInput"),
    "a text": ("cluster1", "SystemPatchInput"),
    "a list": (["cluster1"], "SystemPatchInput"),
    "nothing in it": ({}, "target_clusters"),
}


async def failure_of(client: Client, version: str, input: Any) -> ApplicationError:
    async with worker(client, version) as found:
        handle = await client.start_workflow(
            found.workflow.__name__, input, id=f"{found.workflow_id}-bad-input", task_queue=found.task_queue
        )
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    assert failed_tasks(await history(handle)) == []
    assert isinstance(failed.value.cause, ApplicationError)
    return failed.value.cause


@pytest.mark.parametrize("name", BAD)
async def test_a_workflow_fails_at_once_and_names_the_field(client: Client, name: str) -> None:
    input, field = BAD[name]
    failure = await failure_of(client, "v1", input)
    assert failure.type == "InvalidInput" and failure.non_retryable
    assert field in failure.message


@pytest.mark.parametrize("inputs", [[], [GOOD, GOOD]], ids=["no input", "two inputs"])
async def test_a_workflow_that_gets_not_exactly_one_input_fails_at_once(client: Client, inputs: list[Any]) -> None:
    async with worker(client, "v1") as found:
        handle = await client.start_workflow(
            found.workflow.__name__, args=inputs, id=f"{found.workflow_id}-inputs", task_queue=found.task_queue
        )
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == "InvalidInput" and "one value" in failed.value.cause.message


WITH_APPROVAL = [name for name in released_versions() if hasattr(find_version(name).workflow, "answer_approval")]


@pytest.mark.parametrize("version", released_versions())
@pytest.mark.parametrize("name", ["a cluster twice", "a text for the pilot count", "null"])
async def test_every_version_does_so(client: Client, version: str, name: str) -> None:
    assert (await failure_of(client, version, BAD[name][0])).type == "InvalidInput"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "yes",
        b"yes",
        {"approved": "yes", "approver": "Ann"},
        {"approver": "Ann"},
        [True, "Ann"],
        {"approved": True, "approver": ""},
        {"approved": True, "approver": "\x1b[2J"},
        {"approved": True, "approver": "x" * 501},
    ],
)
async def test_an_answer_of_the_wrong_shape_is_refused_and_the_workflow_still_takes_a_right_one(
    client: Client, answer: Any
) -> None:
    async with worker(client, "v2") as found:
        handle = await start(client, found, patch_input(["cluster2"]))
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("answer_approval", answer)
        await handle.signal("answer_approval_signal", answer)
        await approve(handle, found, ApprovalAnswer(approved=False, approver="Bob"))
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    assert isinstance(failed.value.cause, ApplicationError) and failed.value.cause.type == "ApprovalRejected"


@pytest.mark.parametrize("version", WITH_APPROVAL)
async def test_an_answer_with_too_few_or_too_many_values_is_refused_too(client: Client, version: str) -> None:
    async with worker(client, version) as found:
        handle = await start(client, found, patch_input(["cluster2"]))
        for values in ([], [YES, YES]):
            with pytest.raises(WorkflowUpdateFailedError):
                await handle.execute_update("answer_approval", args=values)
            await handle.signal("answer_approval_signal", args=values)
        await approve(handle, found, NO)
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    assert isinstance(failed.value.cause, ApplicationError) and failed.value.cause.type == "ApprovalRejected"
    assert failed_tasks(await history(handle)) == []


@pytest.mark.parametrize("pilot_count", [2.5, True, "3", None])
def test_a_client_cannot_even_make_such_an_input(pilot_count: Any) -> None:
    with pytest.raises(ApplicationError, match="pilot_count"):
        SystemPatchInput(["cluster1"], pilot_count, VaultReference("https://vault", "ssh"))

"""What stays secret, and what happens without it."""

import logging

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError

from tests.runs import approve, history, patch_input, scheduled, start, tree, worker
from workflow.activities import SimulatedVault


@pytest.mark.parametrize("version", ["v1", "v3", "v4", "v6", "v7"])
async def test_no_history_and_no_log_holds_the_vault_token_or_an_ssh_key(
    client: Client, version: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With v7 that includes failures, cancellations and an alert."""
    keys: list[str] = []

    def read_ssh_key(vault: SimulatedVault, hostname: str) -> str:
        keys.append(hostname)
        return "planted-ssh-key"

    monkeypatch.setenv("VAULT_TOKEN", "planted-token")
    monkeypatch.setattr(SimulatedVault, "read_ssh_key", read_ssh_key)
    caplog.set_level(logging.DEBUG)
    async with worker(client, version, pace=0.1 if version == "v7" else 0) as found:
        handle = await start(client, found, patch_input(["cluster2"]))
        await approve(handle, found)
        if version == "v7":
            with pytest.raises(WorkflowFailureError):
                await handle.result()
        else:
            await handle.result()
    assert keys  # The keys were really used.
    for run in (await tree(client, handle)).values():
        assert "planted" not in (await run.fetch_history()).to_json()
    assert "planted" not in caplog.text


async def test_a_worker_whose_token_vault_refuses_touches_no_host(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "")
    async with worker(client, "v1") as found:
        handle = await start(client, found)
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    assert isinstance(failed.value.cause, ActivityError)
    assert isinstance(failed.value.cause.cause, ApplicationError)
    assert failed.value.cause.cause.message == "Vault refuses an empty VAULT_TOKEN"
    assert [activity for activity, _ in scheduled(await history(handle))] == ["check_vault_access_activity"]

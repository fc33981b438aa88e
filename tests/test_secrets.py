"""What stays secret, and what happens without it."""

from support.histories import history, tree
from support.ports import free_port
from support.web import read_page
from tests.conftest import listening_addresses
from tests.faults import Place, place
from tests.runs import approve, id_of, patch_input, scheduled, start, with_three_hosts, worker
from workflow.activities import SimulatedVault
from workflow.versions import find_version, released_versions, version_number

import asyncio
import logging
import re
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHistory
from temporalio.exceptions import ActivityError, ApplicationError


def raw(history: WorkflowHistory) -> bytes:
    """All of a history as it is stored. (In its JSON form, what is in a payload would not be readable.)"""
    return b"".join(event.SerializeToString() for event in history.events)


@pytest.mark.parametrize("version", released_versions())
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
    activities = with_three_hosts(version)(0.1 if version == "v7" else 0)
    async with worker(client, version, activities=activities) as found:
        handle = await start(client, found, patch_input(["cluster2"]))
        await approve(handle, found)
        if version == "v7":
            with pytest.raises(WorkflowFailureError):
                await handle.result()
        else:
            await handle.result()
    assert keys  # The keys were really used.
    for run in (await tree(client, handle)).values():
        assert b"planted" not in raw(await run.fetch_history())
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


SECRETS = {"VAULT_TOKEN": "planted-token", "SSH_KEY": "planted-ssh-key"}


@pytest.fixture(scope="module")
async def used_place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """A place in which every version has completed, failed and been cancelled, with real workers and clients.

    Their Vault holds a real key, and a host fails just when it has been taken out.
    """
    folder = tmp_path_factory.mktemp("secrets")
    with pytest.MonkeyPatch.context() as environment:
        for name, value in SECRETS.items():
            environment.setenv(name, value)
        async with place(folder) as here:
            activities = folder / "workshop" / "workflow" / "activities.py"
            text = activities.read_text()
            vault = 'return f"ssh key at {self._vault.address}/{self._vault.secret_path_prefix}/{hostname}"'
            use = "SimulatedVault(host.vault).read_ssh_key(host.hostname)\n"
            failure = "raise ApplicationError('no route to the host', len(key), non_retryable=True)\n"
            assert vault in text and use in text
            text = text.replace(vault, 'return os.environ["SSH_KEY"]')
            # For the run that is cancelled: it must not have completed before.
            hold = "if (host.hostname, command) == ('cluster4_host1', 'pre-downtime scripts'): await asyncio.sleep(10)"
            text = text.replace(
                use, f"key = {use}        if host.hostname == 'cluster1_host3': {failure}        {hold}\n"
            )
            activities.write_text(text)
            await here.start_server()
            await asyncio.gather(*[complete_fail_and_cancel(here, version) for version in released_versions()])
            # One of them could take the failing activity, and only the other tells its metrics.
            await here.named("v8")[0].stop()
            measured = here.start(
                "v8", "python", "temporal_worker_v8.py", "--pace", "0", "--metrics-port", str(free_port())
            )
            await measured.printed("Metrics:")
            assert await here.start("client", "python", "temporal_client_v8.py", "--workflows", "1").ended() == 1
            yield here


async def complete_fail_and_cancel(here: Place, version: str) -> None:
    pace = "0.2" if version_number(version) < 4 else "0.05"
    worker = here.start(version, "python", "temporal_worker.py", version, "--pace", pace)
    await worker.printed("is running:")
    failing = here.start(
        "client", "python", "temporal_client.py", version, "--clusters", "cluster1", "--poll-interval", "0.1"
    )
    client, found = await here.connect(), find_version(version)
    cancelled = await start(client, found, patch_input(["cluster4"]))
    completing = await start(client, found, patch_input(["cluster3"]))
    await approve(cancelled, found)
    await approve(completing, found)
    await worker.printed("cluster4_host1: start notification sent")
    await cancelled.cancel()
    with pytest.raises(WorkflowFailureError):
        await cancelled.result()
    await completing.result()
    assert await failing.ended() == 1 and "no route to the host" in failing.text()


async def test_no_secret_is_in_any_history_log_metric_or_file(used_place: Place) -> None:
    here = used_place
    client = await here.connect()
    texts: dict[str, bytes] = {}
    async for run in client.list_workflows():
        found = await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        texts[f"{run.id} {run.run_id}"] = raw(found)
    assert len(texts) >= 3 * len(released_versions())
    offered = [re.findall(r"Metrics: +(http\S+)", process.text()) for _, process in here.processes]
    of_server, of_worker = [address for addresses in offered for address in addresses]
    texts["server's metrics"] = await asyncio.to_thread(read_page, of_server)
    # A worker tells of a failure a moment after the server knows of it.
    while b"temporal_activity_execution_failed" not in (metrics := await asyncio.to_thread(read_page, of_worker)):
        await asyncio.sleep(0.1)
    texts["worker's metrics"] = metrics
    texts |= {f"{name}_{number}": process.text().encode() for number, (name, process) in enumerate(here.processes)}
    files = [file for file in here.folder.rglob("*") if file.is_file() and "tests" not in file.parts]
    texts |= {str(file.relative_to(here.folder)): file.read_bytes() for file in files}
    for begin in ("temporal.db", "temporal.db-wal", "workshop/.run/temporal_worker_v7_", "client_"):
        assert any(name.startswith(begin) for name in texts)
    # What is no secret is found there, so a secret would be too.
    assert any(b"ssh/hosts" in text for name, text in texts.items() if name.startswith(id_of("v1")))
    assert b"cluster1_host3: no route to the host" in texts["temporal.db"] + texts["temporal.db-wal"]
    assert [name for name, text in texts.items() if b"planted" in text] == []


def test_server_and_workers_listen_on_this_machine_only(used_place: Place) -> None:
    addresses = listening_addresses(*[process.pid for _, process in used_place.processes])
    assert len(addresses) >= 3  # The server's ports for workers, Web UI and metrics.
    assert set(addresses) <= {"127.0.0.1", "::1"}

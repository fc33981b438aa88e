"""Recorded runs of every version replay on today's code, and a change that running workflows don't survive is found."""

from checks.names import YES
from checks.replay import replay as replay_histories
from support import PROJECT
from support.histories import history
from support.processes import Process
from tests.conftest import Run
from tests.record_histories import FOLDER
from tests.runs import id_of, patch_input, scheduled
from workflow.versions import find_version, released_versions

import asyncio
import functools
import importlib
import json
import re
import signal
import socket
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer

RECORDED = sorted(file.stem for file in FOLDER.glob("*.json"))
PAGE = (PROJECT / "docs" / "changing_running_workflows.md").read_text()


async def replay(recorded: str, workflows: list[type]) -> None:
    """Replay the run and its children. Raises what the SDK raises for the first that does not."""
    histories = json.loads((FOLDER / f"{recorded}.json").read_text())
    failure = await replay_histories(workflows, {id: {"events": events} for id, events in histories.items()})
    if failure is not None:
        raise failure


@pytest.mark.parametrize("recorded", RECORDED)
async def test_a_recorded_run_replays_on_todays_code(recorded: str) -> None:
    await replay(recorded, find_version(recorded.partition("_")[0]).workflows)


def test_every_version_has_a_recorded_run_of_each_of_its_endings() -> None:
    """What is missing is made by: python -m tests.record_histories"""
    expected = []
    for name in released_versions():
        endings = ["completed", "failed", "cancelled", "resumed"]
        if hasattr(find_version(name).workflow, "answer_approval"):
            endings += ["rejected", "timed_out"]
        expected += [f"{name}_{ending}" for ending in endings]
    assert sorted(expected) == RECORDED


def status_at_the_end(recorded: str) -> str:
    name, _, ending = recorded.partition("_")
    if ending in ("completed", "resumed"):
        return "COMPLETED"
    # Before exercise 6, a step that was cancelled counts as one that failed.
    return "CANCELED" if ending == "cancelled" and int(name[1:]) >= 7 else "FAILED"


@pytest.mark.parametrize("recorded", RECORDED)
def test_a_recorded_run_is_what_its_name_says_and_tells_nothing_of_the_machine_it_ran_on(recorded: str) -> None:
    text = (FOLDER / f"{recorded}.json").read_text()
    ending = recorded.partition("_")[2]
    histories = list(json.loads(text).values())
    assert histories[0][-1]["eventType"] == f"EVENT_TYPE_WORKFLOW_EXECUTION_{status_at_the_end(recorded)}"
    if ending in ("rejected", "timed_out"):
        failure = histories[0][-1]["workflowExecutionFailedEventAttributes"]["failure"]
        assert (
            failure["applicationFailureInfo"]["type"] == f"Approval{'Rejected' if ending == 'rejected' else 'Timeout'}"
        )
    if ending == "resumed":
        starts = [event.get("activityTaskStartedEventAttributes", {}) for events in histories for event in events]
        assert [start for start in starts if "timeoutFailureInfo" in start.get("lastFailure", {})]
    assert not re.search(
        r'"identity"|"stackTrace"|\d+@|\.py\b|/root|/home|/tmp|' + re.escape(socket.gethostname()), text
    )


SOURCES = {
    name: (PROJECT / "workflow" / f"system_patch_workflow_{name}.py").read_text() for name in released_versions()
}


@pytest.mark.parametrize("name", SOURCES)
async def test_a_change_that_a_running_workflow_would_not_survive_fails_the_replay(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = "SystemPatchActivities.send_start_notification_activity"
    assert SOURCES[name].count(old) == 1
    text = SOURCES[name].replace(old, "SystemPatchActivities.set_maintenance_mode_activity")
    (tmp_path / f"changed_{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    members = vars(importlib.import_module(f"changed_{name}")).values()
    workflows = [member for member in members if hasattr(member, "__temporal_workflow_definition")]
    with pytest.raises(workflow.NondeterminismError, match="set_maintenance_mode_activity"):
        await replay(f"{name}_completed", workflows)


async def test_the_change_that_is_told_of_breaks_a_waiting_run_as_it_says_and_its_patched_form_does_not(
    client: Client, run: Run, elsewhere: str
) -> None:
    breaking, patched = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    [message] = re.findall(r"^```text\n(.*?)\n```", PAGE, re.MULTILINE | re.DOTALL)
    source = SOURCES["v3"].replace("_V3", "_Mine")
    first_line = '        workflow.logger.info("Patching %s", ", ".join(input.target_clusters))\n'
    assert first_line in source

    def start_worker(added: str) -> Process:
        text = source.replace(first_line, first_line + added)
        Path(elsewhere, "workflow", "system_patch_workflow_mine.py").write_text(text)
        script: Process = run("python", "temporal_worker.py", "mine", "--pace", "0", cwd=elsewhere)
        script.wait_for("is running")
        return script

    old = start_worker("")
    start = functools.partial(
        client.start_workflow,
        "SystemPatchWorkflow_Mine",
        patch_input(["cluster2"]),
        id=id_of("mine"),
        task_queue=id_of("mine"),
        task_timeout=timedelta(seconds=2),  # When the task that failed is offered again.
    )
    handle = await start()
    await asyncio.to_thread(old.wait_for, "Approval requested")
    old.signal(signal.SIGTERM)
    assert old.end()[0] == 0

    broken = start_worker(breaking)
    await handle.signal("answer_approval_signal", YES)
    line = await asyncio.to_thread(broken.wait_for, "Failing workflow task")
    assert line.split(maxsplit=1)[1] == message
    broken.signal(signal.SIGTERM)
    assert broken.end()[0] == 0

    start_worker(patched)
    await handle.result()
    checks = [name for name, _ in scheduled(await history(handle))][:3]
    assert checks == ["request_approval_activity", "check_vault_access_activity", "get_cluster_hosts_activity"]
    second = await start()
    await second.signal("answer_approval_signal", YES)
    await second.result()
    checks = [name for name, _ in scheduled(await history(second))][:3]
    assert checks == ["check_vault_access_activity", "request_approval_activity", "check_vault_access_activity"]


async def test_a_host_that_is_cancelled_just_when_its_report_has_failed_ends(capfd: pytest.CaptureFixture[str]) -> None:
    """Its history has both before one workflow task. Without a shield around the signal, that task failed for ever."""
    recorded = json.loads((PROJECT / "tests" / "undelivered_report.json").read_text())
    [host] = [each for each in find_version("v8").workflows if "Host" in each.__name__]
    history = WorkflowHistory.from_json("cluster3_host2", recorded)
    await Replayer(workflows=[host]).replay_workflow(history)
    assert "Failing workflow task" not in capfd.readouterr().out

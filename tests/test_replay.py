"""Recorded runs of every version replay on today's code, and a change that running workflows don't survive is found."""

from checks.exercises import EXERCISES
from checks.names import YES
from checks.replay import replay as replay_histories
from support import PROJECT
from support.histories import Handle, history
from support.processes import Process
from tests.conftest import Run, copy_project
from tests.record_histories import FOLDER
from tests.runs import id_of, patch_input, scheduled, start, worker
from workflow.versions import find_version, released_versions

import asyncio
import importlib
import json
import os
import re
import shutil
import signal
import socket
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError
from temporalio.worker import Replayer

RECORDED = sorted(file.stem for file in FOLDER.glob("*.json"))
PAGE = (PROJECT / EXERCISES[8].page).read_text()


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


def with_vault_first() -> str:
    """Version 8 with Vault moved before the request, as exercise 8 has it, and without a patch."""
    vault = re.search(r"        await workflow.execute_activity_method\(\n.*check_vault.*\n        \)\n", SOURCES["v8"])
    assert vault
    request = "        await workflow.execute_activity_method(\n            SystemPatchActivities.request_approval"
    return SOURCES["v8"].replace(vault[0], "").replace(request, vault[0] + request)


async def test_a_waiting_run_is_broken_by_the_change_of_exercise_8_and_goes_on_with_its_solution(
    client: Client, run: Run, elsewhere: str
) -> None:
    told = re.findall(r"\[TMPRL1100\] Nondeterminism error: .*", PAGE)[0]

    def start_worker(source: str) -> Process:
        text = re.sub(r"(SystemPatchWorkflow\w*)_V\d+", r"\1_Mine", source)
        Path(elsewhere, "workflow", "system_patch_workflow_mine.py").write_text(text)
        # Of the same size, and written in the same second, it would pass for what was compiled before.
        shutil.rmtree(Path(elsewhere, "workflow", "__pycache__"), ignore_errors=True)
        script: Process = run("python", "temporal_worker.py", "mine", "--pace", "0", cwd=elsewhere)
        script.wait_for("is running")
        return script

    old = start_worker(SOURCES["v8"])
    handle = await client.start_workflow(
        "SystemPatchWorkflow_Mine",
        patch_input(["cluster2"]),
        id=id_of("mine"),
        task_queue=id_of("mine"),
        task_timeout=timedelta(seconds=2),  # When the task that failed is offered again.
    )
    await asyncio.to_thread(old.wait_for, "Approval requested")
    old.signal(signal.SIGTERM)
    assert old.end()[0] == 0

    broken = start_worker(with_vault_first())
    await handle.signal("answer_approval_signal", YES)
    line = await asyncio.to_thread(broken.wait_for, "Failing workflow task")
    assert line.endswith(told)
    broken.signal(signal.SIGTERM)
    assert broken.end()[0] == 0

    start_worker(SOURCES["v9"])
    await handle.result()
    assert [name for name, _ in scheduled(await history(handle))] == [
        "request_approval_activity",
        "check_vault_access_activity",
        "send_final_success_notification_activity",
    ]


async def test_a_run_stays_with_the_build_that_began_it(client: Client, run: Run, tmp_path: Path) -> None:
    async def start_build(build: str, source: str) -> Handle:
        """Start the build's worker, have new runs go to it, and start one that waits."""
        folder = tmp_path / build
        copy_project(folder)
        text = re.sub(r"(SystemPatchWorkflow\w*)_V\d+", r"\1_Mine", source)
        Path(folder, "workflow", "system_patch_workflow_mine.py").write_text(text)
        environment = {"cwd": str(folder), "WORKSHOP_LEARNER": name}
        run("python", "temporal_worker.py", "mine", "--pace", "0", "--build", build, **environment).wait_for("is run")
        request = SetWorkerDeploymentCurrentVersionRequest(
            namespace=client.namespace, deployment_name=queue.replace(".", "-"), build_id=build, identity="a test"
        )
        while True:
            try:
                await client.workflow_service.set_worker_deployment_current_version(request)
                break
            except RPCError:  # The server does not know the build yet.
                await asyncio.sleep(0.1)
        handle = await client.start_workflow(
            "SystemPatchWorkflow_Mine", patch_input(["cluster2"]), id=f"{queue}-{build}", task_queue=queue
        )
        while "request_approval_activity" not in [name for name, _ in scheduled(await history(handle))]:
            await asyncio.sleep(0.05)
        return handle

    name = f"{os.environ['WORKSHOP_LEARNER']}.builds"
    queue = f"system-patch-mine-{name}"
    handles = [await start_build("1", SOURCES["v8"]), await start_build("2", with_vault_first())]
    for handle in handles:
        await handle.execute_update("answer_approval", YES)
        await handle.result()
    old, new = [[name for name, _ in scheduled(await history(handle))][:2] for handle in handles]
    assert old == ["request_approval_activity", "check_vault_access_activity"]
    assert new == ["check_vault_access_activity", "request_approval_activity"]


async def test_the_replay_that_the_page_shows_is_green_for_the_solution_and_red_for_two_mistakes(
    client: Client, run: Run, elsewhere: str
) -> None:
    [test] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    Path(elsewhere, "test_mine.py").write_text(test)
    mine = Path(elsewhere, "workflow", "system_patch_workflow_mine.py")
    async with worker(client, "v8") as version:
        handle = await start(client, version, patch_input(["cluster2"]))
        await handle.execute_update("answer_approval", YES)
        await handle.result()
        recorded = (await handle.fetch_history()).to_json().replace(handle.id, "system-patch-mine")
    Path(elsewhere, "before_mine.json").write_text(recorded.replace("_V8", "_Mine"))
    [old_way] = re.findall(r"        if not workflow.patched.*\n(?: {12}.*\n)+", SOURCES["v9"])
    for source, code in ((with_vault_first(), 1), (SOURCES["v9"].replace(old_way, ""), 1), (SOURCES["v9"], 0)):
        mine.write_text(re.sub(r"(SystemPatchWorkflow\w*)_V\d+", r"\1_Mine", source))
        ended, output = run("pytest", "--numprocesses", "0", "test_mine.py", cwd=elsewhere).end()
        assert ended == code, output
        assert ("TMPRL1100" in output) == bool(code)


async def test_a_host_that_is_cancelled_just_when_its_report_has_failed_ends(capfd: pytest.CaptureFixture[str]) -> None:
    """Its history has both before one workflow task. Without a shield around the signal, that task failed for ever."""
    recorded = json.loads((PROJECT / "tests" / "undelivered_report.json").read_text())
    [host] = [each for each in find_version("v8").workflows if "Host" in each.__name__]
    history = WorkflowHistory.from_json("cluster3_host2", recorded)
    await Replayer(workflows=[host]).replay_workflow(history)
    assert "Failing workflow task" not in capfd.readouterr().out

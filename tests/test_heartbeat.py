"""Exercise 3: what the update reports, and where it goes on after a crash."""

from checks.names import VAULT
from support.histories import Handle, history
from tests.conftest import Run
from tests.runs import approve, attempts, id_of, patch_input, start
from workflow.activities import SystemPatchActivities_V4
from workflow.types import HostPatchInput
from workflow.versions import find_version

import asyncio
import dataclasses
import logging
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

HOST = HostPatchInput("cluster1_host1", "cluster1", VAULT)


@pytest.mark.parametrize(
    ("last_heartbeat", "expected"),
    [((), range(1, 10)), ((1,), range(2, 10)), ((8,), [9]), ((9,), [])],
    ids=["never started", "after the first step", "before the last step", "after the last step"],
)
async def test_the_update_goes_on_with_the_step_after_the_last_heartbeat(
    last_heartbeat: tuple[int, ...], expected: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, heartbeat_details=list(last_heartbeat))
    heartbeats: list[Any] = []
    environment.on_heartbeat = lambda *details: heartbeats.append(details[0])
    await environment.run(SystemPatchActivities_V4(pace=0).perform_update_activity, HOST)
    assert heartbeats == list(expected)
    assert "***Starting perform_update_activity***" in caplog.text


async def last_heartbeat(handle: Handle) -> int:
    """The step that the running update has reported to the server, 0 before the first."""
    for activity in (await handle.describe()).raw_description.pending_activities:
        if activity.heartbeat_details.payloads:
            return int(activity.heartbeat_details.payloads[0].data)
    return 0


async def test_a_killed_worker_costs_only_the_steps_after_the_last_heartbeat(
    client: Client, run: Run, project: Path
) -> None:
    """kill -9 in the middle of an update. The server misses the heartbeats and tries again, on the next worker."""
    version = find_version("v4")
    first = run("python", "temporal_worker.py", "v4", "--pace", "0.5")
    first.wait_for("Worker for v4 is running")
    handle = await start(client, version, patch_input(["cluster1"]))
    await approve(handle, version)
    while await last_heartbeat(handle) == 0:
        await asyncio.sleep(0.05)
    first.signal(signal.SIGKILL)
    assert first.end()[0] == -signal.SIGKILL
    reported = await last_heartbeat(handle)  # Not from before: it may have reported another step until it was killed.

    second = run("python", "temporal_worker.py", "v4", "--pace", "0")
    line = await asyncio.to_thread(second.wait_for, "cluster1_host1: update step")
    resumed = re.search(r"step (\d) of 9", line)
    assert resumed and int(resumed[1]) == reported + 1
    result = await handle.result()
    assert len(result.clusters[0].patched_hosts) == 5
    updates = attempts(await history(handle), "perform_update_activity")
    assert updates.pop("cluster1_host1") == (2, "activity Heartbeat timeout")
    assert set(updates.values()) == {(1, "")}


async def test_the_restart_script_crashes_the_worker_for_real_and_starts_it_again(
    client: Client, run: Run, project: Path
) -> None:
    first = run("python", "temporal_worker.py", "v5")
    first.wait_for("Worker for v5 is running")
    second = run("./sh_restart_worker.sh", "V5", "--pace", "0")
    second.wait_for("crashed: kill -9")
    second.wait_for("Worker for v5 is running")
    assert first.end()[0] == -signal.SIGKILL
    second.signal(signal.SIGTERM)
    assert second.end()[0] == 0


async def test_the_restart_script_starts_a_worker_where_none_is_running(
    client: Client, run: Run, project: Path
) -> None:
    script = run("./sh_restart_worker.sh", "v6")
    script.wait_for("No worker of v6 is running")
    script.wait_for("Worker for v6 is running")
    script.signal(signal.SIGINT)
    assert script.end()[0] == 0


async def test_the_restart_script_spares_a_process_that_only_has_the_same_id(
    client: Client, run: Run, project: Path
) -> None:
    bystander = run("sleep", "60")
    (project / ".run").mkdir(exist_ok=True)
    (project / ".run" / f"temporal_worker_v6_{bystander.pid}.pid").touch()  # Without the lock that a worker holds.
    script = run("./sh_restart_worker.sh", "v6")
    script.wait_for("Worker for v6 is running")
    assert "No worker of v6 is running." in script.lines
    assert not bystander.is_over.is_set()
    script.signal(signal.SIGTERM)
    assert script.end()[0] == 0


def test_the_restart_script_refuses_an_unknown_version(run: Run) -> None:
    code, output = run("./sh_restart_worker.sh", "v99").end()
    assert code == 2 and "Known versions: v1, v2" in output and "Traceback" not in output


PLAIN_FUNCTION = """
import time

from temporalio import activity

from workflow.activities import SystemPatchActivities
from workflow.types import HostPatchInput


class SystemPatchActivities_Mine(SystemPatchActivities):
    @activity.defn
    def perform_update_activity(self, host: HostPatchInput) -> None:
        for step in range(1, 90):
            time.sleep(0.1)
            activity.heartbeat(step)
"""


async def test_an_activity_that_is_a_plain_function_blocks_nobody(client: Client, run: Run, elsewhere: str) -> None:
    assert run("python", "workshop.py", "start", "3", cwd=elsewhere).end()[0] == 0
    Path(elsewhere, "workflow", "activities_mine.py").write_text(PLAIN_FUNCTION)
    run("python", "temporal_worker.py", "mine", "--pace", "0", cwd=elsewhere).wait_for("is running:")
    started = run("python", "temporal_client_mine.py", "--clusters", "cluster1", cwd=elsewhere)
    await started.printed("patching approved")  # That is the answer of a query.
    handle = client.get_workflow_handle(id_of("mine"))
    while await last_heartbeat(handle) == 0:
        await asyncio.sleep(0.05)
    assert await handle.query("completed_steps") == ["patching approved"]
    await handle.terminate()
    await started.ended()

"""Records the histories that tests/test_replay.py replays:  python -m tests.record_histories

With names of versions, such as v9, only those. One file for each version and ending, in tests/histories, with the
histories of the run and of all its children. From the run of v8 that completes, before_v9.json is made, too. Record
anew after a change of the workflows that running workflows need not survive: here, any change that fails the replay.
"""

from checks.exercises import EXERCISES
from checks.names import NO
from checks.solutions import with_suffix
from support import PROJECT
from support.connection import connect
from support.dev_server import own_server
from support.histories import Handle, tree
from support.processes import Process
from support.script import run_script
from tests.runs import approve, patch_input, start, worker
from workflow.types import HostPatchInput
from workflow.versions import Version, find_version, released_versions

import asyncio
import contextlib
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

FOLDER = Path(__file__).parent / "histories"
CLUSTER = ["cluster2"]  # The one with the host that version 7 can't patch.


def with_broken_host(version: Version) -> Any:
    """The version's activities, with one host that can't be patched, as version 7 has it by itself."""

    class Broken(version.activities):  # type: ignore[misc, name-defined]
        @activity.defn
        async def check_host_preconditions_activity(self, host: HostPatchInput) -> None:
            if host.hostname == "cluster2_host2":
                raise ApplicationError("preconditions are not met", type="PreconditionsNotMet", non_retryable=True)
            await super().check_host_preconditions_activity(host)

    return Broken(0.1)


async def record(client: Client, name: str) -> None:
    """Run the version to each of its endings, one after the other: they share a task queue."""
    version = find_version(name)
    good = ["cluster3"]
    async with worker(client, name):
        await save(client, "completed", version, await run(client, version, patch_input(good)))
        if hasattr(version.workflow, "answer_approval"):
            await save(client, "rejected", version, await run(client, version, patch_input(good), answer=NO))
            unanswered = await start(client, version, patch_input(good, approval_timeout=1))
            await save(client, "timed_out", version, await end(unanswered))
    async with worker(client, name, activities=with_broken_host(version)):
        await save(client, "failed", version, await run(client, version, patch_input(CLUSTER)))
    async with worker(client, name, pace=1):
        handle = await start(client, version, patch_input(good))
        await approve(handle, version)
        await until_an_update_runs(client, handle)
        await handle.cancel()
        await save(client, "cancelled", version, await end(handle))

    script = Process("python", "temporal_worker.py", name)
    handle = await start(client, version, patch_input(good))
    await approve(handle, version)
    await until_an_update_runs(client, handle)
    script.kill()
    async with worker(client, name):
        await save(client, "resumed", version, await end(handle))


async def run(client: Client, version: Version, input: Any, **options: Any) -> Handle:
    """Start the version, answer its approval request and wait for its end."""
    handle = await start(client, version, input)
    await approve(handle, version, **options)
    return await end(handle)


async def end(handle: Handle) -> Handle:
    """Wait for the end, whatever it is."""
    with contextlib.suppress(WorkflowFailureError):
        await handle.result()
    return handle


async def until_an_update_runs(client: Client, handle: Handle) -> None:
    """Wait until a worker is in the middle of `perform_update_activity`."""
    while True:
        for run in (await tree(client, handle)).values():
            for pending in (await run.describe()).raw_description.pending_activities:
                if pending.activity_type.name == "perform_update_activity" and pending.HasField("last_started_time"):
                    return
        await asyncio.sleep(0.1)


async def save(client: Client, ending: str, version: Version, handle: Handle) -> None:
    """Write the histories of a run and its children to a file, one event a line."""
    histories = {
        run.id: [without_traces(event) for event in (await run.fetch_history()).to_json_dict()["events"]]
        for run in (await tree(client, handle)).values()
    }
    text = ",\n".join(
        f"{json.dumps(id)}: [\n" + ",\n".join(json.dumps(event, separators=(",", ":")) for event in events) + "\n]"
        for id, events in histories.items()
    )
    FOLDER.joinpath(f"{version.name}_{ending}.json").write_text(f"{{\n{text}\n}}\n")
    print(f"{version.name}_{ending}: {sum(map(len, histories.values()))} events", flush=True)
    if (version.name, ending) == (EXERCISES[8].start, "completed"):
        save_run_from_before(handle.id, histories[handle.id])


def save_run_from_before(id: str, events: list[dict[str, Any]]) -> None:
    """Write a run of exercise 8's starting point, as if it were one of its solution: for test_v9.py."""
    new = EXERCISES[8].solution
    text = with_suffix(json.dumps({"events": events}, indent=1), EXERCISES[8].start.upper(), new.upper())
    PROJECT.joinpath(f"before_{new}.json").write_text(text.replace(id, f"system-patch-{new}") + "\n")


def without_traces(part: Any) -> Any:
    """Leave out what tells of the machine that recorded it: process and host names, paths."""
    if isinstance(part, list):
        return [without_traces(item) for item in part]
    if isinstance(part, dict):
        return {key: without_traces(value) for key, value in part.items() if key not in ("identity", "stackTrace")}
    # A worker's own queue is named after its process and host.
    return re.sub(r"^\d+@.+", "sticky", part) if isinstance(part, str) else part


async def main() -> int:
    """Record the versions of the command line, or all, side by side, on a server of their own."""
    FOLDER.mkdir(exist_ok=True)
    logging.disable()  # Failures belong to what is recorded.
    async with own_server():
        client = await connect()
        await asyncio.gather(*[record(client, name) for name in sys.argv[1:] or released_versions()])
    return 0


if __name__ == "__main__":
    run_script(main)

"""Faults for real processes, and the promises that every run keeps under them. Used by test_crashes.py and soak.py.

`python -m tests.faults` gets what cuts the network: toxiproxy, built from its Go module.
"""

from checks.machine import slowness
from support.histories import Handle, history, tree
from support.logs import short_logging_runtime
from support.ports import free_port
from support.processes import Process, run_command
from support.script import UserError, run_script
from support.strict_input import strict_data_converter
from support.temporal_cli import CACHE, find_go, progress
from tests.conftest import copy_patient_project
from tests.record_histories import FOLDER as RECORDED
from tests.runs import approve, failed_tasks, patch_input, scheduled, start
from workflow.activities import HOSTS_PER_CLUSTER, UPDATE_STEPS
from workflow.types import ClusterPatchResult, SystemPatchResult
from workflow.versions import Version, find_version, version_number

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import time
import traceback
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError, WorkflowHistory, WorkflowUpdateFailedError
from temporalio.service import RPCError

TOXIPROXY_MODULE = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0"
GO = "https://go.dev/doc/install"
CASE_TIMEOUT = 150.0 * slowness()  # Seconds.
HOSTS, PILOT_COUNT = 3, 2  # Of each run.
HEARTBEAT_TIMEOUT = 2.0


def cluster_of(version: str) -> str:
    """The cluster that a version's runs patch: one of its own, for the versions share a log. Nothing fails in it."""
    return f"{version}-cluster"


def hosts_of(version: str) -> list[str]:
    """The hosts of that cluster, the pilots first. There are fewer than usual, for each costs time."""
    return [f"{cluster_of(version)}_host{number}" for number in range(1, HOSTS + 1)]


@dataclass
class Period:
    """The time from the beginning of a fault to when everything notices its end."""

    begun: datetime
    ended: datetime
    costs: int
    """How many attempts of an activity it may cost."""


def until_now(begun: datetime, costs: int = 1) -> Period:
    """The time of a fault that is over now. A server takes up to a second to notice that a worker is gone."""
    return Period(begun, datetime.now(timezone.utc) + timedelta(seconds=1), costs)


@dataclass
class Outcome:
    """What became of one run and its faults. Without problems, all promises were kept."""

    version: str
    fault: str
    seed: int
    faults: list[Period] = field(default_factory=list)
    reported: list[dict[str, int]] = field(default_factory=list)
    """For each fault, the last step that each running update had reported when it came."""
    client_kills: int = 0
    extra_attempts: int = 0
    seconds: float = 0
    problems: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """How many faults the run has seen."""
        return len(self.faults) + self.client_kills


async def crash(process: Process) -> Period:
    """End a process as a crash does. Returns when."""
    begun = datetime.now(timezone.utc)
    process.kill()
    return until_now(begun)


class Place:
    """A server on a file of its own, and the processes that use it."""

    def __init__(self, folder: Path, versions: list[str], quick: bool) -> None:
        """Take the versions of which there will be a run each, and choose free ports. Nothing runs yet."""
        self.folder, self.versions, self.quick = folder, versions, quick
        self.waiting = len(versions)
        self.common_fault: asyncio.Task[Period] | None = None
        self.common_worker: Process | None = None
        self.address_of_proxy: asyncio.Task[str] | None = None
        self.port, self.proxy_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.processes: list[tuple[str, Process]] = []
        """What was started, by the names that were given."""

    def pace(self, version: str) -> float:
        """A pace at which a run on one cluster takes about ten seconds, or five if it is to be quick."""
        ten_seconds = 0.3 if version == "v4" else 0.4 if has_heartbeats(version) else 1
        return ten_seconds * (0.5 if self.quick else 1)

    def start(self, name: str, *command: str, address: str = "", **environment: str) -> Process:
        """Start a process that is killed at the end, if it is still there."""
        process = Process(
            *command,
            folder=self.folder / "workshop",
            environment={"TEMPORAL_ADDRESS": address or self.address, **environment},
        )
        self.processes.append((name, process))
        return process

    def named(self, name: str) -> list[Process]:
        """What was started under this name."""
        return [process for found, process in self.processes if found == name]

    async def start_server(self) -> Process:
        """Start the server, or start it again on the same file."""
        database = str(self.folder / "temporal.db")
        ports = ["--port", str(self.port), "--ui-port", str(free_port())]
        server = self.start("server", "python", "temporal_server.py", *ports, "--database", database)
        await server.printed("Server:")
        return server

    async def start_worker(self, version: str, address: str = "") -> Process:
        """Start a worker and wait until it runs."""
        worker = self.start(
            version, "python", "temporal_worker.py", version, "--pace", str(self.pace(version)), address=address
        )
        await worker.printed("is running:")
        return worker

    async def start_common_worker(self, address: str = "") -> Process:
        """Start one process with a worker of each version, unless it runs already, and wait until they run."""
        if self.common_worker is None:
            paces = [f"{version}={self.pace(version)}" for version in self.versions]
            self.common_worker = self.start("common", "python", "-m", "tests.together", *paces, address=address)
        for version in self.versions:
            await self.common_worker.printed(f"Worker for {version} is running:")
        return self.common_worker

    async def connect(self) -> Client:
        """A client of the test's own."""
        return await Client.connect(
            self.address, data_converter=strict_data_converter(), runtime=short_logging_runtime()
        )

    async def start_proxy(self) -> str:
        """Put a proxy between the workers and the server. Returns its address."""
        address = f"127.0.0.1:{free_port()}"
        self.start("toxiproxy", await find_toxiproxy(), "-host", "127.0.0.1", "-port", str(self.proxy_port))
        await self.ask_toxiproxy("POST", "/proxies", name="workers", listen=address, upstream=self.address)
        return address

    async def hit_all(self, fault: Callable[[], Coroutine[Any, Any, Period]]) -> Period:
        """Let one fault hit all runs, as soon as each of them is ready for it. Returns when it was."""
        self.waiting -= 1
        while self.waiting:
            await asyncio.sleep(0.05)
        if self.common_fault is None:
            self.common_fault = asyncio.create_task(fault())
        return await self.common_fault

    async def kill_and_start_server(self, pause: float) -> Period:
        """Kill the server, and start it again on its file after a pause. Returns when it was away."""
        killed = await crash(self.named("server")[0])
        await asyncio.sleep(pause)
        await self.start_server()
        return until_now(killed.begun)

    async def ask_toxiproxy(self, method: str, path: str, **body: Any) -> None:
        """Call toxiproxy's HTTP API, as soon as it is up."""
        url = f"http://127.0.0.1:{self.proxy_port}{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), method=method)
        while True:
            try:
                await asyncio.to_thread(urllib.request.urlopen, request, timeout=5)
                return
            except urllib.error.URLError as error:
                if not isinstance(error.reason, ConnectionRefusedError):
                    raise
                await asyncio.sleep(0.05)

    async def cut_network(self, seconds: float) -> Period:
        """Let nothing through for so long, as if a cable had been pulled. Returns when."""
        begun = datetime.now(timezone.utc)
        for stream in ("upstream", "downstream"):
            toxic = {"name": stream, "type": "timeout", "stream": stream, "attributes": {"timeout": 0}}
            await self.ask_toxiproxy("POST", "/proxies/workers/toxics", **toxic)
        await asyncio.sleep(seconds)
        # Off in between: or else one direction is back before the other, and tasks get lost on their way.
        await self.ask_toxiproxy("POST", "/proxies/workers", enabled=False)
        for stream in ("upstream", "downstream"):
            await self.ask_toxiproxy("DELETE", f"/proxies/workers/toxics/{stream}")
        await self.ask_toxiproxy("POST", "/proxies/workers", enabled=True)
        # Two: the next attempt may go out on a connection of which the server does not yet know that it is cut.
        return until_now(begun, costs=2)

    def worker_logs(self, version: str) -> list[str]:
        """What each of the version's workers has printed."""
        return [process.text() for process in [*self.named(version), *self.named("common")]]


@contextlib.asynccontextmanager
async def place(folder: Path, versions: Sequence[str] = (), quick: bool = True) -> AsyncIterator[Place]:
    """A place with a copy of the project. At the end nothing of it is left running."""
    copy_patient_project(folder / "workshop")
    activities = folder / "workshop" / "workflow" / "activities.py"
    activities.write_text(
        activities.read_text().replace(f"HOSTS_PER_CLUSTER = {HOSTS_PER_CLUSTER}\n", f"HOSTS_PER_CLUSTER = {HOSTS}\n")
    )
    here = Place(folder, list(versions), quick)
    try:
        yield here
    finally:
        for _, process in here.processes:
            process.kill()


async def find_toxiproxy() -> str:
    """Return the path of toxiproxy, built from its Go module where there is none. Raises `UserError` if that fails."""
    built = CACHE / "toxiproxy" / "server"
    if found := shutil.which("toxiproxy-server"):
        return found
    if not built.exists():
        try:
            go = await find_go()
            async with progress("Building toxiproxy from its Go module (once, half a minute)"):
                await run_command([go, "install", TOXIPROXY_MODULE], {"GOBIN": str(built.parent), "CGO_ENABLED": "0"})
        except UserError as error:
            raise UserError(f"The network can't be cut, for want of toxiproxy. Install Go: {GO}. ({error})") from error
    return str(built)


def has_heartbeats(version: str) -> bool:
    """Whether the update reports its steps, so that a crash is found out after two seconds, not after ten."""
    return version_number(version) >= 4


# The faults


async def moment(here: Place, version: str, workers: list[Process], chance: random.Random) -> Process:
    """Wait for a random moment. Returns a worker that is at work then.

    A quick one is in the middle of an update, whose crash is found out first. Others can take 30 seconds.
    """
    if not here.quick:
        await asyncio.sleep(chance.uniform(0.3, 9))
        return chance.choice(workers)
    host = chance.choice(hosts_of(version)[:PILOT_COUNT])
    mark = f"perform_update_activity*** {host}" if has_heartbeats(version) else f"{host}: update started"
    waiting = [asyncio.create_task(worker.printed(mark)) for worker in workers]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    found = next(worker for worker, task in zip(workers, waiting, strict=True) if task.done())
    for task in waiting:
        task.cancel()
    await asyncio.sleep(
        chance.uniform(0, 0.8) * here.pace(version) * (UPDATE_STEPS if has_heartbeats(version) else 0.5)
    )
    return found


async def kill_worker(here: Place, version: str, outcome: Outcome, chance: random.Random) -> None:
    """Kill the worker twice, and start it again each time."""
    worker = await here.start_worker(version)
    async with a_run(here, version, outcome) as note_heartbeats:
        await moment(here, version, [worker], chance)
        await note_heartbeats()
        outcome.faults.append(await crash(worker))
        worker = await here.start_worker(version)
        # Not later, or the same step could lose all of its three attempts: then it has failed, and rightly so.
        await asyncio.sleep(chance.uniform(0.3, 2))
        await note_heartbeats()
        outcome.faults.append(await crash(worker))
        await here.start_worker(version)


async def kill_one_of_two(here: Place, version: str, outcome: Outcome, chance: random.Random) -> None:
    """Kill one of two workers for good."""
    workers = [await here.start_worker(version), await here.start_worker(version)]
    async with a_run(here, version, outcome) as note_heartbeats:
        worker = await moment(here, version, workers, chance)
        await note_heartbeats()
        outcome.faults.append(await crash(worker))


async def kill_client(here: Place, version: str, outcome: Outcome, chance: random.Random) -> None:
    """Kill the client twice, and start it again each time with --attach."""
    await here.start_common_worker()
    command = [
        "python",
        "temporal_client.py",
        version,
        "--clusters",
        cluster_of(version),
        "--pilot-count",
        str(PILOT_COUNT),
        "--poll-interval",
        "0.3",
    ]
    client = here.start("client", *command)
    await client.printed("Started")
    for _ in range(2):
        await asyncio.sleep(chance.uniform(0, 1.5 if here.quick else 4))
        await crash(client)
        outcome.client_kills += 1  # Not among the faults that explain another attempt of anything.
        client = here.start("client", *command, "--attach")
    if await client.ended() != 0 or ", ".join(hosts_of(version)) not in client.text():
        outcome.problems.append(f"the client that attached itself said: {client.text()}")
    connected = await here.connect()
    run = connected.get_workflow_handle_for(find_version(version).workflow.run, find_version(version).workflow_id)
    outcome.problems += await broken_promises(here, connected, run, outcome)


async def cut_network(here: Place, version: str, outcome: Outcome, chance: random.Random) -> None:
    """Cut the network between workers and server for longer than the heartbeat timeout: once, for all runs."""
    if here.address_of_proxy is None:
        here.address_of_proxy = asyncio.create_task(here.start_proxy())
    await here.start_common_worker(await here.address_of_proxy)
    seconds = chance.uniform(1.3, 2 if here.quick else 6) * HEARTBEAT_TIMEOUT
    async with a_run(here, version, outcome) as note_heartbeats:
        await asyncio.sleep(chance.uniform(0.3, 2 if here.quick else 6))
        await note_heartbeats()
        outcome.faults.append(await here.hit_all(lambda: here.cut_network(seconds)))


async def kill_server(here: Place, version: str, outcome: Outcome, chance: random.Random) -> None:
    """Kill the server in the middle of the run, and start it again on its file: once, for all runs."""
    await here.start_common_worker()
    pause = chance.uniform(0, 2)
    async with a_run(here, version, outcome) as note_heartbeats:
        await asyncio.sleep(chance.uniform(0.3, 2 if here.quick else 6))
        await note_heartbeats()
        outcome.faults.append(await here.hit_all(lambda: here.kill_and_start_server(pause)))


FAULTS = {
    "worker killed twice": kill_worker,
    "one of two workers killed": kill_one_of_two,
    "client killed twice": kill_client,
    "network cut": cut_network,
    "server killed": kill_server,
}


# Runs and their promises


@contextlib.asynccontextmanager
async def a_run(here: Place, version: str, outcome: Outcome) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A run that is approved. At the end, it must have kept the promises. What it yields is called before a fault."""
    client = await here.connect()
    found = find_version(version)
    handle = await start(client, found, patch_input([cluster_of(version)], PILOT_COUNT))
    approving = asyncio.create_task(approve_at_last(handle, found))

    async def note_heartbeats() -> None:
        outcome.reported.append(await reported_steps(client, handle))

    yield note_heartbeats
    await approving
    outcome.problems += await broken_promises(here, client, handle, outcome)


async def approve_at_last(handle: Handle, version: Version) -> None:
    """Approve, again and again while there is no server."""
    while True:
        try:
            return await approve(handle, version)
        except WorkflowUpdateFailedError:
            return  # An earlier call got through, although its reply did not.
        except RPCError:
            await asyncio.sleep(0.2)


async def end_of(handle: Handle) -> SystemPatchResult | str:
    """Wait for the end, also while there is no server. Returns the result, or how the workflow ended instead."""
    while True:
        try:
            result: SystemPatchResult = await handle.result()
            return result
        except WorkflowFailureError as error:
            return repr(error.cause)
        except RPCError:
            await asyncio.sleep(0.2)


async def broken_promises(here: Place, client: Client, handle: Handle, outcome: Outcome) -> list[str]:
    """Wait for the end of a run, and return in words what it did not keep of what it would have done without faults."""
    result = await end_of(handle)
    problems = []
    if result != SystemPatchResult([ClusterPatchResult(cluster_of(outcome.version), hosts_of(outcome.version))]):
        problems.append(f"ended with {result}")
    done: Counter[tuple[str, str]] = Counter()
    updates: dict[str, int] = {}
    for each in (await tree(client, handle)).values():
        begun: dict[int, tuple[tuple[str, str], datetime]] = {}
        events = await history(each)
        problems += [f"{each.id} has a workflow task that failed: {why}" for why in failed_tasks(events)]
        for event in events:
            name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
            if name == "ACTIVITY_TASK_SCHEDULED":
                [activity] = scheduled([event])
                begun[event.event_id] = (activity, event.event_time.ToDatetime(timezone.utc))
            elif name == "ACTIVITY_TASK_STARTED":
                last = event.activity_task_started_event_attributes
                activity, since = begun[last.scheduled_event_id]
                if activity[0] == "perform_update_activity":
                    updates[activity[1]] = last.attempt
                outcome.extra_attempts += last.attempt - 1
                if last.attempt > 1:
                    # A fault explains it if there was one between its scheduling and the beginning of the last attempt.
                    until = event.event_time.ToDatetime(timezone.utc)
                    faults = [fault for fault in outcome.faults if since <= fault.ended and fault.begun <= until]
                    if last.attempt > 1 + sum(fault.costs for fault in faults) or not last.last_failure.HasField(
                        "timeout_failure_info"
                    ):
                        problems.append(
                            f"{activity}, scheduled at {since}, had attempt {last.attempt} at {until}: "
                            f"{last.last_failure.message}"
                        )
            elif name == "ACTIVITY_TASK_COMPLETED":
                done[begun[event.activity_task_completed_event_attributes.scheduled_event_id][0]] += 1
            elif name.startswith("ACTIVITY_TASK_") or name == "CHILD_WORKFLOW_EXECUTION_FAILED":
                problems.append(f"{each.id} has an event {name}")
    if done != Counter(recorded_activities(outcome.version)):
        problems.append(f"the activities that completed are not those of a run without faults: {done}")
    if has_heartbeats(outcome.version):
        problems += repeated_steps("\n".join(here.worker_logs(outcome.version)), updates, outcome)
    return problems


def recorded_activities(version: str) -> list[tuple[str, str]]:
    """The activities of the recorded run without faults, with their summaries, but for hosts that are not there here.

    It patched the hosts of cluster3.
    """
    histories = json.loads((RECORDED / f"{version}_completed.json").read_text())
    return [
        (name, own)
        for id, events in histories.items()
        for name, summary in scheduled(list(WorkflowHistory.from_json(id, {"events": events}).events))
        for own in [summary.replace("cluster3", cluster_of(version))]
        if "_host" not in own or own in hosts_of(version)
    ]


async def reported_steps(client: Client, handle: Handle) -> dict[str, int]:
    """Return for the host of each running update the last step that the server knows of."""
    steps = {}
    for each in (await tree(client, handle)).values():
        hosts = {
            event.activity_task_scheduled_event_attributes.activity_id: scheduled([event])[0][1]
            for event in await history(each)
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
        }
        for pending in (await each.describe()).raw_description.pending_activities:
            if pending.heartbeat_details.payloads and pending.activity_id in hosts:
                steps[hosts[pending.activity_id]] = int(pending.heartbeat_details.payloads[0].data)
    return steps


def repeated_steps(log: str, attempts: dict[str, int], outcome: Outcome) -> list[str]:
    """Return in words which steps of an update were left out, or done again although they had been reported."""
    problems = []
    for host, attempt in attempts.items():
        steps = Counter(int(step) for step in re.findall(rf"{host}: update step (\d) of 9 done", log))
        for step in range(1, UPDATE_STEPS + 1):
            # Each fault may cost a step that was not reported when it came.
            most = min(attempt, 1 + sum(reported.get(host, 0) < step for reported in outcome.reported))
            if not 1 <= steps[step] <= most:
                problems.append(f"{host}: step {step} was done {steps[step]} times, reported: {outcome.reported}")
    return problems


async def try_fault(here: Place, fault: str, version: str, seed: int) -> Outcome:
    """Put one run through one kind of fault."""
    outcome = Outcome(version, fault, seed)
    begun = time.monotonic()
    try:
        chance = random.Random(f"{seed} {fault} {version}")
        await asyncio.wait_for(FAULTS[fault](here, version, outcome, chance), CASE_TIMEOUT)
    except asyncio.TimeoutError:
        outcome.problems.append(f"not at its end after {CASE_TIMEOUT:.0f} s")
    except Exception:
        outcome.problems.append(traceback.format_exc())
    outcome.seconds = time.monotonic() - begun
    for log in here.worker_logs(version):
        if "Traceback" in log:
            outcome.problems.append(f"a worker printed a traceback: {log}")
    return outcome


async def try_faults(
    folder: Path,
    fault: str,
    versions: list[str],
    seed: int,
    quick: bool = False,
    when_done: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Put a run of each version through one kind of fault, side by side on one server."""
    async with place(folder, versions, quick) as here:
        await here.start_server()

        async def try_one(version: str) -> Outcome:
            outcome = await try_fault(here, fault, version, seed)
            when_done(outcome)
            return outcome

        return await asyncio.gather(*[try_one(version) for version in versions])


async def print_toxiproxy() -> int:
    """Get toxiproxy and print where it is. Returns the exit code: CI must have it."""
    try:
        print(f"toxiproxy: {await find_toxiproxy()}")
        return 0
    except UserError as error:
        print(f"{error} The tests that need it are skipped.")
        return 1 if os.environ.get("CI") else 0


if __name__ == "__main__":
    run_script(print_toxiproxy)

"""Runs one rollout by the scripts that learners run, and watches server and worker meanwhile."""

from benchmarks.histories import overhead, size
from support.client import seconds_of
from support.connection import connect
from support.histories import Handle
from support.ports import THIS_MACHINE, UI_PORT_DISTANCE, free_port
from support.processes import Process
from support.script import UserError
from support.temporal_cli import find_temporal_cli
from workflow.versions import find_version

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from temporalio.client import Client

DATABASES = ["ours", "default", "memory"]
PILOTS = 3
SAMPLE_INTERVAL = 0.25  # Seconds between two looks at the memory.
# Their hosts have none of the names of hosts that the activities let fail.
CLUSTER = "site"


@dataclass(frozen=True)
class Case:
    """What is to be run."""

    version: str
    clusters: int
    hosts_per_cluster: int
    database: str = "ours"
    """Where the server keeps its history: in a file with our settings or its own (`default`), or in `memory`."""
    pace: float = 0.0

    @property
    def hosts(self) -> int:
        """How many hosts are patched."""
        return self.clusters * self.hosts_per_cluster


@dataclass
class Figures:
    """What was seen."""

    version: str
    hosts: int
    clusters: int
    database: str
    pace: float
    ended: str
    """What the client says of the end."""
    seconds: float
    """From start to end, by the server's clock."""
    events_of_longest: int
    """Of the history with the most events."""
    bytes_of_longest: int
    events: int
    """Of all histories together."""
    server_cpu: float
    """Seconds of processor time, from the client's start to its end."""
    worker_cpu: float
    server_mb: float
    """Memory at most, in megabytes."""
    worker_mb: float
    replay: float
    """Seconds that a new worker takes to answer a query: it replays the rollout's history for it."""
    overhead: float | None
    """Seconds beside the work that can't be done at the same time. None at another pace than 1."""
    statuses: dict[str, int] = field(default_factory=dict)
    """How many of the runs ended how."""

    @property
    def rate(self) -> float:
        """How many hosts are patched in a second."""
        return self.hosts / self.seconds

    @property
    def is_complete(self) -> bool:
        """Whether all runs have completed."""
        return {*self.statuses} == {"completed"}


class Watch:
    """Processor time and memory of a process."""

    def __init__(self, process: Process) -> None:
        """Begin to count."""
        self._process = psutil.Process(process.pid)
        self._before = self._cpu()
        self.most_mb = 0.0

    def look(self) -> None:
        """Look at its memory."""
        self.most_mb = max(self.most_mb, self._process.memory_info().rss / 2**20)

    @property
    def cpu(self) -> float:
        """Seconds since it was begun."""
        return self._cpu() - self._before

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system


async def measure(case: Case, say: Callable[[str], None]) -> Figures:
    """Run a case. Calls `say` with what is under way. Raises `UserError` if a script does not start."""
    with tempfile.TemporaryDirectory() as folder:
        async with _server(case, Path(folder)) as server:
            client = await connect()
            worker = await _started_worker(case, Path(folder))
            try:
                watches = [Watch(server), Watch(worker)]
                output = Path(folder, "client.log")
                names = ",".join(f"{CLUSTER}{number}" for number in range(1, case.clusters + 1))
                script = Process(
                    *["python", "temporal_client.py", case.version, "--clusters", names, "--pilot-count", str(PILOTS)],
                    output=output,
                )
                try:
                    await _watch(script, output, watches, case.hosts, say)
                finally:
                    script.kill()
                server_cpu, worker_cpu = [watch.cpu for watch in watches]
                said = [line for line in output.read_text().splitlines() if line.startswith("Workflow ")]
                ended = said[-1].split(" (after")[0].split(" after")[0] if said else output.read_text()[-200:]
                described = await client.get_workflow_handle(find_version(case.version).workflow_id).describe()
                rollout: Handle = client.get_workflow_handle(described.id, run_id=described.run_id)
                of_histories = await size(client, rollout)
                seconds = await seconds_of(rollout)
                extra = await overhead(client, rollout, PILOTS) if case.pace == 1 and "completed" in ended else None
            finally:
                await worker.stop()
            say("replaying")
            worker = await _started_worker(case, Path(folder))
            try:
                replay = await _replay(client, described.id) if "completed" in ended else 0.0
            finally:
                await worker.stop()
    server_mb, worker_mb = [watch.most_mb for watch in watches]
    return Figures(
        version=case.version,
        hosts=case.hosts,
        clusters=case.clusters,
        database=case.database,
        pace=case.pace,
        ended=ended,
        seconds=seconds,
        events_of_longest=of_histories.events_of_longest,
        bytes_of_longest=of_histories.bytes_of_longest,
        events=of_histories.events,
        server_cpu=server_cpu,
        worker_cpu=worker_cpu,
        server_mb=server_mb,
        worker_mb=worker_mb,
        replay=replay,
        overhead=extra,
        statuses=of_histories.statuses,
    )


@contextlib.asynccontextmanager
async def _server(case: Case, folder: Path) -> AsyncIterator[Process]:
    """Run a server, which all scripts find by the environment."""
    port, file = free_port(), folder / "history.db"
    if case.database == "default":
        cli = await find_temporal_cli()
        command = [cli, "server", "start-dev", "--ip", THIS_MACHINE, "--port", str(port), "--db-filename", str(file)]
        command += ["--ui-port", str(port + UI_PORT_DISTANCE), "--log-level", "error"]
    else:
        command = ["python", "temporal_server.py", "--port", str(port)]
        command += ["--temporary"] if case.database == "memory" else ["--database", str(file)]
    server = Process(*command)
    try:
        await _printed(server, "Server:", "The server")
        os.environ["TEMPORAL_ADDRESS"] = f"{THIS_MACHINE}:{port}"
        yield server
        await server.stop()
    finally:
        server.kill()


async def _started_worker(case: Case, folder: Path) -> Process:
    log = folder / "worker.log"
    flags = ["--pace", str(case.pace), "--hosts-per-cluster", str(case.hosts_per_cluster)]
    worker = Process("python", "temporal_worker.py", case.version, *flags, output=log)
    while "is running" not in log.read_text():
        if worker.is_over.is_set():
            raise UserError(f"The worker does not start: {log.read_text().strip()}")
        await asyncio.sleep(0.1)
    return worker


async def _printed(process: Process, text: str, name: str) -> None:
    try:
        await process.printed(text)
    except AssertionError as error:
        raise UserError(f"{name} does not start: {error}") from None


async def _watch(script: Process, output: Path, watches: list[Watch], hosts: int, say: Callable[[str], None]) -> None:
    """Look at the processes until the client has ended."""
    while not script.is_over.is_set():
        try:
            for watch in watches:
                watch.look()
        except psutil.NoSuchProcess as error:
            raise UserError(f"The worker or the server has ended before the client: {error}") from error
        say(f"{output.read_text().count(' patched')} of {hosts} hosts")
        await asyncio.sleep(SAMPLE_INTERVAL)


async def _replay(client: Client, workflow_id: str) -> float:
    begun = time.monotonic()
    await client.get_workflow_handle(workflow_id).query("completed_steps")
    return time.monotonic() - begun

"""All that runs: PostgreSQL, the server and the workers, put together and taken down."""

from cluster import network, postgres, server
from cluster.faults import WORKERS, Fault
from cluster.network import Namespace
from cluster.parts import Part
from cluster.postgres import Postgres
from cluster.progress import Progress
from support.forward import forward
from support.ports import THIS_MACHINE
from support.script import UserError, within

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

VERSION = "v6"
START_TIMEOUT = 180.0  # Seconds until all runs, on a busy machine.


@dataclass
class Cluster:
    """All that runs."""

    folder: Path
    """For what it needs and writes."""
    leftovers: ExitStack
    """What is to be done at its end."""
    database: Postgres
    no_networks: str
    """Why workers have no networks of their own, or nothing."""
    parts: dict[str, Part] = field(default_factory=dict)
    networks: dict[str, Namespace] = field(default_factory=dict)
    progress: Progress = field(default_factory=lambda: Progress([]))
    """Of the rollout that is under way."""

    def add(self, part: Part) -> Part:
        """Add a part. At the end nothing of it is left."""
        self.leftovers.callback(part.end)
        self.parts[part.name] = part
        return part

    async def stop(self) -> None:
        """Stop all parts, those that need others first."""
        workers = [part for name, part in self.parts.items() if name in WORKERS]
        database = [part for name, part in self.parts.items() if name == "postgresql"]
        services = [part for part in self.parts.values() if part not in workers + database]
        for together in (workers, services, database):
            await asyncio.gather(*[part.stop() for part in together])


@contextlib.asynccontextmanager
async def running_cluster(wanted: list[Fault], folder: Path, worker_flags: list[str]) -> AsyncIterator[Cluster]:
    """Within this, there is a cluster that is fit for these faults. At the end nothing of it is left.

    Its files are in `folder`, its address is in the environment. Raises `UserError` if it can't be had.
    """
    programs = postgres.find_postgres()
    no_networks = network.why_not()
    if no_networks and any(each.kind == "cut" for each in wanted):
        raise UserError(f"There are no network namespaces here, so no network can be cut: {no_networks}.")
    server_programs = await server.find_server()
    for name in ("database", "logs"):
        (folder / name).mkdir()
    with ExitStack() as leftovers:
        if any(each.kind == "full" for each in wanted):
            leftovers.enter_context(postgres.small_disk(folder / "database"))
        database = await postgres.make_database(programs, folder / "database")
        cluster = Cluster(folder, leftovers, database, no_networks)
        try:
            try:
                await within(START_TIMEOUT, start(cluster, server_programs, worker_flags))
            except asyncio.TimeoutError:
                started = ", ".join(f"{part.name} {part.starts} times" for part in cluster.parts.values())
                raise UserError(
                    f"The cluster is not up after {START_TIMEOUT:.0f} s. Started: {started}. What they print: --logs"
                ) from None
            yield cluster
        finally:
            await cluster.stop()


async def start(cluster: Cluster, server_programs: Path, worker_flags: list[str]) -> None:
    """Start one part after the other, and wait until all are ready."""
    logs = cluster.folder / "logs"
    await cluster.add(postgres.run_postgres(cluster.database, logs / "postgresql")).up()
    await server.make_schemas(server_programs, cluster.database)
    services, port = server.run_server(server_programs, cluster.folder, logs, cluster.database)
    for service in services:
        cluster.add(service)
    os.environ["TEMPORAL_ADDRESS"] = f"{THIS_MACHINE}:{port}"
    await server.add_namespace(os.environ["TEMPORAL_ADDRESS"])
    for number, name in enumerate(WORKERS, start=1):
        enter, environment = list[str](), dict[str, str]()
        if not cluster.no_networks:
            own = cluster.networks[name] = cluster.leftovers.enter_context(network.namespace(number))
            await forward(own.address, port)
            enter, environment = own.enter, {"TEMPORAL_ADDRESS": f"{own.address}:{port}"}
        command = [*enter, "python", "temporal_worker.py", VERSION, *worker_flags]
        cluster.add(run_worker(cluster, name, command, environment))
    for name in WORKERS:
        await cluster.parts[name].up()


def run_worker(cluster: Cluster, name: str, command: list[str], environment: dict[str, str]) -> Part:
    """Start a worker, and return it. Its lines are read for the progress, and kept."""

    async def is_running(part: Part) -> bool:
        return any("is running:" in line for line in part.process.lines)

    def take(line: str) -> None:
        with (cluster.folder / "logs" / f"{name}.log").open("a") as file:
            print(line, file=file)
        cluster.progress.take(line)

    return Part(name, command, is_running, environment=environment, on_line=take)

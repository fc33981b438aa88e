"""Runs a rollout on a cluster while its parts are killed one after the other:  make cluster

PostgreSQL, the Temporal server as four processes, two workers of version 6 by the workshop's own scripts, all on this
machine. At the end the histories must say that each host was patched once and that nothing was lost: then the exit code
is 0. Other faults: python -m cluster --fault history:stop:5 --fault worker1:cut --fault postgresql:full
"""

from cluster import faults, network, postgres, server
from cluster.faults import FORM, STANDARD, WORKERS, Fault, fault, strike
from cluster.network import Namespace
from cluster.parts import Part
from cluster.postgres import Postgres
from cluster.progress import Progress
from cluster.verdict import Verdict, judge
from support.connection import connect
from support.dev_server import forget_other_servers
from support.forward import forward
from support.pid_lock import running_workers
from support.ports import THIS_MACHINE
from support.processes import Process
from support.script import UserError, run_script, within
from workflow.activities import HOSTS_PER_CLUSTER
from workflow.types import MOST_CLUSTERS
from workflow.versions import find_version

import argparse
import asyncio
import contextlib
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

VERSION = "v6"
START_TIMEOUT = 120.0  # Seconds until all runs, on a busy machine.
ROLLOUT_TIMEOUT = 900.0  # Seconds.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


@dataclass
class Cluster:
    """All that runs."""

    database: Postgres
    parts: dict[str, Part]
    networks: dict[str, Namespace]
    progress: Progress = field(default_factory=lambda: Progress([]))
    """Of the rollout that is under way."""


@dataclass
class Struck:
    """A fault that was done. Moments are those of `time.monotonic`."""

    fault: Fault
    begun: float
    up_again: float
    over: float = math.inf
    """When all hosts that it found in an update had moved on, and a question got through to a worker."""


@dataclass
class Rollout:
    """A rollout, and the faults that hit it."""

    clusters: list[str]
    progress: Progress
    seconds: float = 0.0
    followed_again: int = 0
    """How often the client lost the server, and was started again with --attach."""
    struck: list[Struck] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)


@contextlib.asynccontextmanager
async def running_cluster(wanted: list[Fault], folder: Path, logs: Path) -> AsyncIterator[Cluster]:
    """Within this, there is a cluster that is fit for these faults. At the end nothing of it is left.

    The environment has its address. Raises `UserError` if it can't be had, and says what to do.
    """
    with contextlib.ExitStack() as leftovers:

        def keep(part: Part) -> Part:
            leftovers.callback(part.end)
            return part

        programs = postgres.find_postgres()
        reason = network.why_not()
        if reason and any(each.kind == "cut" for each in wanted):
            raise UserError(f"There are no network namespaces here, so no network can be cut: {reason}.")
        server_programs = await server.find_server()
        if any(each.kind == "full" for each in wanted):
            leftovers.enter_context(postgres.small_disk(folder / "database"))
        database = await postgres.make_database(programs, folder / "database")
        parts = {"postgresql": keep(postgres.run_postgres(database, logs / "postgresql"))}
        await parts["postgresql"].up()
        await server.make_schemas(server_programs, database)
        services, port = server.run_server(server_programs, folder, logs, database)
        parts |= {part.name: keep(part) for part in services}
        address = f"{THIS_MACHINE}:{port}"
        await server.add_namespace(address)
        os.environ["TEMPORAL_ADDRESS"] = address
        cluster = Cluster(database, parts, {})
        for number, name in enumerate(WORKERS, start=1):
            enter: list[str] = []
            environment = {}
            if not reason:
                own = cluster.networks[name] = leftovers.enter_context(network.namespace(number))
                await forward(own.address, port)
                enter, environment = own.enter, {"TEMPORAL_ADDRESS": f"{own.address}:{port}"}
            parts[name] = keep(run_worker(cluster, name, enter, environment, logs))
        for name in WORKERS:
            await parts[name].up()
        where = f"without networks of their own, for {reason}" if reason else "each in a network of its own"
        console.print(
            f"PostgreSQL ({programs}), port {database.port}. Temporal server {server.SERVER_VERSION}: "
            f"{', '.join(part.name for part in services)}; frontend at {address}. Two workers of {VERSION}, {where}.",
            soft_wrap=True,
        )
        try:
            yield cluster
        finally:
            for together in (WORKERS, [part.name for part in services], ["postgresql"]):
                await asyncio.gather(*[parts[name].stop() for name in together])


def run_worker(cluster: Cluster, name: str, enter: list[str], environment: dict[str, str], logs: Path) -> Part:
    """Start a worker by the workshop's script. `enter` is how a command in its network begins."""

    async def is_running(part: Part) -> bool:
        return any("is running:" in line for line in part.process.lines)

    def take(line: str) -> None:
        with (logs / f"{name}.log").open("a") as file:
            print(line, file=file)
        cluster.progress.take(line)

    return Part(
        name, [*enter, "python", "temporal_worker.py", VERSION], is_running, environment=environment, on_line=take
    )


async def run_rollout(cluster: Cluster, clusters: list[str], waiting: list[Fault]) -> Rollout:
    """Run a rollout, and do those of the faults that there is time for: they are taken from the list."""
    cluster.progress = Progress(clusters)
    rollout = Rollout(clusters, cluster.progress)
    begun = time.monotonic()
    following = asyncio.create_task(follow(rollout))
    striking = asyncio.create_task(strike_all(cluster, rollout, waiting, following))
    try:
        await asyncio.wait([following, striking], return_when=asyncio.FIRST_EXCEPTION)
        await striking
        await following
    finally:
        following.cancel()
        striking.cancel()
    rollout.seconds = time.monotonic() - begun
    client = await connect()
    version = find_version(VERSION)
    handle = client.get_workflow_handle_for(version.workflow.run, version.workflow_id)
    rollout.verdict = await judge(client, handle, clusters)
    return rollout


async def follow(rollout: Rollout) -> None:
    """Start the rollout by the workshop's client, and follow it to its end, also where the server is gone meanwhile."""
    command = ["python", "temporal_client.py", VERSION, "--clusters", ",".join(rollout.clusters)]
    while True:
        client = Process(*command)
        try:
            code = await client.ended()
        finally:
            client.kill()
        if code in (0, 1):
            return
        if not any(line.startswith(("Started", "Attached")) for line in client.lines) and not rollout.struck:
            raise UserError(f"The client does not start: {client.lines[-1] if client.lines else f'exit code {code}'}")
        if "--attach" not in command and any(line.startswith("Started") for line in client.lines):
            command.append("--attach")
        rollout.followed_again += 1
        await asyncio.sleep(0.5)


async def strike_all(cluster: Cluster, rollout: Rollout, waiting: list[Fault], following: "asyncio.Task[None]") -> None:
    """Do one fault after the other, each in the middle of updates and when the one before is got over.

    Ends when none is left, or with the rollout.
    """
    client, progress = await connect(), rollout.progress
    while waiting and not following.done():
        if len(progress.in_update()) < len(rollout.clusters):
            await asyncio.sleep(0.05)
            continue
        hit, begun = progress.in_update(), time.monotonic()
        current = waiting.pop(0)
        console.print(f"{current} ...", soft_wrap=True)
        await strike(current, cluster.parts, cluster.networks, cluster.database)
        done = Struck(current, begun, time.monotonic())
        rollout.struck.append(done)
        while not following.done() and not (progress.moved_since(hit, done.up_again) and await answers(client)):
            await asyncio.sleep(0.1)
        done.over = time.monotonic()
        while not following.done() and not await has_attempts_left(client, progress.in_update()):
            await asyncio.sleep(0.1)


def rollout_of(client: Client) -> WorkflowHandle[object, object]:
    """Return the rollout that is under way."""
    return client.get_workflow_handle(find_version(VERSION).workflow_id)


async def answers(client: Client) -> bool:
    """Return whether a question gets through frontend, history and matching to a worker and back."""
    try:
        await rollout_of(client).query("completed_steps")
    except RPCError:
        return False
    return True


async def has_attempts_left(client: Client, hosts: set[str]) -> bool:
    """Return whether each step that is under way may be tried once more: what has lost its last attempt has failed."""
    root = find_version(VERSION).workflow_id
    for host in hosts:
        handle = client.get_workflow_handle(f"{root}/{host.rpartition('_')[0]}/{host}")
        try:
            pending = (await handle.describe()).raw_description.pending_activities
        except RPCError:
            return False
        if any(activity.attempt >= activity.maximum_attempts for activity in pending):
            return False
    return True


def print_report(rollouts: list[Rollout]) -> None:
    """Print what each fault cost, and how the rollouts ended."""
    table = Table(caption="In seconds. A host's: its longest time from one new step to the next.")
    table.add_column("fault", no_wrap=True)
    for heading in (
        "up again",
        "all went on",
        "no host moved",
        "a host, median",
        "a host, slowest",
        "steps done again",
    ):
        table.add_column(heading, justify="right")
    for rollout in rollouts:
        costs = rollout.progress.costs([(struck.begun, struck.over) for struck in rollout.struck])
        for struck, cost in zip([None, *rollout.struck], costs, strict=True):
            moments = (
                [f"{moment - struck.begun:.1f}" for moment in (struck.up_again, struck.over)] if struck else ["", ""]
            )
            waits = [f"{each:.1f}" for each in (cost.all_hosts, cost.median_host, cost.slowest_host)]
            table.add_row(str(struck.fault) if struck else "none", *moments, *waits, str(cost.repeated))
    console.print(table)
    for rollout in rollouts:
        verdict, hosts = rollout.verdict, len(rollout.clusters) * HOSTS_PER_CLUSTER
        console.print(
            f"{verdict.hosts} of {hosts} hosts patched, each once, in {rollout.seconds:.0f} s with "
            f"{len(rollout.struck)} faults. {verdict.extra_attempts} attempts more than without any. The "
            f"client was started again {rollout.followed_again} times.",
            soft_wrap=True,
        )
        for problem in verdict.problems:
            console.print(f"  {problem}", markup=False, soft_wrap=True)


async def run(wanted: list[Fault], clusters: int, logs: Path | None) -> int:
    """Run rollouts on a new cluster until all faults had their turn. Returns the exit code."""
    forget_other_servers()
    os.environ.pop("WORKSHOP_LEARNER", None)
    waiting, rollouts = list(wanted), list[Rollout]()
    with tempfile.TemporaryDirectory(prefix="workshop-cluster-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL, another user, passes through.
        (folder / "database").mkdir()
        (folder / "logs").mkdir()
        try:
            async with running_cluster(wanted, folder, folder / "logs") as cluster:
                while waiting or not rollouts:
                    first = sum(len(rollout.clusters) for rollout in rollouts) + 1
                    names = [f"rack{number}" for number in range(first, first + clusters)]
                    console.print(f"A rollout of {clusters * HOSTS_PER_CLUSTER} hosts ...")
                    rollouts.append(await within(ROLLOUT_TIMEOUT, run_rollout(cluster, names, waiting)))
                    if rollouts[-1].verdict.problems:
                        break
                print_report(rollouts)
        finally:
            running_workers()  # This removes what killed ones have left in the folder .run.
            if logs is not None:
                shutil.copytree(folder / "logs", logs, dirs_exist_ok=True)
    return 1 if waiting or any(rollout.verdict.problems for rollout in rollouts) else 0


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m cluster",
        description=(__doc__ or "").partition("\n")[0],
        epilog=f"Parts: {', '.join(faults.PARTS)}. Kinds: kill (-9; SECONDS until its restart), stop (SIGSTOP), cut "
        "(the network of a worker), full (the disk of PostgreSQL).",
    )
    parser.add_argument(
        "--fault",
        type=fault,
        action="append",
        metavar=FORM,
        help="a fault in place of the usual five, which are kill -9 of history, matching, frontend, a worker and "
        "PostgreSQL; give it again for more",
    )
    parser.add_argument("--no-faults", action="store_true", help="none, for comparison")
    parser.add_argument(
        "--clusters", type=int, default=30, help=f"how many clusters of {HOSTS_PER_CLUSTER} hosts (default: 30)"
    )
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="where to keep what all processes print")
    arguments = parser.parse_args()
    if not 1 <= arguments.clusters <= MOST_CLUSTERS:
        parser.error(f"--clusters must be from 1 to {MOST_CLUSTERS}")
    if arguments.no_faults and arguments.fault:
        parser.error("--fault and --no-faults exclude each other")
    wanted = [] if arguments.no_faults else arguments.fault or STANDARD
    run_script(lambda: run(wanted, arguments.clusters, arguments.logs))


if __name__ == "__main__":
    main()

"""Runs a rollout on a cluster while its parts are killed one after the other:  make cluster

PostgreSQL, the Temporal server as four processes, two workers of version 6 by the workshop's own scripts, all on this
machine. At the end the histories must say that each host was patched once and that nothing was lost: then the exit code
is 0. Other faults: python -m cluster --fault history:stop:5 --fault worker1:cut --fault postgresql:full
"""

from cluster import faults
from cluster.assembly import Cluster, running_cluster
from cluster.faults import FORM, STANDARD, Fault, fault
from cluster.rollout import Rollout, run_rollout
from cluster.server import SERVER_VERSION
from cluster.verdict import inventory
from support.dev_server import forget_other_servers
from support.flags import add_hosts_per_cluster, whole_number
from support.pid_lock import running_workers
from support.script import run_script
from workflow.activities import HOSTS_PER_CLUSTER
from workflow.types import MOST_CLUSTERS

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

MOST_PROBLEMS = 8  # That are told of one rollout.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def say(text: str) -> None:
    """Print a line."""
    console.print(text, markup=False, soft_wrap=True)


async def run(wanted: list[Fault], clusters: int, hosts_per_cluster: int, logs: Path | None) -> int:
    """Run rollouts on a new cluster until all faults had their turn. Returns the exit code."""
    forget_other_servers()
    os.environ.pop("WORKSHOP_LEARNER", None)
    waiting, rollouts = list(wanted), list[Rollout]()
    worker_flags = ["--hosts-per-cluster", str(hosts_per_cluster)] if hosts_per_cluster != HOSTS_PER_CLUSTER else []
    with tempfile.TemporaryDirectory(prefix="workshop-cluster-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL, another user, passes through.
        try:
            async with running_cluster(wanted, folder, worker_flags) as cluster:
                say(what_runs(cluster))
                while waiting or not rollouts:
                    found = inventory(1 + len(rollouts) * clusters, clusters, hosts_per_cluster)
                    say(f"A rollout of {clusters * hosts_per_cluster} hosts ...")
                    rollouts.append(await run_rollout(cluster, found, waiting, say))
                    if rollouts[-1].verdict.problems:
                        break
                print_report(rollouts)
        finally:
            running_workers()  # This removes what killed ones have left in the folder .run.
            if logs is not None and (folder / "logs").exists():
                shutil.copytree(folder / "logs", logs, dirs_exist_ok=True)
    return 1 if waiting or any(rollout.verdict.problems for rollout in rollouts) else 0


def what_runs(cluster: Cluster) -> str:
    """Return in words what runs where."""
    names = ", ".join(name for name in cluster.parts if name in faults.SERVER_PARTS)
    where = f"not in networks of their own, for {cluster.no_networks}" if cluster.no_networks else "each in its network"
    return (
        f"PostgreSQL of {cluster.database.programs}, Temporal server {SERVER_VERSION} as {names}, at "
        f"{os.environ['TEMPORAL_ADDRESS']}, two workers, {where}."
    )


def print_report(rollouts: list[Rollout]) -> None:
    """Print what each fault cost, and how the rollouts ended."""
    table = Table(caption="In seconds. A host's: its longest time from one new step to the next.")
    table.add_column("fault", no_wrap=True)
    for heading in (
        "up again",
        "went on",
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
        verdict, hosts = rollout.verdict, sum(map(len, rollout.inventory.values()))
        say(
            f"{verdict.hosts} of {hosts} hosts patched, each once, in {rollout.seconds:.0f} s with "
            f"{len(rollout.struck)} faults. {verdict.extra_attempts} attempts more than without any. The "
            f"client was started again {rollout.followed_again} times."
        )
        for problem in verdict.problems[:MOST_PROBLEMS]:
            say(f"  {problem}")
        if (more := len(verdict.problems) - MOST_PROBLEMS) > 0:
            say(f"  ... and {more} more like these.")


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
        "--clusters", type=whole_number(1, MOST_CLUSTERS), default=30, help="how many clusters to patch (default: 30)"
    )
    add_hosts_per_cluster(parser)
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="where to keep what all processes print")
    arguments = parser.parse_args()
    if arguments.no_faults and arguments.fault:
        parser.error("--fault and --no-faults exclude each other")
    wanted = [] if arguments.no_faults else arguments.fault or STANDARD
    run_script(lambda: run(wanted, arguments.clusters, arguments.hosts_per_cluster, arguments.logs))


if __name__ == "__main__":
    main()

"""Measures rollouts by version, number of hosts and database, and prints, keeps and plots the figures.

All is run on this machine, by the scripts that learners run, each case on a server of its own. All cases together take
more than an hour; Ctrl-C keeps what has been measured. Exit codes: 0 all completed, 1 not all, 2 wrong use.
"""

from benchmarks.measure import DATABASES, Case, Figures, measure
from benchmarks.plots import plot
from support import PROJECT
from support.dev_server import forget_other_servers
from support.flags import pace
from support.script import run_script
from support.temporal_cli import find_temporal_cli, what_it_is
from workflow.types import MOST_CLUSTERS
from workflow.versions import VersionError, find_version, version_name, version_number

import argparse
import dataclasses
import json
import math
import platform
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import psutil
from rich.console import Console
from rich.status import Status
from rich.table import Table

Shape = tuple[int, int]
"""How many clusters, and hosts in each."""
SHAPES = {15: (3, 5), 150: (10, 15), 1_500: (10, 150), 10_000: (20, 500)}  # By number of hosts.
ONE_HISTORY = 1_500  # More hosts than that don't fit into the one history that versions up to 5 have.
FIRST_WITH_CHILDREN = 6
FEW = 150
FOR_DATABASES = ("v6", SHAPES[150])  # The case that is run with each database.
T = TypeVar("T")
HEADINGS = ["", "hosts", "database", "pace", "seconds", "hosts/s", "events", "kB", "all events"]
HEADINGS += ["server CPU", "worker CPU", "ms a host", "server MB", "worker MB", "replay", "overhead"]


def all_cases(
    versions: Sequence[str], shapes: Sequence[Shape], databases: Sequence[str], pace: float | None
) -> list[Case]:
    """Return the cases: each version with each number of hosts that it can have, and one with each database.

    Without a pace, that is at pace 0, where all time is overhead, and few hosts at pace 1 too.
    """

    def paces(clusters: int, hosts: int) -> list[float]:
        return [pace] if pace is not None else [0.0, 1.0] if clusters * hosts <= FEW else [0.0]

    cases = [
        Case(name, *shape, databases[0], each)
        for shape in shapes
        for each in paces(*shape)
        for name in versions
        if math.prod(shape) <= ONE_HISTORY or not 0 < version_number(name) < FIRST_WITH_CHILDREN
    ]
    name, shape = FOR_DATABASES
    if shape in shapes:
        cases += [Case(name, *shape, database, paces(*shape)[0]) for database in databases]
    return list(dict.fromkeys(cases))  # Each once.


def machine(cli: str) -> dict[str, str]:
    """Return what the figures depend on."""
    return {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": f"{psutil.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.1f} GB, {platform.platform()}",
        "python": platform.python_version(),
        "temporalio": version("temporalio"),
        "server": cli,
    }


def table(figures: Sequence[Figures]) -> Table:
    """Return the figures as a table."""
    rows = Table(*HEADINGS, box=None, pad_edge=False)
    for column in rows.columns[1:]:
        column.justify = "right"
    for each in figures:
        cost = (each.server_cpu + each.worker_cpu) / each.hosts * 1000
        rows.add_row(
            each.version if each.is_complete else f"{each.version} ({each.ended})",
            f"{each.hosts:,} ({each.clusters})",
            each.database,
            f"{each.pace:g}",
            f"{each.seconds:.1f}",
            f"{each.rate:.1f}",
            f"{each.events_of_longest:,}",
            f"{each.bytes_of_longest / 1000:,.0f}",
            f"{each.events:,}",
            f"{each.server_cpu:.1f} s",
            f"{each.worker_cpu:.1f} s",
            f"{cost:.0f}",
            f"{each.server_mb:.0f}",
            f"{each.worker_mb:.0f}",
            f"{each.replay:.2f} s",
            "" if each.overhead is None else f"{each.overhead:.2f} s",
        )
    return rows


def show(status: Status, case: str, doing: str) -> None:
    """Show at a terminal what is under way."""
    status.update(f"{case}: {doing}")


async def run_all(cases: Sequence[Case], folder: Path) -> int:
    """Measure the cases. Returns the exit code."""
    console = Console(width=None if Console().is_terminal else 200)
    cli = await find_temporal_cli()
    forget_other_servers(cli)
    about = machine(await what_it_is(cli))
    for name, value in about.items():
        console.print(f"{name}: {value}", highlight=False)
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Figures] = []
    try:
        for number, case in enumerate(cases, 1):
            name = (
                f"{number} of {len(cases)}: {case.version}, {case.hosts:,} hosts, {case.database}, pace {case.pace:g}"
            )
            with console.status(name) as status:
                last = await measure(case, partial(show, status, name))
            found.append(last)
            console.print(f"{name}: {last.ended}, {last.seconds:.1f} s, {last.rate:.1f} hosts/s", highlight=False)
            kept = {**about, "figures": [dataclasses.asdict(each) for each in found]}
            (folder / "figures.json").write_text(json.dumps(kept, indent=1) + "\n")
    finally:
        if found:
            console.print()
            console.print(table(found))
            plot(found, folder)
            console.print(f"\nFigures and plots: {folder}", highlight=False)
    return 0 if all(each.is_complete for each in found) else 1


def some(read: Callable[[str], T]) -> Callable[[str], list[T]]:
    """Return a reader for the command line that takes values with commas between them."""
    return lambda text: [read(part.strip()) for part in text.split(",")]


def released(name: str) -> str:
    """Return a version's short name. Raises `ArgumentTypeError` if there is none of this name."""
    try:
        return find_version(version_name(name)).name
    except VersionError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def shape(text: str) -> Shape:
    """Return how many clusters and hosts: of one of the usual numbers of hosts, or as they stand in `10x15`.

    Raises `ArgumentTypeError` if it is neither.
    """
    if text in map(str, SHAPES):
        return SHAPES[int(text)]
    found = re.fullmatch(r"([1-9]\d{0,2})x([1-9]\d{0,3})", text)
    if not found or int(found[1]) > MOST_CLUSTERS:
        numbers = ", ".join(map(str, SHAPES))
        raise argparse.ArgumentTypeError(
            f"{text!r:.20} is none of {numbers}, and no clusters x hosts, as 10x15 is (up to {MOST_CLUSTERS}x9999)"
        )
    return int(found[1]), int(found[2])


def database(text: str) -> str:
    """Return the text, if it is one of the databases. Raises `ArgumentTypeError` if not."""
    if text not in DATABASES:
        raise argparse.ArgumentTypeError(f"{text!r:.20} is none of {', '.join(DATABASES)}")
    return text


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=(__doc__ or "").partition("\n")[0],
    )
    parser.add_argument(
        "--versions", type=some(released), default="v5,v6,v7,v8,v9", help="versions, `mine` too (default: v5 to v9)"
    )
    parser.add_argument(
        "--hosts",
        type=some(shape),
        default=",".join(map(str, SHAPES)),
        help="numbers of hosts, or clusters x hosts, such as 10x15 (default: 15,150,1500,10000)",
    )
    parser.add_argument(
        "--databases",
        type=some(database),
        default=",".join(DATABASES),
        help="where the server keeps its history; all but the first for one case only (default: ours,default,memory)",
    )
    parser.add_argument(
        "--pace", type=pace, help=f"how long the simulated work takes (default: 0, and up to {FEW} hosts 1 too)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=PROJECT / ".benchmarks",
        metavar="FOLDER",
        help="for the files (default: .benchmarks)",
    )
    arguments = parser.parse_args()
    cases = all_cases(arguments.versions, arguments.hosts, arguments.databases, arguments.pace)
    if not cases:
        parser.error(f"nothing to measure: one history, as up to version 5, has {ONE_HISTORY:,} hosts at most")
    run_script(lambda: run_all(cases, arguments.output), "Stopped.")


if __name__ == "__main__":
    main()

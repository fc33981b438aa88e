"""Tries faults by the hundred, at random moments of real runs:  make soak

For maintainers: it takes some minutes. What goes wrong is printed with the command that tries just that again.
"""

from support.script import run_script
from tests.faults import FAULTS, HOSTS, Outcome, Place, place, try_faults
from workflow.versions import released_versions

import argparse
import asyncio
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

LEARNERS = 30
console = Console()


async def soak(faults: int, seed: int, kinds: list[str], versions: list[str]) -> int:
    """Try rounds of all kinds of faults until there were enough. Returns the exit code."""
    outcomes: list[Outcome] = []
    begun = time.monotonic()
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("Faults", total=faults)

        def note(outcome: Outcome) -> None:
            outcomes.append(outcome)
            progress.advance(bar, outcome.tried)
            for problem in outcome.problems:
                console.print(f"{outcome.version}, {outcome.fault}, seed {outcome.seed}: {problem}", markup=False)

        while sum(outcome.tried for outcome in outcomes) < faults:
            # Two kinds at a time: with more, a small machine's workers send their heartbeats late without any fault.
            for kind in range(0, len(kinds), 2):
                with tempfile.TemporaryDirectory() as folder:
                    pair = kinds[kind : kind + 2]
                    tried = [try_faults(Path(folder, each), each, versions, seed, when_done=note) for each in pair]
                    await asyncio.gather(*tried)
            seed += 1
    console.print(summary(outcomes, kinds, versions))
    failed = [outcome for outcome in outcomes if outcome.problems]
    tried_in_all = sum(outcome.tried for outcome in outcomes)
    console.print(
        f"{tried_in_all} faults in {len(outcomes)} runs, {time.monotonic() - begun:.0f} s, {len(failed)} runs failed."
    )
    for outcome in failed:
        command = f"--faults 1 --seed {outcome.seed} --fault {outcome.fault!r} --version {outcome.version}"
        console.print(f"Again: python -m tests.soak {command}", markup=False)
    return 1 if failed else 0


def summary(outcomes: list[Outcome], kinds: list[str], versions: list[str]) -> Table:
    """Return a table of the faults tried and survived, and the attempts that they cost."""
    table = Table(caption="Faults tried / of these, in runs that kept every promise (extra attempts of activities)")
    table.add_column("version")
    for kind in kinds:
        table.add_column(kind, justify="right")
    cells: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        cells[outcome.version, outcome.fault].append(outcome)
    for version in versions:
        row = [cells[version, kind] for kind in kinds]
        table.add_row(
            version,
            *[
                f"{sum(each.tried for each in cell)} / {sum(each.tried for each in cell if not each.problems)}"
                f" ({sum(each.extra_attempts for each in cell)})"
                for cell in row
            ],
        )
    return table


async def room() -> int:
    """Let thirty learners, each with a real worker and client, patch on one server. Returns the exit code."""
    begun = time.monotonic()

    async def learn(here: Place, number: int) -> bool:
        name = {"WORKSHOP_LEARNER": f"learner{number}"}
        worker = here.start("worker", "python", "temporal_worker.py", "v6", "--pace", "0.2", **name)
        await worker.printed("is running:")
        answer = ["--reject"] if number % 2 else []
        client = here.start("client", "python", "temporal_client.py", "v6", "--clusters", "cluster3", *answer, **name)
        expected = "ApprovalRejected: Rejected by the client" if number % 2 else f"cluster3_host{HOSTS}"
        return await client.ended() == number % 2 and expected in client.text()

    with tempfile.TemporaryDirectory() as folder:
        async with place(Path(folder)) as here:
            await here.start_server()
            ended = await asyncio.gather(*[learn(here, number) for number in range(LEARNERS)])
    console.print(
        f"A room of {LEARNERS} learners on one server: {sum(ended)} got the end that they chose, "
        f"{time.monotonic() - begun:.0f} s with the start of {2 * LEARNERS} processes."
    )
    return 0 if all(ended) else 1


def main() -> None:
    """Read the command line and try."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=200, help="how many to try at least (default: 200)")
    parser.add_argument("--seed", type=int, help="seed of the first round (default: a new one)")
    parser.add_argument("--fault", choices=list(FAULTS), help="try only this kind")
    parser.add_argument("--version", choices=released_versions(), help="try only this version")
    arguments = parser.parse_args()
    seed = int(time.time()) % 1_000_000 if arguments.seed is None else arguments.seed
    kinds = [arguments.fault] if arguments.fault else list(FAULTS)
    versions = [arguments.version] if arguments.version else released_versions()

    async def run() -> int:
        console.print(f"Seeds from {seed} on.")
        failed = await soak(arguments.faults, seed, kinds, versions)
        return failed if len(kinds) == 1 else failed | await room()

    run_script(run)


if __name__ == "__main__":
    main()

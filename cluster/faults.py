"""The faults: what each is called on the command line, and how it is done."""

from cluster.network import Namespace
from cluster.parts import RESTART_PAUSE, Part
from cluster.postgres import Postgres, fill_disk
from cluster.server import SERVICES, part_name

import argparse
import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

WORKERS = ("worker1", "worker2")
SERVER_PARTS = tuple(part_name(service) for service in SERVICES)
PARTS = (*SERVER_PARTS, "postgresql", *WORKERS)
KINDS = {"kill": 0.0, "stop": 5.0, "cut": 5.0, "full": 5.0}
"""The kinds, and how many seconds each takes if nothing is said."""
LONGEST = 600.0  # Seconds.
FORM = "PART:KIND[:SECONDS]"


@dataclass(frozen=True)
class Fault:
    """One fault. Of all but `kill`, `seconds` is how long it lasts; a part that was killed is away for that long."""

    part: str
    kind: str
    seconds: float

    @property
    def costs(self) -> int:
        """How many attempts of a step it may cost: what does not end a process lets tasks get lost meanwhile too."""
        return 1 if self.kind == "kill" else 2

    def __str__(self) -> str:
        """Return it in words."""
        words = {"kill": "kill -9", "stop": "SIGSTOP", "cut": "network cut", "full": "disk full"}
        return f"{self.part}: {words[self.kind]}" + (f", {self.seconds:g} s" if self.seconds else "")


STANDARD = [Fault(part, "kill", 0) for part in ("history", "matching", "frontend", "worker1", "postgresql")]


def fault(text: str) -> Fault:
    """Read a fault such as `history:stop:5`, for the command line. Raises `ArgumentTypeError` if it is none."""
    part, _, rest = text.partition(":")
    kind, _, duration = rest.partition(":")
    if part not in PARTS or kind not in KINDS:
        parts, kinds = ", ".join(PARTS), ", ".join(KINDS)
        raise argparse.ArgumentTypeError(f"{text!r:.60} is not {FORM}, with a part of {parts}, and a kind of {kinds}")
    only = {"cut": WORKERS, "full": ("postgresql",)}.get(kind, PARTS)
    if part not in only:
        raise argparse.ArgumentTypeError(f"{text!r:.60}: `{kind}` is for {' and '.join(only)} only")
    try:
        seconds = float(duration) if duration else KINDS[kind]
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r:.60}: seconds must be a number from 0 to {LONGEST:g}")
    return Fault(part, kind, seconds)


async def strike(
    fault: Fault, parts: Mapping[str, Part], networks: Mapping[str, Namespace], database: Postgres
) -> None:
    """Do it, and wait until the part is up again."""
    part = parts[fault.part]
    if fault.kind == "kill":
        part.away = max(fault.seconds, RESTART_PAUSE)
        part.kill()
    elif fault.kind == "stop":
        part.freeze()
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            part.thaw()
    elif fault.kind == "cut":
        networks[fault.part].set_cable("down")
        await asyncio.sleep(fault.seconds)
        networks[fault.part].set_cable("up")
    else:
        await fill_disk(database, fault.seconds)
    await part.up()

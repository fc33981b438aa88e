"""How far the hosts are, by the workers' logs, and what a fault cost them.

A workflow's history has nothing of the steps within an update, which take most of the time. The workers' logs have.
"""

import bisect
import itertools
import math
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

LINE = re.compile(r"INFO +(?P<host>(?P<cluster>\S+)_host\d+): (?P<step>.+?)(?:, attempt \d+)?$")
UPDATE_STEP = re.compile(r"update step (\d+) of (\d+) done")
MOST = 0.9
LAST_STEP = "success notification sent"


@dataclass(frozen=True)
class Mark:
    """A step that a host has got done for the first time."""

    at: float
    """By `time.monotonic`."""
    host: str
    step: str


@dataclass(frozen=True)
class Cost:
    """For how many seconds there was no progress from a fault on."""

    all_hosts: float
    """The longest time in which no host got anything new done, until the fault was got over."""
    median_host: float
    """The median of the hosts' longest waits for their next new step."""
    slowest_host: float
    repeated: int
    """Steps that were done again."""


class Progress:
    """What the hosts of some clusters have got done. Lines come from threads."""

    def __init__(self, clusters: Sequence[str]) -> None:
        """Begin with nothing done."""
        self._clusters = set(clusters)
        self.marks: list[Mark] = []
        self.repeats: list[Mark] = []
        self._last: dict[str, Mark] = {}
        self._done: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def take(self, line: str) -> None:
        """Read a line of a worker's log."""
        found = LINE.search(line)
        if found is None or found["cluster"] not in self._clusters:
            return
        mark = Mark(time.monotonic(), found["host"], found["step"])
        with self._lock:
            self._done[mark.host, mark.step] += 1
            if self._done[mark.host, mark.step] > 1:
                self.repeats.append(mark)
                return
            self.marks.append(mark)
            self._last[mark.host] = mark

    def last(self) -> dict[str, Mark]:
        """Return each host's last new step."""
        with self._lock:
            return dict(self._last)

    def in_update(self) -> set[str]:
        """Return the hosts that are in the middle of their update."""
        found = {host: UPDATE_STEP.fullmatch(mark.step) for host, mark in self.last().items()}
        return {host for host, step in found.items() if step and step[1] != step[2]}

    def moved_since(self, hosts: set[str], moment: float) -> bool:
        """Return whether nine of ten of the hosts have got something new done since then, or all there is to do.

        Not each: a step that was lost without a heartbeat is found out by its timeout only, after half a minute.
        """
        last = self.last()
        moved = [host for host in hosts if last[host].at > moment or last[host].step == LAST_STEP]
        return len(moved) >= MOST * len(hosts)

    def costs(self, faults: Sequence[tuple[float, float]]) -> list[Cost]:
        """Return how long there was no progress without a fault, and then from each of these faults on.

        A fault is a moment when it began and one when it was got over. A host's wait belongs to the first fault that
        began meanwhile; without one, to the last that had begun before it.
        """
        with self._lock:
            marks, repeats = list(self.marks), list(self.repeats)
        begun = [beginning for beginning, _ in faults]
        repeated = Counter(bisect.bisect_right(begun, mark.at) for mark in repeats)
        of_hosts: dict[str, list[float]] = {}
        for mark in marks:
            of_hosts.setdefault(mark.host, []).append(mark.at)
        waits_of_hosts = [_longest_waits(moments, begun) for moments in of_hosts.values()]
        all_waits = _waits([mark.at for mark in marks], begun)
        found = []
        for number, over in enumerate([math.inf, *[end for _, end in faults]]):
            of_all = [wait for which, sooner, wait in all_waits if which == number and sooner < over]
            mine = [waits[number] for waits in waits_of_hosts if number in waits] or [0.0]
            found.append(Cost(max(of_all, default=0.0), statistics.median(mine), max(mine), repeated[number]))
        return found


def _waits(moments: Sequence[float], begun: Sequence[float]) -> list[tuple[int, float, float]]:
    """Return the times between neighbours: the number of the fault that each belongs to, its beginning, its length.

    Faults have numbers from 1 on, and 0 is before them.
    """
    found = []
    for sooner, later in itertools.pairwise(moments):
        number = bisect.bisect_right(begun, sooner)
        if number < len(begun) and begun[number] < later:
            number += 1
        found.append((number, sooner, later - sooner))
    return found


def _longest_waits(moments: Sequence[float], begun: Sequence[float]) -> dict[int, float]:
    """Return for each fault, by its number, the longest of these."""
    longest: dict[int, float] = {}
    for number, _, wait in _waits(moments, begun):
        longest[number] = max(longest.get(number, 0.0), wait)
    return longest

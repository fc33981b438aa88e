"""A learner's client, as a process of its own."""

from checks.failure import CheckFailure
from checks.lab import Lab
from checks.machine import BUSY, slowness
from checks.traces import shortened_output
from support.histories import Handle
from support.processes import Process

import re
import time
from collections.abc import Callable

import psutil

# Seconds without a sign of life, until its first line and after it. Python and the SDK take a while to load.
START_PATIENCE = 6.0
PATIENCE = 3.0
# Seconds of processor time: what a client that gets on takes while we wait, and what one takes that never will.
PROGRESS = 0.05
MOST_PROCESSOR_TIME = 5.0


class ClientScript:
    """The client that a lab has, run with some flags."""

    def __init__(self, lab: Lab, *flags: str) -> None:
        """Start it."""
        assert lab.script is not None
        self._lab = lab
        self.workflow: Handle = lab.client.get_workflow_handle(lab.version.workflow_id)
        lab.clients_workflows.append(self.workflow)
        self._processor_time_then = 0.0
        self._process = Process("python", str(lab.script), lab.version.name, *flags)
        self._process.on_news.append(self._sign_of_life)

    def _sign_of_life(self) -> None:
        self._processor_time_then = self._processor_time()
        self._lab.last_news = time.monotonic()
        self._lab.notify_from_thread()

    async def __aenter__(self) -> "ClientScript":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()

    @property
    def lines(self) -> list[str]:
        """The lines that it has printed so far."""
        return self._process.lines

    @property
    def exit_code(self) -> int | None:
        """Its exit code, or None if it still runs."""
        return self._process.popen.returncode if self.ended() else None

    def ended(self) -> bool:
        """Return whether all is read and the process is over."""
        return self._process.is_over.is_set()

    async def ends(self, exit_code: int, expected: str) -> None:
        """Wait for its end. Raises `CheckFailure` if it does not come, or not as `expected` says."""
        if not await self.wait_for_end():
            raise self.failure("The client did not end.", expected)
        self.let_nothing_out(expected)
        if self.exit_code != exit_code:
            raise self.failure("", expected)

    def let_nothing_out(self, expected: str) -> None:
        """Raise `CheckFailure` if it was ended by an exception, and not by its own code."""
        if any(line.startswith("Traceback") for line in self.lines) and self.exit_code:
            error = next((line for line in reversed(self.lines) if re.match(r"[\w.]+(: |$)", line)), "")
            raise self.failure(f"The client ended with an exception that nobody caught: {error}.", expected)

    async def wait(self, condition: Callable[[], bool], sleeps: float = 0) -> bool:
        """Wait until the condition holds. Returns whether it does some seconds after the client's last sign of life.

        Processor time that it takes is a sign, too: on a slow machine that is all there is for a while. `sleeps` is for
        how many seconds a right client may rest without a sign.
        """
        then = begun = self._processor_time_then
        await self._lab.wait(lambda: bool(self.lines) or self.ended() or condition(), START_PATIENCE)
        while not await self._lab.wait(condition, PATIENCE + sleeps if self.lines else START_PATIENCE):
            before, then = max(then, self._processor_time_then), self._processor_time()
            if then - before < PROGRESS or then - begun > MOST_PROCESSOR_TIME:
                slow = slowness()  # A very busy machine may have stood still.
                return await self._lab.wait(condition, PATIENCE * slow) if slow > BUSY else condition()
        return True

    def _processor_time(self) -> float:
        try:
            return sum(psutil.Process(self._process.pid).cpu_times()[:2])
        except psutil.NoSuchProcess:
            return 0.0

    async def wait_for_end(self, sleeps: float = 0) -> bool:
        """Wait until it is over. Returns whether it is."""
        return await self.wait(self.ended, sleeps)

    def failure(self, seen: str, expected: str) -> CheckFailure:
        """Return what is wrong, with how the client ended and what it printed."""
        code = self.exit_code
        end = "" if code is None else f"The client ended with exit code {code}."
        said = "It printed:" if self.lines else "It printed nothing."
        return CheckFailure(" ".join(filter(None, [seen, end, said])), expected, shortened_output(self.lines))

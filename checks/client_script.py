"""A learner's client, as a process of its own."""

from checks.failure import CheckFailure
from checks.lab import Lab
from checks.traces import shortened_output
from support.histories import Handle
from support.processes import Process

import time
from collections.abc import Callable

# Seconds. Python and the SDK take a while to load, and on a busy machine several times as long.
START_PATIENCE = 20.0
PATIENCE = 3.0


class ClientScript:
    """The client that a lab has, run with some flags."""

    def __init__(self, lab: Lab, *flags: str) -> None:
        """Start it."""
        assert lab.script is not None
        self._lab = lab
        self.workflow: Handle = lab.client.get_workflow_handle(lab.version.workflow_id)
        self._process = Process("python", str(lab.script), lab.version.name, *flags)
        self._process.on_news.append(self._sign_of_life)

    def _sign_of_life(self) -> None:
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

    async def wait(self, condition: Callable[[], bool], sleeps: float = 0) -> bool:
        """Wait until the condition holds. Returns whether it does some seconds after the client's last sign of life.

        `sleeps` is for how many seconds a right client may rest without such a sign.
        """
        await self._lab.wait(lambda: bool(self.lines) or self.ended() or condition(), START_PATIENCE)
        return await self._lab.wait(condition, PATIENCE + sleeps)

    async def wait_for_end(self, sleeps: float = 0) -> bool:
        """Wait until it is over. Returns whether it is."""
        return await self.wait(self.ended, sleeps)

    def failure(self, seen: str, expected: str) -> CheckFailure:
        """Return what is wrong, with how the client ended and what it printed."""
        code = self.exit_code
        end = f" The client ended with exit code {code}. It printed:" if code is not None else " The client printed:"
        return CheckFailure(seen + end, expected, shortened_output(self.lines))

"""The processes of the cluster: each is started again when it ends, as systemd or Kubernetes would do it."""

from support import PROJECT
from support.processes import Process
from support.script import within

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

# Seconds.
RESTART_PAUSE = 0.1  # What systemd waits before a restart, by default.
FAILED_START_PAUSE = 1.0
QUICK_END = 2.0  # What ends so soon has failed to start.
STOP_TIMEOUT = 15.0


class Part:
    """A process that is to run as long as the cluster does."""

    def __init__(
        self,
        name: str,
        command: list[str],
        is_up: Callable[["Part"], Awaitable[bool]],
        *,
        folder: Path = PROJECT,
        environment: dict[str, str] | None = None,
        log: Path | None = None,
        on_line: Callable[[str], None] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Run the command, and from now on start it again whenever it has ended.

        `is_up` finds out whether it is ready. It gets SIGTERM to be stopped, or another `stop_signal`.

        What it prints goes to the file `log`, with a number for each start, or line by line to `on_line`, which is
        called in a thread.
        """
        self.name, self.is_up, self.starts = name, is_up, 0
        self.away = RESTART_PAUSE
        """Seconds from its next end to the restart."""
        self._command, self._folder, self._environment = command, folder, environment
        self._log, self._on_line, self._stop_signal = log, on_line, stop_signal
        self.process = self._start()
        self._keeping = asyncio.create_task(self._keep())

    def _start(self) -> Process:
        self.starts += 1
        output = self._log.with_suffix(f".{self.starts}.log") if self._log else None
        process = Process(*self._command, folder=self._folder, environment=self._environment, output=output)
        if self._on_line:
            process.on_news.append(self._hand_on(process, self._on_line))
        return process

    def _hand_on(self, process: Process, on_line: Callable[[str], None]) -> Callable[[], None]:
        handed_on = 0

        def hand_on() -> None:
            nonlocal handed_on
            while handed_on < len(process.lines):
                handed_on += 1
                on_line(process.lines[handed_on - 1])

        return hand_on

    async def _keep(self) -> None:
        while True:
            started = time.monotonic()
            await self.process.ended()
            failed = self.away == RESTART_PAUSE and time.monotonic() - started < QUICK_END
            await asyncio.sleep(FAILED_START_PAUSE if failed else self.away)
            self.away = RESTART_PAUSE
            self.process = self._start()

    async def up(self) -> None:
        """Wait until it is ready."""
        while self.process.is_over.is_set() or not await self.is_up(self):
            await asyncio.sleep(0.05)

    def kill(self) -> None:
        """End it, and what it has started, as `kill -9` does."""
        family = [*self._family()]
        self.process.kill()
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()

    def freeze(self) -> None:
        """Stop it, and what it has started, as SIGSTOP does."""
        for each in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.suspend()

    def thaw(self) -> None:
        """Let it go on after `freeze`, as SIGCONT does."""
        for each in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.resume()

    def _family(self) -> list[psutil.Process]:
        """Return its process, then those of the same program that it has started: PostgreSQL has many."""
        found: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            main = psutil.Process(self.process.pid)
            name, children = main.name(), main.children(recursive=True)
            found.append(main)
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):  # One that has just ended.
                    # Not the shell beside it that ends it when this process ends.
                    if child.name() == name:
                        found.append(child)
        return found

    async def stop(self) -> None:
        """Stop it for good, and wait for its end."""
        self._keeping.cancel()
        self.thaw()
        self.process.signal(self._stop_signal)
        with contextlib.suppress(asyncio.TimeoutError):
            await within(STOP_TIMEOUT, self.process.ended())
        self.end()

    def end(self) -> None:
        """End it for good if it is still there. Gives way to no Ctrl-C, which could leave it there."""
        self._keeping.cancel()
        if self.process.is_over.is_set():
            return
        self.thaw()
        if self._stop_signal is not signal.SIGTERM:  # It wants to clean up.
            self.process.signal(self._stop_signal)
            self.process.is_over.wait(STOP_TIMEOUT)
        self.kill()

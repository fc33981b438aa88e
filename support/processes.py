"""Other programs that this one starts."""

from support import PROJECT
from support.script import UserError, within

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

# Runs a command, and beside it something that reads from a pipe whose other end this process holds: when this process
# is gone, however that came, the pipe ends, and the program is killed with its group. `exec` leaves the program with
# the shell's process id, so that signals and exit code are its own.
TOGETHER = """exec 3<&0
(read -r _ <&3; kill -0 $$ && kill -KILL -$$) >/dev/null 2>&1 &
exec "$@" 3<&- </dev/null"""


class Process:
    """A program that was started, what it prints (errors too), and its end.

    A Ctrl-C at the terminal does not reach it. If this process dies, it is killed.
    """

    def __init__(
        self,
        *command: str,
        folder: Path = PROJECT,
        environment: dict[str, str] | None = None,
        output: Path | None = None,
        show: bool = False,
    ) -> None:
        """Start it.

        `python` stands for this Python, and as a script's name is relative to `folder`, it is the script of that copy
        of the project. Variables in `environment` are added to those of this process. What it prints is kept in
        `lines`, unless it goes to the file `output`, or is shown at this process's own terminal. Raises `OSError` if
        there is no such program.
        """
        self.lines: list[str] = []
        """The lines that it has printed so far."""
        self.on_news: list[Callable[[], None]] = []
        """Called, in another thread, with each line and at the end."""
        self.is_over = threading.Event()
        """Set when it has ended, and all that it has printed is in `lines`."""
        self._news = threading.Condition()
        program, *arguments = [sys.executable if part == "python" else part for part in command]
        variables = {**os.environ, **(environment or {})}
        # As a shell would only print that there is none.
        where = str(folder / program) if "/" in program else program
        if shutil.which(where, path=variables.get("PATH")) is None:
            raise FileNotFoundError(errno.ENOENT, "No such program", program)
        with output.open("wb") if output else open(os.devnull, "wb") as file:
            self.popen = subprocess.Popen(
                ["/bin/sh", "-c", TOGETHER, "sh", program, *arguments],
                cwd=folder,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=file if output else None if show else subprocess.PIPE,
                stderr=None if show else subprocess.STDOUT,
                start_new_session=True,
            )
        threading.Thread(target=self._read, args=[self.popen.stdout], daemon=True).start()

    def _read(self, stream: IO[bytes] | None) -> None:
        for line in stream or ():
            self.lines.append(line.decode(errors="replace").rstrip("\n"))
            self._tell()
        self.popen.wait()
        if self.popen.stdin is not None:
            self.popen.stdin.close()
        self.is_over.set()
        self._tell()

    def _tell(self) -> None:
        with self._news:
            self._news.notify_all()
        for listener in list(self.on_news):
            listener()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    def text(self) -> str:
        """Return all that it has printed so far."""
        return "\n".join(self.lines)

    def _line_with(self, text: str) -> str | None:
        ended = self.is_over.is_set()  # Before the look at the lines: after the end there are no new ones.
        line = next((line for line in self.lines if text in line), None)
        if line is None and ended:
            raise AssertionError(f"{text!r} was never printed, but:\n{self.text()}")
        return line

    def wait_for(self, text: str) -> str:
        """Wait until it has printed a line with this text. Returns it. Raises `AssertionError` if it never does."""
        with self._news:
            while (line := self._line_with(text)) is None:
                self._news.wait()
        return line

    async def printed(self, text: str) -> str:
        """Wait for a line with this text, as `wait_for` does, and let others work meanwhile."""
        while (line := self._line_with(text)) is None:
            await self._next_news(lambda: self._line_with(text) is not None)
        return line

    async def ended(self) -> int:
        """Wait for its end, and let others work meanwhile. Returns the exit code, or minus the signal that ended it."""
        while not self.is_over.is_set():
            await self._next_news(self.is_over.is_set)
        return self.popen.returncode

    async def _next_news(self, is_there: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        news = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(news.set)

        self.on_news.append(wake)
        try:
            if not is_there():  # It may have come before anybody listened.
                await news.wait()
        finally:
            self.on_news.remove(wake)

    def end(self) -> tuple[int, str]:
        """Wait for its end. Returns the exit code and all that it has printed."""
        self.is_over.wait()
        return self.popen.returncode, self.text()

    def signal(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        self.popen.send_signal(number)

    def kill(self) -> None:
        """End it, and all that it has started in its own group, as a crash does. Returns when it is over."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # The latter: macOS, if all of them have ended.
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self.is_over.wait(1)  # Not longer: another program may have inherited its output, and go on.

    async def stop(self, patience: float = 15) -> int:
        """Stop it as SIGTERM does, or if it takes over `patience` seconds, by force. Returns the exit code."""
        self.signal(signal.SIGTERM)
        try:
            return await within(patience, self.ended())
        except asyncio.TimeoutError:
            self.kill()
            return await self.ended()


async def run_command(
    command: Sequence[str], environment: dict[str, str] | None = None, folder: Path = PROJECT
) -> list[str]:
    """Run a program to its end. Returns the lines that it printed. Raises `UserError` with the last one if it fails."""
    try:
        process = Process(*command, environment=environment, folder=folder)
    except OSError as error:
        raise UserError(f"`{command[0]}` can't be started: {error.strerror}") from error
    try:
        code = await process.ended()
    except asyncio.CancelledError:
        process.kill()
        raise
    if code != 0:
        last_line = ([line for line in process.lines if line.strip()] or ["no reason given"])[-1]
        program = " ".join([Path(command[0]).name, *command[1:3]])
        raise UserError(f"`{program}` failed: {last_line.strip().rstrip('.')}.")
    return process.lines

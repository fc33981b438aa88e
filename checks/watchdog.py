"""Ends a check in which a learner's code blocks the event loop."""

from checks.exercises import TROUBLESHOOTING
from checks.failure import CheckFailure, Step
from checks.report import Report
from checks.traces import where_it_is

import asyncio
import os
import subprocess
import sys
import threading
import time

BLOCKED_AFTER = 2.0  # Seconds.


class Watchdog:
    """Ends the check if a learner's code blocks the event loop, where nothing else gets a turn any more."""

    def __init__(self, report: Report) -> None:
        """Take what prints the end."""
        self._report = report
        self._last_turn = time.monotonic()
        self._main_thread = threading.get_ident()
        self._resting = threading.Event()

    def __enter__(self) -> "Watchdog":
        self._turns = asyncio.get_running_loop().create_task(self._take_turns())
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()

    def rest(self) -> None:
        """Stop watching."""
        self._resting.set()
        self._turns.cancel()

    async def _take_turns(self) -> None:
        while True:
            self._last_turn = time.monotonic()
            await asyncio.sleep(0.1)

    def _watch(self) -> None:
        while not self._resting.wait(0.2):
            line = where_it_is(sys._current_frames().get(self._main_thread))
            # Where no line of a learner's is at fault, the machine is merely busy.
            if line and time.monotonic() - self._last_turn > BLOCKED_AFTER:
                try:
                    self._report.failed(
                        Step("Whatever waits lets others work meanwhile", TROUBLESHOOTING),
                        CheckFailure(
                            f"For {BLOCKED_AFTER:g} seconds nothing else in the worker got a turn.",
                            "An `async def` awaits whatever takes time: `await asyncio.sleep(1)`, never "
                            "`time.sleep(1)`.",
                            line,
                        ),
                    )
                    # The event loop can't clean up any more: the server and whatever else was started end from here.
                    subprocess.run(["pkill", "-P", str(os.getpid())], check=False)
                finally:
                    os._exit(1)

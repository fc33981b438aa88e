"""Time in a check: an activity's sleeps cost none."""

import asyncio
import contextvars
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

_sleep, _block = asyncio.sleep, time.sleep


class Clock:
    """What an activity's sleeps cost: no time, whether by `self._work` or by `asyncio.sleep` itself."""

    def __init__(self) -> None:
        """Begin with nothing slept."""
        self.slept = 0.0
        """Seconds that it would have slept so far."""
        self.blocked = False
        """Whether the activity called `time.sleep`, which would stop the whole worker."""

    async def sleep(self, seconds: float) -> None:
        """Stand in for `asyncio.sleep`."""
        self.slept += seconds
        await _sleep(0)

    def block(self, seconds: float) -> None:
        """Stand in for `time.sleep`."""
        self.slept += seconds
        self.blocked = True


_clock: contextvars.ContextVar[Clock | None] = contextvars.ContextVar("clock", default=None)


async def _asyncio_sleep(delay: float, result: Any = None) -> Any:
    clock = _clock.get()
    await (_sleep(delay) if clock is None else clock.sleep(delay))
    return result


def _time_sleep(delay: float) -> None:
    clock = _clock.get()
    if clock is None:
        _block(delay)
    else:
        clock.block(delay)


@contextmanager
def clocks() -> Iterator[None]:
    """Within this, an activity sleeps by its own clock if it has one. All other code sleeps as ever."""
    with mock.patch.object(asyncio, "sleep", _asyncio_sleep), mock.patch.object(time, "sleep", _time_sleep):
        yield


@contextmanager
def timed_by(clock: Clock) -> Iterator[None]:
    """Within this, sleeping is a matter of this clock."""
    token = _clock.set(clock)
    try:
        yield
    finally:
        _clock.reset(token)

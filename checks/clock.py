"""Time in a check: what an activity waits for by itself costs none."""

from checks.machine import slowness

import asyncio
import concurrent.futures
import contextlib
import contextvars
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

_block = time.sleep
_readings = {name: getattr(time, name) for name in ("monotonic", "perf_counter", "time")}
_monotonic = time.monotonic
# Turns of the event loop without anything to do after which all code of an activity waits for its clock.
QUIET_TURNS = 10
# Seconds after which the clock goes on although a thread is still at work: it may be waiting for something itself.
THREAD_PATIENCE = 0.25
END_OF_TIME = 3600.0  # Seconds after which a clock stops, for an activity that still waits then will do so for ever.
LONGEST_STOP = 20.0  # Seconds after which a thread whose clock has stopped goes on after all, so that it can end.


class Clock:
    """The time of one attempt of an activity. It goes on to the next moment when all the attempt's code waits for that.

    What code of an activity asks the event loop to do later, be it by `asyncio.sleep`, `asyncio.wait_for` or
    `asyncio.timeout`, is done when this clock says so, and so is what a thread of its does after a `time.sleep`. Only
    what a thread of its waits for in any other way takes real time, which counts too.
    """

    def __init__(self) -> None:
        """Begin at zero. Must be called where an event loop runs."""
        self.now = 0.0
        """Seconds since its begin."""
        self.real_time = 0.0
        """How many of them were real, since a thread waited for something else than time."""
        self.blocked = False
        """Whether the activity called `time.sleep` in the event loop's thread, which would stop the whole worker."""
        self.begun = {name: read() for name, read in _readings.items()}
        """What the functions of the module `time` said at its begin."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = itertools.count()
        self._threads = 0
        self._asleep = 0
        self._threads_at_work_since: float | None = None
        self._then = 0.0
        self._ticking = False

    def stops_before(self, when: float) -> bool:
        """Return whether this clock stops for good before it comes to this moment."""
        return when > END_OF_TIME

    def is_silent(self) -> bool:
        """Return whether no heartbeat of this attempt gets out any more."""
        return False

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Stand in for the event loop's `call_at`, by this clock."""
        timer = asyncio.TimerHandle(when, callback, args, self._loop, context)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        self._tick_soon()
        return timer

    def block(self, seconds: float) -> None:
        """Stand in for `time.sleep`, in whatever thread."""
        if threading.get_ident() == self._loop_thread:
            self.now += seconds
            self.blocked = True
            return
        woken = threading.Event()

        def wake() -> None:
            self._asleep -= 1
            self._note_threads()
            woken.set()

        def fall_asleep() -> None:
            self._asleep += 1
            self._note_threads()
            self.call_at(self.now + seconds, wake)

        self._soon(fall_asleep)
        woken.wait(LONGEST_STOP)

    def thread_begins(self) -> None:
        """Note that code of the activity is at work in a thread."""
        self._soon(lambda: self._count_threads(1))

    def thread_ends(self) -> None:
        """Note that it is done. Can be called from any thread."""
        self._soon(lambda: self._count_threads(-1))

    def _soon(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # The event loop is closed: a thread has outlived all that it was for.
            self._loop.call_soon_threadsafe(callback)

    def _count_threads(self, more: int) -> None:
        self._threads += more
        self._note_threads()

    def _note_threads(self) -> None:
        """Note that a thread has begun, fallen asleep, woken up or ended."""
        since, real_time = self._threads_at_work_since, _monotonic()
        waited = 0.0 if since is None else real_time - since
        # Less is what it takes to compute something. And if this clock went on meanwhile, nobody waited for threads.
        if waited > THREAD_PATIENCE and self.now == self._then and waited > THREAD_PATIENCE * min(slowness(), 3):
            self.now += waited
            self.real_time += waited
        self._threads_at_work_since = real_time if self._threads > self._asleep else None
        self._then = self.now
        self._tick_soon()

    def _tick_soon(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._loop.call_soon(self._tick, QUIET_TURNS)

    def _tick(self, turns: int) -> None:
        if turns > 0:
            self._loop.call_soon(self._tick, turns - 1)
            return
        since = self._threads_at_work_since
        if self._timers and since is not None and _monotonic() - since < THREAD_PATIENCE:
            _call_at(self._loop, _time_of(self._loop) + THREAD_PATIENCE / 5, self._tick, 0)
            return
        self._ticking = False
        while self._timers and not self.stops_before(self._timers[0][0]):
            when, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled():
                self.now = max(self.now, when)
                timer._run()
                self._tick_soon()
                return


_clock: contextvars.ContextVar[Clock | None] = contextvars.ContextVar("clock", default=None)
_call_at: Any = asyncio.BaseEventLoop.call_at
_time_of: Any = asyncio.BaseEventLoop.time
_submit = concurrent.futures.ThreadPoolExecutor.submit
_start_thread = threading.Thread.start


def _loop_call_at(loop: Any, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
    clock = _clock.get()
    if clock is None:
        timer: asyncio.TimerHandle = _call_at(loop, when, callback, *args, context=context)
        return timer
    return clock.call_at(when, callback, *args, context=context)


def _loop_time(loop: Any) -> float:
    clock = _clock.get()
    return float(_time_of(loop)) if clock is None else clock.now


def _reading(name: str) -> Callable[[], float]:
    def read() -> float:
        clock = _clock.get()
        return float(_readings[name]()) if clock is None else clock.begun[name] + clock.now

    return read


def _time_sleep(seconds: float) -> None:
    clock = _clock.get()
    if clock is None:
        _block(seconds)
    else:
        clock.block(seconds)


def _submit_to_pool(pool: Any, function: Any, /, *args: Any, **named: Any) -> Any:
    clock = _clock.get()
    if clock is None:
        return _submit(pool, function, *args, **named)
    clock.thread_begins()
    run = contextvars.copy_context().run
    token = _clock.set(None)  # The pool's threads are nobody's.
    try:
        future = _submit(pool, run, function, *args, **named)
    finally:
        _clock.reset(token)
    future.add_done_callback(lambda future: clock.thread_ends())
    return future


def _thread_start(thread: threading.Thread) -> None:
    clock = _clock.get()
    if clock is not None:
        context, run = contextvars.copy_context(), thread.run

        def run_by_clock() -> None:
            try:
                context.run(run)
            finally:
                clock.thread_ends()

        clock.thread_begins()
        thread.run = run_by_clock  # type: ignore[method-assign]
    _start_thread(thread)


@contextlib.contextmanager
def clocks() -> Iterator[None]:
    """Within this, an activity's code waits by its own clock if it has one. All other code waits as ever."""
    functions: dict[str, Any] = {"sleep": _time_sleep, **{name: _reading(name) for name in _readings}}
    with (
        mock.patch.multiple(time, **functions),
        mock.patch.object(asyncio.BaseEventLoop, "call_at", _loop_call_at),
        mock.patch.object(asyncio.BaseEventLoop, "time", _loop_time),
        mock.patch.object(concurrent.futures.ThreadPoolExecutor, "submit", _submit_to_pool),
        mock.patch.object(threading.Thread, "start", _thread_start),
    ):
        yield


def current_clock() -> Clock | None:
    """Return the clock of the attempt to which the code that calls this belongs, if any."""
    return _clock.get()


@contextlib.contextmanager
def timed_by(clock: Clock) -> Iterator[None]:
    """Within this, and in what is begun within it, waiting is a matter of this clock."""
    token = _clock.set(clock)
    try:
        yield
    finally:
        _clock.reset(token)

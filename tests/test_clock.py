"""Time in a check: however an activity waits, its nine seconds are nine, and take no time."""

from checks.clock import Clock, clocks, timed_by

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

STEPS = range(1, 10)


@pytest.fixture(autouse=True)
def clocks_are_in_place() -> Iterator[None]:
    with clocks():
        yield


async def by_sleep() -> None:
    for _ in STEPS:
        await asyncio.sleep(1)


async def by_timeout() -> None:
    for _ in STEPS:
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 1)
        except asyncio.TimeoutError:
            continue


async def by_looking_at_the_time() -> None:
    for _ in STEPS:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            await asyncio.sleep(0.1)


async def in_threads() -> None:
    for _ in STEPS:
        await asyncio.to_thread(time.sleep, 1)


async def in_an_own_pool() -> None:
    with ThreadPoolExecutor(1) as pool:
        for _ in STEPS:
            await asyncio.get_running_loop().run_in_executor(pool, time.sleep, 1)


async def beside_a_task_that_reports() -> None:
    async def report() -> None:
        while True:
            await asyncio.sleep(0.4)

    reporting = asyncio.create_task(report())
    await by_sleep()
    reporting.cancel()


async def beside_threads_and_tasks() -> None:
    await asyncio.gather(asyncio.sleep(7), asyncio.to_thread(time.sleep, 9), by_sleep())


async def beside_a_thread_that_waits_for_its_end() -> None:
    end = threading.Event()
    waiting = threading.Thread(target=end.wait)
    waiting.start()
    await by_sleep()
    end.set()
    waiting.join()


async def clock_after(activity: Callable[[], Awaitable[None]]) -> Clock:
    clock = Clock()
    with timed_by(clock):
        running = asyncio.ensure_future(activity())
    await running
    return clock


@pytest.mark.parametrize(
    "activity",
    [
        by_sleep,
        by_timeout,
        by_looking_at_the_time,
        in_threads,
        in_an_own_pool,
        beside_a_task_that_reports,
        beside_threads_and_tasks,
        beside_a_thread_that_waits_for_its_end,
    ],
)
async def test_an_activity_that_waits_nine_seconds_takes_nine_seconds_of_its_clock(
    activity: Callable[[], Awaitable[None]],
) -> None:
    clock = await clock_after(activity)
    assert clock.now == pytest.approx(9) and not clock.blocked
    assert clock.real_time == 0


async def test_what_a_thread_waits_for_in_another_way_takes_real_time() -> None:
    async def activity() -> None:
        for _ in range(2):
            await asyncio.to_thread(subprocess.run, [sys.executable, "-c", "import time; time.sleep(1)"])

    clock = await clock_after(activity)
    assert clock.now == clock.real_time > 2


async def test_a_call_that_blocks_the_event_loop_is_noticed() -> None:
    async def activity() -> None:
        time.sleep(1)

    clock = await clock_after(activity)
    assert clock.now == 1 and clock.blocked


async def test_a_clock_that_has_stopped_keeps_tasks_and_threads_where_they_are() -> None:
    class Stopped(Clock):
        def stops_before(self, when: float) -> bool:
            return when > 2

    clock = Stopped()
    with timed_by(clock):
        running = asyncio.ensure_future(by_sleep())
    done, _ = await asyncio.wait([running], timeout=0.3)
    assert not done and clock.now == 2
    running.cancel()


async def test_code_without_a_clock_waits_as_ever() -> None:
    begun = time.monotonic()
    await asyncio.sleep(0.05)
    time.sleep(0.05)
    assert time.monotonic() - begun > 0.09

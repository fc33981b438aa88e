"""Find what the workflows wait for: the worker's settings are judged, by the load of `temporal_client_v8.py`."""

from checks.exercises import place
from checks.failure import CheckFailure, Step
from checks.lab import Lab
from support.load import MOST_BETWEEN, MOST_QUEUE_WAIT, MOST_UNCACHED, Durations, Load, Seen, conclusion
from support.ports import free_port
from support.processes import Process

import asyncio
import statistics
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

WORKFLOWS, INTERVAL, PACE = 5, 2.0, 0.2  # The load and the pace of the page's experiments. The interval is in seconds.
BUSY = 70.0  # Percent of this machine's cores.


async def steps(lab: Lab) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at. Raises `CheckFailure` where one is not done."""
    yield Step("A worker starts with your settings", place(7, "7.2 Change one thing at a time"))
    metrics_port = free_port()
    async with worker(lab.worker_flags, metrics_port):
        yield Step("Five workflows complete", place(7, "7.1 See it throttled"))
        durations, seen = await run_load(lab, metrics_port)

    yield Step(
        f"An activity waits less than {MOST_QUEUE_WAIT:g} s for its turn, on average",
        place(7, "7.2 Change one thing at a time"),
    )
    wait = statistics.mean(durations.queue_waits)
    says = conclusion(wait, statistics.mean(durations.executions), durations, seen)
    # On a busy machine tasks wait, too, while slots are free.
    are_all_used = not seen.slots or seen.most_slots_used >= seen.slots
    if wait >= MOST_QUEUE_WAIT and (seen.cpu < BUSY or are_all_used):
        raise CheckFailure(says, f"The mean queue wait is under {MOST_QUEUE_WAIT:g} s.")

    yield Step("A host's time is mostly that of its activities", place(7, "7.3 Recognise it next time"))
    # On a busy machine all code is slow, whatever the settings, but it is not replayed.
    if durations.between >= MOST_BETWEEN and (seen.cpu < BUSY or durations.uncached > MOST_UNCACHED):
        raise CheckFailure(says, f"Less than {MOST_BETWEEN:.0%} of it go into workflow tasks.")
    print(f"\n{says}")


@asynccontextmanager
async def worker(flags: list[str], metrics_port: int) -> AsyncIterator[None]:
    """Run a worker with these flags. Raises `CheckFailure` with what it says if it does not start."""
    own = ["--pace", str(PACE), "--metrics-port", str(metrics_port)]
    process = Process("python", "temporal_worker_v8.py", *flags, *own)
    try:
        try:
            await process.printed("Metrics:")
        except AssertionError:
            said = process.lines[-1].strip() if process.lines else "nothing"
            raise CheckFailure(
                f"It says: {said}", "Its flags are those of python temporal_worker_v8.py --help."
            ) from None
        yield
    finally:
        await process.stop()


async def run_load(lab: Lab, metrics_port: int) -> tuple[Durations, Seen]:
    """Run the load. Returns what the histories say, and what was seen. Raises `CheckFailure` if a run fails."""
    load = Load(lab.client, [f"127.0.0.1:{metrics_port}"])
    await load.approve(await load.start_next())
    running = asyncio.create_task(load.run(WORKFLOWS, INTERVAL))
    seen = await load.show_progress(running)
    if failures := running.result():
        raise CheckFailure(failures[0], "All of them complete.")
    return await load.durations(), seen

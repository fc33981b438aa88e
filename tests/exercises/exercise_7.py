"""Find what the workflows wait for: the worker's settings are judged, by the load of `temporal_client_v8.py`."""

import argparse
import asyncio
import statistics
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from temporalio.client import Client

from temporal_client_v8 import (
    Durations,
    approve,
    conclusion,
    fetch_histories,
    measure,
    run_load,
    show_progress,
    start_workflow,
)
from tests.exercises.wrong import PROJECT, Step, Wrong

WORKFLOWS, INTERVAL, PACE = 5, 2.0, 0.2  # The load and the pace of the README's experiments.
MOST_QUEUE_WAIT = 0.1  # Seconds, on average.


async def steps(client: Client, flags: list[str], metrics_port: int) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at. Raises `Wrong` where one is not done."""
    yield Step("A worker starts with your settings", "Exercise 7.2")
    async with worker(flags, metrics_port):
        yield Step("Five workflows complete", "Exercise 7.1")
        durations, most_used, slots = await load(client, metrics_port)

    yield Step(f"An activity waits less than {MOST_QUEUE_WAIT:g} s for its turn, on average", "Exercise 7.2")
    wait = statistics.mean(durations.queue_waits)
    says = conclusion(wait, statistics.mean(durations.executions), most_used, slots)
    if wait >= MOST_QUEUE_WAIT:
        raise Wrong(says, f"The mean queue wait is under {MOST_QUEUE_WAIT:g} s.")
    print(f"\n{says}")


@asynccontextmanager
async def worker(flags: list[str], metrics_port: int) -> AsyncIterator[None]:
    """Run a worker with these flags. Raises `Wrong` with what it says if it does not start."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROJECT / "temporal_worker_v8.py"), *flags),
        *("--pace", str(PACE), "--metrics-port", str(metrics_port)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async for line in process.stdout:
            lines.append(line.decode(errors="replace").strip())
            if "Metrics:" in lines[-1]:
                break
        else:
            raise Wrong(
                f"It says: {lines[-1] if lines else 'nothing'}",
                "Its flags are those of python temporal_worker_v8.py --help.",
            )
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def load(client: Client, metrics_port: int) -> tuple[Durations, int, int]:
    """Run the load. Returns what the histories say, how many slots were in use at most, and how many there were."""
    handles = [await start_workflow(client, 1)]
    await approve(handles[0])
    arguments = argparse.Namespace(workflows=WORKFLOWS, interval=INTERVAL)
    running = asyncio.create_task(run_load(client, handles, arguments))
    most_used, slots = await show_progress(running, handles, [f"127.0.0.1:{metrics_port}"])
    if failures := running.result():
        raise Wrong(failures[0], "All of them complete.")
    histories = [await fetch_histories(client, handle.id, handle.first_execution_run_id) for handle in handles]
    return measure(histories), most_used, slots

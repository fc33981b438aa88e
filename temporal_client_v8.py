"""Puts a load on the workers of exercise 7 and tells what it had to wait for:  python temporal_client_v8.py

It starts some workflows, approves them, shows their progress, and ends with a table of durations and a sentence that
says what they mean.
Exit codes: 0 all workflows completed, 1 one did not, 2 wrong use, no server or no worker, 130 Ctrl-C (they go on).
"""

from support.client import typed
from support.connection import connect, web_ui_link
from support.flags import check_learner_name, metrics_address, whole_number
from support.load import Durations, Load, Seen, conclusion
from support.metrics import (
    END_TO_END,
    EXECUTION,
    METRICS_PORTS,
    QUEUE_WAIT,
    TASK_EXECUTION,
    TASK_WAIT,
    Metrics,
    mean,
    p95_bucket,
    since,
    total,
)
from support.script import UserError, run_script, within
from workflow.versions import learner_name

import argparse
import asyncio
import statistics
import time

WORKER_TIMEOUT = 10.0  # Seconds. On a busy machine a worker takes its time for its first workflow.
ROWS = (
    "queue wait (schedule-to-start), mean",
    "queue wait (schedule-to-start), p95",
    "activity execution, mean",
    "workflow task wait, mean",
    "workflow task execution, mean",
    "workflow end-to-end, mean",
    "activity slots used, at most",
)


async def run_client(workflows: int, interval: float, metrics_addresses: list[str]) -> int:
    """Run the load, one workflow each `interval` seconds, show its progress, print the table. Returns the exit code."""
    client = await connect()
    load = Load(client, metrics_addresses)
    before = await load.metrics()
    started = time.monotonic()
    first = await load.start_next()
    link = web_ui_link(client, first.id, first.first_execution_run_id)
    print(f"Starting workflow 1 of {workflows}, one each {interval:g} s: {link}", flush=True)
    try:
        await within(WORKER_TIMEOUT, load.approve(first))
    except asyncio.TimeoutError:
        await first.terminate("No worker answered")
        command = typed("python temporal_worker_v8.py", learner_name())
        raise UserError(f"No worker of v8 answers. Start one in another terminal: {command}") from None
    running = asyncio.create_task(load.run(workflows, interval))
    seen = await load.show_progress(running)
    failures = running.result()
    print(f"\n{workflows} workflows ended, {time.monotonic() - started:.1f} s after the start of the first.")
    if failures:
        print(f"{len(failures)} of them did not complete, so there is no table. {failures[0]}")
        return 1
    durations = await load.durations()
    growth = since(before, await load.metrics())  # After that: a worker counts an activity when it has reported it.
    rollouts = f'workflow_type="{load.version.workflow.__name__}"'
    print_table(durations, growth, rollouts, seen)
    return 0


def print_table(durations: Durations, metrics: Metrics, rollouts: str, seen: Seen) -> None:
    """Print what the metrics and the histories say of the load, where that comes from, and what it means.

    `rollouts` is the label that the metrics of the rollouts themselves have, and those of their children have not.
    """
    wait, execution = statistics.mean(durations.queue_waits), statistics.mean(durations.executions)
    from_histories = [
        f"{wait:.3f} s",
        f"{statistics.quantiles(durations.queue_waits, n=20, method='inclusive')[-1]:.3f} s",
        f"{execution:.3f} s",
        f"{statistics.mean(durations.task_waits):.3f} s",
        f"{statistics.mean(durations.task_executions):.3f} s",
        f"{statistics.mean(durations.end_to_ends):.3f} s",
        f"{durations.most_at_once}",
    ]
    counted = int(total(metrics, f"{QUEUE_WAIT}_count"))
    if counted == durations.attempts:
        wait, execution = mean(metrics, QUEUE_WAIT), mean(metrics, EXECUTION)
        from_metrics = [
            f"{wait:.3f} s",
            p95_bucket(metrics, QUEUE_WAIT),
            f"{execution:.3f} s",
            f"{mean(metrics, TASK_WAIT):.3f} s",
            f"{mean(metrics, TASK_EXECUTION):.3f} s",
            f"{mean(metrics, END_TO_END, rollouts):.3f} s",
            f"{seen.most_slots_used} of {seen.slots}" if seen.slots else f"{seen.most_slots_used}",
        ]
    else:
        from_metrics = ["-"] * len(from_histories)
        seen = seen._replace(slots=0, most_slots_used=0)
    print(f"\n{'':38}{'worker metrics':>16}{'event histories':>18}")
    for name, *figures in zip(ROWS, from_metrics, from_histories, strict=True):
        print(f"{name:38}{figures[0]:>16}{figures[1]:>18}")

    retried = len(durations.executions) - len(durations.queue_waits)
    print(
        f"\nHistories: {len(durations.executions)} activities, as the server saw them. {retried} of them were retried:"
        "\nthey do not count in the queue wait, since a history does not tell when their last attempt was queued."
    )
    if counted == durations.attempts:
        print(f"Metrics: {counted} attempts, as the workers saw them. The slots were looked at four times a second.")
    elif counted:
        print(
            f"Metrics: left out. They count {counted} attempts, the histories {durations.attempts}: so they are not"
            "\nof this load alone, or not of all its workers."
        )
    else:
        print("Metrics: no worker of v8 offers any at the addresses of --metrics-addresses.")
    print(f"\n{conclusion(wait, execution, durations, seen)}")


def main() -> None:
    """Read the command line and run the client."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--workflows", type=whole_number(1, 1000), default=5, metavar="NUMBER", help="workflows to start"
    )
    parser.add_argument(
        "--interval", type=float, default=2.0, metavar="SECONDS", help="time between two starts, in seconds"
    )
    parser.add_argument(
        "--metrics-addresses",
        type=lambda text: [metrics_address(address.strip()) for address in text.split(",")],
        default=",".join(f"127.0.0.1:{port}" for port in METRICS_PORTS),
        metavar="IP:PORT,...",
        help="where workers may offer their metrics; those that don't answer are passed over",
    )
    arguments = parser.parse_args()
    check_learner_name(parser)
    if not 0 <= arguments.interval <= 3600:
        parser.error("--interval must be a number of seconds from 0 to 3600")
    run_script(
        lambda: run_client(arguments.workflows, arguments.interval, arguments.metrics_addresses),
        "Stopped watching. The workflows themselves go on: see the Web UI.",
    )


if __name__ == "__main__":
    main()

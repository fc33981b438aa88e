"""Puts a load on the workers of exercise 7 and tells what it had to wait for:  python temporal_client_v8.py

It starts some workflows, approves them, shows their progress, and ends with a table of durations and a sentence that
says what they mean.
Exit codes: 0 all workflows completed, 1 one did not, 2 wrong use, no server or no worker, 130 Ctrl-C (they go on).
"""

import argparse
import asyncio
import http.client
import itertools
import math
import re
import statistics
import time
from collections import Counter
from typing import NamedTuple

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy

from temporal_client import ending_of
from temporal_connection import UserError, connect, run_script, web_ui_link
from temporal_worker_v8 import METRICS_PORTS, metrics_address, whole_number
from workflow import find_version
from workflow.activities import HOSTS_PER_CLUSTER
from workflow.types import ApprovalAnswer, SystemPatchInput, VaultReference

VERSION = find_version("v8")
# All workflows patch the same hosts: these are simulated, and only the load matters here.
INPUT = SystemPatchInput(
    target_clusters=["cluster1", "cluster2", "cluster3"],
    pilot_count=3,
    vault=VaultReference(address="https://vault.example.com:8200", secret_path_prefix="ssh/hosts"),
)
HOSTS = len(INPUT.target_clusters) * HOSTS_PER_CLUSTER
WORKER_TIMEOUT = 5.0  # Seconds.
SAMPLE_INTERVAL = 0.25  # Seconds between two looks at the metrics.
SAMPLES_PER_LINE = 8

# Metrics of the workers. Durations are in milliseconds.
QUEUE_WAIT = "temporal_activity_schedule_to_start_latency"
EXECUTION = "temporal_activity_execution_latency"
END_TO_END = "temporal_workflow_endtoend_latency"
SLOTS_USED = "temporal_worker_task_slots_used"
SLOTS_AVAILABLE = "temporal_worker_task_slots_available"
OF_ACTIVITIES = 'worker_type="ActivityWorker"'
OF_ROLLOUTS = f'workflow_type="{VERSION.workflow.__name__}"'
ROWS = (
    "queue wait (schedule-to-start), mean",
    "queue wait (schedule-to-start), p95",
    "activity execution, mean",
    "workflow end-to-end, mean",
    "activity slots used, at most",
)

Handle = WorkflowHandle[object, object]
Metrics = dict[tuple[str, str], float]
"""By a worker's address and the series' name with its labels: the series' value."""


class Durations(NamedTuple):
    """What the event histories of a load say, in seconds."""

    queue_waits: list[float]
    """From ActivityTaskScheduled to ActivityTaskStarted, of each activity that passed at its first attempt. After a
    retry, a history doesn't tell any more when the last attempt was put into the queue."""
    executions: list[float]
    """From ActivityTaskStarted to ActivityTaskCompleted, of each activity's last attempt."""
    end_to_ends: list[float]
    """From WorkflowExecutionStarted to WorkflowExecutionCompleted, of each workflow that the client started."""
    most_at_once: int
    """How many activities ran at the same time, at most."""
    attempts: int
    """Attempts of all activities together."""


async def run_client(arguments: argparse.Namespace) -> int:
    """Run the load, show its progress, print the table. Returns the exit code."""
    client = await connect()
    before = await read_metrics(arguments.metrics_addresses)
    started = time.monotonic()
    handles = [await start_workflow(client, 1)]
    link = web_ui_link(client, handles[0].id, handles[0].first_execution_run_id)
    print(f"Starting workflow 1 of {arguments.workflows}, one each {arguments.interval:g} s: {link}", flush=True)
    try:
        await asyncio.wait_for(approve(handles[0]), WORKER_TIMEOUT)
    except asyncio.TimeoutError:
        await handles[0].terminate("No worker answered")
        raise UserError(
            "No worker of v8 answers. Start one in another terminal: python temporal_worker_v8.py"
        ) from None
    load = asyncio.create_task(run_load(client, handles, arguments))
    most_slots_used, slots = await show_progress(load, handles, arguments.metrics_addresses)
    failures = load.result()
    print(f"\n{len(handles)} workflows ended, {time.monotonic() - started:.1f} s after the start of the first.")
    if failures:
        print(f"{len(failures)} of them did not complete, so there is no table. {failures[0]}")
        return 1
    histories = await asyncio.gather(*[fetch_histories(client, h.id, h.first_execution_run_id) for h in handles])
    after = await read_metrics(arguments.metrics_addresses)
    print_table(measure(histories), since(before, after), most_slots_used, slots)
    return 0


async def start_workflow(client: Client, number: int) -> Handle:
    """Start one workflow, under an id of its own. A run that has this id already is terminated."""
    handle: Handle = await client.start_workflow(
        VERSION.workflow.run,
        INPUT,
        id=f"{VERSION.workflow_id}-{number}",
        task_queue=VERSION.task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
        static_summary=f"Patch {', '.join(INPUT.target_clusters)}",
    )
    return handle


async def approve(handle: Handle) -> None:
    """Answer the approval request of a workflow."""
    try:
        await handle.execute_update("answer_approval", ApprovalAnswer(approved=True, approver="the client"))
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:  # That is what a cancellation becomes here.
        raise asyncio.CancelledError from error


async def run_load(client: Client, handles: list[Handle], arguments: argparse.Namespace) -> list[str]:
    """Start the other workflows, one each interval, add them to `handles`, and wait for the end of all.

    Returns what happened to those that did not complete.
    """

    async def end_of(handle: Handle) -> str:
        try:
            if handle is not handles[0]:
                await approve(handle)
            await handle.result()
        except WorkflowFailureError as error:
            return f"{handle.id} {ending_of(error)}"
        return ""

    ends = [asyncio.create_task(end_of(handles[0]))]
    for number in range(2, arguments.workflows + 1):
        await asyncio.sleep(arguments.interval)
        handles.append(await start_workflow(client, number))
        ends.append(asyncio.create_task(end_of(handles[-1])))
    return [failure for failure in await asyncio.gather(*ends) if failure]


async def show_progress(
    load: "asyncio.Task[list[str]]", handles: list[Handle], addresses: list[str]
) -> tuple[int, int]:
    """Print a line every two seconds until the load has ended.

    Returns how many activity slots were seen in use at most, and how many there were. (0, 0) if no worker told.
    """
    patched: dict[str, int] = {}
    most_slots_used = slots = 0
    all_slots: list[int] = []
    last_line: Metrics = await read_metrics(addresses)
    started = time.monotonic()
    print(f"\n  time   slots used   queue wait   hosts patched, of {HOSTS} in each workflow", flush=True)
    for sample in itertools.count(1):
        await asyncio.wait([load], timeout=SAMPLE_INTERVAL)
        ended = load.done()
        metrics = await read_metrics(addresses)
        used = int(total(metrics, SLOTS_USED, OF_ACTIVITIES))
        most_slots_used = max(most_slots_used, used)
        # A slot that is just being taken may be counted as used and as available at the same time. Mostly it is not.
        all_slots.append(used + int(total(metrics, SLOTS_AVAILABLE, OF_ACTIVITIES)))
        slots = statistics.mode(all_slots)
        if not ended and sample % SAMPLES_PER_LINE:
            continue
        wait = mean(since(last_line, metrics), QUEUE_WAIT)
        last_line = metrics
        await asyncio.gather(*[count_patched(handle, patched) for handle in handles])
        counts = "  ".join(f"{patched.get(handle.id, 0):2}" for handle in handles)
        used_text = f"{used} of {slots}" if metrics else "-"
        wait_text = "-" if math.isnan(wait) else f"{wait:.2f} s"
        print(f"{time.monotonic() - started:4.0f} s   {used_text:>10}   {wait_text:>10}   {counts}", flush=True)
        if ended:
            break
    return most_slots_used, slots


async def count_patched(handle: Handle, patched: dict[str, int]) -> None:
    """Put into `patched` how many hosts a workflow has patched.

    It is read from the history, where each host's `record_step` is. A query would be more work for the workers, and a
    query that comes after the workflow's end even makes them count that end, with its duration, once more.
    """
    if patched.get(handle.id) != HOSTS:
        signals = [
            event.workflow_execution_signaled_event_attributes.signal_name
            async for event in handle.fetch_history_events()
        ]
        patched[handle.id] = signals.count("record_step")


async def read_metrics(addresses: list[str]) -> Metrics:
    """Return the metrics of all workers of this task queue that offer them at one of the addresses."""

    def read(address: str) -> Metrics:
        connection = http.client.HTTPConnection(address, timeout=2)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode(errors="replace").splitlines()
        except (OSError, http.client.HTTPException):
            return {}
        finally:
            connection.close()
        samples = [line.rpartition(" ") for line in lines if f'task_queue="{VERSION.task_queue}"' in line]
        return {(address, series): float(value) for series, _, value in samples}

    found = await asyncio.gather(*[asyncio.to_thread(read, address) for address in addresses])
    return {series: value for metrics in found for series, value in metrics.items()}


def since(before: Metrics, after: Metrics) -> Metrics:
    """Return by how much each series has grown. One that has become less was set to 0 by a restart in between."""
    return {
        series: value - before.get(series, 0) if value >= before.get(series, 0) else value
        for series, value in after.items()
    }


def total(metrics: Metrics, name: str, label: str = "") -> float:
    """Return the sum of all series of this name, of all workers, which have this label."""
    return sum(value for (_, series), value in metrics.items() if series.startswith(f"{name}{{") and label in series)


def mean(metrics: Metrics, name: str, label: str = "") -> float:
    """Return the mean of a histogram of durations, in seconds. It is exact. NaN if it has counted nothing."""
    count = total(metrics, f"{name}_count", label)
    return total(metrics, f"{name}_sum", label) / count / 1000 if count else math.nan


def p95_bucket(metrics: Metrics, name: str) -> str:
    """Return the bounds of the histogram's bucket in which the p95 lies. A histogram doesn't know it any better."""
    counts: Counter[float] = Counter()
    for (_, series), value in metrics.items():
        if series.startswith(f"{name}_bucket{{") and (bound := re.search(r'le="([^"]+)"', series)):
            counts[float(bound[1])] += int(value)
    upper = min(bound for bound, count in counts.items() if count >= 0.95 * counts[math.inf])
    lower = max([bound for bound in counts if bound < upper], default=0.0)
    return f"{lower / 1000:g} to {upper / 1000:g} s"


async def fetch_histories(client: Client, workflow_id: str, run_id: str | None) -> list[list[HistoryEvent]]:
    """Return the history of a workflow, and after it those of all its children and their children."""
    events = [event async for event in client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history_events()]
    children = [
        event.child_workflow_execution_started_event_attributes.workflow_execution
        for event in events
        if event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED
    ]
    below = await asyncio.gather(*[fetch_histories(client, child.workflow_id, child.run_id) for child in children])
    return [events, *itertools.chain.from_iterable(below)]


def measure(workflows: list[list[list[HistoryEvent]]]) -> Durations:
    """Return what the histories of completed workflows say, each given with those of its children."""
    queue_waits, executions, changes, attempts = [], [], [], 0
    for events in itertools.chain.from_iterable(workflows):
        times = {event.event_id: event.event_time.ToNanoseconds() / 1e9 for event in events}
        attempt = {event.event_id: event.activity_task_started_event_attributes.attempt for event in events}
        for event in events:
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                activity = event.activity_task_completed_event_attributes
                scheduled, started = times[activity.scheduled_event_id], times[activity.started_event_id]
                attempts += attempt[activity.started_event_id]
                if attempt[activity.started_event_id] == 1:
                    queue_waits.append(started - scheduled)
                executions.append(times[event.event_id] - started)
                changes += [(started, 1), (times[event.event_id], -1)]
    end_to_ends = [
        (own[-1].event_time.ToNanoseconds() - own[0].event_time.ToNanoseconds()) / 1e9 for own, *_ in workflows
    ]
    most_at_once = max(itertools.accumulate(change for _, change in sorted(changes)))
    return Durations(queue_waits, executions, end_to_ends, most_at_once, attempts)


def print_table(durations: Durations, metrics: Metrics, most_slots_used: int, slots: int) -> None:
    """Print what the metrics and the histories say of the load, where that comes from, and what it means."""
    wait, execution = statistics.mean(durations.queue_waits), statistics.mean(durations.executions)
    from_histories = [
        f"{wait:.3f} s",
        f"{statistics.quantiles(durations.queue_waits, n=20, method='inclusive')[-1]:.3f} s",
        f"{execution:.3f} s",
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
            f"{mean(metrics, END_TO_END, OF_ROLLOUTS):.3f} s",
            f"{most_slots_used} of {slots}",
        ]
    else:
        from_metrics = ["-"] * len(from_histories)
        slots = 0
    print(f"\n{'':38}{'worker metrics':>16}{'event histories':>18}")
    for name, *figures in zip(ROWS, from_metrics, from_histories, strict=True):
        print(f"{name:38}{figures[0]:>16}{figures[1]:>18}")

    retried = len(durations.executions) - len(durations.queue_waits)
    print(
        f"\nHistories: {len(durations.executions)} activities, as the server saw them. {retried} of them were retried:"
        "\nthey do not count in the queue wait, since a history does not tell when their last attempt was queued."
    )
    if slots:
        print(f"Metrics: {counted} attempts, as the workers saw them. The slots were looked at four times a second.")
    elif counted:
        print(
            f"Metrics: left out. They count {counted} attempts, the histories {durations.attempts}: so they are not"
            "\nof this load alone, or not of all its workers."
        )
    else:
        print("Metrics: no worker of v8 offers any at the addresses of --metrics-addresses.")
    print(f"\n{conclusion(wait, execution, most_slots_used, slots)}")


def conclusion(wait: float, execution: float, most_slots_used: int, slots: int) -> str:
    """Return what a mean queue wait and a mean execution, in seconds, say of the workers. `slots` is 0 if not known."""
    waited, ran = f"Activities waited {wait:.2f} s", f"and ran {execution:.2f} s, on average"
    if wait < max(0.1, execution / 10):
        return f"{waited} {ran}: the workers keep up. More slots or workers would change nothing."
    if not slots:
        return f"{waited} {ran}: more slots or more workers, if all slots were in use, which only metrics tell."
    if most_slots_used >= slots:
        return f"{waited} for one of {slots} slots {ran}: more slots or more workers."
    return f"{waited}, although slots were free, {ran}: more pollers, or a machine with less to do."


def main() -> None:
    """Read the command line and run the client."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
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
    if not 0 <= arguments.interval <= 3600:
        parser.error("--interval must be a number of seconds from 0 to 3600")
    run_script(lambda: run_client(arguments), "Stopped watching. The workflows themselves go on: see the Web UI.")


if __name__ == "__main__":
    main()

"""The load of exercise 7: rollouts of version 8, started one after the other, and what their histories say of them."""

from support.client import ending_of, make_way
from support.histories import Handle, history, tree
from support.metrics import (
    OF_ACTIVITIES,
    QUEUE_WAIT,
    SLOTS_AVAILABLE,
    SLOTS_USED,
    Metrics,
    is_there,
    mean,
    read_metrics,
    since,
    total,
)
from workflow.activities import HOSTS_PER_CLUSTER
from workflow.types import ApprovalAnswer, SystemPatchInput, VaultReference
from workflow.versions import find_version

import asyncio
import itertools
import math
import statistics
import time
from typing import Any, NamedTuple

import psutil
from temporalio.api.enums.v1 import EventType, TaskQueueKind
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.common import WorkflowIDConflictPolicy

# All workflows patch the same hosts: these are simulated, and only the load matters here.
INPUT = SystemPatchInput(
    target_clusters=["cluster1", "cluster2", "cluster3"],
    pilot_count=3,
    vault=VaultReference(address="https://vault.example.com:8200", secret_path_prefix="ssh/hosts"),
)
HOSTS = len(INPUT.target_clusters) * HOSTS_PER_CLUSTER
SAMPLE_INTERVAL = 0.25  # Seconds between two looks at the metrics.
SAMPLES_PER_LINE = 8
MOST_QUEUE_WAIT = 0.1  # Seconds, on average.
MOST_BETWEEN = 0.25  # Part of a host's time. With 20 slots and the worker's other defaults it is 0.07.
MOST_UNCACHED = 0.5  # Part of the workflow tasks.
NO_CPU_LEFT = 90.0  # Percent of all cores.


class Seen(NamedTuple):
    """What was seen while a load ran."""

    most_slots_used: int
    """How many activity slots were in use at most. 0 if no worker told."""
    slots: int
    """Of how many, or 0 if there is no such number: no worker told, or their slots go by CPU and memory."""
    cpu: float
    """How many percent of this machine's cores were in use, on average."""


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
    task_waits: list[float]
    """From WorkflowTaskScheduled to WorkflowTaskStarted, of each workflow task."""
    task_executions: list[float]
    """From WorkflowTaskStarted to WorkflowTaskCompleted."""
    between: float
    """Which part of the hosts' time was none of their activities', from 0 to 1. A host's activities come one after the
    other, and in between are workflow tasks only."""
    uncached: float
    """Which part of the workflow tasks, each run's first left out, the server did not offer to a worker's sticky cache,
    from 0 to 1."""


class Load:
    """The rollouts on one server, and the workers that run them."""

    def __init__(self, client: Client, metrics_addresses: list[str]) -> None:
        """Take where the workers may offer their metrics. Nothing is started yet."""
        self.version = find_version("v8")
        self.handles: list[Handle] = []
        """The rollouts that were started so far."""
        self._client = client
        self._addresses = metrics_addresses

    async def start_next(self) -> Handle:
        """Start one rollout, under an id of its own. A run that has this id already is terminated."""
        workflow_id = f"{self.version.workflow_id}-{len(self.handles) + 1}"
        await make_way(self._client, workflow_id)
        handle: Handle = await self._client.start_workflow(
            self.version.workflow.run,
            INPUT,
            id=workflow_id,
            task_queue=self.version.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
            static_summary=f"Patch {', '.join(INPUT.target_clusters)}",
        )
        self.handles.append(handle)
        return handle

    async def approve(self, handle: Handle) -> None:
        """Answer the approval request of a rollout."""
        try:
            await handle.execute_update("answer_approval", ApprovalAnswer(approved=True, approver="the client"))
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:  # That is what a cancellation becomes here.
            raise asyncio.CancelledError from error

    async def run(self, workflows: int, interval: float) -> list[str]:
        """Start the rest of so many rollouts, one each `interval` seconds, and wait for the end of all.

        The first must have been started and approved. Returns what happened to those that did not complete.
        """

        async def end_of(handle: Handle) -> str:
            try:
                if handle is not self.handles[0]:
                    await self.approve(handle)
                await handle.result()
            except WorkflowFailureError as error:
                return f"{handle.id} {ending_of(error)}"
            return ""

        ends = [asyncio.create_task(end_of(self.handles[0]))]
        while len(self.handles) < workflows:
            await asyncio.sleep(interval)
            ends.append(asyncio.create_task(end_of(await self.start_next())))
        return [failure for failure in await asyncio.gather(*ends) if failure]

    async def show_progress(self, running: "asyncio.Task[Any]") -> Seen:
        """Print a line every two seconds until `running` has ended. Returns what was seen meanwhile."""
        patched: dict[str, int] = {}
        most_slots_used = slots = 0
        all_slots: list[int] = []
        last_line = await self.metrics()
        started = time.monotonic()
        psutil.cpu_percent()  # Its next answer is about the time from now on.
        print(f"\n  time   slots used   queue wait   hosts patched, of {HOSTS} in each workflow", flush=True)
        for sample in itertools.count(1):
            await asyncio.wait([running], timeout=SAMPLE_INTERVAL)
            ended = running.done()
            metrics = await self.metrics()
            used = int(total(metrics, SLOTS_USED, OF_ACTIVITIES))
            most_slots_used = max(most_slots_used, used)
            # A slot that is just being taken may be counted as used and as available at the same time. Mostly it is
            # not.
            if is_there(metrics, SLOTS_AVAILABLE, OF_ACTIVITIES):
                all_slots.append(used + int(total(metrics, SLOTS_AVAILABLE, OF_ACTIVITIES)))
                slots = statistics.mode(all_slots)
            if not ended and sample % SAMPLES_PER_LINE:
                continue
            wait = mean(since(last_line, metrics), QUEUE_WAIT)
            last_line = metrics
            await asyncio.gather(*[count_patched(handle, patched) for handle in self.handles])
            counts = "  ".join(f"{patched.get(handle.id, 0):2}" for handle in self.handles)
            used_text = (f"{used} of {slots}" if slots else f"{used}") if metrics else "-"
            wait_text = "-" if math.isnan(wait) else f"{wait:.2f} s"
            print(f"{time.monotonic() - started:4.0f} s   {used_text:>10}   {wait_text:>10}   {counts}", flush=True)
            if ended:
                break
        return Seen(most_slots_used, slots, psutil.cpu_percent())

    async def metrics(self) -> Metrics:
        """Return the workers' metrics as they are now."""
        return await read_metrics(self._addresses, self.version.task_queue)

    async def durations(self) -> Durations:
        """Return what the histories of all rollouts say, which must have completed."""

        async def histories(handle: Handle) -> list[list[HistoryEvent]]:
            runs = await tree(self._client, self._client.get_workflow_handle(handle.id, run_id=handle.result_run_id))
            return await asyncio.gather(*[history(run) for run in runs.values()])

        return measure(await asyncio.gather(*[histories(handle) for handle in self.handles]))


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


def measure(workflows: list[list[list[HistoryEvent]]]) -> Durations:
    """Return what the histories of completed workflows say, each given with those of its children."""
    queue_waits, executions, changes, attempts = [], [], [], 0
    task_waits, task_executions = [], []
    of_hosts = of_their_activities = 0.0
    is_offered_to_cache: list[bool] = []
    for events in itertools.chain.from_iterable(workflows):
        times = {event.event_id: event.event_time.ToNanoseconds() / 1e9 for event in events}
        attempt = {event.event_id: event.activity_task_started_event_attributes.attempt for event in events}
        with_activities = 0.0
        tasks = [e for e in events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED]
        kinds = [task.workflow_task_scheduled_event_attributes.task_queue.kind for task in tasks]
        is_offered_to_cache += [kind == TaskQueueKind.TASK_QUEUE_KIND_STICKY for kind in kinds[1:]]
        for event in events:
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                task = event.workflow_task_completed_event_attributes
                task_waits.append(times[task.started_event_id] - times[task.scheduled_event_id])
                task_executions.append(times[event.event_id] - times[task.started_event_id])
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                activity = event.activity_task_completed_event_attributes
                scheduled, started = times[activity.scheduled_event_id], times[activity.started_event_id]
                attempts += attempt[activity.started_event_id]
                if attempt[activity.started_event_id] == 1:
                    queue_waits.append(started - scheduled)
                executions.append(times[event.event_id] - started)
                changes += [(started, 1), (times[event.event_id], -1)]
                with_activities += times[event.event_id] - scheduled
        if "_Host_" in events[0].workflow_execution_started_event_attributes.workflow_type.name:
            of_hosts += times[events[-1].event_id] - times[events[0].event_id]
            of_their_activities += with_activities
    end_to_ends = [
        (own[-1].event_time.ToNanoseconds() - own[0].event_time.ToNanoseconds()) / 1e9 for own, *_ in workflows
    ]
    most_at_once = max(itertools.accumulate(change for _, change in sorted(changes)))
    between = 1 - of_their_activities / of_hosts
    uncached = is_offered_to_cache.count(False) / len(is_offered_to_cache)
    return Durations(
        queue_waits, executions, end_to_ends, most_at_once, attempts, task_waits, task_executions, between, uncached
    )


def conclusion(wait: float, execution: float, durations: Durations, seen: Seen) -> str:
    """Return what the figures say of the workers.

    These are the mean queue wait and the mean execution of activities, in seconds, as the workers or the histories have
    them, what else the histories say, and what was seen while the load ran.
    """
    waited, ran = f"Activities waited {wait:.2f} s", f"and ran {execution:.2f} s, on average"
    if wait < max(MOST_QUEUE_WAIT, execution / 10):
        if durations.between < MOST_BETWEEN:
            verdict = f"{waited} {ran}: the workers keep up. More slots or workers would change nothing."
        else:
            verdict = (
                f"{waited} {ran}: there are slots enough. But {durations.between:.0%} of the hosts' time went into "
                "workflow tasks: see how long these waited and ran."
            )
            if durations.uncached > MOST_UNCACHED:
                verdict += " For most of them the code was replayed: a larger sticky cache."
    elif not seen.slots and seen.most_slots_used:
        verdict = f"{waited} for a slot {ran}: more workers, or a number of slots. Those by CPU and memory come slowly."
    elif not seen.slots:
        verdict = f"{waited} {ran}: more slots or more workers, if all slots were in use, which only metrics tell."
    elif seen.most_slots_used >= seen.slots:
        verdict = f"{waited} for one of {seen.slots} slots {ran}: more slots or more workers."
    else:
        verdict = f"{waited}, although slots were free, {ran}: more pollers, or a machine with less to do."
    if seen.cpu >= NO_CPU_LEFT:
        verdict += f" Mind that this machine had no CPU left: {seen.cpu:.0f} % of its cores were in use."
    return verdict

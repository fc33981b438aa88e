"""What the server's histories say of a rollout that has ended."""

from support.client import seconds_of
from support.histories import Handle, family, history

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecution

AT_A_TIME = 20  # Histories that are read at the same time.


@dataclass
class Size:
    """How much a rollout and its children have in their histories."""

    events_of_longest: int
    bytes_of_longest: int
    """Of the one with the most events."""
    events: int
    """Of all together."""
    statuses: dict[str, int]
    """How many of the runs ended how."""


async def size(client: Client, rollout: Handle) -> Size:
    """Return how long the histories of a rollout and its children are, as soon as the server lists all as ended."""
    query = f"RootWorkflowId = '{rollout.id}' AND RootRunId = '{rollout.result_run_id}'"
    while True:  # What it lists comes a little after what happens.
        runs = [run async for run in client.list_workflows(query)]
        if runs and all(run.close_time for run in runs):
            break
        await asyncio.sleep(0.5)
    longest = max(runs, key=lambda run: run.history_length)
    return Size(
        longest.history_length,
        longest.raw_info.history_size_bytes,
        sum(run.history_length for run in runs),
        dict(Counter(status_of(run) for run in runs)),
    )


def status_of(run: WorkflowExecution) -> str:
    """Return how a run ended, in a word."""
    return run.status.name.lower() if run.status else "unknown"


async def overhead(client: Client, rollout: Handle, pilot_count: int) -> float:
    """Return how many seconds a rollout took longer than the work that can't be done at the same time.

    That is from the answer to the approval request, or without one from its start, to its end: what comes before and
    after all hosts, and in the cluster that takes longest, the pilot and the other host that take longest. A rollout
    of versions 5 and later is meant, of clusters whose hosts are all under way at the same time.
    """
    runs = await family(client, rollout)
    slots = asyncio.Semaphore(AT_A_TIME)

    async def events_of(run: Handle) -> list[HistoryEvent]:
        async with slots:
            return await history(run)

    histories = await asyncio.gather(*[events_of(run) for run in runs])
    took = await seconds_of(rollout) - _seconds_until_answer(histories[0])
    return took - critical_path(_activities(histories), pilot_count)


def critical_path(activities: Iterable[tuple[dict[str, Any], float]], pilot_count: int) -> float:
    """Return how many seconds of activities come one after the other, from what each got and how long it took."""
    others = 0.0
    hosts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for input, seconds in activities:
        if "hostname" in input:
            hosts[input["cluster"]][input["hostname"]] += seconds
        elif "name" in input:
            hosts[input["name"]][""] += seconds  # The activity that finds the cluster's hosts.
        else:
            others += seconds
    return others + max(_path_of_cluster(times, pilot_count) for times in hosts.values())


def _path_of_cluster(times: dict[str, float], pilot_count: int) -> float:
    first, *of_hosts = [seconds for _, seconds in sorted(times.items(), key=lambda item: _number(item[0]))]
    return first + sum(max(part, default=0.0) for part in (of_hosts[:pilot_count], of_hosts[pilot_count:]))


def _number(hostname: str) -> int:
    return int(hostname.rpartition("_host")[2] or 0)


def _seconds_until_answer(events: list[HistoryEvent]) -> float:
    answers = (
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    )
    answered = next((event for event in events if event.event_type in answers), events[0])
    return _time(answered) - _time(events[0])


def _activities(histories: Iterable[list[HistoryEvent]]) -> Iterable[tuple[dict[str, Any], float]]:
    """Yield of each activity after the answer what it got, and its seconds: with a retry, those of all attempts."""
    for events in histories:
        by_id = {event.event_id: event for event in events}
        begun = _time(events[0]) + _seconds_until_answer(events)
        for event in events:
            if event.event_type != EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                continue
            completed = event.activity_task_completed_event_attributes
            scheduled, started = by_id[completed.scheduled_event_id], by_id[completed.started_event_id]
            if _time(started) < begun:
                continue
            is_retry = started.activity_task_started_event_attributes.attempt > 1
            payload = scheduled.activity_task_scheduled_event_attributes.input.payloads[0]
            yield json.loads(payload.data), _time(event) - _time(scheduled if is_retry else started)


def _time(event: HistoryEvent) -> float:
    return event.event_time.ToNanoseconds() / 1e9

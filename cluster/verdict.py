"""What must be true of a rollout at its end, whatever happened meanwhile: told by its histories."""

from support.client import ending_of
from support.histories import history, own_name, tree
from workflow.types import ClusterPatchResult, SystemPatchResult

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

Inventory = dict[str, list[str]]
"""The clusters, with their hosts."""
ROLLOUT_STEPS = {
    "request_approval_activity",
    "check_vault_access_activity",
    "send_final_success_notification_activity",
}
CLUSTER_STEPS = {"get_cluster_hosts_activity"}
HOST_STEPS = {
    "check_host_preconditions_activity",
    "send_start_notification_activity",
    "run_pre_downtime_scripts_activity",
    "perform_update_activity",
    "check_service_health_activity",
    "send_success_notification_activity",
}


@dataclass
class Verdict:
    """What the histories of a rollout say."""

    problems: list[str] = field(default_factory=list)
    """In words, each promise that was not kept."""
    hosts: int = 0
    """That were patched once, each by one run whose steps completed once each."""
    extra_attempts: int = 0
    """Of activities, beyond the first of each."""


def inventory(first: int, clusters: int, hosts_per_cluster: int) -> Inventory:
    """Return so many clusters, numbered from `first` on, as the simulated inventory has them."""
    names = [f"rack{number}" for number in range(first, first + clusters)]
    return {name: [f"{name}_host{number}" for number in range(1, hosts_per_cluster + 1)] for name in names}


async def judge(client: Client, rollout: WorkflowHandle[Any, Any], inventory: Inventory) -> Verdict:
    """Wait for the end of a rollout of these hosts, and return what its histories say."""
    verdict = Verdict()
    try:
        result = await rollout.result()
        if result != SystemPatchResult([ClusterPatchResult(name, hosts) for name, hosts in inventory.items()]):
            verdict.problems.append(f"The rollout's result is not all hosts of all clusters: {result}")
    except WorkflowFailureError as error:
        verdict.problems.append(f"The rollout {ending_of(error)}.")
    hosts = [host for of_one in inventory.values() for host in of_one]
    expected = {own_name(rollout.id): ROLLOUT_STEPS}
    expected |= dict.fromkeys(inventory, CLUSTER_STEPS) | dict.fromkeys(hosts, HOST_STEPS)
    runs = await tree(client, rollout)
    if runs.keys() != expected.keys():
        verdict.problems.append(f"There are runs missing, or too many: {sorted(runs.keys() ^ expected.keys())}")
    for name, run in runs.items():
        events = await history(run)
        verdict.extra_attempts += sum(max(attempt - 1, 0) for attempt in attempts(events))
        problems = _problems_of_run(events, expected.get(name, set()))
        if name == own_name(rollout.id):
            problems += _problems_of_signals(events, hosts)
        elif name in hosts and not problems:
            verdict.hosts += 1
        verdict.problems += [f"{name}: {problem}" for problem in problems]
    return verdict


def attempts(events: Iterable[HistoryEvent]) -> list[int]:
    """Return for each activity that began at which attempt it ended."""
    return [event.activity_task_started_event_attributes.attempt for event in events]


def _problems_of_run(events: list[HistoryEvent], steps: set[str]) -> list[str]:
    """Return in words what a run has not done, or not once."""
    problems = []
    names = {event.event_id: event.activity_task_scheduled_event_attributes.activity_type.name for event in events}
    completed = Counter(
        names[event.activity_task_completed_event_attributes.scheduled_event_id]
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
    )
    scheduled = Counter(name for name in names.values() if name)
    if completed != Counter(steps) or scheduled != completed:
        problems.append(f"scheduled {dict(scheduled)}, completed {dict(completed)}")
    if events[-1].event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
        problems.append(f"its last event is {EventType.Name(events[-1].event_type)}")
    started = Counter(
        event.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id
        for event in events
        if event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED
    )
    problems += [f"{own_name(id)} was started {times} times" for id, times in started.items() if times > 1]
    return problems


def _problems_of_signals(events: list[HistoryEvent], hosts: list[str]) -> list[str]:
    """Return in words which host's report the rollout has not got, or not once."""
    told = Counter(
        event.workflow_execution_signaled_event_attributes.input.payloads[0].data.decode().strip('"')
        for event in events
        if event.workflow_execution_signaled_event_attributes.signal_name == "record_step"
    )
    expected = Counter(f"{host} patched" for host in hosts)
    wrong = [each for each in told | expected if told[each] != expected[each]]
    return [f"{len(wrong)} hosts' reports did not come once: {', '.join(wrong[:3])} ..."] if wrong else []

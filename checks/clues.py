"""What else there is to see where a step is not done, and may be the cause: in histories, and in a learner's code."""

from checks.lab import Lab
from checks.traces import relative
from support.histories import Handle, family, history, own_name
from workflow.activities import SystemPatchActivities
from workflow.versions import Version

import ast
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError

MOST_CLUES = 2
ACTIVITIES = [name for name in vars(SystemPatchActivities) if name.endswith("_activity")]


async def clues(lab: Lab) -> list[str]:
    """Return sentences on what is odd, the likeliest cause first, and not more than help."""
    found = [
        *activities_that_are_not_used(lab.version),
        *activities_called_directly(lab.version),
        *classes_without_a_sandbox(lab.version),
    ]
    for handle in lab.handles + lab.clients_workflows:
        try:
            for run in await family(lab.client, handle):
                found += await clues_of_run(lab, run)
        except RPCError:
            continue
    return list(dict.fromkeys(found))[:MOST_CLUES]


async def clues_of_run(lab: Lab, run: Handle) -> list[str]:
    """Return what is odd in one run."""
    events = await history(run)
    description = await run.describe()
    found = [
        *being_started_again(description, events),
        *failures_swallowed(description, events),
        *local_activities(events),
        *signals_nobody_takes(lab.version, events),
        *children_nobody_takes(lab.version, events),
    ]
    if description.status == WorkflowExecutionStatus.TIMED_OUT:
        found.append(f"The workflow {own_name(run.id)} ran out of the time that it was given at its start.")
    return found


def being_started_again(description: WorkflowExecutionDescription, events: list[HistoryEvent]) -> list[str]:
    """Return a sentence if a run has failed and is followed by another attempt."""
    if not events[-1].workflow_execution_failed_event_attributes.new_execution_run_id:
        return []
    return [
        f"{own_name(description.id)} failed and was started again: it had been given a retry_policy. A "
        "workflow is not tried again as a whole, its activities are."
    ]


def failures_swallowed(description: WorkflowExecutionDescription, events: list[HistoryEvent]) -> list[str]:
    """Return a sentence if a run has completed although one of its steps had failed for good."""
    if description.status != WorkflowExecutionStatus.COMPLETED:
        return []
    for event in events:
        failed: Any
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
            failed = event.activity_task_failed_event_attributes
            scheduled = events[failed.scheduled_event_id - 1].activity_task_scheduled_event_attributes
            what = scheduled.activity_type.name
        elif event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
            failed = event.child_workflow_execution_failed_event_attributes
            what = own_name(failed.workflow_execution.workflow_id)
        else:
            continue
        name = own_name(description.id)
        return [f"{name} completed, although its {what} had failed: whoever catches a failure raises one, too."]
    return []


def local_activities(events: list[HistoryEvent]) -> list[str]:
    """Return a sentence if a run has local activities, which a history hardly shows."""
    markers = [event.marker_recorded_event_attributes.marker_name for event in events]
    if "core_local_activity" not in markers:
        return []
    return ["An activity is called by execute_local_activity_method: here each is one by execute_activity_method."]


def children_nobody_takes(version: Version, events: list[HistoryEvent]) -> list[str]:
    """Return a sentence for each child that was put on a task queue at which no worker is."""
    children = [event.start_child_workflow_execution_initiated_event_attributes for event in events]
    return [
        f"{own_name(child.workflow_id)} was put on task queue {child.task_queue.name}, which has no worker."
        for child in children
        if child.workflow_id and child.task_queue.name != version.task_queue
    ]


def signals_nobody_takes(version: Version, events: list[HistoryEvent]) -> list[str]:
    """Return a sentence for each signal that a run was sent, and for which its class has no handler."""
    workflow_type = events[0].workflow_execution_started_event_attributes.workflow_type.name
    classes = {getattr(each, "__temporal_workflow_definition").name: each for each in version.workflows}
    if workflow_type not in classes:
        return []
    known = getattr(classes[workflow_type], "__temporal_workflow_definition").signals
    if None in known:  # A handler for whatever comes.
        return []
    return [
        f"A signal {event.workflow_execution_signaled_event_attributes.signal_name} was sent to a workflow of the "
        f"class {classes[workflow_type].__name__}, which has no handler for it."
        for event in events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
        and event.workflow_execution_signaled_event_attributes.signal_name not in known
    ]


def classes_without_a_sandbox(version: Version) -> list[str]:
    """Return a sentence for each workflow class that is not run in the sandbox."""
    return [
        f"{each.__name__} has sandboxed=False: without the sandbox, what it keeps in the class or in a global is "
        "shared by all workflows of the worker."
        for each in version.workflows
        if not getattr(each, "__temporal_workflow_definition").sandboxed
    ]


def activities_called_directly(version: Version) -> list[str]:
    """Return a sentence for each call of an activity's method, which then runs as a part of the workflow."""
    file = Path(inspect.getfile(version.workflow))
    return [
        f"{relative(str(file))}, line {node.lineno} calls {node.func.attr} itself, as a part of the workflow. "
        f"An activity is run by execute_activity_method(SystemPatchActivities.{node.func.attr}, ...)."
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ACTIVITIES
    ]


def activities_that_are_not_used(version: Version) -> list[str]:
    """Return why some of the activities that a learner has written are not the ones that the worker runs."""
    name = f"workflow.activities_{version.name}"
    if importlib.util.find_spec(name) is None:
        return []
    used: type = version.activities
    if used.__module__ != name:
        return [
            f"Your workflow imports SystemPatchActivities from {used.__module__}: so the worker runs those, and "
            f"none of {name}."
        ]
    module: ModuleType = sys.modules[name]
    found = [
        f"{function} is a function outside of the class {used.__name__}: indent it, to make it one of its methods."
        for function in ACTIVITIES
        if inspect.isfunction(vars(module).get(function))
    ]
    for method, value in vars(used).items():
        definition = getattr(value, "__temporal_activity_definition", None)
        if definition is None:
            continue
        if method not in ACTIVITIES:
            found.append(f"Your class has an activity {method}, which is none of those that the workflow calls.")
        elif definition.name != method:
            found.append(f"Your {method} is an activity of another name: @activity.defn calls it {definition.name!r}.")
    return found

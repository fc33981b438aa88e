"""A child for each cluster and host."""

from checks.children import children_are_plain
from checks.exercises import place
from checks.failure import CheckFailure, Step
from checks.lab import Lab
from checks.names import GET_HOSTS, PRECONDITIONS, UPDATE
from checks.side_by_side import (
    CLUSTERS,
    OTHERS,
    PILOT_COUNT,
    PILOTS,
    clusters_side_by_side,
    complete,
    failure_is_kept,
    hosts_side_by_side,
    others_are_waiting,
    start,
)
from support.histories import Handle, family, history, own_name, tree

from collections.abc import AsyncGenerator

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus


async def steps(lab: Lab) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at. Raises `CheckFailure` where one is not done."""
    handle = await start(lab)

    yield Step("Each cluster is a child of the rollout", place(5, "Your task", "points 1 and 2"))
    await clusters_are_children(lab, handle)

    yield Step("Each host is a child of its cluster", place(5, "Your task", "points 1 and 2"))
    await hosts_are_children(lab)

    yield Step("Each child is done once, has the time for it, and ends with its parent", place(5, "Your task"))
    await children_are_plain(lab, handle)

    yield Step("Clusters and hosts are still patched side by side, the pilots first", place(4, "Your task"))
    await clusters_side_by_side(lab, handle)
    hosts_side_by_side(lab, PILOTS, "pilots")
    others_are_waiting(lab)

    yield Step("Each child has an id of its own, with its name in it", place(5, "Your task", "point 3"))
    await ids_are_unique(lab, handle)

    yield Step(
        "The rollout waits for its children, and has their results and their progress", place(5, "Your task", "point 4")
    )
    early = await lab.completed_steps(handle)
    lab.release(UPDATE, *PILOTS, *OTHERS)
    await complete(lab, handle)
    await nothing_was_reported_early(lab, handle, early)
    await reports_go_to_this_run(lab, handle)
    for name, run in (await tree(lab.client, handle)).items():
        status = (await run.describe()).status
        if status != WorkflowExecutionStatus.COMPLETED:
            raise CheckFailure(
                f"The rollout is completed, and its child {name} is {status and status.name}.",
                "A parent ends after its children.",
            )

    yield Step("A pilot that fails still fails the rollout, and the others stay as they are", place(4, "Your task"))
    await failure_is_kept(lab)


async def parent_of(lab: Lab, workflow_id: str) -> str | None:
    """Return the id of the workflow's parent, or None if it has none."""
    return (await lab.client.get_workflow_handle(workflow_id).describe()).parent_id


async def clusters_are_children(lab: Lab, handle: Handle) -> None:
    """Raise `CheckFailure` if a cluster's hosts were not looked up in a child of the rollout."""
    expected = "The rollout starts a child workflow for each cluster, and that looks up the cluster's hosts."
    for cluster in CLUSTERS:
        found = lab.workflow_of(GET_HOSTS, cluster)
        if not found:
            raise CheckFailure(f"The hosts of {cluster} were not looked up. {await lab.what_it_does(handle)}", expected)
        if found == handle.id:
            raise CheckFailure(f"The rollout itself looked up the hosts of {cluster}.", expected)
        if await parent_of(lab, found) != handle.id:
            raise CheckFailure(f"{found} is no child of the rollout {handle.id}.", expected)


async def hosts_are_children(lab: Lab) -> None:
    """Raise `CheckFailure` if a host that is under way is not a child of its cluster."""
    expected = "The cluster's workflow starts a child workflow for each of its hosts, and waits for it."
    for cluster in CLUSTERS:
        child = lab.client.get_workflow_handle(lab.workflow_of(GET_HOSTS, cluster))
        if refused := await refused_children(lab, child):
            raise CheckFailure(f"The child {refused[0]} did not start: one with that id was running already.", expected)
    for host in sorted(PILOTS & lab.begun(PRECONDITIONS)):
        cluster = lab.workflow_of(GET_HOSTS, host.partition("_")[0])
        found = lab.workflow_of(PRECONDITIONS, host)
        if found == cluster:
            raise CheckFailure(f"The workflow of the cluster itself patches {host}.", expected)
        if found == lab.handles[0].id:
            raise CheckFailure(f"The rollout itself patches {host}.", expected)
        if (parent := await parent_of(lab, found)) != cluster:
            who = "the rollout" if parent == lab.handles[0].id else parent
            raise CheckFailure(f"The parent of {host}'s workflow is {who}, not the workflow of its cluster.", expected)
    for cluster in CLUSTERS:
        child = lab.client.get_workflow_handle(lab.workflow_of(GET_HOSTS, cluster))
        if (await child.describe()).status != WorkflowExecutionStatus.RUNNING:
            ended = f"The workflow of {cluster} has ended, and its hosts have not."
            raise CheckFailure(f"{ended} {await lab.what_it_does(child)}", expected)


async def refused_children(lab: Lab, handle: Handle) -> list[str]:
    """Return the ids under which a workflow of this tree tried to start a child, and one was there already."""
    return [
        event.start_child_workflow_execution_failed_event_attributes.workflow_id
        for run in (await tree(lab.client, handle)).values()
        for event in await history(run)
        if event.event_type == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED
    ]


async def reports_go_to_this_run(lab: Lab, handle: Handle) -> None:
    """Raise `CheckFailure` if a signal to the rollout would go to whatever run has its workflow id by then."""
    for run in await family(lab.client, handle):
        for event in await history(run):
            sent = event.signal_external_workflow_execution_initiated_event_attributes
            if sent.workflow_execution.workflow_id == handle.id and not sent.workflow_execution.run_id:
                raise CheckFailure(
                    f"{own_name(run.id)} sent the signal {sent.signal_name} to the rollout without its run id.",
                    "workflow.info().root (or .parent) has a run_id, too. Without it, the signal goes to a later "
                    "rollout with the same workflow id, if there is one by then.",
                )


async def nothing_was_reported_early(lab: Lab, handle: Handle, early: list[str]) -> None:
    """Raise `CheckFailure` if a host was in the list when it was still being updated, and is not there anew."""
    steps = await lab.completed_steps(handle)
    for host in sorted(PILOTS):
        reported = [step for step in early if host in step]
        if reported and len([step for step in steps if host in step]) == len(reported):
            raise CheckFailure(
                f"{host} was still being updated, and the list had {reported}.", "A host reports what is done."
            )


async def ids_are_unique(lab: Lab, handle: Handle) -> None:
    """Start a second rollout of a cluster beside the first. Raises `CheckFailure` if their children's ids clash."""
    expected = (
        "A child's id has the id of its parent in it, so that two rollouts can run at the same time, and the name of "
        "the cluster or host, so that you find it."
    )
    for name in [*CLUSTERS, *PILOTS]:
        found = lab.workflow_of(PRECONDITIONS if "_host" in name else GET_HOSTS, name)
        if name not in found:
            raise CheckFailure(f"The workflow of {name} has the id {found}.", expected)
    of_first = {(call.run_id, call.activity_id) for call in lab.calls}
    second = await lab.start(CLUSTERS[:1], PILOT_COUNT)
    await lab.approve(second)

    def beside_it() -> bool:
        begun = {(call.run_id, call.activity_id) for call in lab.calls if call.name == UPDATE} - of_first
        return len(begun) == PILOT_COUNT

    together = await lab.wait(beside_it)
    if refused := await refused_children(lab, second):
        raise CheckFailure(
            f"A second rollout could not start its child {refused[0]}: the first one has a child with the same id.",
            expected,
        )
    if not together:
        raise CheckFailure(
            f"A second rollout beside the first did not get on. {await lab.what_it_does(second)}", expected
        )
    await second.terminate()
    # What follows is about the first rollout.
    lab.calls[:] = [call for call in lab.calls if (call.run_id, call.activity_id) in of_first]

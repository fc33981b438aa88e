"""Stop the others."""

from checks.children import children_are_plain
from checks.exercises import place
from checks.failure import CheckFailure, Step
from checks.lab import Lab
from checks.names import ALERT, GET_HOSTS, PRECONDITIONS, UPDATE, hosts_of, listed, were
from support.client import ending_of
from support.histories import Handle

from collections.abc import AsyncGenerator

from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

BROKEN = "cluster2_host2"
CLUSTERS = ["cluster3", "cluster2"]
SIBLINGS = ["cluster2_host1", "cluster2_host3"]
NOT_BEGUN = "cluster2_host4"
HEALTHY = hosts_of("cluster3", 4)
LEFT_ALONE = {"cluster4": hosts_of("cluster4", 2), "cluster5": hosts_of("cluster5", 2)}
WORDS = {
    WorkflowExecutionStatus.RUNNING: "still running",
    WorkflowExecutionStatus.COMPLETED: "COMPLETED",
    WorkflowExecutionStatus.FAILED: "FAILED",
    WorkflowExecutionStatus.CANCELED: "CANCELED",
    WorkflowExecutionStatus.TERMINATED: "TERMINATED",
}


async def steps(lab: Lab) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at. Raises `CheckFailure` where one is not done."""
    lab.hosts_per_cluster = 4
    lab.hold(PRECONDITIONS, BROKEN)
    lab.hold(UPDATE, *SIBLINGS, NOT_BEGUN, *HEALTHY)
    handle = await lab.start(CLUSTERS, pilot_count=3)
    await lab.approve(handle)
    under_way = {*SIBLINGS, *HEALTHY[:3]}
    ready = await lab.wait(lambda: lab.begun(UPDATE) >= under_way and BROKEN in lab.begun(PRECONDITIONS))

    yield Step(
        f"{BROKEN} can't be patched: its preconditions fail, and are not tried again",
        place(6, "First let a host fail"),
    )
    if not ready:
        raise CheckFailure(
            f"Being updated at the same time were {listed(lab.begun(UPDATE))}. {await lab.what_it_does(handle)}",
            f"All pilots but {BROKEN} are, each in a child workflow of its cluster, and only {BROKEN} fails.",
        )
    lab.release(PRECONDITIONS, BROKEN)
    await preconditions_fail(lab)

    yield Step("The other hosts of its cluster are cancelled", place(6, "Your task", "point 1"))
    await siblings_are_cancelled(lab)

    yield Step("Nobody is alerted because of a host that was cancelled", place(6, "Your task", "point 1"))
    await lab.wait(lambda: BROKEN in lab.begun(ALERT))
    alerts = sorted(call.subject for call in lab.calls if call.name == ALERT)
    if alerts != [BROKEN]:
        raise CheckFailure(
            f"There were alerts for {', '.join(alerts) or 'no host'}.", f"There is one alert, for {BROKEN}."
        )

    yield Step("The cluster fails, and no other host of it begins", place(6, "Your task", "point 2"))
    await children_are_plain(lab, handle)
    await cluster_fails(lab)

    yield Step("The other clusters are patched to the end", place(6, "Your task", "point 3"))
    await lab.until(lab.is_quiet, timeout=1)  # If they are being cancelled by mistake, this is when it happens.
    lab.release(UPDATE, *HEALTHY)
    await lab.closed(handle, "The rollout ends when all its clusters have ended.")
    await others_complete(lab)

    yield Step("Then the rollout fails, and names host and reason", place(6, "Your task", "point 4"))
    await rollout_fails(lab, handle)

    yield Step(
        "What was started by a workflow that is terminated is stopped in an orderly way",
        place(6, "Your task", "point 5"),
    )
    await nobody_is_cut_off(lab)


async def status_of(lab: Lab, workflow_id: str) -> str:
    """Return a workflow's status as the Web UI calls it."""
    status = (await lab.client.get_workflow_handle(workflow_id).describe()).status
    return WORDS.get(status, "none") if status else "none"


async def preconditions_fail(lab: Lab) -> None:
    """Wait for the end of the broken host's check. Raises `CheckFailure` if it passes, or is tried again."""
    expected = (
        f"check_host_preconditions_activity raises an ApplicationError with non_retryable=True for {BROKEN}: more "
        "attempts would not help."
    )

    def checks() -> list[bool]:
        return [c.done or c.error is not None for c in lab.calls if (c.name, c.subject) == (PRECONDITIONS, BROKEN)]

    if not await lab.wait(lambda: any(checks())):
        raise CheckFailure(f"The check of the preconditions of {BROKEN} did not end.", expected)
    if any(call.done for call in lab.calls if (call.name, call.subject) == (PRECONDITIONS, BROKEN)):
        raise CheckFailure(f"The preconditions of {BROKEN} were met.", expected)
    if len(checks()) > 1 or await is_tried_again(lab):
        raise CheckFailure(f"The preconditions of {BROKEN} failed, and the check was tried again.", expected)


async def is_tried_again(lab: Lab) -> bool:
    """Return whether the broken host's check, which has failed, is to be attempted once more."""
    workflow = lab.client.get_workflow_handle(lab.workflow_of(PRECONDITIONS, BROKEN))
    attempts: list[int] = []

    async def is_decided() -> bool:
        pending = (await workflow.describe()).raw_description.pending_activities
        attempts[:] = [activity.attempt for activity in pending if activity.activity_type.name == PRECONDITIONS]
        return attempts != [1]  # The first attempt is over: for good, or there is a second one to come.

    await lab.until(is_decided, timeout=1)
    return bool(attempts)


async def siblings_are_cancelled(lab: Lab) -> None:
    """Wait for the end of the broken host's siblings. Raises `CheckFailure` if that is not by a cancellation."""
    ids = {host: lab.workflow_of(UPDATE, host) for host in SIBLINGS}

    async def ended() -> bool:
        return all([await status_of(lab, workflow_id) != "still running" for workflow_id in ids.values()])

    await lab.until(ended, timeout=2.2)
    for host, workflow_id in ids.items():
        status = await status_of(lab, workflow_id)
        why = {
            "still running": "Nobody told it to stop.",
            "TERMINATED": "Its cluster ended first, and so the server cut it off.",
            "FAILED": "It took its cancellation for a failure.",
        }
        if status != "CANCELED":
            raise CheckFailure(
                f"When {BROKEN} had failed, {host} was {status}. {why.get(status, '')}".strip(),
                f"The cluster cancels {' and '.join(SIBLINGS)}, and waits until they have ended: they are CANCELED.",
            )


async def cluster_fails(lab: Lab) -> None:
    """Wait for the end of the cluster. Raises `CheckFailure` if it goes on with its other hosts, or does not fail."""
    expected = f"cluster2 is FAILED, and {NOT_BEGUN} stays as it is."
    workflow_id = lab.workflow_of(GET_HOSTS, "cluster2")

    async def ended() -> bool:
        return NOT_BEGUN in lab.begun() or await status_of(lab, workflow_id) != "still running"

    await lab.until(ended, timeout=1.5)
    if NOT_BEGUN in lab.begun():
        raise CheckFailure(f"{BROKEN} had failed, and {NOT_BEGUN} was begun.", expected)
    if (status := await status_of(lab, workflow_id)) != "FAILED":
        raise CheckFailure(f"cluster2 is {status}.", expected)


async def others_complete(lab: Lab) -> None:
    """Raise `CheckFailure` if the other cluster, or one of its hosts, did not complete."""
    begun = [host for host in HEALTHY if host in lab.begun(PRECONDITIONS)]
    ids = {"cluster3": lab.workflow_of(GET_HOSTS, "cluster3")}
    ids |= {host: lab.workflow_of(PRECONDITIONS, host) for host in begun}
    for name, workflow_id in ids.items():
        status = await status_of(lab, workflow_id)
        why = " The rollout ended first, and so the server cut it off." if status == "TERMINATED" else ""
        if status != "COMPLETED":
            raise CheckFailure(
                f"{name} is {status}.{why}",
                "cluster3 has nothing to do with the failure in cluster2: it and its hosts are COMPLETED.",
            )
    for host in begun:
        if (times := lab.updates_of(host)) != 1:
            raise CheckFailure(f"{host} was updated {times} times.", "Each host is patched once.")
    if begun != HEALTHY:
        raise CheckFailure(f"Of cluster3 only {were(begun)} patched.", "All hosts of the other clusters are.")


async def rollout_fails(lab: Lab, handle: Handle) -> None:
    """Raise `CheckFailure` if the rollout did not fail, or if its own message does not say which host and why."""
    errors = [call.error for call in lab.calls if (call.name, call.subject) == (PRECONDITIONS, BROKEN)]
    reason = getattr(errors[0], "message", str(errors[0]))
    expected = f"The rollout is FAILED, and its message names the host, {BROKEN}, and the reason, {reason!r}."
    status = await status_of(lab, handle.id)
    if status != "FAILED":
        raise CheckFailure(f"The rollout is {status}, although {BROKEN} is not patched.", expected)
    if early := [step for step in await lab.completed_steps(handle) for host in SIBLINGS if host in step]:
        raise CheckFailure(f"The query completed_steps has {early}.", f"{' and '.join(SIBLINGS)} are not patched.")
    try:
        await handle.result()
    except WorkflowFailureError as error:
        message = str(error.cause)
        if BROKEN not in message or reason not in message:
            inner = (
                f" (Further inside it says: {ending_of(error).removeprefix('failed: ')})"
                if BROKEN in ending_of(error)
                else ""
            )
            raise CheckFailure(f"The rollout's message is {message!r}.{inner}", expected) from None


async def nobody_is_cut_off(lab: Lab) -> None:
    """Terminate a cluster, then a rollout. Raises `CheckFailure` if what is below them is not cancelled."""
    hosts = {host for cluster in LEFT_ALONE.values() for host in cluster}
    lab.hold(UPDATE, *hosts)
    handle = await lab.start(list(LEFT_ALONE), pilot_count=2)
    await lab.approve(handle)
    if not await lab.wait(lambda: lab.begun(UPDATE) >= hosts):
        begun = listed(lab.begun(UPDATE) & hosts)
        raise CheckFailure(
            f"Being updated at the same time were {begun}. {await lab.what_it_does(handle)}",
            f"The pilots of all clusters are: {listed(hosts)}.",
        )
    ids = {cluster: lab.workflow_of(GET_HOSTS, cluster) for cluster in LEFT_ALONE}
    ids |= {host: lab.workflow_of(UPDATE, host) for host in hosts}
    await ends_below(lab, "cluster4", ids["cluster4"], {host: ids[host] for host in LEFT_ALONE["cluster4"]})
    below = ["cluster5", *LEFT_ALONE["cluster5"]]
    await ends_below(lab, "the rollout", handle.id, {name: ids[name] for name in below})
    if alerts := sorted(call.subject for call in lab.calls if call.name == ALERT and call.subject in hosts):
        raise CheckFailure(f"There were alerts for {', '.join(alerts)}.", "Nobody is alerted because of them.")


async def ends_below(lab: Lab, name: str, workflow_id: str, below: dict[str, str]) -> None:
    """Terminate a workflow. Raises `CheckFailure` if one of those below it, given with their ids, is not cancelled."""
    workflow = lab.client.get_workflow_handle(workflow_id)
    expected = "The server asks what is below to stop: it is CANCELED. That is for whoever starts a child to say."
    try:
        await workflow.terminate("A check")
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise CheckFailure(f"Before {name} was terminated: {await lab.what_it_does(workflow)}", expected) from error

    async def ended() -> bool:
        return "still running" not in [await status_of(lab, child) for child in below.values()]

    await lab.until(ended, timeout=2.2)
    for child, child_id in below.items():
        status = await status_of(lab, child_id)
        why = " The server cut it off." if status == "TERMINATED" else ""
        # A cluster may well fail because its hosts were cancelled.
        if status != "CANCELED" and not (child in LEFT_ALONE and status == "FAILED"):
            raise CheckFailure(f"When {name} was terminated, {child} was {status}.{why}", expected)

"""Patch side by side."""

from collections.abc import AsyncGenerator

from tests.exercises.lab import ALERT, PRECONDITIONS, SUCCESS, UPDATE, Lab, hosts_of, listed, were
from tests.exercises.wrong import Step, Wrong
from tests.runs import Handle

CLUSTERS = ["cluster3", "cluster4"]
HOSTS, PILOT_COUNT = 5, 3
PILOTS = {host for cluster in CLUSTERS for host in hosts_of(cluster, HOSTS)[:PILOT_COUNT]}
OTHERS = {host for cluster in CLUSTERS for host in hosts_of(cluster, HOSTS)[PILOT_COUNT:]}

AFTER = "Hosts that are no pilots begin when all pilots of their cluster are patched."


async def steps(lab: Lab) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at. Raises `Wrong` where one is not done."""
    handle = await start(lab)
    without_pilots = lab.begin(patch_without_pilots(lab))

    yield Step("The clusters are patched side by side", "Exercise 4")
    await clusters_side_by_side(lab, handle)

    yield Step("In each cluster, the pilots are patched side by side", "Exercise 4")
    hosts_side_by_side(lab, PILOTS, "pilots")

    yield Step("The other hosts begin when all pilots of their cluster are done, and not before", "Exercise 4")
    await pilots_first(lab)

    yield Step("Then they are patched side by side too", "Exercise 4")
    await lab.wait(lambda: under_way(lab) >= OTHERS)
    hosts_side_by_side(lab, OTHERS, "other hosts")

    yield Step("Result and progress have all hosts, as before", "Exercise 4")
    lab.release(UPDATE, *OTHERS)
    await complete(lab, handle)
    await without_pilots

    yield Step("A pilot that fails still fails the workflow, and the others stay as they are", "Exercise 4")
    await failure_is_kept(lab)


async def start(lab: Lab) -> Handle:
    """Start a workflow in which every update is held, and wait until no more of them begin."""
    lab.hosts_per_cluster = HOSTS
    lab.hold(UPDATE, *PILOTS, *OTHERS)
    handle = await lab.start(CLUSTERS, PILOT_COUNT)
    await lab.approve(handle)
    await lab.wait(lambda: under_way(lab) >= PILOTS)
    return handle


def under_way(lab: Lab) -> set[str]:
    """Return the hosts whose update is being held."""
    return {call.subject for call in lab.calls if call.name == UPDATE and not call.done}


async def clusters_side_by_side(lab: Lab, handle: Handle) -> None:
    """Raise `Wrong` if not all clusters have hosts under way."""
    clusters = {host.partition("_")[0] for host in under_way(lab)}
    if clusters != set(CLUSTERS):
        if not clusters:
            raise Wrong(
                f"No update was begun. {await lab.what_it_does(handle)}",
                "Approved, it patches the hosts, and waits until that is done.",
            )
        others = listed(set(CLUSTERS) - clusters)
        raise Wrong(
            f"While {were(under_way(lab))} being updated, no update was begun in {others}.",
            "Hosts of both clusters are under way at the same time.",
        )


def hosts_side_by_side(lab: Lab, hosts: set[str], name: str) -> None:
    """Raise `Wrong` if not all of these hosts are under way."""
    if missing := hosts - under_way(lab):
        raise Wrong(
            f"At the same time under way were only {listed(under_way(lab))}. Not begun: {listed(missing)}.",
            f"All {name} of a cluster are under way at the same time: {len(hosts)} updates in the two clusters.",
        )


def others_are_waiting(lab: Lab) -> None:
    """Raise `Wrong` if a host that is no pilot was begun."""
    if early := OTHERS & lab.begun():
        raise Wrong(f"While the pilots were being updated, {were(early)} begun.", AFTER)


async def pilots_first(lab: Lab) -> None:
    """Let all pilots but one end. Raises `Wrong` if another host of that one's cluster begins."""
    cluster = CLUSTERS[0]
    others = set(hosts_of(cluster, HOSTS)[PILOT_COUNT:])
    last = hosts_of(cluster, HOSTS)[PILOT_COUNT - 1]
    others_are_waiting(lab)
    lab.release(UPDATE, *PILOTS - {last})
    await lab.wait(lambda: lab.done(SUCCESS) >= PILOTS - {last})
    if await lab.wait(lambda: bool(others & lab.begun()), patience=0.4):
        raise Wrong(f"The pilot {last} was not patched yet, and {were(others & lab.begun())} begun.", AFTER)
    lab.release(UPDATE, last)


async def patch_without_pilots(lab: Lab) -> None:
    """Patch a cluster in which no host is a pilot. Raises `Wrong` if that does not work."""
    handle = await lab.start(["cluster8"], pilot_count=0)
    await lab.approve(handle)
    await lab.result(handle, "With a pilot_count of 0 there are no pilots, and the other hosts are patched.")


async def failure_is_kept(lab: Lab) -> None:
    """Let a pilot of a third cluster fail. Raises `Wrong` if the workflow goes on as if nothing had happened."""
    hosts = hosts_of("cluster9", HOSTS)
    lab.failing.add((PRECONDITIONS, hosts[1]))
    handle = await lab.start(["cluster9"], PILOT_COUNT)
    await lab.approve(handle)
    await lab.failure(handle, f"{hosts[1]} could not be patched, so the workflow fails, as it did before.")
    if hosts[1] not in lab.begun(ALERT):
        raise Wrong(f"The pilot {hosts[1]} failed, and nobody was alerted.", "There is an alert, as there was before.")
    if begun := set(hosts[PILOT_COUNT:]) & lab.begun():
        raise Wrong(
            f"The pilot {hosts[1]} failed, and {were(begun)} begun.", "If a pilot fails, they stay as they are."
        )


async def complete(lab: Lab, handle: Handle) -> None:
    """Wait for the end. Raises `Wrong` if a host is missing in the result or in the completed steps."""
    result = await lab.result(handle, "When all hosts are patched, the workflow completes.")
    patched = {cluster.cluster: set(cluster.patched_hosts) for cluster in result.clusters if cluster}
    for cluster in CLUSTERS:
        if patched.get(cluster) != set(hosts_of(cluster, HOSTS)):
            raise Wrong(
                f"For {cluster} the result has {listed(patched.get(cluster, set()))}.",
                "The result names every cluster, and with it all its hosts that were patched.",
            )
    for host in sorted(PILOTS | OTHERS):
        if (times := lab.updates_of(host)) != 1:
            raise Wrong(f"{host} was updated {times} times.", "Each host is patched once.")
    steps = await lab.completed_steps(handle)
    if twice := {step for step in steps if steps.count(step) > 1}:
        raise Wrong(f"More than once in completed_steps: {listed(twice)}.", "Each step is there once.")
    if missing := {host for host in PILOTS | OTHERS if not any(host in step for step in steps)}:
        raise Wrong(
            f"The query completed_steps does not have {listed(missing)}.",
            "The workflow that the client has started still answers with all that was done.",
        )

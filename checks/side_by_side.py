"""What exercises 4 and 5 have in common: two clusters whose hosts are patched side by side, the pilots first."""

from checks.failure import CheckFailure
from checks.lab import Lab
from checks.names import ALERT, PRECONDITIONS, UPDATE, hosts_of, listed, were
from support.histories import Handle

CLUSTERS = ["cluster3", "cluster4"]
HOSTS, PILOT_COUNT = 5, 3
PILOTS = {host for cluster in CLUSTERS for host in hosts_of(cluster, HOSTS)[:PILOT_COUNT]}
OTHERS = {host for cluster in CLUSTERS for host in hosts_of(cluster, HOSTS)[PILOT_COUNT:]}

AFTER = "Hosts that are no pilots begin when all pilots of their cluster are patched."


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
    """Raise `CheckFailure` if not all clusters have hosts under way."""
    clusters = {host.partition("_")[0] for host in under_way(lab)}
    if clusters != set(CLUSTERS):
        if not clusters:
            raise CheckFailure(
                f"No update was begun. {await lab.what_it_does(handle)}",
                "Approved, it patches the hosts, and waits until that is done.",
            )
        others = listed(set(CLUSTERS) - clusters)
        raise CheckFailure(
            f"While {were(under_way(lab))} being updated, no update was begun in {others}.",
            "Hosts of both clusters are under way at the same time.",
        )


def hosts_side_by_side(lab: Lab, hosts: set[str], name: str) -> None:
    """Raise `CheckFailure` if not all of these hosts are under way."""
    if missing := hosts - under_way(lab):
        raise CheckFailure(
            f"At the same time under way were only {listed(under_way(lab))}. Not begun: {listed(missing)}.",
            f"All {name} of a cluster are under way at the same time: {len(hosts)} updates in the two clusters.",
        )


def others_are_waiting(lab: Lab) -> None:
    """Raise `CheckFailure` if a host that is no pilot was begun."""
    if early := OTHERS & lab.begun():
        raise CheckFailure(f"While the pilots were being updated, {were(early)} begun.", AFTER)


async def failure_is_kept(lab: Lab) -> None:
    """Let a pilot of a third cluster fail. Raises `CheckFailure` if the workflow goes on as if nothing had happened."""
    hosts = hosts_of("cluster9", HOSTS)
    lab.failing.add((PRECONDITIONS, hosts[1]))
    handle = await lab.start(["cluster9"], PILOT_COUNT)
    await lab.approve(handle)
    await lab.failure(handle, f"{hosts[1]} could not be patched, so the workflow fails, as it did before.")
    if hosts[1] not in lab.begun(ALERT):
        raise CheckFailure(
            f"The pilot {hosts[1]} failed, and nobody was alerted.", "There is an alert, as there was before."
        )
    if others := lab.begun(ALERT) & {*hosts} - {hosts[1]}:
        raise CheckFailure(
            f"The pilot {hosts[1]} failed, and there were alerts for {listed(others)}, too: they were cancelled.",
            "There is an alert for a host that fails by itself. (A TaskGroup cancels the others, in no fixed order.)",
        )
    if begun := set(hosts[PILOT_COUNT:]) & lab.begun():
        raise CheckFailure(
            f"The pilot {hosts[1]} failed, and {were(begun)} begun.", "If a pilot fails, they stay as they are."
        )


async def complete(lab: Lab, handle: Handle) -> None:
    """Wait for the end. Raises `CheckFailure` if a host is missing in the result or in the completed steps."""
    result = await lab.result(handle, "When all hosts are patched, the workflow completes.")
    patched = {cluster.cluster: set(cluster.patched_hosts) for cluster in result.clusters if cluster}
    for cluster in CLUSTERS:
        if patched.get(cluster) != set(hosts_of(cluster, HOSTS)):
            raise CheckFailure(
                f"For {cluster} the result has {listed(patched.get(cluster, set()))}.",
                "The result names every cluster, and with it all its hosts that were patched.",
            )
    for host in sorted(PILOTS | OTHERS):
        if (times := lab.updates_of(host)) != 1:
            raise CheckFailure(f"{host} was updated {times} times.", "Each host is patched once.")
    steps = await lab.completed_steps(handle)
    if twice := {step for step in steps if steps.count(step) > 1}:
        raise CheckFailure(f"More than once in completed_steps: {listed(twice)}.", "Each step is there once.")
    if missing := {host for host in PILOTS | OTHERS if not any(host in step for step in steps)}:
        raise CheckFailure(
            f"The query completed_steps does not have {listed(missing)}.",
            "The workflow that the client has started still answers with all that was done.",
        )

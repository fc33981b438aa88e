"""Run it."""

from checks.client_script import ClientScript
from checks.exercises import place
from checks.failure import CheckFailure, Step
from checks.lab import Lab
from checks.names import HEALTH, hosts_of

from collections.abc import AsyncGenerator

CLUSTER = "cluster1"


async def steps(lab: Lab) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at. Raises `CheckFailure` where one is not done."""
    lab.hosts_per_cluster = 5
    yield Step("A workflow runs on a worker, and patches all hosts of a cluster", place(0, "Your task"))
    handle = await lab.start([CLUSTER], pilot_count=3)
    await lab.approve(handle)
    result = await lab.result(handle, "It patches its hosts and completes.")
    patched = [host for cluster in result.clusters for host in cluster.patched_hosts]
    if patched != hosts_of(CLUSTER, 5):
        raise CheckFailure(f"Patched were {', '.join(patched)}.", f"All five hosts of {CLUSTER} are patched.")

    yield Step("Temporal tries a step again that has failed", place(0, "Your task"))
    attempts = [call.attempt for call in lab.calls if call.name == HEALTH and call.subject == "cluster1_host1"]
    if attempts != [1, 2]:
        raise CheckFailure(
            f"Attempts of cluster1_host1's health check: {attempts}.", "The first fails, the second passes."
        )

    if lab.script is not None:
        yield Step("The client starts a workflow and prints its result", place(0, "Your task"))
        async with ClientScript(lab, "--clusters", CLUSTER) as client:
            expected = "It ends with exit code 0, and names the patched hosts."
            await client.ends(0, expected)
            if not any("cluster1_host5" in line for line in client.lines):
                raise client.failure("It does not name cluster1_host5.", expected)

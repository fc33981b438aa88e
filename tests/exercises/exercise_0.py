"""Run it."""

from collections.abc import AsyncGenerator

from tests.exercises.lab import HEALTH, ClientScript, Lab, hosts_of
from tests.exercises.wrong import Step, Wrong

CLUSTER = "cluster1"


async def steps(lab: Lab) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at. Raises `Wrong` where one is not done."""
    lab.hosts_per_cluster = 5
    yield Step("A workflow runs on a worker, and patches all hosts of a cluster", "Exercise 0")
    handle = await lab.start([CLUSTER], pilot_count=3)
    await lab.approve(handle)
    result = await lab.result(handle, "It patches its hosts and completes.")
    patched = [host for cluster in result.clusters for host in cluster.patched_hosts]
    if patched != hosts_of(CLUSTER, 5):
        raise Wrong(f"Patched were {', '.join(patched)}.", f"All five hosts of {CLUSTER} are patched.")

    yield Step("Temporal tries a step again that has failed", "Exercise 0")
    attempts = [call.attempt for call in lab.calls if call.name == HEALTH and call.subject == "cluster1_host1"]
    if attempts != [1, 2]:
        raise Wrong(f"Attempts of cluster1_host1's health check: {attempts}.", "The first fails, the second passes.")

    if lab.script is not None:
        yield Step("The client starts a workflow and prints its result", "Exercise 0")
        async with await ClientScript(lab).start("--clusters", CLUSTER) as client:
            await lab.wait(client.ended, patience=3)
            if client.process.returncode != 0 or not any("cluster1_host5" in line for line in client.lines):
                raise client.wrong("", "It ends with exit code 0, and names the patched hosts.")

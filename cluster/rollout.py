"""A rollout by the workshop's own client, and the faults that come one after the other meanwhile."""

from cluster.assembly import VERSION, Cluster
from cluster.faults import Fault, strike
from cluster.progress import Progress
from cluster.verdict import Inventory, Verdict, judge
from support.connection import connect
from support.processes import Process
from support.script import UserError
from workflow.versions import find_version

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

ROLLOUT_TIMEOUT = 900.0  # Seconds, and those of the faults come on top.
ASK_TIMEOUT = timedelta(seconds=5)
MANY = 30  # Hosts that are in the middle of their updates when a fault comes.


@dataclass
class Struck:
    """A fault that was done. Moments are those of `time.monotonic`."""

    fault: Fault
    begun: float
    up_again: float
    over: float = math.inf
    """When nine of ten hosts that it found in an update had moved on, and a question got through to a worker."""


@dataclass
class Rollout:
    """A rollout, and the faults that hit it."""

    inventory: Inventory
    progress: Progress
    seconds: float = 0.0
    followed_again: int = 0
    """How often the client lost the server, and was started again with --attach."""
    struck: list[Struck] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)


async def run_rollout(
    cluster: Cluster, inventory: Inventory, waiting: list[Fault], say: Callable[[str], None]
) -> Rollout:
    """Run a rollout, and return what came of it.

    Those of the faults are done that there is time for: they are taken from the list `waiting`, and told by `say`.
    """
    cluster.progress = Progress([*inventory])
    rollout = Rollout(inventory, cluster.progress)
    begun, patience = time.monotonic(), ROLLOUT_TIMEOUT + sum(fault.seconds for fault in waiting)
    following = asyncio.create_task(follow(rollout))
    striking = asyncio.create_task(strike_all(cluster, rollout, waiting, following, say))
    try:
        await asyncio.wait([following, striking], timeout=patience, return_when=asyncio.FIRST_EXCEPTION)
        for task in (following, striking):
            if task.done():
                task.result()
        if not (following.done() and striking.done()):
            rollout.verdict.problems.append(f"It is not at its end after {patience:.0f} s.")
    finally:
        following.cancel()
        striking.cancel()
    rollout.seconds = time.monotonic() - begun
    if waiting and not rollout.struck:
        rollout.verdict.problems.append("It was over before a fault could come: more clusters, please.")
    if not rollout.verdict.problems:
        client = await connect()
        version = find_version(VERSION)
        handle = client.get_workflow_handle_for(version.workflow.run, version.workflow_id)
        rollout.verdict = await judge(client, handle, inventory)
    return rollout


async def follow(rollout: Rollout) -> None:
    """Start the rollout by the workshop's client, and follow it to its end, also where the server is gone meanwhile."""
    command = ["python", "temporal_client.py", VERSION, "--clusters", ",".join(rollout.inventory)]
    while True:
        client = Process(*command)
        try:
            code = await client.ended()
        finally:
            client.kill()
        if code in (0, 1):
            return
        if any(line.startswith("Started") for line in client.lines):
            command.append("--attach")
        elif "--attach" not in command:
            raise UserError(f"The client does not start: {client.lines[-1] if client.lines else f'exit code {code}'}")
        rollout.followed_again += 1
        await asyncio.sleep(0.5)


async def strike_all(
    cluster: Cluster,
    rollout: Rollout,
    waiting: list[Fault],
    following: "asyncio.Task[None]",
    say: Callable[[str], None],
) -> None:
    """Do one fault after the other, each in the middle of updates, and when the one before is got over.

    No step loses its last attempt, for then it would have failed, and rightly so. Ends when no fault is left, or with
    the rollout.
    """
    client, progress = await connect(), rollout.progress
    while waiting and not following.done():
        hit = progress.in_update()
        if len(hit) < min(MANY, len(rollout.inventory)) or not await can_lose(client, hit, waiting[0].costs):
            await asyncio.sleep(0.05)
            continue
        current = waiting.pop(0)
        say(f"{current} ...")
        hit, begun = progress.in_update(), time.monotonic()
        await strike(current, cluster.parts, cluster.networks, cluster.database)
        done = Struck(current, begun, time.monotonic())
        rollout.struck.append(done)
        while not following.done() and not (progress.moved_since(hit, done.up_again) and await answers(client)):
            await asyncio.sleep(0.1)
        done.over = time.monotonic()


def rollout_of(client: Client) -> WorkflowHandle[object, object]:
    """Return the rollout that is under way."""
    return client.get_workflow_handle(find_version(VERSION).workflow_id)


async def answers(client: Client) -> bool:
    """Return whether a question gets through frontend, history and matching to a worker and back."""
    try:
        await rollout_of(client).query("completed_steps", rpc_timeout=ASK_TIMEOUT)
    except RPCError:
        return False
    return True


async def can_lose(client: Client, hosts: set[str], attempts: int) -> bool:
    """Return whether each step of these hosts can lose so many attempts: what has lost its last one has failed."""
    root = find_version(VERSION).workflow_id
    for host in hosts:
        handle = client.get_workflow_handle(f"{root}/{host.rpartition('_')[0]}/{host}")
        try:
            pending = (await handle.describe()).raw_description.pending_activities
        except RPCError:
            return False
        if any(activity.attempt + attempts > activity.maximum_attempts for activity in pending):
            return False
    return True

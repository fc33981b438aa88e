"""Patch side by side."""

from checks.exercises import place
from checks.failure import CheckFailure, Step
from checks.lab import Lab
from checks.names import SUCCESS, UPDATE, hosts_of, were
from checks.side_by_side import (
    AFTER,
    CLUSTERS,
    HOSTS,
    OTHERS,
    PILOT_COUNT,
    PILOTS,
    clusters_side_by_side,
    complete,
    failure_is_kept,
    hosts_side_by_side,
    others_are_waiting,
    start,
    under_way,
)

from collections.abc import AsyncGenerator


async def steps(lab: Lab) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at. Raises `CheckFailure` where one is not done."""
    handle = await start(lab)
    without_pilots = lab.begin(patch_without_pilots(lab))

    yield Step("The clusters are patched side by side", place(4, "Your task"))
    await clusters_side_by_side(lab, handle)

    yield Step("In each cluster, the pilots are patched side by side", place(4, "Your task"))
    hosts_side_by_side(lab, PILOTS, "pilots")

    yield Step("The other hosts begin when all pilots of their cluster are done, and not before", place(4, "Your task"))
    await pilots_first(lab)

    yield Step("Then they are patched side by side too", place(4, "Your task"))
    await lab.wait(lambda: under_way(lab) >= OTHERS)
    hosts_side_by_side(lab, OTHERS, "other hosts")

    yield Step("Result and progress have all hosts, as before", place(4, "Your task"))
    lab.release(UPDATE, *OTHERS)
    await complete(lab, handle)
    await without_pilots

    yield Step("A pilot that fails still fails the workflow, and the others stay as they are", place(4, "Your task"))
    await failure_is_kept(lab)


async def pilots_first(lab: Lab) -> None:
    """Let all pilots end, the last of each cluster by itself.

    Raises `CheckFailure` if another host of a cluster begins before that, or does not begin after it.
    """
    others = [set(hosts_of(cluster, HOSTS)[PILOT_COUNT:]) for cluster in CLUSTERS]
    last = [hosts_of(cluster, HOSTS)[PILOT_COUNT - 1] for cluster in CLUSTERS]
    others_are_waiting(lab)
    lab.release(UPDATE, *PILOTS - {*last})
    await lab.wait(lambda: lab.done(SUCCESS) >= PILOTS - {*last})
    if await lab.wait(lambda: bool(OTHERS & lab.begun()), patience=0.4):
        early = sorted(OTHERS & lab.begun())
        pilot = last[0] if early[0] in others[0] else last[1]
        raise CheckFailure(f"The pilot {pilot} was not patched yet, and {were(early)} begun.", AFTER)
    lab.release(UPDATE, last[0])
    if not await lab.wait(lambda: bool(others[0] & lab.begun())):
        raise CheckFailure(
            f"All pilots of {CLUSTERS[0]} were patched, and no other host of it was begun while {last[1]} was being "
            "updated.",
            "No cluster waits for another.",
        )
    lab.release(UPDATE, last[1])


async def patch_without_pilots(lab: Lab) -> None:
    """Patch a cluster in which no host is a pilot. Raises `CheckFailure` if that does not work."""
    lab.small_clusters.add("cluster8")
    handle = await lab.start(["cluster8"], pilot_count=0)
    await lab.approve(handle)
    await lab.result(handle, "With a pilot_count of 0 there are no pilots, and the other hosts are patched.")

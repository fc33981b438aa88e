"""Ask for the progress."""

from checks.client_script import ClientScript
from checks.exercises import place
from checks.failure import CheckFailure, Step
from checks.lab import Lab
from checks.machine import slowness
from checks.names import GET_HOSTS, HEALTH, NO, PRECONDITIONS, UPDATE, hosts_of

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator

CLUSTER = "cluster3"
FIRST, SECOND = hosts_of(CLUSTER, 2)
# Seconds between two questions of the client: few, to see that it asks again and again, and so many that the news of
# the workflow's end comes in between, to see that it asks once more after that.
POLL_INTERVAL = 0.2
LONG_POLL_INTERVALS = (2.0, 5.0, 12.0)


async def steps(lab: Lab) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at. Raises `CheckFailure` where one is not done."""
    lab.hosts_per_cluster = 2
    for activity in (PRECONDITIONS, UPDATE, HEALTH):
        lab.hold(activity, FIRST)
    lab.hold(PRECONDITIONS, SECOND)
    handle = await lab.start([CLUSTER], pilot_count=2)
    await lab.until(lambda: lab.is_waiting(handle), timeout=2)

    yield Step("It has a query completed_steps, which returns a list of texts", place(2, "Your task", "points 1 and 2"))
    unapproved = await lab.completed_steps(handle)

    yield Step("The approval is a step, once it is there", place(2, "Your task", "point 1"))
    await lab.approve(handle)
    await reached(lab, PRECONDITIONS, FIRST)
    approved = await lab.completed_steps(handle)
    if lab.ways():
        await approval_is_a_step(lab, unapproved, approved)

    yield Step("A host is in the list when it is patched, and not before", place(2, "Your task", "point 1"))
    expected = f"'{FIRST} patched' gets into the list after all that is done with this host, its health check included."
    if about(approved, FIRST):
        raise CheckFailure(f"Nothing was done with {FIRST} yet, and the list was {approved}.", expected)
    early = approved
    for activity, following in ((PRECONDITIONS, UPDATE), (UPDATE, HEALTH)):
        lab.release(activity, FIRST)
        await reached(lab, following, FIRST)
        early = await lab.completed_steps(handle)
    lab.release(HEALTH, FIRST)
    await reached(lab, PRECONDITIONS, SECOND)

    async def is_listed() -> bool:
        return len(about(await lab.completed_steps(handle), FIRST)) > len(about(early, FIRST))

    if not await lab.until(is_listed, timeout=1):
        listed = await lab.completed_steps(handle)
        if about(early, FIRST):
            raise CheckFailure(f"The health check of {FIRST} was not done yet, and the list was {early}.", expected)
        raise CheckFailure(f"{FIRST} was patched, the next host not yet, and the list was {listed}.", expected)

    yield Step("To ask changes nothing", place(2, "Your task", "point 2"))
    answers = [await lab.completed_steps(handle) for _ in range(3)]
    if answers[0] != answers[1] or answers[1] != answers[2]:
        raise CheckFailure(f"Asked three times in a row, it answered {answers}.", "A query only reads.")

    yield Step("In the end all hosts are in the list, but none that failed", place(2, "Your task", "point 1"))
    lab.release(PRECONDITIONS, SECOND)
    await lab.result(handle, "The workflow still completes.")
    listed = await lab.completed_steps(handle)
    if listed[: len(approved)] != approved:
        raise CheckFailure(f"The list was {approved}, and in the end {listed}.", "New steps come at its end.")
    if twice := [step for step in listed if listed.count(step) > 1]:
        raise CheckFailure(f"{twice[0]!r} is in the list more than once: {listed}.", "Each step is there once.")
    for host in (FIRST, SECOND):
        if not about(listed, host):
            raise CheckFailure(f"{host} is not in the list: {listed}.", "Each host that is patched is a step.")
    await failed_host_is_not_listed(lab, about(listed, FIRST)[-1])

    if lab.script is not None:
        yield Step("Your client asks again and again, and prints what is new", place(2, "Your task", "point 3"))
        await client_prints(lab)
        await client_asks_after_the_end(lab)


def about(steps: list[str], host: str) -> list[str]:
    """Return the steps that name this host."""
    return [step for step in steps if host in step]


async def reached(lab: Lab, activity: str, host: str) -> None:
    """Wait until this activity is begun for the host. Raises `CheckFailure` if it is never."""
    if not await lab.wait(lambda: host in lab.begun(activity)):
        raise CheckFailure(
            f"{activity} of {host} was never begun. {await lab.what_it_does(lab.handles[0])}",
            "Approved, the workflow patches its hosts as it did before.",
        )


async def approval_is_a_step(lab: Lab, unapproved: list[str], approved: list[str]) -> None:
    """Raise `CheckFailure` if an approval, in any way, is no step more, or if a rejection is one."""
    expected = "After the approval, and not before, there is one step more, such as 'patching approved'."
    if len(approved) <= len(unapproved):
        if "patching approved" in unapproved:
            raise CheckFailure(f"Nobody had answered yet, and the list was {unapproved}.", expected)
        raise CheckFailure(f"The list was {unapproved} before the approval, and {approved} after it.", expected)
    for number, way in enumerate(lab.ways()):
        name = way.name.lower()
        cluster = f"cluster{7 + number}"
        lab.hold(GET_HOSTS, cluster)
        handle = await lab.start([cluster])
        await lab.answer(handle, way)
        await lab.wait(lambda cluster=cluster: cluster in lab.begun(GET_HOSTS))  # type: ignore[misc]
        if len(listed := await lab.completed_steps(handle)) <= len(unapproved):
            raise CheckFailure(f"After an approval by {name} the list was {listed}.", expected)
        await handle.terminate()
        handle = await lab.start([CLUSTER])
        await lab.answer(handle, way, NO)
        await lab.closed(handle, "A workflow that is rejected fails.")
        if len(listed := await lab.completed_steps(handle)) > len(unapproved):
            raise CheckFailure(f"After a rejection by {name} the list was {listed}.", expected)


async def failed_host_is_not_listed(lab: Lab, patched: str) -> None:
    """Let a host fail. Raises `CheckFailure` if it is listed like one that is patched, or if the failure is lost."""
    host = hosts_of("cluster9", 1)[0]
    lab.failing.add((PRECONDITIONS, host))
    handle = await lab.start(["cluster9"])
    await lab.approve(handle)
    await lab.failure(handle, "A workflow with a host that fails still fails.")
    if patched.replace(FIRST, host) in (listed := await lab.completed_steps(handle)):
        raise CheckFailure(
            f"{host} could not be patched, and the list was {listed}.", "A step in the list was completed."
        )


async def client_prints(lab: Lab) -> None:
    """Hold a workflow of the client's twice. Raises `CheckFailure` if it has not printed once what is done by then."""
    cluster = "cluster4"
    hosts = hosts_of(cluster, 2)
    lab.hold(HEALTH, *hosts)
    script = lab.script and lab.script.name
    flags = ["--clusters", cluster, "--pilot-count", "1", "--poll-interval", str(POLL_INTERVAL)]
    expected = f"`python {script} {' '.join(flags)}` asks every {POLL_INTERVAL:g} s, and prints each new step once."
    async with ClientScript(lab, *flags) as client:
        before: list[str] = []
        printed = 0
        for host in hosts:
            if not await client.wait(lambda host=host: host in lab.begun(HEALTH) or client.ended()):  # type: ignore[misc]
                raise client.failure("The client's workflow did not get on.", expected)
            if client.ended():
                raise client.failure("The client ended before its workflow.", expected)
            steps = await lab.completed_steps(client.workflow)
            if not await client.wait(lambda steps=steps: not missing(client, steps)):  # type: ignore[misc]
                raise client.failure(
                    f"The list was {steps}, and the client had not printed {missing(client, steps)}.", expected
                )
            asked_twice = lab.queries() + 2

            async def has_asked(number: int = asked_twice) -> bool:
                return lab.queries() >= number

            await lab.until(has_asked, timeout=1)
            for step in about(steps, cluster):
                if len([line for line in client.lines if step in line]) > 1:
                    raise client.failure(f"The client printed {step!r} more than once.", expected)
            for step in before:
                if any(step in line for line in client.lines[printed:]):
                    raise client.failure(f"The client printed {step!r} more than once.", expected)
            before, printed = steps, len(client.lines)
            lab.release(HEALTH, host)
        await client.ends(0, "In the end the client prints the result, and its exit code is 0.")


def missing(client: ClientScript, steps: list[str]) -> list[str]:
    """Return the steps that the client has not printed."""
    return [step for step in steps if not any(step in line for line in client.lines)]


async def client_asks_after_the_end(lab: Lab) -> None:
    """Let the last step and the end come just after the client has asked, long before it is to ask again.

    On a slow machine the news of the end may come late, so that another trial, with more time, has to show it.
    """
    for number, interval in enumerate(LONG_POLL_INTERVALS, start=20):
        if await asks_after_the_end(lab, f"cluster{number}", interval):
            return


async def asks_after_the_end(lab: Lab, cluster: str, interval: float) -> bool:
    """Try it with this cluster, and an interval in seconds. Returns whether it was clear that the end made it ask.

    Raises `CheckFailure` if it has not printed the last step, or asks too often.
    """
    last_host = hosts_of(cluster, 2)[-1]
    lab.hold(HEALTH, last_host)
    asked_before = lab.queries()
    started = time.monotonic()
    asked_at: list[float] = []
    flags = ["--clusters", cluster, "--pilot-count", "1", "--poll-interval", f"{interval:g}"]
    script = lab.script and lab.script.name
    expected = f"`python {script} {' '.join(flags)}` asks every {interval:g} s."
    async with ClientScript(lab, *flags) as client:

        def is_held() -> bool:
            return last_host in lab.begun(HEALTH) or client.ended()

        async def note_questions() -> None:
            while True:
                asked_at.extend([time.monotonic()] * (lab.queries() - asked_before - len(asked_at)))
                await asyncio.sleep(0.02)

        async def has_just_asked() -> bool:
            now = time.monotonic()
            just = bool(asked_at) and now - asked_at[-1] < interval / 4
            return client.ended() or (is_held() and just and now - asked_at[0] > 0.9 * interval)

        noting = lab.begin(note_questions())
        if not await client.wait(is_held, interval) or client.ended():
            raise client.failure("The client's workflow did not get on.", expected)
        await lab.until(has_just_asked, 3 * interval)
        if client.ended():
            raise client.failure("The client ended before its workflow.", expected)
        gaps = [after - before for before, after in itertools.pairwise(asked_at)]
        # A single gap may look shorter than it was, where its first question was noted late.
        if len(gaps) > 1 and max(gaps) < 0.7 * interval:
            raise client.failure(f"The client asked {len(asked_at)} times, every {max(gaps):.1f} s.", expected)
        lab.release(HEALTH, last_host)
        await lab.closed(client.workflow, expected)
        closed_at = time.monotonic()
        await client.wait_for_end(interval)
        noting.cancel()
        asked, took = lab.queries() - asked_before, time.monotonic() - started
        if asked > 1.5 * took / interval + 3:
            raise client.failure(f"The client asked {asked} times in {took:.1f} s.", expected)
        if missing(client, steps := await lab.completed_steps(client.workflow)):
            expected = "After the workflow's end the client asks once more."
            raise client.failure(f"In the end the list was {steps}.", expected)
        # A last question in the usual time may be one that the client would have asked anyhow, where it has heard late.
        if len(asked_at) < 2:
            return False
        by_the_end = asked_at[-1] - asked_at[-2] < 0.6 * interval
        heard_long_before = asked_at[-1] - closed_at > 0.5 * interval and slowness() < 2
        return min(gaps) > 0.8 * interval and (by_the_end or heard_long_before)

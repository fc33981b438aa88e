"""Ask for the progress."""

from collections.abc import AsyncGenerator

from tests.exercises.lab import HEALTH, PRECONDITIONS, REQUEST, UPDATE, ClientScript, Lab, hosts_of
from tests.exercises.wrong import Step, Wrong

CLUSTER = "cluster3"
FIRST, SECOND = hosts_of(CLUSTER, 2)


async def steps(lab: Lab) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at. Raises `Wrong` where one is not done."""
    lab.hosts_per_cluster = 2
    for activity in (PRECONDITIONS, UPDATE, HEALTH):
        lab.hold(activity, FIRST)
    lab.hold(PRECONDITIONS, SECOND)
    handle = await lab.start([CLUSTER])
    await lab.wait(lambda: REQUEST in lab.activities_in(handle))

    yield Step("It has a query completed_steps, which returns a list of texts", "Exercise 2, points 1 and 2")
    unapproved = await lab.completed_steps(handle)

    yield Step("The approval is a step, once it is there", "Exercise 2, point 1")
    if lab.ways() and "patching approved" in unapproved:
        raise Wrong(f"Nobody had answered yet, and the list was {unapproved}.", "It records what is done, not before.")
    await lab.approve(handle)
    await reached(lab, PRECONDITIONS, FIRST)
    approved = await lab.completed_steps(handle)
    if lab.ways() and len(approved) <= len(unapproved):
        raise Wrong(
            f"The list was {unapproved} before the approval, and {approved} after it.",
            "After the approval there is one step more, such as 'patching approved'.",
        )

    yield Step("A host is in the list when it is patched, and not before", "Exercise 2, point 1")
    expected = f"'{FIRST} patched' gets into the list after all that is done with this host, its health check included."
    if about(approved, FIRST):
        raise Wrong(f"Nothing was done with {FIRST} yet, and the list was {approved}.", expected)
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
            raise Wrong(f"The health check of {FIRST} was not done yet, and the list was {early}.", expected)
        raise Wrong(f"{FIRST} was patched, and the list was {listed}.", expected)

    yield Step("To ask changes nothing", "Exercise 2, point 2")
    answers = [await lab.completed_steps(handle) for _ in range(3)]
    if answers[0] != answers[1] or answers[1] != answers[2]:
        raise Wrong(f"Asked three times in a row, it answered {answers}.", "A query only reads.")

    yield Step("In the end all hosts are in the list", "Exercise 2, point 1")
    lab.release(PRECONDITIONS, SECOND)
    await lab.result(handle, "The workflow still completes.")
    listed = await lab.completed_steps(handle)
    for host in (FIRST, SECOND):
        if not about(listed, host):
            raise Wrong(f"{host} is not in the list: {listed}.", "Each host that is patched is a step.")

    if lab.script is not None:
        yield Step("Your client asks again and again, and prints what is new", "Exercise 2, point 3")
        await client_prints(lab)


def about(steps: list[str], host: str) -> list[str]:
    """Return the steps that name this host."""
    return [step for step in steps if host in step]


async def reached(lab: Lab, activity: str, host: str) -> None:
    """Wait until this activity is begun for the host. Raises `Wrong` if it is never."""
    if not await lab.wait(lambda: host in lab.begun(activity)):
        raise Wrong(
            f"{activity} of {host} was never begun. {await lab.what_it_does(lab.handles[0])}",
            "Approved, the workflow patches its hosts as it did before.",
        )


async def client_prints(lab: Lab) -> None:
    """Hold a workflow of the client's twice, and look each time at what the client has printed by then."""
    cluster = "cluster4"
    first, second = hosts_of(cluster, 2)
    lab.hold(HEALTH, first, second)
    script = lab.script and lab.script.name
    expected = f"While the workflow runs, `python {script} --poll-interval 0.1` prints each step within a moment."
    async with await ClientScript(lab).start(
        "--clusters", cluster, "--pilot-count", "1", "--poll-interval", "0.1"
    ) as c:
        for host in (first, second):
            if not await lab.wait(lambda host=host: host in lab.begun(HEALTH) or c.ended()) or c.ended():  # type: ignore[misc]
                raise Wrong(f"The client's workflow did not get on. {c.said()}", expected)
            steps = await lab.completed_steps(c.workflow)

            def missing(steps: list[str] = steps) -> list[str]:
                return [step for step in steps if not any(step in line for line in c.lines)]

            if not await lab.wait(lambda missing=missing: not missing()):  # type: ignore[misc]
                raise Wrong(f"The list was {steps}, and the client had not printed {missing()}. {c.said()}", expected)
            lab.release(HEALTH, host)
        await lab.wait(c.ended, patience=2)
        if c.process.returncode != 0:
            raise Wrong(c.said(), "In the end the client prints the result, and its exit code is 0.")

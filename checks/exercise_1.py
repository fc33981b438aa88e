"""Wait for an approval."""

from checks.client_script import ClientScript
from checks.exercises import place
from checks.failure import CheckFailure, Step
from checks.lab import PATIENCE, Lab, Way
from checks.names import GET_HOSTS, NO, REQUEST, YES
from support.histories import Handle, history
from workflow.types import ApprovalAnswer

import inspect
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

CLUSTER = "cluster3"
TIMEOUT = 2  # Seconds. Not 1, which is what the server takes for any shorter timer, too.


async def steps(lab: Lab) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at. Raises `CheckFailure` where one is not done."""
    unanswered = await lab.start([CLUSTER], approval_timeout=TIMEOUT)
    misfit = handler_with_other_parameters(lab)
    ways = [] if misfit else lab.ways()

    # All of these run side by side, which saves the most of their time.
    approved = [lab.begin(complete(lab, way)) for way in ways]
    early = [lab.begin(complete_at_once(lab, way)) for way in ways]
    rejected = [lab.begin(reject(lab, way)) for way in ways]
    twice = [lab.begin(answer_twice(lab, way)) for way in ways]
    if len(ways) == 2:
        twice.append(lab.begin(answer_in_both_ways(lab)))
    awaited = [lab.begin(request_is_awaited(lab, way)) for way in ways[:1]]

    yield Step("It asks for approval before it does anything else", place(1, "Your task", "point 1"))
    await lab.wait(lambda: bool(lab.activities_in(unanswered)))
    begun = lab.activities_in(unanswered)
    expected = f"`run` first awaits {REQUEST}."
    if not begun:
        raise CheckFailure(f"No activity was begun. {await lab.what_it_does(unanswered)}", expected)
    if begun[0] != REQUEST:
        raise CheckFailure(f"The first activity was {begun[0]}.", expected)

    yield Step(
        "Without an answer in time it fails and says so, and nothing is patched",
        place(1, "Your task", "points 2 and 5"),
    )
    await no_answer(lab, unanswered)

    yield Step("There is a way to answer it", place(1, "Your task", "points 3 and 4"))
    if not lab.ways():
        raise CheckFailure(
            f"The class {lab.version.workflow.__name__} has neither an update {Way.UPDATE.value} nor a signal "
            f"{Way.SIGNAL.value}."
            f" Its updates: {', '.join(lab.defined('updates')) or 'none'}."
            f" Its signals: {', '.join(lab.defined('signals')) or 'none'}.",
            "At least one of the two is there, under this name: the client looks for it.",
        )

    if misfit:
        raise misfit

    yield Step("Approved, it goes on and completes", place(1, "Your task", "points 3 to 5"))
    for scenario in approved:
        await scenario

    yield Step("An approval counts even if it comes before `run` has begun", place(1, "Hint: how to wait (point 2)"))
    for scenario in early:
        await scenario

    yield Step("It goes on when its request is sent, and not before", place(1, "Your task", "point 1"))
    for scenario in awaited:
        await scenario

    yield Step("Rejected, it fails and says who rejected it, and nothing is patched", place(1, "Your task", "point 5"))
    for scenario in rejected:
        await scenario

    yield Step("Only the first answer counts", place(1, "Your task", "points 3 and 4"))
    for scenario in twice:
        await scenario

    if lab.script is not None:
        yield Step("Your client answers: yes, and with --reject no", place(1, "Your task", "point 6"))
        await client_answers(lab, ["--clusters", CLUSTER], approved=True)
        await client_answers(lab, ["--clusters", CLUSTER, "--reject"], approved=False)


async def no_answer(lab: Lab, handle: Handle, trials: int = 3) -> None:
    """Wait for the end of a workflow that nobody answers. Raises `CheckFailure` if it does not fail and say why.

    Where a busy machine leaves it open whether it has waited, another workflow is tried, up to so many in all.
    """
    expected = (
        f"With approval_timeout_seconds={TIMEOUT}, and nobody who answers, it waits for {TIMEOUT} seconds and then "
        "fails with an ApplicationError that says why."
    )
    cause = await failed(lab, handle, "although nobody had answered", expected, patience=TIMEOUT + 1.5)
    if not isinstance(cause, ApplicationError) or cause.message in ("", "Application error"):
        raise CheckFailure(f"It failed, but its message {str(cause)!r} says nothing about an approval.", expected)
    if lab.activities_in(handle).count(REQUEST) > 1:
        raise CheckFailure("It asked for approval more than once.", "It asks once, and waits.")
    events = await history(handle)
    asked = next((event for event in events if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED), None)
    if asked is None:
        raise CheckFailure("It failed before its request was sent.", expected)
    waits = waits_for_the_timeout(events)
    if waits is None and trials > 1:
        return await no_answer(lab, await lab.start([CLUSTER], approval_timeout=TIMEOUT), trials - 1)
    if waits is False:
        timers = await lab.timers(handle)
        waited = (events[-1].event_time.ToNanoseconds() - asked.event_time.ToNanoseconds()) / 1e9
        raise CheckFailure(f"It waited for {timers[0] if len(timers) == 1 else waited:.3g} s.", expected)


def waits_for_the_timeout(events: Sequence[HistoryEvent]) -> bool | None:
    """Return whether the workflow of these events has waited for `TIMEOUT`, as far as that is up to its code.

    None means that there is no telling: one short timer that took so long may be the first of many looks at the time,
    and the only one that a busy machine had time for.
    """
    timers, looks, now = [], [], 0.0
    for event in events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            now = event.event_time.ToNanoseconds() / 1e9  # What `workflow.time()` is until the next one.
        elif event.event_type == EventType.EVENT_TYPE_TIMER_STARTED:
            timers.append(event.timer_started_event_attributes.start_to_fire_timeout.ToMilliseconds() / 1000)
            looks.append(now)
    shortest, longest = 0.95 * TIMEOUT, 1.4 * TIMEOUT
    if any(shortest <= seconds <= longest for seconds in [*timers, sum(timers)]):
        return True
    # Or it looks at the time again and again. A busy machine may let it look late: that is not up to its code.
    looked = bool(timers) and now - looks[0] >= shortest and looks[-1] + timers[-1] - looks[0] <= longest
    if len(timers) == 1:
        return None if looked and timers[0] <= 1 else False
    return looked


async def complete(lab: Lab, way: Way) -> None:
    """Approve a workflow that has asked for it. Raises `CheckFailure` if it does not complete."""
    handle = await lab.start([CLUSTER])
    await lab.until(lambda: lab.is_waiting(handle), timeout=2)
    await answer(lab, handle, way, YES)
    await completed(lab, handle, "After an approval, it patches the hosts and returns them.")


def handler_with_other_parameters(lab: Lab) -> CheckFailure | None:
    """Return what is wrong if an update or a signal takes something else than an answer."""
    definition = getattr(lab.version.workflow, "__temporal_workflow_definition")
    for way in lab.ways():
        handler = {**definition.updates, **definition.signals}[way.value]
        taken = [*inspect.signature(handler.fn).parameters.values()][1:]
        hints = [hint for hint in handler.arg_types or []]
        if len(taken) != 1 or (hints and hints[0] not in (ApprovalAnswer, Any, dict)):
            return CheckFailure(
                f"{way.value} takes ({', '.join(map(str, taken))}).",
                "It takes one value, `answer: ApprovalAnswer`: that is what a client sends.",
            )
    return None


async def request_is_awaited(lab: Lab, way: Way) -> None:
    """Answer while the request is being sent. Raises `CheckFailure` if the workflow does not wait for the request."""
    cluster = "cluster6"
    lab.hold(REQUEST, cluster)
    handle = await lab.start([cluster])
    await lab.wait(lambda: cluster in lab.begun(REQUEST))
    await answer(lab, handle, way, YES)
    await lab.wait(lambda: bool({*lab.activities_in(handle)} - {REQUEST}), patience=0.3)
    if more := [name for name in lab.activities_in(handle) if name != REQUEST]:
        raise CheckFailure(
            f"{more[0]} was begun while {REQUEST} was still under way.", "`await` waits for an activity's end."
        )
    lab.release(REQUEST, cluster)
    await completed(lab, handle, "When the request is sent, and an answer is there, it goes on.")


async def complete_at_once(lab: Lab, way: Way) -> None:
    """Approve a workflow with its start. Raises `CheckFailure` if it does not complete."""
    if way is Way.SIGNAL:
        handle = await lab.start([CLUSTER], start_signal=Way.SIGNAL.value, start_signal_args=[YES])
    else:
        handle = await lab.start_with_update([CLUSTER], YES)
    await completed(
        lab,
        handle,
        "It can be answered at any time after its start: the attribute for the answer is set in `__init__`, and "
        "nothing sets it back.",
    )


async def reject(lab: Lab, way: Way) -> None:
    """Reject a workflow. Raises `CheckFailure` if it does not fail and name who rejected it."""
    expected = "After an answer with approved=False by Bob, it fails with an ApplicationError whose message names Bob."
    handle = await lab.start([CLUSTER])
    try:
        await answer(lab, handle, way, NO)
    except CheckFailure as failure:
        if "refused" not in failure.seen:
            raise
        seen = failure.seen.replace("A first answer", "A first answer, a no,")
        raise CheckFailure(seen, "The update takes the answer and replies. It is `run` that fails then.") from None
    cause = await failed(lab, handle, "although it had been rejected", expected)
    if NO.approver not in str(cause):
        raise CheckFailure(f"It failed, but its message is {str(cause)!r}.", expected)


async def answer_twice(lab: Lab, way: Way) -> None:
    """Approve a workflow and then reject it. Raises `CheckFailure` if the second answer has an effect."""
    if way is Way.SIGNAL:
        # The request is held until both are there: else the workflow might have ended before the second.
        lab.hold(REQUEST, "cluster7", "cluster8")
        handle = await lab.start(["cluster7"], start_signal=Way.SIGNAL.value, start_signal_args=[YES])
        await handle.signal(Way.SIGNAL.value, NO)
        lab.release(REQUEST, "cluster7")
        await completed(lab, handle, "A first signal of yes counts, and a second one of no changes nothing.")
        expected = "A first signal of no counts, and a second one of yes changes nothing."
        handle = await lab.start(["cluster8"], start_signal=Way.SIGNAL.value, start_signal_args=[NO])
        await handle.signal(Way.SIGNAL.value, YES)
        lab.release(REQUEST, "cluster8")
        await failed(lab, handle, "although it had been rejected first", expected)
    else:
        lab.hold(GET_HOSTS, "cluster4")
        handle = await lab.start(["cluster4"])
        await answer(lab, handle, way, YES)
        await second_update(handle)
        lab.release(GET_HOSTS, "cluster4")
        await completed(lab, handle, "A first answer of yes counts, and a second one of no does not.")


async def answer_in_both_ways(lab: Lab) -> None:
    """Approve a workflow by signal and reject it by update. Raises `CheckFailure` if the second answer is taken."""
    lab.hold(GET_HOSTS, "cluster5")
    handle = await lab.start(["cluster5"], start_signal=Way.SIGNAL.value, start_signal_args=[YES])
    await second_update(handle)
    lab.release(GET_HOSTS, "cluster5")
    await completed(lab, handle, "A first answer of yes counts, and a second one of no does not.")


async def answer(lab: Lab, handle: Handle, way: Way, approval: ApprovalAnswer) -> None:
    """Answer once. Raises `CheckFailure` if that is refused, or if an update replies no text."""
    reply = await lab.answer(handle, way, approval)
    if way is Way.UPDATE and (not isinstance(reply, str) or not reply):
        raise CheckFailure(f"The update replied {reply!r}.", "It replies with a text, so that the sender knows.")


async def second_update(handle: Handle) -> None:
    """Send a second answer, by update. Raises `CheckFailure` if it is taken, or refused too late."""
    expected = "A validator refuses a second answer by an ApplicationError, and so it never gets into the history."
    before = await accepted_updates(handle)
    try:
        reply = await handle.execute_update(Way.UPDATE.value, NO)
    except WorkflowUpdateFailedError as error:
        if await accepted_updates(handle) > before:
            raise CheckFailure(
                "The second answer was accepted first, and then refused by the handler.", expected
            ) from error
        return
    raise CheckFailure(f"A second answer was accepted, with the reply {reply!r}.", expected)


async def accepted_updates(handle: Handle) -> int:
    """Return how many updates the workflow has accepted so far."""
    kinds = [event.event_type for event in await history(handle)]
    return kinds.count(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)


async def completed(lab: Lab, handle: Handle, expected: str) -> None:
    """Wait until the workflow completes with all its hosts. Raises `CheckFailure` if it does anything else."""
    result = await lab.result(handle, expected)
    patched = [host for cluster in result.clusters for host in cluster.patched_hosts]
    if len(patched) != lab.hosts_per_cluster or lab.updates_of(patched[0]) == 0:
        raise CheckFailure(
            f"It completed, and its result has the hosts {patched}.", "It patches all hosts of the cluster."
        )


async def failed(lab: Lab, handle: Handle, why_not: str, expected: str, patience: float = PATIENCE) -> BaseException:
    """Return the error with which the workflow failed.

    Raises `CheckFailure` if it has patched something, or did not fail.
    """
    try:
        cause = await lab.failure(handle, expected, patience)
    except CheckFailure as failure:
        raise went_on(lab, handle, why_not, expected) or failure from None
    if more := went_on(lab, handle, why_not, expected):
        raise more
    return cause


def went_on(lab: Lab, handle: Handle, why_not: str, expected: str) -> CheckFailure | None:
    """Return what is wrong if the workflow has begun anything but its request for an approval."""
    more = [name for name in lab.activities_in(handle) if name != REQUEST]
    return CheckFailure(f"It went on {why_not}: {more[0]} was begun.", expected) if more else None


async def client_answers(lab: Lab, flags: list[str], approved: bool) -> None:
    """Run the client. Raises `CheckFailure` if its workflow was not answered by it, or did not end as it should."""
    word = "approves" if approved else "rejects"
    expected = f"`python {lab.script and lab.script.name} {' '.join(flags)}` {word}, and says how the workflow ended."
    async with ClientScript(lab, *flags) as client:
        ended = await client.wait_for_end()
        if not any("Started" in line for line in client.lines):
            raise client.failure("The client started no workflow.", expected)
        answers = [
            event
            for event in await history(client.workflow)
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED
            or event.workflow_execution_signaled_event_attributes.signal_name == Way.SIGNAL.value
        ]
        if not answers:
            raise client.failure("The client's workflow got no answer.", expected)
        if not ended:
            raise client.failure("The client did not end.", expected)
        for event in await history(client.workflow):
            reply = event.workflow_execution_update_completed_event_attributes.outcome.success.payloads
            if reply and not any(text in line for text in [json.loads(reply[0].data)] for line in client.lines):
                raise client.failure(f"The workflow replied {reply[0].data.decode()}.", "The client prints the reply.")
        client.let_nothing_out(expected)
        if client.exit_code != (0 if approved else 1):
            raise client.failure("The workflow did not end like that.", expected)

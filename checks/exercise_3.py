"""Survive a crash."""

from checks.clock import Clock, timed_by
from checks.exercises import place
from checks.explain import blocking_call
from checks.failure import CheckFailure, Step
from checks.lab import Lab, say_where_coroutines_begin
from checks.machine import slowness
from checks.names import ALERT, UPDATE, VAULT
from checks.traces import shortened
from checks.watch import Call
from support.histories import history
from workflow.types import HostPatchInput

import asyncio
import copy
import dataclasses
import inspect
import itertools
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from temporalio.api.history.v1 import ActivityTaskScheduledEventAttributes
from temporalio.converter import DataConverter
from temporalio.testing import ActivityEnvironment

HOST = HostPatchInput("cluster3_host1", "cluster3", VAULT)
STEPS = 9
SECONDS = 9.0
CRASH_AT = 1.05  # Seconds after the start of an attempt: its first step is done and reported.
PATIENCE = 2.0  # Seconds without any progress of an attempt, on an idle machine, after which it is taken to hang.


@dataclasses.dataclass
class Heartbeat:
    """What an attempt reported, and after how many seconds of work."""

    details: list[Any]
    at: float


async def steps(lab: Lab) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at. Raises `CheckFailure` where one is not done."""
    yield Step(
        "The update works for nine seconds, and sends a heartbeat after each", place(3, "3.2 Heartbeats", "point 1")
    )
    heartbeats, clock = await attempt(lab, [], 1)
    seconds = clock.now
    reports_each_second(heartbeats, seconds)

    yield Step("Each heartbeat says which step is done", place(3, "3.2 Heartbeats", "point 1"))
    details = [repr(heartbeat.details) for heartbeat in heartbeats]
    if len(set(details)) < STEPS:
        raise CheckFailure(
            f"The details of the heartbeats were {', '.join(details[:3])} and so on: "
            f"{len(set(details))} different in {len(details)} heartbeats.",
            "The next attempt only knows what the last heartbeat said, so that is the number of the step.",
        )

    yield Step(
        "After a crash the update goes on with the step after the last reported one",
        place(3, "3.2 Heartbeats", "point 2"),
    )
    if not clock.real_time:
        await next_host_is_updated_too(lab, seconds)
    if clock.real_time:  # As when a thread waits for another program. So the attempt that has least left must do.
        await goes_on_after(lab, heartbeats[-2], heartbeats, seconds)
    else:
        for heartbeat in heartbeats[STEPS // 2 :] + heartbeats[: STEPS // 2]:
            await goes_on_after(lab, heartbeat, heartbeats, seconds)
        await begins_again_without_details(lab, seconds)

    yield Step(
        "The workflow notices within seconds that nothing is heard of the update", place(3, "3.2 Heartbeats", "point 3")
    )
    lab.clock_of = lambda call: CrashingClock(call)
    handle = await lab.start(["cluster3"])
    await lab.approve(handle)
    if not await lab.wait(lambda: bool(updates(lab))):
        raise CheckFailure(f"No update was begun. {await lab.what_it_does(handle)}", "Approved, it patches the hosts.")
    update = await options(lab)
    timeout, attempt_timeout = update.heartbeat_timeout.ToTimedelta(), update.start_to_close_timeout.ToTimedelta()
    if attempt_timeout < timedelta(seconds=SECONDS):
        raise CheckFailure(
            f"An attempt of the update may take {attempt_timeout.total_seconds():g} s.",
            "It takes 9 s, so its start_to_close_timeout stays at 10 s.",
        )
    if not timedelta() < timeout <= timedelta(seconds=5):
        raise CheckFailure(
            f"The update's heartbeat_timeout is {timeout.total_seconds():g} s{' or more' * (timeout.seconds == 10)}."
            if timeout
            else "The update has no heartbeat_timeout: the server waits the 10 seconds of start_to_close_timeout.",
            "UPDATE_OPTIONS in the workflow has a heartbeat_timeout of 2 seconds.",
        )

    if timeout <= timedelta(seconds=1):
        raise CheckFailure(
            f"The update's heartbeat_timeout is {timeout.total_seconds():g} s.",
            "A step takes a second, and only after it comes a heartbeat: 2 seconds leave some room.",
        )

    in_all = update.schedule_to_close_timeout.ToTimedelta().total_seconds()
    if 0 < in_all < 2 * SECONDS + timeout.total_seconds():
        raise CheckFailure(
            f"All attempts of the update together may take {in_all:g} s, by its schedule_to_close_timeout.",
            "That leaves no time for another attempt after a crash.",
        )
    if update.retry_policy.maximum_attempts == 1:
        raise CheckFailure(
            "The update has one attempt only: the maximum_attempts of its retry_policy is 1.",
            "After a crash there is another attempt, so UPDATE_OPTIONS keeps its retry_policy.",
        )

    yield Step(
        "A real attempt that falls silent is replaced, and the next one ends the update", place(3, "3.2 Heartbeats")
    )
    expected = "When an attempt is silent for longer than the heartbeat timeout, another one completes the update."
    await lab.wait(lambda: len(updates(lab)) > 1 or ALERT in lab.activities_in(handle), timeout.total_seconds() + 4)
    await lab.result(handle, expected)
    if not any(update.details for update in updates(lab)[1:]):
        raise CheckFailure("After the crash the update began without the details of the last heartbeat.", expected)


class CrashingClock(Clock):
    """In an update's first attempt, time stands still after the first step, as if the worker had died.

    Where an attempt takes real time, it falls silent then. It does so once more if the heartbeat of the first attempt
    has not arrived, as can happen on a busy machine.
    """

    def __init__(self, call: Call) -> None:
        """Take the attempt."""
        super().__init__()
        self._crashes = call.name == UPDATE and not call.details and call.attempt < 3

    def stops_before(self, when: float) -> bool:
        """Return whether this clock stops for good before it comes to this moment."""
        return (self._crashes and when > CRASH_AT) or super().stops_before(when)

    def is_silent(self) -> bool:
        """Return whether no heartbeat of this attempt gets out any more."""
        return self._crashes and self.now > CRASH_AT


async def attempt(lab: Lab, details: list[Any], number: int) -> tuple[list[Heartbeat], Clock]:
    """Let the learner's update run for itself, as the attempt with this number.

    Returns its heartbeats, and the clock that says how many seconds it worked.
    """
    clock = Clock()
    heartbeats: list[Heartbeat] = []
    working: asyncio.Future[Any]
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(
        environment.info,
        heartbeat_details=details,
        attempt=number,
        heartbeat_timeout=timedelta(seconds=2),
        start_to_close_timeout=timedelta(seconds=10),
    )
    environment.on_heartbeat = lambda *sent: heartbeats.append(Heartbeat(copy.deepcopy(list(sent)), clock.now))
    update = lab.version.activities(1.0).perform_update_activity
    with timed_by(clock):
        if inspect.iscoroutinefunction(update):
            working = asyncio.ensure_future(environment.run(update, HOST))
        else:  # A worker runs a plain `def` in a thread.
            threads = ThreadPoolExecutor(1, initializer=say_where_coroutines_begin)
            working = asyncio.get_running_loop().run_in_executor(threads, environment.run, update, HOST)
    try:
        await until_it_ends(working, clock)
    except CheckFailure:
        raise
    except Exception as error:
        after = f" in an attempt that came after the heartbeat {details}" if details else ""
        raise CheckFailure(f"The update raised an exception{after}.", "It does its work.", shortened(error)) from error
    if clock.blocked:
        raise blocking_call()
    # The next attempt gets them as they come back from the server: JSON, so that a dataclass is a dict.
    for heartbeat in heartbeats:
        try:
            encoded = await DataConverter.default.encode(heartbeat.details)
        except (TypeError, ValueError, RuntimeError) as error:
            raise CheckFailure(
                f"A heartbeat has details that can't be sent: {error}.", "Its details can be written as JSON: a number."
            ) from error
        heartbeat.details = await DataConverter.default.decode(encoded)
    return heartbeats, clock


async def until_it_ends(working: "asyncio.Future[Any]", clock: Clock) -> None:
    """Wait for the end of an attempt. Raises `CheckFailure` if its clock stands still for some seconds before that."""
    then = -1.0
    begun = time.monotonic()
    while not working.done():
        if clock.now == then and time.monotonic() - begun > PATIENCE * slowness():
            working.cancel()
            raise CheckFailure("The update did not end.", "It is done after nine steps.")
        if clock.now != then:
            then, begun = clock.now, time.monotonic()
        await asyncio.wait([working], timeout=PATIENCE / 2)
    working.result()


def reports_each_second(heartbeats: list[Heartbeat], seconds: float) -> None:
    """Raise `CheckFailure` if an attempt from the start is silent for more than a step's time."""
    expected = "It has nine steps of one second each, and after each of them it sends a heartbeat."
    if not heartbeats:
        raise CheckFailure("The update sent no heartbeat.", expected)
    if abs(seconds - SECONDS) > 0.5:
        raise CheckFailure(f"The update took {seconds:g} s, and sent {len(heartbeats)} heartbeats.", expected)
    times = [0.0, *(heartbeat.at for heartbeat in heartbeats), seconds]
    silence = max(after - before for before, after in itertools.pairwise(times))
    if silence > 1.5 * seconds / STEPS:
        raise CheckFailure(
            f"The update took {seconds:g} s, sent {len(heartbeats)} heartbeats, and was once silent for {silence:g} s.",
            expected,
        )


async def goes_on_after(lab: Lab, heartbeat: Heartbeat, heartbeats: list[Heartbeat], seconds: float) -> None:
    """Start an attempt after a crash. Raises `CheckFailure` if it does not do exactly what was not reported as done."""
    _, clock = await attempt(lab, heartbeat.details, 2)
    worked, one = clock.now, seconds / STEPS
    tolerance = 0.3 * one if clock.real_time else 0.01 * seconds
    # What is reported again and again between two steps tells no more than when it was first reported.
    before = heartbeats[: heartbeats.index(heartbeat) + 1]
    reported_at = [*itertools.takewhile(lambda other: other.details == heartbeat.details, reversed(before))][-1].at
    left = seconds - reported_at
    left_of_steps = seconds - int(reported_at / one + 0.01) * one
    if any(abs(worked - right) < tolerance for right in (left, left_of_steps)):
        return
    number = heartbeats.index(heartbeat) + 1
    seen = f"The last heartbeat before the crash was number {number} of {len(heartbeats)}, {heartbeat.details}. "
    expected = f"After it, {left:.3g} s of work were left, and the next attempt does those: {left:.3g} s."
    if abs(worked - seconds) < tolerance:
        seen += f"The next attempt began again with the first step and worked for {worked:.3g} s."
        expected += " activity.info().heartbeat_details has what the last heartbeat said."
    elif abs(worked - left - one) < tolerance:
        seen += f"The next attempt worked for {worked:.3g} s: it did the last reported step once more."
    elif abs(left - worked - one) < tolerance:
        seen += f"The next attempt worked for {worked:.3g} s: it left out a step that was never done."
    elif worked == 0:
        seen += "The next attempt did nothing, so the steps that were left were never done."
    else:
        seen += f"The next attempt worked for {worked:.3g} s."
    raise CheckFailure(seen, expected)


async def next_host_is_updated_too(lab: Lab, seconds: float) -> None:
    """Update a second host. Raises `CheckFailure` if something that the first has left behind makes a difference."""
    _, clock = await attempt(lab, [], 1)
    if abs(clock.now - seconds) > 0.01 * seconds:
        raise CheckFailure(
            f"The update of a first host took {seconds:.3g} s, and that of the next one {clock.now:.3g} s.",
            "What an attempt has done is known from activity.info().heartbeat_details alone: what it keeps in a global "
            "or in an attribute of the class is there for all hosts, and gone with the worker.",
        )


async def begins_again_without_details(lab: Lab, seconds: float) -> None:
    """Start an attempt after a crash before the first heartbeat. Raises `CheckFailure` if it does not do all steps."""
    _, clock = await attempt(lab, [], 2)
    if abs((worked := clock.now) - seconds) > 0.01 * seconds:
        raise CheckFailure(
            f"A crash came before the first heartbeat, and the second attempt worked for {worked:.3g} s.",
            f"Where no step was reported, the next attempt does all of them: {seconds:.3g} s.",
        )


def updates(lab: Lab) -> list[Call]:
    """Return the attempts of the update so far."""
    return [call for call in lab.calls if call.name == UPDATE]


async def options(lab: Lab) -> ActivityTaskScheduledEventAttributes:
    """Return the options that the workflow gave the update."""
    for event in await history(lab.client.get_workflow_handle(updates(lab)[0].workflow_id)):
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name == UPDATE:
            return scheduled
    raise AssertionError("An update that was begun was scheduled before.")

"""Survive a crash."""

from checks.clock import Clock, timed_by
from checks.exercises import place
from checks.explain import blocking_call
from checks.failure import CheckFailure, Step
from checks.lab import Lab
from checks.names import UPDATE, VAULT
from checks.traces import shortened
from checks.watch import Call
from support.histories import history
from workflow.types import HostPatchInput

import asyncio
import copy
import dataclasses
import itertools
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

from temporalio.converter import DataConverter
from temporalio.testing import ActivityEnvironment

HOST = HostPatchInput("cluster3_host1", "cluster3", VAULT)
STEPS = 9
SECONDS = 9.0


@dataclasses.dataclass
class Heartbeat:
    """What an attempt reported, and how many seconds of work it had done by then."""

    details: list[Any]
    slept: float


async def steps(lab: Lab) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at. Raises `CheckFailure` where one is not done."""
    yield Step(
        "The update works for nine seconds, and sends a heartbeat after each", place(3, "3.2 Heartbeats", "point 1")
    )
    heartbeats, seconds = await attempt(lab, [])
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
    for heartbeat in heartbeats[STEPS // 2 :] + heartbeats[: STEPS // 2]:
        await goes_on_after(lab, heartbeat, heartbeats, seconds)

    yield Step(
        "The workflow notices within seconds that nothing is heard of the update", place(3, "3.2 Heartbeats", "point 3")
    )
    lab.clock_of = lambda call: CrashingClock(call)
    handle = await lab.start(["cluster3"])
    await lab.approve(handle)
    if not await lab.wait(lambda: bool(updates(lab))):
        raise CheckFailure(f"No update was begun. {await lab.what_it_does(handle)}", "Approved, it patches the hosts.")
    timeout, attempt_timeout = await timeouts(lab)
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

    yield Step(
        "A real attempt that falls silent is replaced, and the next one ends the update", place(3, "3.2 Heartbeats")
    )
    expected = "When an attempt is silent for longer than the heartbeat timeout, another one completes the update."
    await lab.wait(lambda: len(updates(lab)) > 1, patience=timeout.total_seconds() + 4)
    await lab.result(handle, expected)
    if not any(update.details for update in updates(lab)[1:]):
        raise CheckFailure("After the crash the update began without the details of the last heartbeat.", expected)


class CrashingClock(Clock):
    """In an update's first attempt, time stands still after the first step, as if the worker had died.

    It does so once more if the heartbeat of the first attempt has not arrived, as can happen on a busy machine.
    """

    def __init__(self, call: Call) -> None:
        """Take the attempt."""
        super().__init__()
        self._crashes = call.name == UPDATE and not call.details and call.attempt < 3

    async def sleep(self, seconds: float) -> None:
        """Stand in for `asyncio.sleep`."""
        if self._crashes and self.slept >= 0.9:
            await asyncio.Event().wait()
        await super().sleep(seconds)


async def attempt(lab: Lab, details: list[Any]) -> tuple[list[Heartbeat], float]:
    """Let the learner's update run for itself. Returns its heartbeats, and how many seconds it worked."""
    clock = Clock()
    heartbeats: list[Heartbeat] = []
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, heartbeat_details=details)
    environment.on_heartbeat = lambda *sent: heartbeats.append(Heartbeat(copy.deepcopy(list(sent)), clock.slept))
    update = lab.version.activities(1.0).perform_update_activity
    try:
        with timed_by(clock):
            await asyncio.wait_for(environment.run(update, HOST), 2)
    except asyncio.TimeoutError:
        raise CheckFailure("The update did not end.", "It is done after nine steps.") from None
    except Exception as error:
        after = f" in an attempt that came after the heartbeat {details}" if details else ""
        raise CheckFailure(f"The update raised an exception{after}.", "It does its work.", shortened(error)) from error
    if clock.blocked:
        raise blocking_call()
    # The next attempt gets them as they come back from the server: JSON, so that a dataclass is a dict.
    for heartbeat in heartbeats:
        encoded = await DataConverter.default.encode(heartbeat.details)
        heartbeat.details = await DataConverter.default.decode(encoded)
    return heartbeats, clock.slept


def reports_each_second(heartbeats: list[Heartbeat], seconds: float) -> None:
    """Raise `CheckFailure` if an attempt from the start is silent for more than a step's time."""
    expected = "It has nine steps of one second each, and after each of them it sends a heartbeat."
    if not heartbeats:
        raise CheckFailure("The update sent no heartbeat.", expected)
    if abs(seconds - SECONDS) > 0.5:
        raise CheckFailure(f"The update took {seconds:g} s, and sent {len(heartbeats)} heartbeats.", expected)
    times = [0.0, *(heartbeat.slept for heartbeat in heartbeats), seconds]
    silence = max(after - before for before, after in itertools.pairwise(times))
    if silence > 1.5 * seconds / STEPS:
        raise CheckFailure(
            f"The update took {seconds:g} s, sent {len(heartbeats)} heartbeats, and was once silent for {silence:g} s.",
            expected,
        )


async def goes_on_after(lab: Lab, heartbeat: Heartbeat, heartbeats: list[Heartbeat], seconds: float) -> None:
    """Start an attempt after a crash. Raises `CheckFailure` if it does not do exactly what was not reported as done."""
    _, worked = await attempt(lab, heartbeat.details)
    left = seconds - heartbeat.slept
    if abs(worked - left) < 0.01:
        return
    number = heartbeats.index(heartbeat) + 1
    seen = f"The last heartbeat before the crash was number {number} of {len(heartbeats)}, {heartbeat.details}. "
    expected = f"After it, {left:g} s of work were left, and the next attempt does those: {left:g} s."
    one = seconds / STEPS
    if abs(worked - seconds) < 0.01:
        seen += f"The next attempt began again with the first step and worked for {worked:g} s."
        expected += " activity.info().heartbeat_details has what the last heartbeat said."
    elif abs(worked - left - one) < 0.01:
        seen += f"The next attempt worked for {worked:g} s: it did the last reported step once more."
    elif abs(left - worked - one) < 0.01:
        seen += f"The next attempt worked for {worked:g} s: it left out a step that was never done."
    else:
        seen += f"The next attempt worked for {worked:g} s."
    raise CheckFailure(seen, expected)


def updates(lab: Lab) -> list[Call]:
    """Return the attempts of the update so far."""
    return [call for call in lab.calls if call.name == UPDATE]


async def timeouts(lab: Lab) -> tuple[timedelta, timedelta]:
    """Return the heartbeat timeout that the workflow gave the update, or zero, and how long an attempt may take."""
    for event in await history(lab.client.get_workflow_handle(updates(lab)[0].workflow_id)):
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name == UPDATE:
            return scheduled.heartbeat_timeout.ToTimedelta(), scheduled.start_to_close_timeout.ToTimedelta()
    return timedelta(), timedelta()

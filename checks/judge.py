"""Judges a solution: goes through the steps of an exercise, and stops at the first that is not done."""

from checks.clock import clocks
from checks.clues import clues
from checks.exercises import TROUBLESHOOTING, Exercise, Place, place
from checks.explain import DETERMINISTIC, explain_core_message, what_python_warned_of
from checks.failure import CheckFailure, Step
from checks.lab import Lab, open_lab
from checks.machine import busy_remark, slowness
from checks.replay import another_path, another_path_elsewhere
from checks.traces import shortened
from checks.whole_rollout import patch_five_clusters
from support.histories import family
from workflow.versions import Version, VersionError, find_version

import asyncio
import contextlib
import importlib
import time
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from temporalio.client import Client, RPCTimeoutOrCancelledError
from temporalio.service import RPCError

T = TypeVar("T")
A_MOMENT = "It takes a moment."
# With at least one of these, almost every set of the checks' hosts and clusters has another order than with the 0 of
# the first run. A set of two names keeps its order in a quarter of all cases, whichever two seeds one takes.
HASH_SEEDS = (12, 45)
LOADS = Step("Python and Temporal accept your files", TROUBLESHOOTING)
RUNS = "Your code runs without an error"
WHOLE = Step(
    "All that is to be done is done once, and in its order",
    place(0, "Why are there two kinds of code, workflow and activities?"),
)
REPLAYS = Step(
    "Run again from its history, the workflow takes the same path",
    place(0, "Why are there two kinds of code, workflow and activities?"),
)


@dataclass
class Submission:
    """What is judged: a version of the workflow, and with it a client or the flags of a worker."""

    version: str
    client: Path | None = None
    """The client script to try, if any."""
    worker_flags: list[str] = field(default_factory=list)
    """In the exercise about a worker's settings: flags of `temporal_worker_v8.py`."""


@dataclass
class Verdict:
    """How a check ended: the titles of the steps that passed, and if one did not, that step and what is wrong."""

    passed: list[str] = field(default_factory=list)
    failed: Step | None = None
    failure: CheckFailure | None = None
    remarks: list[str] = field(default_factory=list)
    """What there is to say beside that."""


async def judge(
    exercise: Exercise,
    submission: Submission,
    client: Client,
    time_limit: float,
    in_own_process: bool = False,
    notify: Callable[[Step], None] = lambda step: None,
    begin: Callable[[Step], None] = lambda step: None,
) -> Verdict:
    """Try out the submission as a solution of the exercise, on the server of the client.

    Takes how many seconds each step may take; whether this process does nothing else, so that the replay gets processes
    with sets in another order; and what to call with each step that passed, and with each that is begun.
    """
    verdict = Verdict()
    step: Step | None = None

    async def go() -> None:
        nonlocal step
        async with contextlib.aclosing(all_steps(exercise, submission, client, time_limit, in_own_process)) as steps:
            async for next_step in steps:
                if step is not None:
                    verdict.passed.append(step.title)
                    notify(step)
                step = next_step
                begin(step)
        if warning := warned_of():
            raise CheckFailure(warning, DETERMINISTIC if "deterministic" in warning else "It is awaited.")
        if step is not None:
            verdict.passed.append(step.title)
            notify(step)

    def warned_of() -> str:
        return what_python_warned_of([str(warning.message) for warning in warned], submission.version)

    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            await go()
    except CheckFailure as failure:
        if (warning := warned_of()) not in failure.seen:
            failure.seen += f" And: {warning}"
        if not failure.is_error:
            failure.seen += busy_remark()
        # An error may come from a later step's workflow, since they run side by side: so it is about the whole page.
        verdict.failed = Step(RUNS, Place(step.where.page, "")) if failure.is_error and step else step
        verdict.failure = failure
    return verdict


async def all_steps(
    exercise: Exercise, submission: Submission, client: Client, time_limit: float, in_own_process: bool
) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at: those that every exercise with code has, and in between its own."""
    own_steps = importlib.import_module(f"checks.exercise_{exercise.number}").steps
    if exercise.settings:
        lab = Lab(client, find_version(submission.version), worker_flags=submission.worker_flags)
        async with contextlib.aclosing(own_steps(lab)) as steps:
            while (step := await unless_trouble(lab, anext(steps, None), time_limit)) is not None:
                yield step
        return
    yield LOADS
    with clocks():  # From before a learner's file is loaded, which may import functions by their names.
        lab = Lab(client, load(submission.version), submission.client)
        async with open_lab(lab):
            steps = own_steps(lab)
            async with contextlib.aclosing(steps):
                while (step := await unless_trouble(lab, anext(steps, None), time_limit)) is not None:
                    yield step
            yield WHOLE
            await unless_trouble(lab, patch_five_clusters(lab, vault_first=exercise.number >= 8), time_limit)
            yield REPLAYS
            await unless_trouble(lab, take_the_same_path(lab, in_own_process), time_limit)


def load(name: str) -> Version:
    """Return the version. Raises `CheckFailure` if its file is not there or can't be loaded."""
    try:
        return find_version(name)
    except VersionError as error:
        lines = shortened(error.__cause__) if error.__cause__ else ""
        expected = "The file can be loaded, and has the class that a worker looks for."
        raise CheckFailure(str(error), expected, lines) from error


async def unless_trouble(lab: Lab, step: Awaitable[T], time_limit: float) -> T:
    """Wait for the step. Raises `CheckFailure` at once if there is an exception in the learner's code meanwhile.

    Raises it too if that takes more than so many seconds, on an idle machine.
    """
    running = asyncio.ensure_future(step)
    either: list[asyncio.Future[Any]] = [running, lab.trouble]
    started, slowest = time.monotonic(), 1.0
    try:
        while not (await asyncio.wait(either, timeout=time_limit / 4, return_when=asyncio.FIRST_COMPLETED))[0]:
            took, slowest = time.monotonic() - started, max(slowest, slowness())
            if took > time_limit * slowest:
                raise CheckFailure(f"After {took:.0f} seconds this step was not done.", A_MOMENT)
        if lab.trouble.done():
            raise lab.trouble.result()
        return await running
    except CheckFailure as seen:
        # What was seen may be the mere effect of code that does not let go of its thread. The SDK says so in a moment.
        if await lab.is_busy():
            await asyncio.wait([lab.trouble], timeout=1.5 * slowness())
        failure = lab.trouble.result() if lab.trouble.done() else seen
        failure.seen = " And: ".join([failure.seen, *await clues(lab)])
        raise failure from None
    except (RPCError, RPCTimeoutOrCancelledError) as error:
        raise CheckFailure(f"The workflow did not answer: {error}", "It answers in no time.") from error
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def take_the_same_path(lab: Lab, in_own_process: bool) -> None:
    """Replay all that the lab has run. Raises `CheckFailure` if it takes another path than it took."""
    histories: dict[str, str] = {}
    for handle in lab.handles:
        for run in await family(lab.client, handle):
            histories[run.id] = (await run.fetch_history()).to_json()
    if in_own_process:
        replays = [another_path_elsewhere(lab.version, histories, lab.recorder.notes, seed) for seed in HASH_SEEDS]
    else:
        replays = [another_path(lab.version.workflows, histories, lab.recorder.notes)]
    for reason in filter(None, await asyncio.gather(*replays)):
        raise explain_core_message(reason) or CheckFailure(
            f"Your workflow took another path when it was run again. {reason}.", DETERMINISTIC
        )

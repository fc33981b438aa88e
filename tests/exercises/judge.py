"""Judges a solution: goes through the steps of an exercise, and stops at the first that is not done."""

import asyncio
import contextlib
import dataclasses
import importlib
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from temporalio.client import Client, RPCTimeoutOrCancelledError
from temporalio.service import RPCError

from tests.exercises.lab import Lab, open_lab
from tests.exercises.replay import replay, replay_elsewhere
from tests.exercises.wrong import DETERMINISTIC, Step, Wrong, explain_core_message, shortened, what_python_warned_of
from tests.runs import tree
from workflow import Version, VersionError, find_version

TITLES = {
    0: "Run it",
    1: "Wait for an approval",
    2: "Ask for the progress",
    3: "Survive a crash",
    4: "Patch side by side",
    5: "A child for each cluster and host",
    6: "Stop the others",
    7: "Find what the workflows wait for",
}
LOADS = Step("Python and Temporal accept your files", "Troubleshooting")
RUNS = "Your code runs without an error"
REPLAYS = Step("Run again from its history, the workflow takes the same path", "Exercise 0, why two kinds of code")


@dataclasses.dataclass
class Verdict:
    """How a check ended: the titles of the steps that passed, and if one did not, that step and what is wrong."""

    passed: list[str]
    failed: Step | None = None
    wrong: Wrong | None = None


async def judge(
    number: int,
    name: str,
    client: Client,
    script: Path | None = None,
    time_limit: float = 30,
    in_own_process: bool = False,
    tell: Callable[[Step], None] = lambda step: None,
) -> Verdict:
    """Try out the version `name` as a solution of exercise `number`, on the server of the client.

    Takes the client script to try with it, if any; how many seconds it may take; whether this process does nothing
    else, so that the replay gets processes with sets in another order; and what to call with each step that passed.
    """
    verdict = Verdict([])
    step = LOADS

    def passed(next_step: Step) -> None:
        nonlocal step
        verdict.passed.append(step.title)
        tell(step)
        step = next_step

    async def go() -> None:
        exercise = importlib.import_module(f"tests.exercises.exercise_{number}")
        async with open_lab(client, load(name), script) as lab:
            steps: AsyncGenerator[Step, None] = exercise.steps(lab)
            async with contextlib.aclosing(steps):
                while (next_step := await unless_trouble(lab, anext(steps, None))) is not None:
                    passed(next_step)
            passed(REPLAYS)
            await unless_trouble(lab, take_the_same_path(lab, in_own_process))
        if warning := warned_of():
            raise Wrong(warning, DETERMINISTIC if "deterministic" in warning else "It is awaited.")
        passed(REPLAYS)

    def warned_of() -> str:
        return what_python_warned_of([str(warning.message) for warning in warned])

    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            await asyncio.wait_for(go(), time_limit)
    except Wrong as wrong:
        if (warning := warned_of()) not in wrong.seen:
            wrong.seen += f" And: {warning}"
        # An error may come from a later step's workflow, since they run side by side.
        verdict.failed = Step(RUNS, step.where) if wrong.is_error else step
        verdict.wrong = wrong
    except asyncio.TimeoutError:
        verdict.failed = step
        verdict.wrong = Wrong(f"After {time_limit:g} seconds this step was not done.", "It takes a moment.")
    return verdict


def load(name: str) -> Version:
    """Return the version. Raises `Wrong` if its file is not there or can't be loaded."""
    try:
        return find_version(name)
    except VersionError as error:
        lines = shortened(error.__cause__) if error.__cause__ else ""
        raise Wrong(str(error), "The file can be loaded, and has the class that a worker looks for.", lines) from error


T = TypeVar("T")


async def unless_trouble(lab: Lab, step: Awaitable[T]) -> T:
    """Wait for the step. Raises `Wrong` at once if there is an exception in the learner's code meanwhile."""
    running = asyncio.ensure_future(step)
    either: list[asyncio.Future[Any]] = [running, lab.trouble]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if lab.trouble.done():
            raise lab.trouble.result()
        return await running
    except Wrong as wrong:
        # What was seen may be the mere effect of code that does not let go of its thread. The SDK says so in a moment.
        if await lab.is_busy():
            await asyncio.wait([lab.trouble], timeout=1.5)
        raise (lab.trouble.result() if lab.trouble.done() else wrong) from None
    except (RPCError, RPCTimeoutOrCancelledError) as error:
        raise Wrong(f"The workflow did not answer: {error}", "It answers in no time.") from error
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def take_the_same_path(lab: Lab, in_own_process: bool) -> None:
    """Replay all that the lab has run. Raises `Wrong` if it takes another path than it took."""
    histories: dict[str, str] = {}
    for handle in lab.handles:
        for run in (await tree(lab.client, handle)).values():
            histories[run.id] = (await run.fetch_history()).to_json()
    if in_own_process:
        reasons = await asyncio.gather(*[replay_elsewhere(lab.version, histories, seed) for seed in (1, 2)])
    else:
        reasons = [await replay(lab.version, histories)]
    for reason in filter(None, reasons):
        raise explain_core_message(reason) or Wrong(reason, DETERMINISTIC)

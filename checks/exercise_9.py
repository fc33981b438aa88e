"""Test it: judges a learner's tests by what they let pass, and by what they notice."""

from checks.exercises import EXERCISES, place
from checks.failure import CheckFailure, Step
from checks.judge import Verdict
from checks.machine import BUSY, busy_remark, slowness
from checks.solutions import files_of, read_solutions
from checks.test_runs import FILE, Outcome, TestRun, TestRunner
from support import PROJECT

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

# Seconds that a test of a right workflow may take. One of a workflow with a mistake may take fewer, and beside these so
# many times what it took with a right one.
PATIENCE, PATIENCE_WITH_MISTAKE, TIMES = 60.0, 6.0, 4
LONG = 5.0  # A test that fails later than that, and so many times what it took, may have failed by a timeout.
AT_ALL = (
    "pytest can load the file, and each test comes to its end. Helpers are in this file too: your workflow and your "
    "activities are replaced by others."
)
EACH_TIME = "A test has the same verdict each time: it waits for what it needs, and not for some seconds."


@dataclass(frozen=True)
class Mistake:
    """A wrong solution of an earlier exercise, which a test of the workflow should notice."""

    exercise: int
    name: str
    point: int
    """Which point of the task is about it."""


MISTAKES = [
    Mistake(1, "goes on when nobody has answered in time", 1),
    Mistake(1, "goes on after a rejection", 2),
    Mistake(1, "returns after a rejection, as if all were well", 2),
    Mistake(1, "has no validator", 3),
    Mistake(5, "loses the progress", 4),
    Mistake(3, "has one attempt only", 5),
    Mistake(4, "does not wait for the pilots", 6),
    Mistake(4, "patches the others one after the other", 6),
    Mistake(6, "swallows the failure", 7),
    Mistake(6, "cancels the other clusters too", 7),
    Mistake(6, "leaves the others running", 7),
    Mistake(6, "sends alerts for hosts that were cancelled", 7),
    Mistake(3, "begins again with the first step", 9),
    Mistake(8, "moves the check of Vault, without a patch", 10),
    Mistake(8, "deletes the old way", 10),
]
# Right solutions, two in one workflow.
OTHER_WAYS = [
    [(1, "waits for an event"), (6, "waits for the first exception")],
    [(2, "keeps the steps in a dictionary"), (8, "asks once, and keeps the answer")],
]


Files = dict[str, str]
"""What differs between one run and the next: texts by their paths."""


@dataclass
class Bench:
    """Where tests are tried: what is judged, and what has come of it so far."""

    runner: TestRunner
    tests: str
    own: Files
    """A learner's workflow and activities."""
    reference: Files
    """The reference's, in classes of the same names."""
    notify: Callable[[Mistake, Outcome | None], None]
    """Called with each mistake, in their order, and with the test that noticed it, if any."""
    seconds: dict[str, float] = field(default_factory=dict)
    """What each test has taken with a right workflow."""

    async def run(
        self, files: Files, order: Sequence[str] = (), has_mistake: bool = False, patient: bool = True
    ) -> TestRun:
        """Run the tests with these files, in this order, or else as they stand in their file.

        If the files have a mistake, the quick ones come first, and it ends with the first test that fails. Unless it is
        `patient`, that can be one that takes much longer than with a right workflow.
        """

        def patience(name: str) -> float:
            return PATIENCE if patient or not name else PATIENCE_WITH_MISTAKE + TIMES * self.seconds.get(name, 0)

        if has_mistake:
            order = sorted(self.seconds, key=lambda name: self.seconds[name])
        return await self.runner.run({FILE: self.tests, **files}, patience, order, stop_at_first=has_mistake)

    async def red_test(self, files: Files) -> Outcome | None:
        """Return the test that notices the mistake in these files, if any.

        One that fails because it took too long is tried again. On a busy machine it then has all the time that a test
        may take.
        """
        run = await self.run(files, has_mistake=True, patient=False)
        name = run.first_red.name if run.first_red else ""
        took_long = run.hangs or run.seconds.get(name, 0) > LONG + TIMES * self.seconds.get(name, 0)
        if took_long:
            run = await self.run(files, has_mistake=True, patient=slowness() > BUSY)
        return run.first_red

    async def passes_sometimes(self, failed: Outcome, files: Files, order: Sequence[str] = ()) -> bool:
        """Return whether all tests pass in one of a few runs, after one of them has failed.

        One that did not come to its end is not tried again.
        """
        if not failed.says.startswith("fails"):
            return False
        runs = await asyncio.gather(*[self.run(files, order) for _ in range(3)])
        return any(run.first_bad is None for run in runs)

    def changed(self, *solutions: tuple[int, str]) -> Files:
        """Return the reference changed in the way of earlier exercises' solutions: numbers and names."""
        found = [each for number, name in solutions for each in read_solutions(number) if each.name == name]
        together = dataclasses.replace(found[0], workflow=[hunk for each in found for hunk in each.workflow])
        files = files_of(together, EXERCISES[9].solution, "mine")
        return {**self.reference, **{str(path.relative_to(PROJECT)): text for path, text in files.items()}}


async def judge_tests(
    bench: Bench, notify: Callable[[Step], None], begin: Callable[[Step], None] = lambda step: None
) -> Verdict:
    """Judge the tests on a bench. Calls `notify` with each step that passed, and `begin` with each that is begun."""
    verdict = Verdict()
    step: Step | None = None
    try:
        async for next_step in steps(bench):
            if step is not None:
                verdict.passed.append(step.title)
                notify(step)
            step = next_step
            begin(step)
        assert step is not None  # There are some.
        verdict.passed.append(step.title)
        notify(step)
    except CheckFailure as failure:
        failure.seen += busy_remark()
        verdict.failed, verdict.failure = step, failure
    return verdict


async def steps(bench: Bench) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at. Raises `CheckFailure` where one is not done."""
    yield Step("All of your tests pass on your workflow", place(9, "Your task"))
    first = await bench.run(bench.own)
    if (failed := first.first_bad) is not None:
        raise await why_not_on_own(bench, failed)
    if not first.names:
        raise CheckFailure(f"There is no test in {FILE}.", "A test is a function whose name begins with test_.")
    bench.seconds = first.seconds

    # All others are run side by side. What is said of them comes in this order.
    backwards = first.names[::-1]
    again = asyncio.create_task(bench.run(bench.reference, backwards))
    others = {" and ".join(name for _, name in ways): bench.changed(*ways) for ways in OTHER_WAYS}
    on_others = {name: asyncio.create_task(bench.run(files)) for name, files in others.items()}
    wrong = {mistake: bench.changed((mistake.exercise, mistake.name)) for mistake in MISTAKES}
    on_wrong = {mistake: asyncio.create_task(bench.red_test(files)) for mistake, files in wrong.items()}
    tasks: list[asyncio.Task[Any]] = [again, *on_others.values(), *on_wrong.values()]
    try:
        yield Step("They pass on version 9 too, in another order", place(9, "Four kinds of bad tests"))
        if (failed := (await again).first_bad) is not None:
            await cancel(tasks)
            raise await why_not_again(bench, backwards, failed)

        yield Step("They pass on other right solutions", place(9, "Four kinds of bad tests"))
        for name, run in on_others.items():
            if (failed := (await run).first_bad) is not None:
                await cancel(tasks)
                raise await why_not_on_other(bench, name, others[name], failed)

        notice = Step(f"They notice {len(MISTAKES)} known mistakes", place(9, "Your task"))
        yield notice
        missed = []
        for mistake, red_test in on_wrong.items():
            noticed_by = await red_test
            bench.notify(mistake, noticed_by)
            if noticed_by is None:
                missed.append(mistake)
    finally:
        await cancel(tasks)
    if missed:
        points = sorted({mistake.point for mistake in missed})
        numbers = ", ".join(map(str, points))
        notice.where = EXERCISES[9].place("Your task", f"point{'s' * (len(points) > 1)} {numbers}")
        noticed = len(MISTAKES) - len(missed)
        raise CheckFailure(
            f"{noticed} of {len(MISTAKES)} mistakes are noticed.", "For each there is a test that fails."
        )


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End runs that nobody needs any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def why_not_on_own(bench: Bench, failed: Outcome) -> CheckFailure:
    """Return what there is to say of a test that failed on a learner's own workflow."""
    if not failed.says.startswith("fails"):
        return CheckFailure(str(failed), AT_ALL)
    if await bench.passes_sometimes(failed, bench.own):
        return CheckFailure(f"{failed} Run once more, it passes.", EACH_TIME)
    if bench.own != bench.reference and (await bench.run(bench.reference)).first_bad is None:
        return CheckFailure(
            f"{failed} On version 9 as it is, all of your tests pass.",
            "Your own workflow has a change that your tests notice. Put back what you have tried out: "
            "`python workshop.py diff 8 --mine` shows it.",
        )
    return CheckFailure(str(failed), "Your workflow is right, so a test of it passes.")


async def why_not_again(bench: Bench, backwards: Sequence[str], failed: Outcome) -> CheckFailure:
    """Return what there is to say of a test that failed at the second run: of the reference, the last test first."""
    if not failed.says.startswith("fails"):
        return CheckFailure(str(failed), AT_ALL)
    if await bench.passes_sometimes(failed, bench.reference, backwards):
        return CheckFailure(f"{failed} Run once more, it passes.", EACH_TIME)
    if await bench.passes_sometimes(failed, bench.reference):
        return CheckFailure(
            f"{failed} It does so if the tests are run from the last to the first.",
            "A test passes whatever was run before it: nothing is left for the next one.",
        )
    return CheckFailure(
        f"{failed} That is on version 9, which is right. On your own workflow it passes.",
        "A test asks what the workflow does, and not how it is written.",
    )


async def why_not_on_other(bench: Bench, name: str, files: Files, failed: Outcome) -> CheckFailure:
    """Return what there is to say of a test that failed on another right solution."""
    if not failed.says.startswith("fails"):
        return CheckFailure(str(failed), AT_ALL)
    if await bench.passes_sometimes(failed, files):
        return CheckFailure(f"{failed} Run once more, it passes.", EACH_TIME)
    return CheckFailure(
        f"{failed} That is on a workflow that {name}. It is right, too.",
        "A test asks what the workflow does, and not how it is written.",
    )

"""`python workshop.py check N`: a server of its own, one judgement, and a report that a learner can act on."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import NoReturn

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from temporal_connection import UserError, connect
from temporal_server import QUICK_TASKS, find_temporal_cli
from tests.exercises import exercise_7
from tests.exercises.judge import TITLES, Verdict, judge
from tests.exercises.wrong import PROJECT, Step, Wrong, where_it_is

BLOCKED_AFTER = 2.0


def colored(text: str, color: int) -> str:
    """Return the text in an ANSI color at a terminal, and as it is elsewhere."""
    return f"\033[{color}m{text}\033[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


class Report:
    """Prints the steps as they pass, and in the end what is wrong, if anything."""

    def __init__(self) -> None:
        """Begin with no step."""
        self.done = 0

    def passed(self, step: Step) -> None:
        """Print a step that passed."""
        self.done += 1
        print(f"  {colored('ok', 32)}    {self.done}. {step.title}", flush=True)

    def failed(self, step: Step, wrong: Wrong) -> None:
        """Print a step that is not done, and why."""
        print(f"  {colored('FAIL', 31)}  {self.done + 1}. {step.title}\n")
        for label, text in (
            ("Seen", wrong.seen),
            ("Expected", wrong.expected),
            ("Look at", f"README.md, {step.where}"),
        ):
            print(textwrap.fill(f"{label + ':':<10}{text}", width=110, subsequent_indent=" " * 10))
        if wrong.lines:
            print(f"\n{textwrap.indent(wrong.lines, ' ' * 10)}")
        sys.stdout.flush()


async def check(number: int, name: str, script: Path) -> NoReturn:
    """Judge version `name` and its client as a solution of exercise `number`. Ends the process: 0 if all steps pass."""
    report = Report()
    files = [f"workflow/system_patch_workflow_{name}.py", script.name if number < 3 else "workflow/activities_mine.py"]
    there = [file for file in files if (PROJECT / file).exists() and (name == "mine" or "mine" not in file)]
    print(f"Exercise {number}: {TITLES[number]}. Checking {', '.join(there)}", flush=True)
    logging.getLogger("temporalio").addHandler(logging.NullHandler())  # The report says what a learner needs of it.
    try:
        verdict = await judge_alone(number, name, script, report)
    except (UserError, asyncio.CancelledError):
        raise
    except Exception as error:
        raise UserError(f"The check itself is broken here, sorry: {type(error).__name__}: {error}") from error
    code = conclude(number, verdict, report)
    sys.stdout.flush()
    # Not left to asyncio, which would wait for a learner's workflow that never lets go of its thread.
    os._exit(code)


async def judge_alone(number: int, name: str, script: Path, report: Report) -> Verdict:
    """Judge on a server of its own, in a process that does nothing else."""
    with Watchdog(report) as watchdog:
        async with own_server() as client:
            verdict = await judge(
                number,
                name,
                client,
                script if number < 3 else None,
                time_limit=14 if number == 3 else 30,
                in_own_process=True,
                tell=report.passed,
            )
        watchdog.rest()
    return verdict


async def check_settings(flags: list[str]) -> int:
    """Judge settings of `temporal_worker_v8.py` as a solution of exercise 7. Returns 0 if they do, else 1."""
    report = Report()
    print(f"Exercise 7: {TITLES[7]}. Checking python temporal_worker_v8.py {' '.join(flags)}", flush=True)
    verdict = Verdict([])
    step: Step | None = None
    async with own_server() as client:
        try:
            async with aclosing(exercise_7.steps(client, flags, free_port())) as steps:
                async for next_step in steps:
                    if step is not None:
                        report.passed(step)
                    step = next_step
            if step is not None:
                report.passed(step)
        except Wrong as wrong:
            verdict.failed, verdict.wrong = step, wrong
    return conclude(7, verdict, report)


def conclude(number: int, verdict: Verdict, report: Report) -> int:
    """Print what is left to say. Returns the exit code."""
    if verdict.failed and verdict.wrong:
        report.failed(verdict.failed, verdict.wrong)
        return 1
    what_next = {
        0: "Everything is ready. Go on with: python workshop.py start 1",
        7: "That was the last exercise.",
    }
    print(f"\nAll steps pass. {what_next.get(number, f'What the solution changes: python workshop.py diff {number}')}")
    return 0


@asynccontextmanager
async def own_server() -> AsyncIterator[Client]:
    """Run a server for this check only, on free ports. Everything that this process starts uses it too."""
    cli = await find_temporal_cli()
    # A learner's own settings are about the learner's server.
    for variable in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        del os.environ[variable]
    os.environ["TEMPORAL_CONFIG_FILE"] = os.devnull
    with silence():
        environment = await WorkflowEnvironment.start_local(
            dev_server_existing_path=cli, dev_server_extra_args=QUICK_TASKS
        )
    async with environment:
        os.environ["TEMPORAL_ADDRESS"] = environment.client.service_client.config.target_host
        yield await connect()


def free_port() -> int:
    """Return a port of this machine on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def silence() -> Iterator[None]:
    """Within this, processes are started whose output nobody sees."""
    sys.stdout.flush()
    saved = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        yield
    finally:
        for stream, file in zip((1, 2), saved, strict=True):
            os.dup2(file, stream)
            os.close(file)
        os.close(nowhere)


class Watchdog:
    """Ends the check if a learner's code blocks the event loop, where nothing else gets a turn any more."""

    def __init__(self, report: Report) -> None:
        """Take what prints the end."""
        self._report = report
        self._last_turn = time.monotonic()
        self._main_thread = threading.get_ident()
        self._resting = threading.Event()

    def __enter__(self) -> "Watchdog":
        self._turns = asyncio.get_running_loop().create_task(self._take_turns())
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()

    def rest(self) -> None:
        """Stop watching."""
        self._resting.set()
        self._turns.cancel()

    async def _take_turns(self) -> None:
        while True:
            self._last_turn = time.monotonic()
            await asyncio.sleep(0.1)

    def _watch(self) -> None:
        while not self._resting.wait(0.2):
            line = where_it_is(sys._current_frames().get(self._main_thread))
            # Where no line of a learner's is at fault, the machine is merely busy.
            if line and time.monotonic() - self._last_turn > BLOCKED_AFTER:
                self._report.failed(
                    Step("Whatever waits lets others work meanwhile", "Troubleshooting"),
                    Wrong(
                        f"For {BLOCKED_AFTER:g} seconds nothing else in the worker got a turn.",
                        "An `async def` awaits whatever takes time: `await asyncio.sleep(1)`, never `time.sleep(1)`.",
                        line,
                    ),
                )
                # The event loop can't clean up any more: the server and whatever else was started are ended from here.
                subprocess.run(["pkill", "-P", str(os.getpid())], check=False)
                os._exit(1)

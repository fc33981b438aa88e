"""Judges in a process of its own, which may hang or die: what it tries out is a learner's code.

`judge_apart` starts `python -m checks.apart`, reads what that says in a file, and has the last word.
"""

from checks.exercises import EXERCISES, TROUBLESHOOTING, Exercise, Place
from checks.explain import ENDS_PYTHON, ends_python
from checks.failure import CheckFailure, Step
from checks.judge import A_MOMENT, LOADS, Submission, Verdict, judge
from checks.machine import slowness
from checks.messages import Reader, Sayer
from checks.traces import LOADED, where_it_is, where_threads_are
from support.connection import connect
from support.processes import Process
from support.script import end_process

import asyncio
import dataclasses
import faulthandler
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NoReturn
from unittest import mock

# Seconds.
TURN_INTERVAL = 0.2
BLOCKED_AFTER = 2.0
LOADING_AFTER = 5.0
LONGEST_STEP = 60.0  # What the other process may take for a step beyond its time limit.
# Files in the folder that both processes know.
MESSAGES, THREADS = "messages", "threads"
BLOCKS = Step("Whatever waits lets others work meanwhile", TROUBLESHOOTING)


class _Messages:
    """What the other process says."""

    def __init__(self, file: IO[str], notify: Callable[[Step], None], begin: Callable[[Step], None]) -> None:
        self.step: Step = LOADS
        self.passed: list[str] = []
        self.verdict: Verdict | None = None
        self.broken = ""
        self.main_thread = 0
        self.ends_at = ""
        """The line at which a learner's code was about to end the process."""
        self.last_turn = self.last_message = time.monotonic()
        self._reader = Reader(file)
        self._notify = notify
        self._begin = begin

    def read(self) -> bool:
        """Take what is new. Returns whether there was anything."""
        messages = self._reader.read()
        for message in messages:
            self._take(message)
        return bool(messages)

    def _take(self, said: dict[str, Any]) -> None:
        self.last_turn = time.monotonic()
        if set(said) == {"turn"}:
            return
        self.last_message = self.last_turn
        self.main_thread = said.get("main_thread", self.main_thread)
        self.ends_at = said.get("ends_at", self.ends_at)
        self.broken = said.get("broken", self.broken)
        if "step" in said:
            self.step = _step(said["step"])
            self._begin(self.step)
        if "passed" in said:
            passed = _step(said["passed"])
            self.passed.append(passed.title)
            self._notify(passed)
        if "failure" in said:
            failed = _step(said["failed"]) if "failed" in said else self.step
            self.verdict = self.failed(CheckFailure(**said["failure"]), failed)
        if "done" in said:
            self.verdict = Verdict(self.passed)

    def failed(self, failure: CheckFailure, step: Step | None = None) -> Verdict:
        """Return the verdict that a step, or the one that it was at, is not done."""
        return Verdict(self.passed, step or self.step, failure)


def _step(said: dict[str, Any]) -> Step:
    return Step(said["title"], Place(**said["where"]))


async def judge_apart(
    exercise: Exercise,
    submission: Submission,
    notify: Callable[[Step], None] = lambda step: None,
    begin: Callable[[Step], None] = lambda step: None,
) -> Verdict:
    """Try out the submission as a solution of the exercise, in a process of its own.

    It is tried on the server that the environment names. Calls `notify` with each step that passed, and `begin` with
    each that is begun. Raises `RuntimeError` if the check itself has an error.
    """
    # All that a learner's code takes from a set comes in the same order in each check.
    environment = {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
    told = {
        "exercise": exercise.number,
        "version": submission.version,
        "client": submission.client and str(submission.client),
        "worker_flags": submission.worker_flags,
    }
    with tempfile.TemporaryDirectory() as folder, Path(folder, MESSAGES).open("w+") as file:
        messages = _Messages(file, notify, begin)
        command = ["python", "-m", "checks.apart", folder, json.dumps(told)]
        process = Process(*command, environment=environment, show=True)
        try:
            return await _follow(process, messages, Path(folder, THREADS), exercise.time_limit + LONGEST_STEP)
        finally:
            process.kill()


async def _follow(process: Process, messages: _Messages, dump: Path, time_limit: float) -> Verdict:
    seen_at: list[str] = []  # Where the threads were when the process was looked at, since its last turn.
    while True:
        is_over = process.is_over.is_set()
        if messages.read():
            seen_at.clear()
        if messages.broken:
            raise RuntimeError(messages.broken)
        if messages.verdict is not None:
            return messages.verdict
        if is_over:
            return messages.failed(_how_it_ended(process.popen.returncode, messages))
        without_turn = time.monotonic() - messages.last_turn
        if without_turn > BLOCKED_AFTER * (len(seen_at) + 1) and messages.main_thread:
            seen_at.append(await _where_it_blocks(process, messages, dump))
            if failure := _what_blocks(seen_at, without_turn):
                return messages.failed(failure, LOADS if failure.lines.endswith(LOADED) else BLOCKS)
        silent = time.monotonic() - messages.last_message
        if silent > time_limit and silent > time_limit * slowness():
            return messages.failed(CheckFailure(f"After {silent:.0f} seconds this step was not done.", A_MOMENT))
        await asyncio.sleep(0.05)


async def _where_it_blocks(process: Process, messages: _Messages, dump: Path) -> str:
    """Return the learner's line at which the main thread is, or else another thread, or nothing."""
    dump.write_text("")
    process.signal(signal.SIGUSR1)
    deadline = time.monotonic() + 1
    threads: dict[int, str] = {}
    while messages.main_thread not in threads and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
        threads = where_threads_are(dump.read_text())
    # In a thread that is not the main one it matters only if it is the same each time.
    return threads.get(messages.main_thread) or next(filter(None, threads.values()), "") + " "


def _what_blocks(seen_at: list[str], seconds: float) -> CheckFailure | None:
    """Return what is wrong if it is a learner's line that keeps all else from having a turn, and not the machine."""
    line = seen_at[-1]
    if line.strip().endswith(LOADED):
        if seconds < LOADING_AFTER * slowness():
            return None
        return CheckFailure(
            f"Loading your file took {seconds:.0f} seconds, and was not done yet.",
            "A file that is loaded only defines classes, functions and constants.",
            line.strip(),
        )
    in_main_thread = bool(line) and not line.endswith(" ")
    if not in_main_thread and not (len(seen_at) > 2 and line.strip() and len({*seen_at[-3:]}) == 1):
        return None
    return CheckFailure(
        f"For {int(seconds)} seconds nothing else in the worker got a turn.",
        "An `async def` awaits whatever takes time: `await asyncio.sleep(1)`, never `time.sleep(1)`.",
        line.strip(),
    )


def _how_it_ended(code: int, messages: _Messages) -> CheckFailure:
    how = f"with exit code {code}" if code >= 0 else f"by a signal ({signal.strsignal(-code)})"
    seen = f"Your code ended the process that it ran in, {how}."
    if code < 0 and not messages.ends_at:
        seen += " (Or somebody else did: a lack of memory does it too.)"
    return CheckFailure(seen, ENDS_PYTHON, messages.ends_at)


# The other process.


class _Sayer(Sayer):
    def say_verdict(self, verdict: Verdict) -> None:
        if verdict.failure is None:
            self.say(done=True)
            return
        assert verdict.failed is not None  # A check that has not begun yet finds nothing.
        self.say(failed=dataclasses.asdict(verdict.failed), failure=vars(verdict.failure))

    def says_first(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that says at which of a learner's lines it is called, and then does what it does."""

        def say_first(*args: Any) -> Any:
            if line := where_it_is(sys._getframe()):
                self.say(ends_at=line)
            return function(*args)

        return say_first


async def _judge_here(sayer: _Sayer, told: dict[str, Any]) -> None:
    exercise = EXERCISES[told["exercise"]]
    client = told["client"] and Path(told["client"])

    async def take_turns() -> NoReturn:
        while True:
            sayer.say(turn=True)
            await asyncio.sleep(TURN_INTERVAL)

    turns = asyncio.create_task(take_turns())
    try:
        verdict = await judge(
            exercise,
            Submission(told["version"], client, told["worker_flags"]),
            await connect(),
            time_limit=exercise.time_limit,
            in_own_process=True,
            notify=lambda step: sayer.say(passed=dataclasses.asdict(step)),
            begin=lambda step: sayer.say(step=dataclasses.asdict(step)),
        )
    finally:
        turns.cancel()
    sayer.say_verdict(verdict)


def _main(folder: str, told: str) -> NoReturn:
    sayer = _Sayer(Path(folder, MESSAGES))
    file = os.open(Path(folder, THREADS), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    faulthandler.register(signal.SIGUSR1, file=file, all_threads=True)
    logging.getLogger("temporalio").addHandler(logging.NullHandler())  # The report says what a learner needs of it.
    sayer.say(main_thread=threading.get_ident())
    ends: dict[str, Any] = {name: sayer.says_first(getattr(os, name)) for name in ("_exit", "abort", "kill")}
    with mock.patch.multiple(os, **ends):
        try:
            # Not by asyncio.run, which would wait for the end of all that a learner's code has begun.
            asyncio.new_event_loop().run_until_complete(_judge_here(sayer, json.loads(told)))
        except SystemExit as error:
            sayer.say(failure=vars(ends_python(error)))
        except BaseException as error:
            sayer.say(broken=f"{type(error).__name__}: {error}")
    end_process(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])

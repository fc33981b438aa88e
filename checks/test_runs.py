"""Runs a learner's tests by pytest: each time in a folder and a process of its own, which may hang or die.

All runs are on one server, each in a namespace of its own, where it meets nothing of another run.
"""

from checks.messages import Reader, Sayer
from support import PROJECT
from support.script import end_process, one_line

import asyncio
import contextlib
import inspect
import multiprocessing
import multiprocessing.connection
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

FILE = "test_mine.py"
MESSAGES, OUTPUT = "messages", "output"  # Files in the folder of a run.
# By these addresses a file may name the server that a learner has running: it gets the one of the check.
USUAL_SERVER = ("localhost:7233", "127.0.0.1:7233")
OWN_PACKAGES = ("checks", "support", "tests", "workflow")
MOST_LETTERS = 160
NAMESPACES = 4  # For each run: so many servers it may start without waiting for a real one.
AT_A_TIME = 5  # On two cores: much of a test's time goes into waiting.


@dataclass
class Outcome:
    """How a test ended."""

    name: str
    passed: bool
    says: str = ""
    """What became of it if it did not pass, with the line in the test file: a sentence without its subject."""

    def __str__(self) -> str:
        """Return that as a sentence. Without a name, it is about the file."""
        return f"{self.name or FILE} {self.says}."


@dataclass
class TestRun:
    """What a run of the tests has come to."""

    __test__ = False  # It is no class of tests.
    names: list[str] = field(default_factory=list)
    """All tests that were found."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """Of the tests that have ended, by their names."""
    seconds: dict[str, float] = field(default_factory=dict)
    """What each test has taken by now, its fixtures included."""
    under_way: str = ""
    """The test that was under way when the process ended, if any."""
    problem: str = ""
    """What kept it from coming to its end, if anything: a sentence without its subject."""

    hangs: bool = False
    """Whether that is that a test did not come to its end."""

    @property
    def first_bad(self) -> Outcome | None:
        """The first test that did not pass, be it that it was skipped, or that the process ended in it."""
        return next((outcome for outcome in self.outcomes.values() if not outcome.passed), self._end)

    @property
    def first_red(self) -> Outcome | None:
        """The first test that failed, or in which the process ended."""
        return next((outcome for outcome in self.outcomes.values() if outcome.says.startswith("fails")), self._end)

    @property
    def _end(self) -> Outcome | None:
        return Outcome(self.under_way, False, self.problem) if self.problem else None


class TestRunner:
    """Runs tests, some at a time."""

    __test__ = False

    def __init__(self, address: str, namespaces: list[str], cli: str, folder: Path) -> None:
        """Take a server's address, its namespaces, where the CLI is, and a folder for files.

        All runners of a process have the same folder, which must be there as long as there is one.
        Each run uses up `NAMESPACES` of the namespaces, in which nobody else may be.
        """
        self._address = address
        self._namespaces = namespaces
        self._cli = cli
        self._folder = folder
        self._slots = asyncio.Semaphore(AT_A_TIME)
        # Its processes are copies of one that has imported all that takes long.
        self._processes = multiprocessing.get_context("forkserver")
        plugins = [plugin.module for plugin in entry_points(group="pytest11")]
        self._processes.set_forkserver_preload(["__main__", __name__, *plugins])
        # Its socket goes into the folder, which somebody removes; a Ctrl-C is not for it.
        with mock.patch("tempfile.tempdir", str(folder)):
            handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
            forkserver.ensure_running()
            signal.signal(signal.SIGINT, handler)

    async def run(
        self,
        files: dict[str, str],
        patience: Callable[[str], float],
        order: Sequence[str] = (),
        stop_at_first: bool = False,
    ) -> TestRun:
        """Run the tests in a folder of their own, with these files by their paths in it.

        `patience` says how many seconds a test of this name may take, or with no name, what comes before the first.
        The tests named in `order` come first, in that order. With `stop_at_first`, none is run after one that fails.
        """
        async with self._slots:
            namespaces = [self._namespaces.pop() for _ in range(NAMESPACES)]
            folder = Path(tempfile.mkdtemp(dir=self._folder))
            make_folder(folder, files)
            run = TestRun()
            process = self._processes.Process(
                target=_run_pytest, args=(str(folder), [*order], stop_at_first, self._address, namespaces, self._cli)
            )
            with (folder / MESSAGES).open("w+") as file:
                process.start()
                group = process.pid
                assert group is not None  # It has been started.
                try:
                    await _follow(run, process, Reader(file), patience)
                finally:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(group, signal.SIGKILL)
                    process.kill()
                    process.join()
                    shutil.rmtree(folder, ignore_errors=True)
            return run


def make_folder(folder: Path, files: dict[str, str]) -> None:
    """Make a folder that has of the project what tests need, and these files."""
    # Hidden files are an editor's, which may link to nothing.
    shutil.copytree(PROJECT / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for file in [PROJECT / "pyproject.toml", *PROJECT.glob("conftest.py"), *PROJECT.glob("*_mine*")]:
        if file.name.startswith("."):
            continue
        if file.is_dir():
            shutil.copytree(file, folder / file.name)
        else:
            shutil.copy2(file, folder)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


async def _follow(run: TestRun, process: Any, reader: Reader, patience: Callable[[str], float]) -> None:
    """Take what the process says, until it is done, ends otherwise, or is out of patience."""
    since = time.monotonic()
    while True:
        is_over = not process.is_alive()
        for said in reader.read():
            since = time.monotonic()
            if "done" in said:
                missing = [name for name in run.names if name not in run.outcomes]
                if said["done"] == pytest.ExitCode.INTERNAL_ERROR:
                    run.problem = run.problem or "ended pytest, as by sys.exit"
                elif said["done"] == pytest.ExitCode.USAGE_ERROR:
                    run.problem = run.problem or "can't be run: pytest does not take its settings, in pyproject.toml"
                elif missing and run.first_bad is None:
                    run.problem = f"ended all: {len(missing)} of {len(run.names)} tests did not come to their end"
                return
            run.names = said.get("names", run.names)
            run.under_way = said.get("begun", run.under_way)
            run.problem = said.get("problem", run.problem)
            if "took" in said:
                name, seconds = said["took"]
                run.seconds[name] = run.seconds.get(name, 0) + seconds
            if "outcome" in said:
                outcome = Outcome(**said["outcome"])
                before = run.outcomes.get(outcome.name)
                if before is None or before.passed:  # The first failure of a test counts: its end may fail too.
                    run.outcomes[outcome.name] = outcome
        if is_over:
            code = process.exitcode or 0
            how = f"with exit code {code}" if code >= 0 else f"by a signal ({signal.strsignal(-code)})"
            run.problem = run.problem or f"ended the process that it ran in, {how}"
            return
        waited = time.monotonic() - since
        if waited > patience(run.under_way):
            what = "did not come to its end in" if run.names else "was not loaded after"
            run.problem, run.hangs = f"{what} {waited:.0f} seconds", True
            return
        await asyncio.sleep(0.05)


# The process that runs them.


class _Notifier:
    """A plugin of pytest's that says how the tests get on."""

    def __init__(self, sayer: Sayer, order: list[str]) -> None:
        self._say = sayer.say
        self._order = order

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._say(problem=f"can't be loaded: {_reason(report)}")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        places = {name: place for place, name in enumerate(self._order)}
        items.sort(key=lambda item: places.get(_name(item.nodeid), len(places)))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._say(names=[_name(item.nodeid) for item in session.items])

    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self._say(begun=_name(nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._say(took=[_name(report.nodeid), report.duration])
        if report.when == "call" or not report.passed:
            says = "" if report.passed else f"fails: {_reason(report)}" if report.failed else "is skipped"
            if hasattr(report, "wasxfail"):
                says = "is marked as one that fails"
            self._say(outcome=vars(Outcome(_name(report.nodeid), report.passed, says)))


def _name(nodeid: str) -> str:
    """Return a test's name within its file."""
    return nodeid.partition("::")[2]


def _reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Return why it failed, in one line, with the learner's line where it did."""
    crash = getattr(report.longrepr, "reprcrash", None)
    entries = getattr(getattr(report.longrepr, "reprtraceback", None), "reprentries", [])
    places = [entry.reprfileloc for entry in entries if getattr(entry, "reprfileloc", None)]
    text = crash.message if crash else str(report.longrepr)
    # Of code that can't be loaded, the text has the lines.
    found = [(place.path, place.lineno) for place in places] + re.findall(r'File "(.*?)", line (\d+)', text)
    here = Path.cwd()
    lines = [(here / path, line) for path, line in found if (here / path).is_relative_to(here)]
    errors = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")]
    message = (errors[-1] if errors else text.partition("\n")[0]).replace(f"{here}/", "")
    message = re.sub(r"^(?:\w+\.)+(?=\w+:)", "", one_line(message)).rstrip(".")  # Without the exception's module.
    if replay := re.search(r"\[TMPRL1100\][^\"]*", message):
        message = replay[0]
    where = f" ({lines[-1][0].relative_to(here)}, line {lines[-1][1]})" if lines else ""
    return (message if len(message) <= MOST_LETTERS else f"{message[:MOST_LETTERS]}...") + where


def _run_pytest(
    folder: str, order: list[str], stop_at_first: bool, address: str, namespaces: list[str], cli: str
) -> None:
    os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.chdir(folder)
    output = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(output, stream)
    for name in [name for name in sys.modules if name.partition(".")[0] in OWN_PACKAGES]:
        del sys.modules[name]  # They are to be loaded from here.
    sys.path.insert(0, folder)
    sys.path.append(str(PROJECT))
    sys.dont_write_bytecode = False  # The sandbox loads a workflow's file anew for each run.
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]
    os.environ |= {"TEMPORAL_ADDRESS": address, "TEMPORAL_NAMESPACE": namespaces[0], "TEMPORAL_CLI": cli}
    sayer = Sayer(Path(folder, MESSAGES))
    arguments = [FILE, "--basetemp", str(Path(folder, "temporary")), "-p", "no:cacheprovider", "-W", "ignore"]
    with _servers(address, namespaces):
        code = pytest.main([*arguments, *(["--exitfirst"] if stop_at_first else [])], plugins=[_Notifier(sayer, order)])
    sayer.say(done=int(code))
    end_process(0)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.killpg(0, signal.SIGKILL)


@contextlib.contextmanager
def _servers(address: str, namespaces: list[str]) -> Iterator[None]:
    """Within this, whoever starts a development server gets another namespace of the one that runs, which is as new.

    To start one for each of some twenty runs would take a minute. When the namespaces are used up, there is a real one.
    """
    connect = Client.connect
    start = WorkflowEnvironment.start_local
    known = inspect.signature(connect).parameters
    unused = iter(namespaces)

    async def connect_here(target_host: str, **options: Any) -> Client:
        if target_host in (*USUAL_SERVER, address):
            target_host, options["namespace"] = address, namespaces[0]
        return await connect(target_host, **options)

    async def start_here(**options: Any) -> WorkflowEnvironment:
        namespace = next(unused, None)
        if namespace is None or options.get("search_attributes") or options.get("dev_server_extra_args"):
            return await start(**options)
        kept = {name: value for name, value in options.items() if name in known}
        return WorkflowEnvironment.from_client(await connect(address, **{**kept, "namespace": namespace}))

    with (
        mock.patch.object(Client, "connect", connect_here),
        mock.patch.object(WorkflowEnvironment, "start_local", start_here),
    ):
        yield

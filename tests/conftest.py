"""One real development server for the whole suite, and what all tests need around it.

The suite runs in several processes (pytest-xdist). They share the server: each is a learner of its own on it, so that
nobody's worker takes another's tasks.
"""

from support import PROJECT, ports
from support.connection import connect
from support.dev_server import SERVER_ENVIRONMENT, server_command
from support.ports import UI_PORT_DISTANCE, free_port
from support.processes import Process
from support.temporal_cli import find_temporal_cli

import asyncio
import logging
import os
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pytest
from temporalio.client import Client
from temporalio.worker._workflow import _WorkflowWorker
from xdist.scheduler.loadscope import LoadScopeScheduling

Run = Callable[..., Process]
# Seconds: for what comes after a test that has failed, and between two alarms when a test's time is over.
TEARDOWN_TIMEOUT, ALARM_INTERVAL = 60.0, 20.0
servers: list[Process] = []
# Modules whose tests share the outcome of something that takes long, or need ports of their own.
IN_ONE_PROCESS = {
    "test_bad_input",
    "test_check_9",
    "test_concurrency",
    "test_crashes",
    "test_grafana",
    "test_observability",
    "test_secrets",
    "test_shutdown",
    "test_v9",
    "test_versions",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add a flag for whoever changes what the pages say of the Web UI."""
    parser.addoption("--pictures", action="store_true", help="take the pages' pictures of the Web UI anew")


def pytest_configure(config: pytest.Config) -> None:
    """Start the server in the one process that all others come from. They find it in their environment."""
    # The sandbox imports a workflow's file anew for each run, and would compile it each time.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # Python 3.11 can fail to parse anything if a traceback is printed meanwhile, which it parses too, to underline
    # parts of lines (https://github.com/python/cpython/issues/106905). Wrong solutions leave tasks behind, whose
    # exceptions are logged whenever they are thrown away.
    if hasattr(traceback, "_extract_caret_anchors_from_line_segment"):
        traceback._extract_caret_anchors_from_line_segment = lambda segment: None
    # Those that are thrown away when the process ends, after all tests, would be printed below a run that is green.
    logging.getLogger("temporalio").addHandler(logging.NullHandler())
    if name := os.environ.get("PYTEST_XDIST_WORKER"):
        os.environ["WORKSHOP_LEARNER"] = name
        first = 10_000 + 2 * UI_PORT_DISTANCE * (int(name.removeprefix("gw")) + 1)
        ports.FREE_PORTS = range(first, first + UI_PORT_DISTANCE)  # Its own, and those of their Web UIs.
        return
    os.environ["TEMPORAL_CLI"] = asyncio.run(find_temporal_cli())
    # On one core each, and collecting its garbage less often, the servers do the same with a fifth less of processor
    # time.
    os.environ |= {"GOMAXPROCS": "1", "GOGC": "400"}
    servers.append(start_server())


@pytest.fixture(scope="session", autouse=True)
def patient_workers() -> Iterator[None]:
    """Workers in this process take no workflow for blocked that is only slow, as beside many others.

    The SDK does so after 2 seconds, without a setting for it, and may then never get rid of the workflow's run: whoever
    waits for it would wait for ever (sdk-python, issue 875). Those of a check have a limit of their own.
    """
    make = _WorkflowWorker.__init__

    def make_patient(worker: _WorkflowWorker, *arguments: Any, **named: Any) -> None:
        make(worker, *arguments, **named)
        worker._deadlock_timeout_seconds = 30

    with mock.patch.object(_WorkflowWorker, "__init__", make_patient):
        yield


def pytest_unconfigure() -> None:
    """Stop the server."""
    for server in servers:
        server.kill()


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer() -> Generator[None, object, object]:
    """Let a test's alarm ring again and again when its time is over.

    It raises an exception wherever the process is just then. If that is in a task in the background, in a library's
    say, asyncio keeps the exception there, and whoever waits for that task would wait for ever.
    """
    is_set = yield
    seconds, _ = signal.getitimer(signal.ITIMER_REAL)
    signal.setitimer(signal.ITIMER_REAL, seconds, ALARM_INTERVAL)
    return is_set


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    """Limit what comes after a test that has failed: with its failure, pytest-timeout ends its watch."""

    def fail(*_: object) -> None:
        pytest.fail(f"What comes after this test was not done in {TEARDOWN_TIMEOUT:g} seconds.")

    if signal.getitimer(signal.ITIMER_REAL)[0] == 0:
        signal.signal(signal.SIGALRM, fail)
        signal.setitimer(signal.ITIMER_REAL, TEARDOWN_TIMEOUT, ALARM_INTERVAL)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that wait for long, in a browser or for what a page's commands do: others run meanwhile."""
    items.sort(key=lambda item: item.path.stem not in ("test_web_ui", "test_pages"))


class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
    """Hands each process its next test, but keeps the tests of a module in one process if they share something costly.

    (pytest-xdist's own groups, made by a marker, are not seen by version 3.8.0 with pytest 9.2.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if Path(file).stem in IN_ONE_PROCESS else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduler:
    """Return what distributes the tests."""
    return Scheduler(config, log)


def start_server() -> Process:
    """Start a server, its history in memory. Its address is in the environment, where all scripts and tests find it."""
    port = free_port()
    command = server_command(os.environ["TEMPORAL_CLI"], port, port + UI_PORT_DISTANCE, None)
    server = Process(*command, environment=SERVER_ENVIRONMENT)
    server.wait_for("Server:")
    for name in [name for name in os.environ if name.startswith("TEMPORAL_") and name != "TEMPORAL_CLI"]:
        del os.environ[name]
    os.environ["TEMPORAL_CONFIG_FILE"] = os.devnull
    os.environ["TEMPORAL_ADDRESS"] = f"127.0.0.1:{port}"
    return server


@pytest.fixture(scope="session")
async def client() -> Client:
    return await connect()


def copy_project(to: Path) -> None:
    """Copy the project without anybody's own files, so that what a test leaves does not land among these."""
    own = (".*", "temporal.db*", "*.egg-info", "__pycache__", "*_mine.py", "old", "kits", "docs", "histories")
    shutil.copytree(PROJECT, to, ignore=shutil.ignore_patterns(*own))


def copy_patient_project(to: Path) -> None:
    """Copy the project so that its workers bear with a busy machine.

    They pass on heartbeats every 0.2 seconds. By itself the SDK holds them back for 1.6 of the 2 seconds that the
    server waits, and a short stall costs an attempt. And they take no workflow for blocked: see `patient_workers`.
    """
    copy_project(to)
    changes = [
        (r"( +)sticky_queue_", r"\1max_heartbeat_throttle_interval=STICKY_TIMEOUT / 10,\n\g<0>"),
        (r"( +)async with worker:", r"\1worker._workflow_worker._deadlock_timeout_seconds = 30\n\g<0>"),
    ]
    for script in (to / "temporal_worker.py", to / "temporal_worker_v8.py"):
        text = script.read_text()
        for old, new in changes:
            text, count = re.subn(old, new, text)
            assert count == 1
        script.write_text(text)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy of the project in which scripts run, so that processes of the suite don't see each other's workers."""
    folder = tmp_path_factory.mktemp("project") / "workshop"
    copy_project(folder)
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> str:
    """The path of a copy of the project that one test has for itself."""
    copy_project(tmp_path / "workshop")
    return str(tmp_path / "workshop")


@pytest.fixture
def run(project: Path) -> Iterator[Run]:
    """Start scripts by calling this. What still runs at the end of the test is killed."""
    processes: list[Process] = []

    def start(*command: str, cwd: str | Path = project, **environment: str) -> Process:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        processes.append(Process(*command, folder=Path(cwd), environment={"PATH": path, **environment}))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


Refused = Callable[..., str]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Call a script's `main` with a command line that it refuses before it does anything. Returns what it prints."""

    def refused_by(main: Callable[[], None], *arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["script.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        return capsys.readouterr().err

    return refused_by


def listening_addresses(*pids: int) -> list[str]:
    """The addresses on which these processes and their children listen."""
    found = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    family = {process for parent in found for process in [parent, *parent.children(recursive=True)]}
    connections = [connection for process in family for connection in process.net_connections("inet")]
    return [connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN]

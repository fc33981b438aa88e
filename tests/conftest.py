"""One real development server for the whole suite, and what all tests need around it.

The suite runs in several processes (pytest-xdist). They share the server: each is a learner of its own on it, so that
nobody's worker takes another's tasks.
"""

from support import PROJECT
from support.connection import connect
from support.dev_server import server_command
from support.ports import UI_PORT_DISTANCE, free_port
from support.processes import Process
from support.temporal_cli import find_temporal_cli

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from temporalio.client import Client

Run = Callable[..., Process]
servers: list[Process] = []


def pytest_configure(config: pytest.Config) -> None:
    """Start the server in the one process that all others come from. They find it in their environment."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        os.environ["WORKSHOP_LEARNER"] = os.environ["PYTEST_XDIST_WORKER"]
        return
    os.environ["TEMPORAL_CLI"] = asyncio.run(find_temporal_cli())
    servers.append(start_server())


def pytest_unconfigure() -> None:
    """Stop the server."""
    for server in servers:
        server.kill()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of a module that share something costly in one process."""
    fixtures = item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else []
    if any(fixture.scope == "module" for definitions in fixtures for fixture in definitions):
        item.add_marker(pytest.mark.xdist_group(item.path.stem))


def start_server() -> Process:
    """Start a server, its history in memory. Its address is in the environment, where all scripts and tests find it."""
    port = free_port()
    server = Process(*server_command(os.environ["TEMPORAL_CLI"], port, port + UI_PORT_DISTANCE, None))
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
    own = (".*", "temporal.db*", "*.egg-info", "__pycache__", "*_mine.py", "old", "docs", "histories")
    shutil.copytree(PROJECT, to, ignore=shutil.ignore_patterns(*own))


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


def listening_addresses(*pids: int) -> list[str]:
    """The addresses on which these processes and their children listen."""
    found = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    family = {process for parent in found for process in [parent, *parent.children(recursive=True)]}
    connections = [connection for process in family for connection in process.net_connections("inet")]
    return [connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN]

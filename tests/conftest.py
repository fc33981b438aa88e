"""One real development server for the whole session, and what all tests need around it."""

from temporal_server import QUICK_TASKS, find_temporal_cli
from tests.exercises.check import free_port as free_port

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from temporal_connection import connect
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

PROJECT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
async def cli() -> str:
    return await find_temporal_cli()


@asynccontextmanager
async def dev_server() -> AsyncIterator[str]:
    """A server of one's own. Its address is in the environment, where every script and every test finds it."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=await find_temporal_cli(), dev_server_extra_args=QUICK_TASKS
    ) as environment:
        os.environ["TEMPORAL_ADDRESS"] = environment.client.service_client.config.target_host
        yield os.environ["TEMPORAL_ADDRESS"]


@pytest.fixture(scope="session")
async def address(cli: str) -> AsyncIterator[str]:
    async with dev_server() as address:
        yield address


@pytest.fixture(scope="session")
async def client(address: str) -> Client:
    return await connect()


class Script:
    """One of the workshop's scripts, as a real process of its own."""

    def __init__(self, *command: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable if part == "python" else part for part in command],
            cwd=environment.pop("cwd", str(PROJECT)),
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []

    def wait_for(self, text: str) -> str:
        """Read on until a line holds `text`, and return that line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return self.lines[-1]
        raise AssertionError(f"{text!r} was never printed, but:\n" + "\n".join(self.lines))

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for the end, and return the exit code and all that was printed."""
        assert self.process.stdout is not None
        self.lines += self.process.stdout.read().splitlines()
        return self.process.wait(timeout=60), "\n".join(self.lines)


@pytest.fixture
def run() -> Iterator[Any]:
    """Start scripts by calling this. What still runs at the end of the test is killed."""
    scripts: list[Script] = []

    def start(*command: str, **environment: str) -> Script:
        scripts.append(Script(*command, **environment))
        return scripts[-1]

    yield start
    for script in scripts:
        if script.process.poll() is None:
            script.process.kill()
        script.process.communicate()


def copy_project(to: Path) -> None:
    """Copy the project without anybody's own files, so that what a test leaves does not land among these."""
    own = (".*", "temporal.db*", "*.egg-info", "__pycache__", "*_mine.py", "old", "docs", "histories")
    shutil.copytree(PROJECT, to, ignore=shutil.ignore_patterns(*own))


@pytest.fixture
def elsewhere(tmp_path: Path) -> str:
    """The path of a copy of the project."""
    copy_project(tmp_path / "workshop")
    return str(tmp_path / "workshop")


def listening_addresses(*pids: int) -> list[str]:
    """The addresses on which these processes and their children listen."""
    found = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    family = {process for parent in found for process in [parent, *parent.children(recursive=True)]}
    connections = [connection for process in family for connection in process.net_connections("inet")]
    return [connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN]

"""How the development server is set up."""

from support.ports import THIS_MACHINE, UI_PORT_DISTANCE, free_port
from support.processes import Process
from support.script import UserError, within
from support.temporal_cli import find_temporal_cli

import asyncio
import contextlib
import fcntl
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import Client

# Where the network to a worker is cut without a word, the server goes on handing tasks to it, and each costs an
# attempt. So it asks every second whether the worker is there, and waits three for the answer: on a busy machine, who
# is there may be late. By default it takes more than a minute to find out (https://grpc.io/docs/guides/keepalive/).
KEEP_ALIVE = {"frontend.keepAliveTime": "1s", "frontend.keepAliveTimeout": "3s"}
DYNAMIC_CONFIG = {
    # The server reads its queue of new tasks at most 20 times a second for each of its shards. A development server has
    # one shard only, so that each of several steps in a row would take 40 ms longer.
    "history.transferProcessorMaxPollRPS": 1000,
    # It reads due timers, of which each activity sets some, in pages of 100. For each page, SQLite goes through all
    # that are done and not deleted yet, so that with a thousand hosts it falls behind more and more: timeouts come half
    # a minute late. With larger pages it keeps up.
    "history.timerTaskBatchSize": 1000,
    # What is done is deleted every 30 s by default. Until then it is in the way of each new task.
    "history.transferProcessorUpdateAckInterval": "1s",
    "history.timerProcessorUpdateAckInterval": "1s",
    "history.visibilityProcessorUpdateAckInterval": "1s",
    # It splits each task queue into four parts, and a task can wait for seconds in one at which no worker is polling.
    "matching.numTaskqueueReadPartitions": 1,
    "matching.numTaskqueueWritePartitions": 1,
    **KEEP_ALIVE,
    # While a run's code is at work, the server keeps one query to it waiting and refuses all others. A client and the
    # Web UI may well ask at the same moment.
    "history.MaxBufferedQueryCount": 20,
    # A run whose code fails again and again gets the search attribute TemporalReportedProblems at its second failure,
    # by which the Web UI and the room's board find it. By default that takes five failures, a minute.
    "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute": 2,
}
# The pragmas make the SQLite file 2.5 times as fast. What they give up is that a power cut, unlike a crash, may lose
# the last commits (https://www.sqlite.org/pragma.html#pragma_synchronous).
FAST_SQLITE = ["--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal"]

# Where it has a home, a server with its history in memory leaves a file there, ~/.config/temporalio/version-info.yaml
# (https://github.com/temporalio/cli, `persistentClusterID`).
SERVER_ENVIRONMENT = {"HOME": ""}

SQLITE_FILE = b"SQLite format 3\0"  # How such a file begins.


async def server_answers(port: int) -> bool:
    """Return whether a Temporal server answers on this port of this machine."""
    try:
        await within(5, Client.connect(f"127.0.0.1:{port}"))
    except (RuntimeError, asyncio.TimeoutError):
        return False
    return True


def prepare_database(database: Path) -> None:
    """Make sure that the server can keep its history in this file, named by itself. Raises `UserError` if not.

    A server that was killed while it made the file would never start on it again, so such a file is removed.
    """
    if special := {*"#?%"} & {*database.name}:
        raise UserError(f"--database: the server takes no file with {' or '.join(sorted(special))} in its name.")
    try:
        if database.exists() and not database.is_file():
            raise UserError(f"{database} is no file: name one with --database.")
        if not database.parent.is_dir():
            raise UserError(f"There is no folder {database.parent} for --database.")
        if not os.access(database.parent, os.W_OK) or (database.exists() and not os.access(database, os.W_OK)):
            raise UserError(f"The server may not write to {database}: name another file with --database.")
        if database.exists() and database.stat().st_size and database.open("rb").read(16) != SQLITE_FILE:
            raise UserError(f"{database} is no history of a Temporal server: name another file with --database.")
        _lock(database)
        if not database.exists():
            return
        with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master ORDER BY rowid")]
            # The table `namespaces` comes first, and its first row comes when all tables are there.
            in_use = "namespaces" in tables and connection.execute("SELECT 1 FROM namespaces").fetchone()
    except (OSError, ValueError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"The server can't use {str(database)!r:.200} for --database: {reason}") from error
    if tables and "namespaces" not in tables:
        raise UserError(f"{database} is no history of a Temporal server: name another file with --database.")
    if not in_use:
        for suffix in ("", "-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)


def _lock(database: Path) -> None:
    """Lock a file beside the database for as long as this process lives, the server that it becomes included.

    Raises `UserError` if another server has it: two on one history would spoil it.
    """
    file = os.open(database.with_name(f"{database.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"Another server has its history in {database}: stop that one, or name another file with --database."
        ) from None
    os.set_inheritable(file, True)


def server_command(cli: str, port: int, ui_port: int, database: Path | None) -> list[str]:
    """Return the command that runs the server on these ports, with its history in a file or in memory."""
    command = [cli, "server", "start-dev", "--ip", THIS_MACHINE, "--port", str(port), "--ui-port", str(ui_port)]
    for name, value in DYNAMIC_CONFIG.items():
        command += ["--dynamic-config-value", f"{name}={json.dumps(value)}"]
    command += ["--log-level", "error"]
    return command + (["--db-filename", str(database), *FAST_SQLITE] if database else [])


def forget_other_servers(cli: str = "") -> None:
    """Leave nothing of a connection in the environment of this process and those that it starts, but the CLI if any."""
    for variable in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        del os.environ[variable]
    os.environ |= {"TEMPORAL_CONFIG_FILE": os.devnull, **({"TEMPORAL_CLI": cli} if cli else {})}


@asynccontextmanager
async def own_server(namespaces: Sequence[str] = ()) -> AsyncIterator[str]:
    """Run a server with its history in memory, for this process and those that it starts only.

    It has the namespace `default`, and those named.

    Yields its address. It is also in the environment, where every script finds it; other settings of a connection are
    about another server, and are gone. Raises `UserError` if there is no Temporal CLI, or if it does not start.
    """
    cli = await find_temporal_cli()
    forget_other_servers(cli)
    port = free_port()
    command = [*server_command(cli, port, port + UI_PORT_DISTANCE, None), "--headless"]
    command += [f"--namespace={namespace}" for namespace in namespaces]
    # Collecting its garbage less often, it does the same with a fifth less of processor time.
    server = Process(*command, environment={**SERVER_ENVIRONMENT, "GOGC": "400"})
    try:
        try:
            await server.printed("Server:")
        except AssertionError:
            raise UserError(
                f"The Temporal server does not start: {' '.join(server.lines) or 'no reason given'}"
            ) from None
        os.environ["TEMPORAL_ADDRESS"] = f"127.0.0.1:{port}"
        yield os.environ["TEMPORAL_ADDRESS"]
    finally:
        server.kill()

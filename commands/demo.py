"""One full patch on a real server, with all that it takes: `python workshop.py demo`."""

from checks.exercises import EXERCISES
from support import PROJECT
from support.connection import asks_for_tls, connect, connect_config, is_local, web_ui_link
from support.dev_server import server_answers
from support.pid_lock import RUN_FOLDER
from support.ports import UI_PORT_DISTANCE, port_is_taken
from support.processes import Process
from support.script import UserError, stop_event
from support.temporal_cli import find_temporal_cli, what_it_is
from workflow.versions import find_version

import asyncio
import sys
import time

DEMO_VERSION = "v6"
DEMO_PACE = "0.3"
SERVER_LOG = RUN_FOLDER / "demo_server.log"
WORKER_LOG = RUN_FOLDER / "demo_worker.log"

NEXT_STEPS = """
What to do next:
  Look at this run in the Web UI: {link}
  Then begin with exercise 0, in {page}. Its commands need the environment that `make` has just made:
      source .venv/bin/activate"""


async def ensure_server() -> Process | None:
    """Start the development server and wait for it. Returns its process, or None where a server answered already.

    Raises `UserError` if it can't be started, or if a server that is none of this machine's does not answer.
    """
    try:
        client = await connect()
        print(f"Using the Temporal server at {client.service_client.config.target_host}.", flush=True)
        return None
    except UserError:
        config = connect_config()
        port = config["target_host"].rpartition(":")[2]
        if not is_local(config["target_host"]) or asks_for_tls(config) or await server_answers(int(port)):
            raise
    cli = await find_temporal_cli()  # Downloads or builds it where there is none, and says so.
    print(f"Temporal CLI: {await what_it_is(cli)}", flush=True)
    if int(port) + UI_PORT_DISTANCE > 65535:
        raise UserError(f"Port {port} leaves none for the Web UI, {UI_PORT_DISTANCE} above it: choose a lower one.")
    for number in (int(port), int(port) + UI_PORT_DISTANCE):
        if port_is_taken(number):
            raise UserError(
                f"Port {number} is taken by another program: stop that one, or have another server for the demo: "
                "TEMPORAL_ADDRESS=localhost:7300 make demo"
            )
    make_run_folder()
    server = Process("python", "temporal_server.py", "--port", port, output=SERVER_LOG)
    try:
        while not server.is_over.is_set():
            try:
                await connect()
                await asyncio.open_connection("127.0.0.1", int(port) + UI_PORT_DISTANCE)  # The Web UI comes last.
                web_ui = f"http://localhost:{int(port) + UI_PORT_DISTANCE}"
                print(f"Temporal server started: localhost:{port}, Web UI {web_ui}", flush=True)
                return server
            except (UserError, OSError):
                await asyncio.sleep(0.2)
    except asyncio.CancelledError:
        await server.stop()
        raise
    raise UserError(SERVER_LOG.read_text().strip() or "The Temporal server ended at its start, without a word.")


def make_run_folder() -> None:
    """Make the folder for logs, if it is not there. Raises `UserError` if it can't be had."""
    try:
        RUN_FOLDER.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {RUN_FOLDER} can't be made: {error.strerror}.") from error


async def patch_once() -> int:
    """Run a worker and a client for one full patch. Returns the client's exit code, or 1 if the worker has ended."""
    version = find_version(DEMO_VERSION)
    make_run_folder()
    worker = Process("python", "temporal_worker.py", version.name, "--pace", DEMO_PACE, output=WORKER_LOG)
    try:
        client = Process("python", "temporal_client.py", version.name, show=True)
        try:
            ends = [asyncio.ensure_future(client.ended()), asyncio.ensure_future(worker.ended())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not ends[0].done():
                print("The worker has ended, so the workflow waits.", file=sys.stderr)
                return 1
            return ends[0].result()
        finally:
            await client.stop()
    finally:
        await worker.stop()


async def demo() -> int:
    """Run the workshop's whole process once, on a real server. Returns 0, 130 if stopped, or what the client returned.

    At a terminal, the server that it started and its Web UI then stay up until Enter or Ctrl-C.
    """
    stopped = asyncio.create_task(stop_event().wait())
    server: Process | None = None
    code = 130

    async def run_demo() -> None:
        nonlocal server, code
        server = await ensure_server()
        print(f"\nA worker and a client of {DEMO_VERSION} patch three clusters of five hosts each.", flush=True)
        started = time.monotonic()
        code = await patch_once()
        if code != 0:
            print(f"The demo failed. What the worker said: {WORKER_LOG.relative_to(PROJECT)}", file=sys.stderr)
            return
        print(f"\nDone: 15 hosts patched, {time.monotonic() - started:.0f} s with the start of worker and client.")
        client = await connect()
        description = await client.get_workflow_handle(find_version(DEMO_VERSION).workflow_id).describe()
        print(
            NEXT_STEPS.format(link=web_ui_link(client, description.id, description.run_id), page=EXERCISES[0].page),
            flush=True,
        )
        if server is not None and sys.stdin.isatty() and sys.stdout.isatty():
            print("\nServer and Web UI stay up until you press Enter or Ctrl-C.", flush=True)
            pressed = asyncio.Event()
            asyncio.get_running_loop().add_reader(sys.stdin, pressed.set)
            await pressed.wait()

    running = asyncio.create_task(run_demo())
    try:
        await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        else:
            running.result()
        return code
    finally:
        if server is not None:
            await server.stop()
            print("Server stopped. Start it again with: python temporal_server.py", flush=True)

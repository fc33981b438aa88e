"""The workshop's helper:  python workshop.py demo"""

import argparse
import asyncio
import sys
import time
from asyncio.subprocess import Process
from pathlib import Path
from typing import IO

from temporal_connection import UserError, connect, connect_config, run_script, stop_event, web_ui_link
from temporal_server import find_temporal_cli
from workflow import find_version

PROJECT = Path(__file__).parent
DEMO_VERSION = "v6"
DEMO_PACE = "0.3"
SERVER_LOG = PROJECT / ".run" / "demo_server.log"
WORKER_LOG = PROJECT / ".run" / "demo_worker.log"

NEXT_STEPS = """
What to do next:
  Look at this run in the Web UI: {link}
  Then begin with exercise 0 in README.md. Its commands need the environment that `make` has just made:
      source .venv/bin/activate"""


async def start(script: str, *arguments: str, log: IO[bytes] | None = None) -> Process:
    """Start one of the workshop's scripts in the background. A Ctrl-C at the terminal does not reach it."""
    command = [sys.executable, str(PROJECT / script), *arguments]
    return await asyncio.create_subprocess_exec(
        *command, cwd=PROJECT, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )


async def stop(process: Process) -> None:
    """Stop a script as SIGTERM does, or if it takes over 15 seconds, by force."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 15)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()


async def ensure_server() -> Process | None:
    """Start the development server and wait for it. Returns its process, or None where a server answered already."""
    try:
        client = await connect()
        print(f"Using the Temporal server at {client.service_client.config.target_host}.", flush=True)
        return None
    except UserError:
        host, _, port = connect_config()["target_host"].rpartition(":")
        if host not in ("localhost", "127.0.0.1"):
            raise
    await find_temporal_cli()  # Downloads or builds it where there is none, and says so.
    with SERVER_LOG.open("wb") as log:
        server = await start("temporal_server.py", "--port", port, log=log)
    try:
        while server.returncode is None:
            try:
                await connect()
                await asyncio.open_connection("127.0.0.1", int(port) + 1000)  # The Web UI comes last.
                print(
                    f"Temporal server started: localhost:{port}, Web UI http://localhost:{int(port) + 1000}", flush=True
                )
                return server
            except (UserError, OSError):
                await asyncio.sleep(0.2)
    except asyncio.CancelledError:
        await stop(server)
        raise
    raise UserError(SERVER_LOG.read_text().strip() or "The Temporal server ended at its start, without a word.")


async def patch_once() -> int:
    """Run a worker and a client for one full patch. Returns the client's exit code."""
    version = find_version(DEMO_VERSION)
    with WORKER_LOG.open("wb") as log:
        worker = await start("temporal_worker.py", version.name, "--pace", DEMO_PACE, log=log)
    try:
        client = await start("temporal_client.py", version.name)
        try:
            return await client.wait()
        finally:
            await stop(client)
    finally:
        await stop(worker)


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
        print(NEXT_STEPS.format(link=web_ui_link(client, description.id, description.run_id)), flush=True)
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
            await stop(server)
            print("Server stopped. Start it again with: python temporal_server.py", flush=True)


def main() -> None:
    """Read the command line and run the command that it names."""
    parser = argparse.ArgumentParser(description="The workshop's helper.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="run one full patch on a real server, with all that it takes")
    parser.parse_args()
    WORKER_LOG.parent.mkdir(exist_ok=True)
    run_script(demo)


if __name__ == "__main__":
    main()

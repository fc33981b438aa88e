"""Starts the Temporal development server with its Web UI:  python temporal_server.py

It is the server of the real Temporal CLI, and listens on this machine only, unless --listen opens it. The history of
all workflows is kept in the file temporal.db, and is there again at the next start. Ctrl-C or SIGTERM stops it.
"""

from support import PROJECT
from support.dev_server import SERVER_ENVIRONMENT, prepare_database, server_answers, server_command
from support.flags import ip_address
from support.forward import forward
from support.ports import THIS_MACHINE, UI_PORT_DISTANCE, own_addresses, port_is_taken
from support.processes import Process
from support.script import UserError, run_script, stop_event
from support.temporal_cli import find_temporal_cli, what_it_is

import argparse
import asyncio
import os
from pathlib import Path

OPEN = """
THIS SERVER IS OPEN: it listens at {address} too, ports {port} and {ui_port} (Web UI).
Everybody who reaches these may do everything there: no login, no encryption.
So only in a network that you trust, and with nothing secret in it.
"""


async def run_server(address: str, port: int, ui_port: int, database: Path | None) -> int:
    """Run the server until somebody stops it. Returns its exit code.

    Others reach it at this IP address, if that is another than 127.0.0.1: where nobody else does, this process becomes
    the server, so that signals and exit code are the server's own. Raises `UserError` if the address is none of this
    machine, if a port is taken, if the file can't be used or if there is no CLI.
    """
    if address != THIS_MACHINE and address not in own_addresses():
        raise UserError(f"--listen: this machine has no address {address}, but {', '.join(own_addresses()) or 'none'}.")
    if await server_answers(port):
        raise UserError(f"A Temporal server runs at localhost:{port} already: just use it.")
    for number, flag in ((port, "--port"), (ui_port, "--ui-port")):
        if port_is_taken(number) or port_is_taken(number, address):
            raise UserError(f"Port {number} is taken by another program: stop that one, or choose another with {flag}.")
    cli = await find_temporal_cli()
    history = "in memory, gone when the server stops"
    if database is not None:
        prepare_database(database)
        history = str(database)
        # The server takes a path for a URL, in which characters such as # mean something: so it gets the name alone.
        os.chdir(database.parent)
        database = Path(database.name)
    print(f"History: {history}", flush=True)
    command = server_command(cli, port, ui_port, database)
    if address == THIS_MACHINE:
        os.execve(cli, command, {**os.environ, **SERVER_ENVIRONMENT})
    stop = stop_event()
    server = Process(*command, folder=Path.cwd(), environment=SERVER_ENVIRONMENT, show=True)
    try:
        for number in (port, ui_port):
            await forward(address, number)
        print(OPEN.format(address=address, port=port, ui_port=ui_port), flush=True)
        await asyncio.wait(
            [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(server.ended())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        return await server.stop()
    finally:
        server.kill()


async def print_cli() -> int:
    """Find, download or build the CLI, and print where and which it is. Returns the exit code."""
    cli = await find_temporal_cli()
    print(f"Temporal CLI: {cli}, {await what_it_is(cli)}")
    return 0


def main() -> None:
    """Read the command line and become the server."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=7233, help="port for workers and clients (default: 7233)")
    parser.add_argument("--ui-port", type=int, help="port of the Web UI (default: 1000 above --port)")
    parser.add_argument("--database", default="temporal.db", help="file that keeps the history (default: temporal.db)")
    parser.add_argument("--temporary", action="store_true", help="keep the history in memory only")
    parser.add_argument(
        "--listen",
        type=ip_address,
        default=THIS_MACHINE,
        metavar="ADDRESS",
        help="IP address of this machine at which others may reach the server, and do everything there",
    )
    parser.add_argument("--find-cli", action="store_true", help="get the Temporal CLI, print where it is, and stop")
    arguments = parser.parse_args()
    if arguments.find_cli:
        run_script(print_cli)
    ui_port = arguments.port + UI_PORT_DISTANCE if arguments.ui_port is None else arguments.ui_port
    for number in (arguments.port, ui_port):
        if not 1 <= number <= 65535:
            parser.error(f"{number} is no port: choose from 1 to 65535")
    if arguments.port == ui_port:
        parser.error(f"--port and --ui-port are both {ui_port}")
    database = None if arguments.temporary else (PROJECT / arguments.database).resolve()
    run_script(lambda: run_server(arguments.listen, arguments.port, ui_port, database))


if __name__ == "__main__":
    main()

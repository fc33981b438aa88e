"""A server for a room: others reach it, if and only if somebody has said so."""

from support.connection import why_no_connection
from support.ports import UI_PORT_DISTANCE, free_port, own_addresses
from support.web import read_page
from tests.conftest import Run, listening_addresses

import asyncio
import signal
import socket

import pytest
from temporalio.client import Client


def host_and_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


async def test_others_reach_a_server_that_is_told_to_listen_for_them_and_it_says_so_loudly(
    run: Run, elsewhere: str
) -> None:
    address, port = own_addresses()[0], free_port()
    server = run("python", "temporal_server.py", "--temporary", "--port", str(port), "--listen", address, cwd=elsewhere)
    await server.printed("THIS SERVER IS OPEN")
    await server.printed("Server:")
    assert f"listens at {address} too, ports {port} and {port + UI_PORT_DISTANCE} (Web UI)" in server.text()
    assert {*listening_addresses(server.pid)} == {"127.0.0.1", address}
    client = await Client.connect(host_and_port(address, port))
    handle = await client.start_workflow("Any", id="any", task_queue="any")
    # Answers that come later, and several at the same time, find their way too.
    await asyncio.gather(*[handle.signal("any", "x" * 100_000) for _ in range(10)])
    events = [event async for event in handle.fetch_history_events()]
    assert len(events) == 12
    page = await asyncio.to_thread(read_page, f"http://{host_and_port(address, port + UI_PORT_DISTANCE)}")
    assert b"<html" in page
    server.signal(signal.SIGTERM)
    assert await server.ended() == 0 and "Traceback" not in server.text()


async def test_without_that_nobody_else_reaches_it(run: Run, elsewhere: str) -> None:
    port = free_port()
    server = run("python", "temporal_server.py", "--temporary", "--port", str(port), cwd=elsewhere)
    await server.printed("Server:")
    assert {*listening_addresses(server.pid)} == {"127.0.0.1"} and "OPEN" not in server.text()


@pytest.mark.parametrize(
    ("address", "says"),
    [("192.0.2.1", "this machine has no address 192.0.2.1"), ("0.0.0.0", "has no address"), ("host", "no IP address")],
)
def test_an_address_that_is_none_of_this_machine_is_refused(run: Run, elsewhere: str, address: str, says: str) -> None:
    code, output = run("python", "temporal_server.py", "--temporary", "--listen", address, cwd=elsewhere).end()
    assert code == 2 and says in output and "Traceback" not in output


def test_whoever_can_not_reach_a_server_is_told_whether_it_is_the_name_or_the_port() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        assert why_no_connection(f"127.0.0.1:{listening.getsockname()[1]}") == ""
    assert "nothing listens at its port" in why_no_connection(f"127.0.0.1:{free_port()}")
    for name in ("nobody.invalid", "192.168..20", ".example.com", f"{'x' * 64}.example.com"):
        assert why_no_connection(f"{name}:7233") == f"No machine is known by the name {name}."

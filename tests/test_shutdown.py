"""Ctrl-C, SIGTERM, a closed terminal at random moments: all ends soon and cleanly, leaves nothing, and starts again."""

from checks.machine import slowness
from support.ports import free_port
from support.processes import Process
from tests.conftest import listening_addresses
from tests.faults import Place, place

import asyncio
import fcntl
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

SEED = 6
CTRL_C, SIGTERM, HANGUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
# How many seconds each may take to end, on an idle machine. A worker gives its running activities five seconds.
WORKER_SECONDS, CLIENT_SECONDS, SERVER_SECONDS, DEMO_SECONDS = 10, 5, 10, 15


@pytest.fixture(scope="module", autouse=True)
def terminal() -> Iterator[None]:
    """Let what is started here end when its terminal is closed, even if the tests themselves were started by nohup."""
    before = signal.signal(HANGUP, signal.SIG_DFL)
    yield
    signal.signal(HANGUP, before)


@pytest.fixture(scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with place(tmp_path_factory.mktemp("shutdown")) as found:
        await found.start_server()
        yield found


async def stop(process: Process, number: int, chance: random.Random, longest: float, limit: float) -> int:
    """Send the signal at a random moment, and wait for the end. Returns the exit code."""
    with_python_up = 0.05  # Seconds of processor time. Before that, no line of ours has run yet.
    while sum(psutil.Process(process.pid).cpu_times()[:2]) < with_python_up:
        await asyncio.sleep(0.002)
    await asyncio.sleep(chance.uniform(0, longest))
    process.signal(number)
    begun = time.monotonic()
    code = await asyncio.wait_for(process.ended(), 60)
    assert time.monotonic() - begun < limit * slowness(), process.text()
    assert "Traceback" not in process.text(), process.text()
    return code


def killed_by(number: int) -> tuple[int, int]:
    """The exit code that says so, if the process sees to the signal itself, and if it does not."""
    return 128 + number, -number


MOMENTS = [(CTRL_C, 0), (CTRL_C, 1), (SIGTERM, 0), (HANGUP, 0)]
NAMES = [f"{'Ctrl-C' if number == CTRL_C else number.name} {moment}" for number, moment in MOMENTS]


@pytest.mark.parametrize(("number", "moment"), MOMENTS, ids=NAMES)
async def test_a_worker_that_is_stopped_ends_soon_and_leaves_nothing_that_misleads(
    here: Place, number: int, moment: int
) -> None:
    chance = random.Random(f"{SEED} worker {number} {moment}")
    here.start("client", "python", "temporal_client.py", "v1")  # So that there is work.
    worker = here.start("v1", "python", "temporal_worker.py", "v1")
    code = await stop(worker, number, chance, 1.5, WORKER_SECONDS)
    assert code == 0 if "is running:" in worker.text() else code in (0, *killed_by(number))
    for file in (here.folder / "workshop" / ".run").glob("*.pid"):
        with file.open() as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)  # Nobody holds it, so nobody is taken for the worker.
    again = await here.start_worker("v1")
    assert "is running already" not in again.text()
    again.kill()


@pytest.mark.parametrize(("number", "moment"), MOMENTS, ids=NAMES)
async def test_a_client_that_is_stopped_says_so_and_can_be_attached_again(
    here: Place, number: int, moment: int
) -> None:
    chance = random.Random(f"{SEED} client {number} {moment}")
    client = here.start("client", "python", "temporal_client.py", "v2")
    assert await stop(client, number, chance, 1.0, CLIENT_SECONDS) in killed_by(number)
    assert "Started" not in client.text() or "Stopped watching" in client.text()
    again = here.start("client", "python", "temporal_client.py", "v2", "--attach")
    await again.printed("Attached to" if "Started" in client.text() else "")
    again.kill()


async def test_a_server_that_is_stopped_starts_again_on_its_file(here: Place) -> None:
    async def stop_and_start(number: int, moment: int) -> None:
        chance = random.Random(f"{SEED} server {number} {moment}")
        ports = ["--port", str(free_port()), "--ui-port", str(free_port())]
        command = ["python", "temporal_server.py", *ports, "--database", str(here.folder / f"{number}_{moment}.db")]
        server = here.start("stopped", *command)
        code = await stop(server, number, chance, 1.0, SERVER_SECONDS)
        # The server itself does not know of terminals.
        clean = "Server:" in server.text() and number != HANGUP
        assert code == 0 if clean else code in (0, 1, *killed_by(number))
        again = here.start("stopped", *command)
        await again.printed("Server:")
        again.signal(SIGTERM)
        assert await again.ended() == 0

    await asyncio.gather(*[stop_and_start(number, moment) for number, moment in MOMENTS])


async def test_a_demo_that_is_stopped_takes_everything_with_it(tmp_path: Path) -> None:
    async def stop_and_start(number: int) -> None:
        chance = random.Random(f"{SEED} demo {number}")
        async with place(tmp_path / str(number)) as here:
            demo = here.start("demo", "python", "workshop.py", "demo")
            assert await stop(demo, number, chance, 4, DEMO_SECONDS) in (130, *killed_by(number))
            assert nothing_is_left_in(here.folder)
            if number == SIGTERM:  # Once is enough to see that it starts again.
                again = here.start("demo", "python", "workshop.py", "demo")
                await again.printed("Started")
                assert set(listening_addresses(again.pid)) == {"127.0.0.1"}
                again.signal(number)
                await again.ended()
                assert nothing_is_left_in(here.folder)

    await asyncio.gather(stop_and_start(CTRL_C), stop_and_start(SIGTERM), stop_and_start(HANGUP))


def nothing_is_left_in(folder: Path) -> bool:
    """Whether all processes that were started in this folder end within seconds: each watches whoever started it."""
    left = [process for process in psutil.process_iter() if is_in(process, folder)]
    return psutil.wait_procs(left, timeout=30)[1] == []


def is_in(process: psutil.Process, folder: Path) -> bool:
    """Whether the process was started in this folder."""
    try:
        return Path(process.cwd()).is_relative_to(folder)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False

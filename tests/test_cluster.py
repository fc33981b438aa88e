"""What of the cluster needs neither PostgreSQL nor a server: faults by name, configuration, progress, restarts."""

from cluster import network, postgres
from cluster.__main__ import main
from cluster.assembly import Cluster, running_cluster
from cluster.faults import KINDS, PARTS, STANDARD, Fault, fault
from cluster.network import why_not
from cluster.parts import Part
from cluster.postgres import Postgres, find_postgres
from cluster.progress import Progress
from cluster.rollout import Rollout, run_rollout
from cluster.server import BUILT, SERVER_PROGRAM, SERVER_VERSION, SERVICES, SQL_PROGRAM, Ports, server_config
from cluster.verdict import inventory
from support.script import UserError, within
from support.temporal_cli import GO_MODULE
from tests.conftest import Refused

import argparse
import asyncio
import json
import os
import re
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

DATABASE = Postgres(Path("/usr/bin"), Path("/nowhere"), 5432, "secret")


# The command line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("history:kill", Fault("history", "kill", 0)),
        ("history:stop:2.5", Fault("history", "stop", 2.5)),
        ("worker1:cut", Fault("worker1", "cut", 5)),
        ("postgresql:full:20", Fault("postgresql", "full", 20)),
    ],
)
def test_a_fault_is_a_part_a_kind_and_seconds(text: str, expected: Fault) -> None:
    assert fault(text) == expected


@pytest.mark.parametrize("text", ["", "history", "history:burn", "moon:kill", "history:stop:-1", "history:stop:nan"])
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        fault(text)


def test_only_a_worker_has_a_network_and_only_postgresql_a_disk() -> None:
    possible = {(part, kind) for part in PARTS for kind in KINDS if is_fault(f"{part}:{kind}")}
    assert {part for part, kind in possible if kind == "cut"} == {"worker1", "worker2"}
    assert {part for part, kind in possible if kind == "full"} == {"postgresql"}
    assert {part for part, kind in possible if kind == "stop"} == {*PARTS}


def is_fault(text: str) -> bool:
    try:
        return bool(fault(text))
    except argparse.ArgumentTypeError:
        return False


def test_by_default_five_parts_are_killed() -> None:
    assert [each.part for each in STANDARD] == ["history", "matching", "frontend", "worker1", "postgresql"]
    assert {each.kind for each in STANDARD} == {"kill"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "history:burn"], "'history:burn' is not PART:KIND[:SECONDS], with a part of frontend, "),
        (["--fault", "history:cut"], "`cut` is for worker1 and worker2 only"),
        (["--fault", "history:stop:x"], "seconds must be a number from 0 to 600"),
        (["--clusters", "0"], "'0' is no whole number from 1 to 200"),
        (["--no-faults", "--fault", "history:kill"], "exclude each other"),
    ],
)
def test_wrong_use_is_told_in_a_line(refused: Refused, arguments: list[str], said: str) -> None:
    assert said in refused(main, *arguments).splitlines()[-1]


# What is missing


async def test_without_postgresql_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="sudo apt-get install postgresql"):
        async with running_cluster(STANDARD, tmp_path, []):
            pass


def test_the_newest_postgresql_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    for version in ("9.6", "15", "17"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    assert find_postgres() == tmp_path / "17" / "bin"


async def test_without_network_namespaces_no_network_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "find_postgres", lambda: tmp_path)
    monkeypatch.setattr(network, "why_not", lambda: "only root may")
    with pytest.raises(UserError, match=r"no network can be cut: only root may\.$"):
        async with running_cluster([fault("worker1:cut")], tmp_path, []):
            pass


def test_who_is_not_root_makes_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert why_not() in ("only root may", "there is no program `ip`")


# The server


def test_the_server_is_the_version_that_it_is_called_and_that_the_cli_is_made_of() -> None:
    module = (GO_MODULE / "go.mod").read_text()
    assert re.findall(r"go\.temporal\.io/server v(\S+)", module) == [SERVER_VERSION]
    assert f"\t{SERVER_PROGRAM}\n" in module and f"\t{SQL_PROGRAM}\n" in module
    assert SERVER_VERSION in BUILT.name


def test_the_server_listens_on_this_machine_only_and_each_part_at_ports_of_its_own() -> None:
    ports = {service: Ports() for service in SERVICES}
    config = server_config(ports, DATABASE, Path("dynamic.yaml"))
    text = json.dumps(config)
    assert {*re.findall(r"\d+\.\d+\.\d+\.\d+", text)} == {"127.0.0.1"} and "localhost" not in text
    assert [own["rpc"]["bindOnLocalHost"] for own in config["services"].values()] == [True] * 4
    assert len({*re.findall(r'Port": (\d+)', text)}) == 8


# Parts


async def test_what_ends_is_started_again_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.parts.FAILED_START_PAUSE", 0.05)
    part = Part("sleeper", ["sh", "-c", "echo ready; exec sleep 60"], is_ready)
    await within(30, part.up())
    first = psutil.Process(part.process.pid)
    part.kill()
    await within(30, part.up())
    assert part.starts == 2 and not first.is_running()
    second = psutil.Process(part.process.pid)
    part.freeze()
    while second.status() != psutil.STATUS_STOPPED:
        await asyncio.sleep(0.01)
    await within(30, part.stop())
    await asyncio.sleep(0.3)  # Longer than it takes to start again what ends.
    assert part.starts == 2 and not second.is_running()


async def is_ready(part: Part) -> bool:
    return "ready" in part.process.lines


# Progress


def test_the_inventory_is_the_simulated_one() -> None:
    assert inventory(31, 2, 2) == {
        "rack31": ["rack31_host1", "rack31_host2"],
        "rack32": ["rack32_host1", "rack32_host2"],
    }


def log(*steps: str) -> list[str]:
    return [f"12:00:00 INFO    {step}" for step in steps]


def test_a_step_that_is_done_again_is_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Progress(["rack1"])
    now = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: float(next(now)))
    lines = log(
        "rack1_host1: update step 1 of 9 done",
        "rack1_host2: update step 1 of 9 done",
        "rack1_host1: update step 1 of 9 done",  # 2: after a fault at 1.5.
        "rack1_host2: update step 2 of 9 done",
        "rack1_host1: update step 2 of 9 done",
        "rack1_host1: services are healthy, attempt 2",
        "rack1_host1: services are healthy, attempt 3",
        "rack2_host1: update step 1 of 9 done",
        "nothing of a host",
    )
    for line in lines:
        progress.take(line)
    assert progress.in_update() == {"rack1_host2"}
    assert progress.moved_since({"rack1_host1", "rack1_host2"}, 2.5)
    assert not progress.moved_since({"rack1_host1", "rack1_host2"}, 3.5)
    before, since = progress.costs([(1.5, 4.0)])
    assert (before.all_hosts, before.slowest_host, before.repeated) == (1.0, 0.0, 0)
    assert (since.all_hosts, since.median_host, since.slowest_host, since.repeated) == (2.0, 3.0, 4.0, 2)


def test_a_wait_belongs_to_the_first_fault_that_comes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Progress(["rack1"])
    moments = iter([0.0, 1.0, 9.0, 10.0])
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    for line in log(*[f"rack1_host1: update step {step} of 9 done" for step in range(1, 5)]):
        progress.take(line)
    assert [cost.slowest_host for cost in progress.costs([(2.0, 3.0), (5.0, 6.0)])] == [1.0, 8.0, 1.0]
    assert [cost.slowest_host for cost in progress.costs([(9.5, 9.6)])] == [8.0, 1.0]
    assert [cost.slowest_host for cost in progress.costs([])] == [8.0]


async def test_what_keeps_a_rollout_from_its_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def impossible(rollout: Rollout) -> None:
        raise UserError("The client does not start.")

    async def under_way(*_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr("cluster.rollout.follow", impossible)
    monkeypatch.setattr("cluster.rollout.strike_all", under_way)
    with pytest.raises(UserError, match="The client does not start"):
        await run_rollout(Cluster(tmp_path, ExitStack(), DATABASE, ""), inventory(1, 1, 1), [], print)

"""Exercise 7: what worker, client and dashboard tell of a load, checked against the event histories of that load.

A real Prometheus reads real workers with the project's own configuration, and every query of the dashboard is put to
it. There is no Docker and no Grafana in here.
"""

import json
import math
import os
import re
import signal
import socket
import statistics
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prometheus
import pytest
from conftest import PROJECT, Script
from prometheus import Prometheus
from ruamel.yaml import YAML
from runs import tree
from temporalio.client import Client, WorkflowExecutionStatus

from temporal_worker_v8 import METRICS_PORTS

GRAFANA = PROJECT / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "workers.json").read_text())
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"] if panel["type"] != "row"}
QUERIES = [(title, target["expr"]) for title, panel in PANELS.items() for target in panel["targets"]]
COMPOSE_FILES = ["compose.desktop.yml", "compose.linux.yml"]

WORKFLOWS = 3
HOSTS = 15 * WORKFLOWS
SLOTS = 4
NOBODY = "localhost:1"  # No server ever listens there.


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def query_of(title: str, legend: str) -> str:
    """The query that draws one line of a panel."""
    [query] = [target["expr"] for target in PANELS[title]["targets"] if target["legendFormat"] == legend]
    return str(query)


@dataclass
class Load:
    """A load that has run, and what is true of it, in seconds, read from its histories here and nowhere else."""

    output: str
    """What the client printed."""
    measured_at: float
    """When Prometheus had read the workers' last figures, in seconds since 1970."""
    queue_waits: list[float]
    executions: list[float]
    end_to_ends: list[float]

    def figure(self, row: str, column: int) -> str:
        """What the client's table says: column 0 is from the metrics, 1 from the histories."""
        [line] = [line for line in self.output.splitlines() if line.startswith(row)]
        return re.split(r"\s{2,}", line.removeprefix(row).strip())[column]


async def run_load(client: Client, measured: Prometheus, *workers: list[str]) -> Load:
    """Put the client's load on these workers, each given by its flags, and stop them when Prometheus has seen the end."""
    scripts = [Script("python", "temporal_worker_v8.py", "--pace", "0.05", *flags) for flags in workers]
    try:
        for script in scripts:
            script.wait_for("Metrics: http://127.0.0.1:")
        addresses = ",".join(f"127.0.0.1:{flags[flags.index('--metrics-port') + 1]}" for flags in workers)
        load = ["--workflows", str(WORKFLOWS), "--interval", "1", "--metrics-addresses", addresses]
        code, output = Script("python", "temporal_client_v8.py", *load).end()
        assert code == 0, output
        measured_at = measured.wait_until(query_of("Hosts patched (number)", "hosts"), HOSTS)
    finally:
        for script in scripts:
            script.signal(signal.SIGTERM)
        ends = [script.end() for script in scripts]
    for code, said in ends:
        assert code == 0 and said.endswith("Worker stopped.") and "Traceback" not in said

    load_run = Load(output, measured_at, [], [], [])
    for number in range(1, WORKFLOWS + 1):
        rollout = client.get_workflow_handle(f"system-patch-v8-{number}")
        for name, run in (await tree(client, rollout)).items():
            # From the JSON, and not by the event attributes that the client reads.
            events = json.loads((await run.fetch_history()).to_json())["events"]
            at = {event["eventId"]: seconds(event["eventTime"]) for event in events}
            for event in events:
                if started := event.get("activityTaskStartedEventAttributes"):
                    if started.get("attempt", 1) == 1:
                        load_run.queue_waits.append(at[event["eventId"]] - at[started["scheduledEventId"]])
                if completed := event.get("activityTaskCompletedEventAttributes"):
                    load_run.executions.append(at[event["eventId"]] - at[completed["startedEventId"]])
            if name == rollout.id:
                load_run.end_to_ends.append(at[events[-1]["eventId"]] - at["1"])
    return load_run


def seconds(timestamp: str) -> float:
    """The seconds since the hour of a timestamp such as 2026-01-01T12:34:56.123456789Z, which `datetime` can't read."""
    _, minutes, rest = timestamp.rstrip("Z").split(":")
    return int(timestamp[11:13]) * 3600 + int(minutes) * 60 + float(rest)


@dataclass
class Observed:
    """Two loads, one after the other, and the Prometheus that saw both."""

    prometheus: Prometheus
    began_at: float
    throttled: Load
    unthrottled: Load


@pytest.fixture(scope="module")
async def observed(client: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Observed]:
    """A throttled load on one worker, then the same load on two workers with slots enough."""
    if prometheus.find("prometheus") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(prometheus.MISSING)
    ports = [str(free_port()) for _ in range(3)]
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus.running(folder, free_port(), [f"127.0.0.1:{port}" for port in ports]) as measured:
        began_at = time.time()
        throttled = await run_load(
            client, measured, ["--max-concurrent-activities", str(SLOTS), "--metrics-port", ports[0]]
        )
        unthrottled = await run_load(
            client,
            measured,
            *[["--max-concurrent-activities", "50", "--metrics-port", port] for port in ports[1:]],
        )
        yield Observed(measured, began_at, throttled, unthrottled)


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[f"{title}: {query}" for title, query in QUERIES])
async def test_no_panel_of_the_dashboard_is_empty(observed: Observed, title: str, query: str) -> None:
    series = observed.prometheus.ask(
        "query_range", query=query, start=observed.began_at, end=observed.unthrottled.measured_at, step=2
    )
    values = [float(value) for one in series for _, value in one["values"]]
    assert any(math.isfinite(value) for value in values)

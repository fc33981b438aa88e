"""Exercise 7: what worker, client and dashboard tell of a load, checked against the event histories of that load.

A real Prometheus reads real workers with the project's own configuration, and every query of the dashboard is put to
it. There is no Docker and no Grafana in here.
"""

import temporal_client_v8
import temporal_worker_v8
from checks.machine import slowness
from support import PROJECT
from support.histories import tree
from support.load import Durations, Seen, conclusion
from support.metrics import EXECUTION, read_metrics, since, total
from support.ports import free_port
from support.processes import Process
from tests import prometheus
from tests.conftest import Refused, Run, copy_patient_project
from tests.prometheus import Prometheus
from tests.runs import approve, id_of, patch_input, start
from workflow.versions import find_version

import json
import math
import os
import re
import signal
import socket
import statistics
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

pytestmark = pytest.mark.timeout(300)  # The two loads of `observed` take a minute, on a busy machine two.

GRAFANA = PROJECT / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "workers.json").read_text())
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"] if panel["type"] != "row"}
ALL = DASHBOARD["templating"]["list"][0]["allValue"]  # What is put in for `$task_queue` unless somebody chooses one.
QUERIES = [
    (title, target["expr"].replace("$task_queue", ALL))
    for title, panel in PANELS.items()
    for target in panel["targets"]
]

WORKFLOWS = 2
HOSTS = 15 * WORKFLOWS
SLOTS = 2
# At this pace an activity runs 330 milliseconds on average, and an update 1,800: longer than what a busy machine adds.
PACE = 0.2
NOBODY = "localhost:1"  # No server ever listens there.


def query_of(title: str, legend: str) -> str:
    """The query that draws one line of a panel."""
    [query] = [target["expr"] for target in PANELS[title]["targets"] if target["legendFormat"] == legend]
    query = query.replace("$task_queue", ALL)
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
    task_waits: list[float]
    task_executions: list[float]
    end_to_ends: list[float]

    def figure(self, row: str, column: int) -> str:
        """What the client's table says: column 0 is from the metrics, 1 from the histories."""
        [line] = [line for line in self.output.splitlines() if line.startswith(row)]
        return re.split(r"\s{2,}", line.removeprefix(row).strip())[column]


async def run_load(client: Client, measured: Prometheus, project: Path, *workers: list[str]) -> Load:
    """Put the client's load on workers with these flags, and stop them when Prometheus has seen its end."""
    command = ["python", "temporal_worker_v8.py", "--pace", str(PACE)]
    scripts = [Process(*command, *flags, folder=project) for flags in workers]
    try:
        for script in scripts:
            script.wait_for("Metrics: http://127.0.0.1:")
        addresses = ",".join(f"127.0.0.1:{flags[flags.index('--metrics-port') + 1]}" for flags in workers)
        load = ["--workflows", str(WORKFLOWS), "--interval", "1", "--metrics-addresses", addresses]
        code, output = Process("python", "temporal_client_v8.py", *load).end()
        assert code == 0, output
        measured.wait_for(query_of("Hosts patched (number)", "hosts"), HOSTS)
        ends = 'sum(temporal_workflow_endtoend_latency_count{workflow_type="SystemPatchWorkflow_V8"})'
        measured.wait_for(ends, WORKFLOWS)
        # One worker may have been asked before the other one's last activity had ended.
        counted = total(await read_metrics(addresses.split(","), find_version("v8").task_queue), f"{EXECUTION}_count")
        which = addresses.replace(",", "|")
        measured_at = measured.wait_for(f'sum({EXECUTION}_count{{instance=~"{which}"}})', counted)
    finally:
        for script in scripts:
            script.signal(signal.SIGTERM)
        outputs = [script.end() for script in scripts]
    for code, said in outputs:
        assert code == 0 and said.endswith("Worker stopped.") and "Traceback" not in said

    load_run = Load(output, measured_at, [], [], [], [], [])
    for number in range(1, WORKFLOWS + 1):
        rollout = client.get_workflow_handle(f"{id_of('v8')}-{number}")
        for name, run in (await tree(client, rollout)).items():
            # From the JSON, and not by the event attributes that the client reads.
            events = json.loads((await run.fetch_history()).to_json())["events"]
            at = {event["eventId"]: seconds(event["eventTime"]) for event in events}
            for event in events:
                started = event.get("activityTaskStartedEventAttributes")
                if started and started.get("attempt", 1) == 1:
                    load_run.queue_waits.append(at[event["eventId"]] - at[started["scheduledEventId"]])
                if task := event.get("workflowTaskCompletedEventAttributes"):
                    load_run.task_waits.append(at[task["startedEventId"]] - at[task["scheduledEventId"]])
                    load_run.task_executions.append(at[event["eventId"]] - at[task["startedEventId"]])
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
    throttled_worker: str
    """Where the throttled worker offered its metrics: what tells it apart on the dashboard."""
    unthrottled: Load


@pytest.fixture(scope="module")
async def observed(client: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Observed]:
    """A load on one throttled worker with a small cache, then the same load on two workers with slots enough."""
    if prometheus.find("prometheus") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(prometheus.MISSING)
    ports = [str(free_port()) for _ in range(3)]
    folder = tmp_path_factory.mktemp("prometheus")
    project = tmp_path_factory.mktemp("patient") / "workshop"
    copy_patient_project(project)  # A second attempt of an update would shift the means.
    with prometheus.running(folder, free_port(), [f"127.0.0.1:{port}" for port in ports]) as measured:
        began_at = time.time()
        throttled = await run_load(
            client,
            measured,
            project,
            ["--max-concurrent-activities", str(SLOTS), "--max-cached-workflows", "20", "--metrics-port", ports[0]],
        )
        unthrottled = await run_load(
            client,
            measured,
            project,
            *[["--max-concurrent-activities", "50", "--metrics-port", port] for port in ports[1:]],
        )
        yield Observed(measured, began_at, throttled, f"127.0.0.1:{ports[0]}", unthrottled)


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[f"{title}: {query}" for title, query in QUERIES])
async def test_no_panel_of_the_dashboard_is_empty(observed: Observed, title: str, query: str) -> None:
    series = observed.prometheus.ask(
        "query_range", query=query, start=observed.began_at, end=observed.unthrottled.measured_at, step=2
    )
    values = [float(value) for one in series for _, value in one["values"]]
    assert any(math.isfinite(value) for value in values)


def test_every_metric_of_the_dashboard_exists_under_this_name(observed: Observed) -> None:
    """A query that ends in `or vector(0)` gives a figure even if it asks for a metric that nobody has."""
    asked = {name for _, query in QUERIES for name in re.findall(r"\b(?:temporal_\w+|hosts_patched)\b", query)}
    span = {"start": observed.began_at, "end": observed.unthrottled.measured_at}
    found = {name for name in asked if observed.prometheus.ask("query_range", query=name, step=2, **span)}
    # These two only exist once a request has failed.
    assert asked - found <= {"temporal_request_failure", "temporal_long_request_failure"}


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[f"{title}: {query}" for title, query in QUERIES])
def test_the_unit_of_a_panel_is_that_of_its_query_and_stands_in_its_title(title: str, query: str) -> None:
    unit = PANELS[title]["fieldConfig"]["defaults"]["unit"]
    if re.search(r"_latency_(sum|bucket)", query):
        assert unit == "ms" and title.endswith("(ms)")
    elif "rate(" in query:
        assert unit in ("ops", "reqps") and title.endswith("per second)")
    else:
        assert unit == "none" and (title.endswith("(number)") or title == "Workers that answer")


def loads(observed: Observed) -> list[Load]:
    return [observed.throttled, observed.unthrottled]


async def test_the_dashboards_means_are_those_of_the_histories(observed: Observed) -> None:
    """In milliseconds. The histories' waits are without the retried activities."""
    for load in loads(observed):
        # A worker takes a rollout for ended when it reports that, the server when it hears of it.
        for title, true, allowed, way in (
            ("Queue wait, mean (ms)", load.queue_waits, 0.25, 10),
            ("Rollout from start to end, mean (ms)", load.end_to_ends, 0.02, 100 * slowness()),
        ):
            told = observed.prometheus.value(query_of(title, "mean"), load.measured_at)
            assert told == pytest.approx(1000 * statistics.mean(true), rel=allowed, abs=way)
        # The server sees an activity run for longer than the worker does, by the way there and back.
        execution = observed.prometheus.value(query_of("Activity execution, mean (ms)", "mean"), load.measured_at)
        assert PACE * 1500 < execution < 1000 * statistics.mean(load.executions)


async def test_the_dashboards_quantiles_are_within_a_factor_of_two_of_the_true_ones(observed: Observed) -> None:
    """As its descriptions say. With the SDK's own buckets it is a factor of five and more."""
    for load in loads(observed):
        for title, legend, true in (
            ("Queue wait, p95 (ms)", "p95", load.queue_waits),
            (
                "How long does a workflow take from start to end? (ms)",
                "p95 {{workflow_type}}",
                load.end_to_ends,
            ),
        ):
            query = query_of(title, legend)
            told = {
                series["metric"].get("workflow_type", "SystemPatchWorkflow_V8"): float(series["value"][1])
                for series in observed.prometheus.ask("query", query=query, time=load.measured_at)
            }
            p95 = 1000 * sorted(true)[math.ceil(0.95 * len(true)) - 1]
            assert p95 / 2 <= told["SystemPatchWorkflow_V8"] <= p95 * 2


async def test_the_throttled_queue_wait_is_a_multiple_of_the_unthrottled_one_and_the_execution_is_not(
    observed: Observed,
) -> None:
    def ratio(title: str) -> float:
        throttled, unthrottled = [
            observed.prometheus.value(query_of(title, "mean"), load.measured_at) for load in loads(observed)
        ]
        return throttled / unthrottled

    assert ratio("Queue wait, mean (ms)") > 5
    assert ratio("Rollout from start to end, mean (ms)") > 1.5
    assert 0.5 < ratio("Activity execution, mean (ms)") < 2


async def test_the_dashboard_shows_when_all_slots_are_in_use_and_tells_the_workers_apart(observed: Observed) -> None:
    title = "Are all activity slots in use? (number)"
    span = {"start": observed.began_at, "end": observed.unthrottled.measured_at}
    used = {
        series["metric"]["instance"]: max(float(value) for _, value in series["values"])
        for series in observed.prometheus.ask(
            "query_range", query=query_of(title, "in use {{instance}}"), step=1, **span
        )
    }
    assert len(used) == 3  # One throttled worker, and later two others.
    # Prometheus looks every two seconds, so it may miss the others at work.
    assert used[observed.throttled_worker] == SLOTS and max(used.values()) <= 50
    query = (
        f'min_over_time(temporal_num_pollers{{poller_type="activity_task",instance="{observed.throttled_worker}"}}[1m])'
    )
    assert observed.prometheus.value(query, observed.throttled.measured_at) == 0  # Who has no free slot does not ask.


async def test_each_patched_host_is_counted_once_by_cluster_even_when_workflows_are_replayed(
    observed: Observed,
) -> None:
    """The throttled worker's cache was too small, so that it replayed."""
    span = {"start": observed.began_at, "end": observed.throttled.measured_at}
    evictions = observed.prometheus.ask(
        "query_range", query="temporal_sticky_cache_total_forced_eviction", step=2, **span
    )
    assert evictions
    query = query_of("How many hosts are patched? (number)", "{{cluster}}")
    for load in loads(observed):
        told = {
            series["metric"]["cluster"]: float(series["value"][1])
            for series in observed.prometheus.ask("query", query=query, time=load.measured_at)
        }
        assert told == dict.fromkeys(["cluster1", "cluster2", "cluster3"], HOSTS / 3)


async def test_the_clients_table_says_what_the_histories_say(observed: Observed) -> None:
    for load in loads(observed):
        waits = sorted(load.queue_waits)
        below, above = waits[math.floor(0.95 * (len(waits) - 1))], waits[math.ceil(0.95 * (len(waits) - 1))]
        for row, true in (
            ("queue wait (schedule-to-start), mean", statistics.mean(waits)),
            ("activity execution, mean", statistics.mean(load.executions)),
            ("workflow task wait, mean", statistics.mean(load.task_waits)),
            ("workflow task execution, mean", statistics.mean(load.task_executions)),
            ("workflow end-to-end, mean", statistics.mean(load.end_to_ends)),
        ):
            assert load.figure(row, 1) == f"{true:.3f} s"
        p95 = float(load.figure("queue wait (schedule-to-start), p95", 1).removesuffix(" s"))
        assert below - 0.001 <= p95 <= above + 0.001
        retried = len(load.executions) - len(waits)
        assert (
            f"{len(load.executions)} activities, as the server saw them. {retried} of them were retried" in load.output
        )


async def test_the_clients_figures_from_the_metrics_are_those_of_the_dashboard(observed: Observed) -> None:
    for load in loads(observed):
        for row, title in (
            ("queue wait (schedule-to-start), mean", "Queue wait, mean (ms)"),
            ("activity execution, mean", "Activity execution, mean (ms)"),
            ("workflow end-to-end, mean", "Rollout from start to end, mean (ms)"),
        ):
            told = observed.prometheus.value(query_of(title, "mean"), load.measured_at)
            assert float(load.figure(row, 0).removesuffix(" s")) == pytest.approx(told / 1000, abs=0.0006)
        lower, upper = re.fullmatch(r"(\S+) to (\S+) s", load.figure("queue wait (schedule-to-start), p95", 0)).groups()  # type: ignore[union-attr]
        p95 = observed.prometheus.value(query_of("Queue wait, p95 (ms)", "p95"), load.measured_at)
        assert float(lower) <= p95 / 1000 <= float(upper)


async def test_the_client_says_what_its_figures_mean(observed: Observed) -> None:
    throttled, unthrottled = [load.output.splitlines()[-1] for load in loads(observed)]
    assert re.fullmatch(
        r"Activities waited \S+ s for one of 2 slots and ran \S+ s, on average: more slots or more workers\."
        r"( Mind that this machine had no CPU left: .*)?",
        throttled,
    )
    assert unthrottled.startswith("Activities waited ") and "more slots" not in unthrottled
    assert observed.throttled.figure("activity slots used, at most", 0) == f"{SLOTS} of {SLOTS}"
    assert observed.unthrottled.figure("activity slots used, at most", 0).endswith(" of 100")


@pytest.mark.parametrize(
    ("wait", "execution", "between", "uncached", "seen", "meaning"),
    [
        (
            *(14.0, 0.3, 0.1, 0.0, Seen(5, 5, 30)),
            "waited 14.00 s for one of 5 slots and ran 0.30 s, on average: more slots or more workers.",
        ),
        (0.02, 0.3, 0.1, 0.0, Seen(5, 5, 30), "waited 0.02 s and ran 0.30 s, on average: the workers keep up."),
        (0.5, 10.0, 0.1, 0.0, Seen(5, 5, 30), "waited 0.50 s and ran 10.00 s, on average: the workers keep up."),
        (
            *(14.0, 0.3, 0.1, 0.0, Seen(5, 50, 30)),
            "waited 14.00 s, although slots were free, and ran 0.30 s, on average: more pollers, or",
        ),
        (
            *(14.0, 0.3, 0.1, 0.0, Seen(0, 0, 30)),
            "waited 14.00 s and ran 0.30 s, on average: more slots or more workers, if all slots were in",
        ),
        (
            *(1.6, 0.3, 0.1, 0.0, Seen(13, 0, 97)),
            "waited 1.60 s for a slot and ran 0.30 s, on average: more workers, or a number of slots. Those by CPU and",
        ),
        (
            *(0.0, 0.3, 0.36, 1.0, Seen(20, 50, 60)),
            "waited 0.00 s and ran 0.30 s, on average: there are slots enough. But 36% of the hosts' time went into "
            "workflow tasks: see how long these waited and ran. For most of them the code was replayed: a larger",
        ),
        (
            *(0.0, 0.3, 0.36, 0.0, Seen(20, 50, 97)),
            "waited 0.00 s and ran 0.30 s, on average: there are slots enough. But 36% of the hosts' time went into "
            "workflow tasks: see how long these waited and ran. Mind that this machine had no CPU left: 97 % of its",
        ),
    ],
    ids=[
        "no free slot",
        "no wait",
        "no wait to speak of",
        "free slots",
        "slots not known",
        "slots by CPU",
        "no cache",
        "no CPU left",
    ],
)
def test_one_sentence_says_what_is_short(
    wait: float, execution: float, between: float, uncached: float, seen: Seen, meaning: str
) -> None:
    durations = Durations([wait], [execution], [20.0], 50, 97, [0.0], [0.1], between, uncached)
    assert conclusion(wait, execution, durations, seen).startswith(f"Activities {meaning}")


def test_a_worker_that_was_restarted_counts_from_0_again() -> None:
    grown, fresh, restarted = ("a", "count{}"), ("b", "count{}"), ("c", "count{}")
    growth = since({grown: 7, restarted: 9}, {grown: 9, fresh: 3, restarted: 4})
    assert growth == {grown: 2, fresh: 3, restarted: 4}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_worker_says_its_settings_offers_metrics_and_stops_cleanly(run: Run, number: int) -> None:
    port = free_port()
    flags = ["--max-concurrent-activities", "7", "--activity-pollers", "2", "--max-cached-workflows", "11"]
    worker = run("python", "temporal_worker_v8.py", *flags, "--metrics-port", str(port))
    assert worker.wait_for("Metrics: ") == f"Metrics: http://127.0.0.1:{port}/metrics"
    settings = dict(line.split() for line in worker.lines if line.startswith("  --"))
    assert settings == {
        "--max-concurrent-activities": "7",
        "--max-concurrent-workflow-tasks": "100",
        "--activity-pollers": "2",
        "--workflow-pollers": "5",
        "--max-cached-workflows": "11",
        "--autoscale-pollers": "False",
        "--resource-based-slots": "False",
        "--pace": "0.2",
        "--metrics-address": f"127.0.0.1:{port}",
    }
    slots = rf'temporal_worker_task_slots_available{{.*task_queue="{id_of("v8")}",worker_type="ActivityWorker"}} 7\n'
    while True:  # A worker tells its slots as soon as it has asked for work.
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
            if re.search(slots, response.read().decode()):
                break
    worker.signal(number)
    code, output = worker.end()
    assert code == 0 and output.endswith("Worker stopped.") and "Traceback" not in output


def test_a_metrics_address_that_is_taken_gives_one_clear_line(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, output = run("python", "temporal_worker_v8.py", "--metrics-port", str(port)).end()
    assert code == 2 and len(output.splitlines()) == 1
    assert f"No metrics at 127.0.0.1:{port}" in output and "Address already in use" in output
    assert "--metrics-port" in output


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (temporal_worker_v8.main, ["--metrics-address", "localhost:8086"], "'localhost:8086' is no IP address"),
        (temporal_worker_v8.main, ["--metrics-address", "127.0.0.1"], "'127.0.0.1' is no IP address with a port"),
        (temporal_worker_v8.main, ["--metrics-address", "::1:8086"], "'::1:8086' is no IP address with a port"),
        (temporal_worker_v8.main, ["--metrics-port", "0"], "is no IP address with a port"),
        (temporal_worker_v8.main, ["--metrics-port", "70000"], "is no IP address with a port"),
        (temporal_worker_v8.main, ["--max-concurrent-activities", "0"], "'0' is no whole number from 1 to"),
        (temporal_worker_v8.main, ["--max-concurrent-workflow-tasks", "1"], "'1' is no whole number from 2 to"),
        (temporal_worker_v8.main, ["--activity-pollers", "many"], "'many' is no whole number from 1 to"),
        (temporal_worker_v8.main, ["--workflow-pollers", "1"], "'1' is no whole number from 2 to"),
        (temporal_worker_v8.main, ["--max-cached-workflows", "-1"], "'-1' is no whole number from 0 to"),
        (temporal_worker_v8.main, ["--pace", "-1"], "--pace: must be a number from 0 to 100"),
        (temporal_client_v8.main, ["--workflows", "0"], "'0' is no whole number from 1 to"),
        (temporal_client_v8.main, ["--interval", "nan"], "--interval must be a number of seconds"),
        (temporal_client_v8.main, ["--metrics-addresses", "8086"], "'8086' is no IP address with a port"),
    ],
)
def test_wrong_use_is_refused_with_exit_code_2(
    refused: Refused, main: Callable[[], None], arguments: list[str], message: str
) -> None:
    assert message in refused(main, *arguments).splitlines()[-1]


def test_worker_and_client_without_a_server_give_one_clear_line(run: Run) -> None:
    for script in (["temporal_worker_v8.py", "--metrics-port", str(free_port())], ["temporal_client_v8.py"]):
        code, output = run("python", *script, TEMPORAL_ADDRESS=NOBODY).end()
        assert code == 2 and output.startswith("No Temporal server answers at localhost:1") and "\n" not in output


async def test_without_a_worker_the_client_says_how_to_start_one_and_leaves_nothing_running(
    client: Client, run: Run
) -> None:
    code, output = run("python", "temporal_client_v8.py").end()
    learner = os.environ.get("WORKSHOP_LEARNER")
    command = f"{f'WORKSHOP_LEARNER={learner} ' if learner else ''}python temporal_worker_v8.py"
    line = f"No worker of v8 answers. Start one in another terminal: {command}"
    assert code == 2 and output.splitlines()[-1] == line and "Traceback" not in output
    description = await client.get_workflow_handle(f"{id_of('v8')}-1").describe()
    assert description.status == WorkflowExecutionStatus.TERMINATED


def test_without_metrics_the_client_tells_it_from_the_histories_alone(run: Run) -> None:
    run("python", "temporal_worker_v8.py", "--pace", "0", "--metrics-port", str(free_port())).wait_for("Metrics: ")
    arguments = ["--workflows", "2", "--interval", "0", "--metrics-addresses", "127.0.0.1:1"]
    code, output = run("python", "temporal_client_v8.py", *arguments).end()
    assert code == 0 and "Traceback" not in output
    assert re.search(r"^queue wait \(schedule-to-start\), mean +- +\d+\.\d{3} s$", output, re.MULTILINE)
    assert "Metrics: no worker of v8 offers any at the addresses of --metrics-addresses." in output
    assert output.splitlines()[-1].startswith("Activities waited ")


async def test_metrics_of_other_work_too_are_left_out_of_the_table(client: Client, run: Run) -> None:
    """Here, of another client's workflows on the same worker."""
    port = str(free_port())
    run("python", "temporal_worker_v8.py", "--pace", "0.1", "--metrics-port", port).wait_for("Metrics: ")
    script = run("python", "temporal_client_v8.py", "--workflows", "1", "--metrics-addresses", f"127.0.0.1:{port}")
    script.wait_for("hosts patched")
    # From here, for a second script would take so long to start that the first one might be over.
    version = find_version("v8")
    other = await start(client, version, patch_input(["cluster9"]), id=f"{version.workflow_id}-other")
    await approve(other, version)
    await other.result()
    code, output = script.end()
    assert code == 0 and "Metrics: left out." in output
    counted, true = re.search(r"They count (\d+) attempts, the histories (\d+)", output).groups()  # type: ignore[union-attr]
    assert int(counted) > int(true) == 97


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
async def test_a_client_that_is_stopped_leaves_the_workflows_running(
    client: Client, run: Run, number: int, expected: int
) -> None:
    run("python", "temporal_worker_v8.py", "--metrics-port", str(free_port())).wait_for("Metrics: ")
    script = run("python", "temporal_client_v8.py", "--workflows", "2", "--interval", "0")
    script.wait_for("hosts patched")
    script.signal(number)
    code, output = script.end()
    assert code == expected and "The workflows themselves go on" in output and "Traceback" not in output
    handle = client.get_workflow_handle(f"{id_of('v8')}-1")
    assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING
    await handle.terminate()


async def test_a_workflow_that_does_not_complete_is_named_with_exit_code_1(client: Client, run: Run) -> None:
    run("python", "temporal_worker_v8.py", "--metrics-port", str(free_port())).wait_for("Metrics: ")
    script = run("python", "temporal_client_v8.py", "--workflows", "1")
    script.wait_for("hosts patched")
    await client.get_workflow_handle(f"{id_of('v8')}-1").terminate()
    code, output = script.end()
    assert code == 1 and f"{id_of('v8')}-1 was terminated" in output and "Traceback" not in output

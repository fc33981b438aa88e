"""The benchmarks measure what they say: compared with what other code finds in the same histories."""

from benchmarks import __main__ as benchmarks
from benchmarks.__main__ import all_cases
from benchmarks.histories import critical_path, overhead, size
from support.histories import family, history
from tests.conftest import Refused, Run
from tests.runs import approve, start, worker

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

Took = tuple[dict[str, Any], float]


def test_one_path_of_work_leads_through_the_slowest_pilot_and_the_slowest_other_host() -> None:
    def host(cluster: str, number: int, seconds: float) -> Took:
        return {"hostname": f"{cluster}_host{number}", "cluster": cluster}, seconds

    quick: list[Took] = [({"name": "quick"}, 0.5), *[host("quick", number, 1.0) for number in (1, 2, 10)]]
    slow: list[Took] = [({"name": "slow"}, 0.25), host("slow", 1, 3.0), host("slow", 2, 4.0), host("slow", 10, 5.0)]
    slow.append(host("slow", 10, 2.0))  # Two activities of a host come one after the other.
    before_and_after: list[Took] = [({"address": "vault"}, 0.125), ({"clusters": []}, 0.0625)]
    assert critical_path([*before_and_after, *slow, *quick], pilot_count=2) == 0.25 + 4.0 + 7.0 + 0.1875


def test_versions_with_one_history_are_not_asked_for_more_hosts_than_fit_into_it() -> None:
    cases = all_cases(["v5", "v6", "mine"], [(3, 5), (20, 500)], ["ours"], 0)
    few, many = [("v5", 15), ("v6", 15), ("mine", 15)], [("v6", 10_000), ("mine", 10_000)]
    assert [(case.version, case.hosts) for case in cases] == few + many


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hosts", "16"], "'16' is none of 15, 150, 1500, 10000, and no clusters x hosts, as 10x15 is"),
        (["--versions", "v0"], "There is no version 'v0'"),
        (["--databases", "postgres"], "'postgres' is none of ours, default, memory"),
        (["--pace", "-1"], "must be a number from 0 to 100"),
        (
            ["--versions", "v5", "--hosts", "10000"],
            "nothing to measure: one history, as up to version 5",
        ),
    ],
)
def test_wrong_use_is_refused_in_one_line(refused: Refused, arguments: list[str], message: str) -> None:
    assert message in refused(benchmarks.main, *arguments).splitlines()[-1]


async def test_the_figures_of_histories_are_those_that_the_histories_themselves_give(client: Client) -> None:
    async with worker(client, "v6", pace=0.05) as version:
        rollout = await start(client, version)
        await approve(rollout, version)
        await rollout.result()
    runs = await family(client, rollout)
    lengths = [len(await history(run)) for run in runs]
    found = await size(client, rollout)
    assert (found.events, found.events_of_longest) == (sum(lengths), max(lengths))
    assert found.statuses == {"completed": 1 + 3 + 15}
    longest = await runs[lengths.index(max(lengths))].describe()
    assert found.bytes_of_longest == longest.raw_description.workflow_execution_info.history_size_bytes
    # Of the path's work, a host's chain alone takes 9.9 seconds at pace 1.
    description = await rollout.describe()
    assert description.close_time is not None
    took = (description.close_time - description.start_time).total_seconds()
    assert 0 < await overhead(client, rollout, pilot_count=3) < took - 2 * 9.9 * 0.05


def test_one_command_measures_prints_and_keeps_the_figures(run: Run, tmp_path: Path) -> None:
    command = ["python", "-m", "benchmarks", "--versions", "v6", "--hosts", "15", "--pace", "0.05"]
    code, output = run(*command, "--databases", "memory", "--output", str(tmp_path / "new")).end()
    assert code == 0, output
    assert "1 of 1: v6, 15 hosts, memory, pace 0.05: Workflow completed" in output
    assert "server CPU" in output
    kept = json.loads((tmp_path / "new" / "figures.json").read_text())
    (figures,) = kept["figures"]
    assert figures["statuses"] == {"completed": 19}
    assert all(figures[name] > 0 for name in ("server_cpu", "worker_cpu", "server_mb", "worker_mb"))
    assert {"machine", "python", "temporalio", "server"} <= {*kept}

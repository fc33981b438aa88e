"""Worker, client, server and demo as a learner runs them: real processes, their messages and exit codes."""

import temporal_client
import temporal_worker
from support import PROJECT, connection
from support.connection import connect, connect_config, web_ui_link
from support.logs import FailedCallsOnce, shorten_core_message
from support.ports import UI_PORT_DISTANCE, free_port
from support.script import UserError, within
from tests.conftest import Refused, Run
from tests.runs import id_of
from workflow.versions import VersionError, find_version

import asyncio
import logging
import re
import signal
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

NOBODY = "localhost:1"  # No server ever listens there.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_worker_says_what_it_does_and_stops_cleanly(run: Run, project: Path, number: int) -> None:
    worker = run("python", "temporal_worker.py", "v6")
    line = worker.wait_for("Worker for v6 is running")
    assert f"task queue {id_of('v6')}," in line
    for name in ("SystemPatchWorkflow_V6", "SystemPatchWorkflow_Cluster_V6", "SystemPatchActivities_V4"):
        assert name in line
    pid_file = project / ".run" / f"temporal_worker_v6_{worker.pid}.pid"
    assert pid_file.exists()
    worker.signal(number)
    code, output = worker.end()
    assert code == 0 and output.endswith("Worker stopped.") and "Traceback" not in output
    assert not pid_file.exists()


@pytest.mark.parametrize("name", ["v3", "V3", "SystemPatchWorkflow_V3", "systempatchworkflow_v3"])
def test_a_version_answers_to_all_its_names(name: str) -> None:
    assert find_version(name).workflow.__name__ == "SystemPatchWorkflow_V3"


@pytest.mark.parametrize("name", ["v99", "", "../v1", "v1.py", "types", "__init__", "v1\0", "*", "v" * 5000])
def test_an_unknown_version_lists_the_known_ones(name: str) -> None:
    with pytest.raises(VersionError, match="Known versions: v1, v2, v3, v4, v5, v6, v7, v8"):
        find_version(name)


OWN = Path("workflow", "system_patch_workflow_test.py")
V1 = (PROJECT / "workflow" / "system_patch_workflow_v1.py").read_text().replace("_V1", "_Test")
WITHOUT_PACE = """
class SystemPatchActivities(SystemPatchActivities):
    def __init__(self) -> None:
        pass
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def run(:\n", r"system_patch_workflow_test.py can't be loaded: SyntaxError: .*\(line 1\)"),
        ("import asyncio\nasyncio.nothing\n", r"system_patch_workflow_test.py, line 2 can't be loaded: AttributeError"),
        ("", "has no class SystemPatchWorkflow_Test"),
        (f"import random\nrandom.random()\n{V1}", r"can't be registered: .* Cannot access random.random"),
        (f"{V1}{WITHOUT_PACE}", r"can't be registered: [\w.]+\(\) takes 1 positional argument but 3 were given$"),
    ],
    ids=["syntax error", "error at import", "class missing", "sandbox violation", "activities without a pace"],
)
def test_a_broken_version_of_ones_own_is_explained_in_one_line(
    run: Run, project: Path, text: str, message: str
) -> None:
    (project / OWN).write_text(text)
    try:
        code, output = run("python", "temporal_worker.py", "test").end()
    finally:
        (project / OWN).unlink()
    assert code == 2 and re.search(message, output.splitlines()[-1]) and "Traceback" not in output


def test_a_version_of_ones_own_runs_like_the_others(run: Run, project: Path) -> None:
    text = (PROJECT / "workflow" / "system_patch_workflow_v6.py").read_text()
    (project / OWN).write_text(text.replace("_V6", "_Test"))
    try:
        worker = run("python", "temporal_worker.py", "Test", "--pace", "0")
        worker.wait_for("Worker for test is running")
        code, output = run("python", "temporal_client.py", "test", "--clusters", "cluster2").end()
    finally:
        (project / OWN).unlink()
    assert code == 0 and "cluster2_host5 patched" in output


@pytest.mark.parametrize(
    "returned",
    ['return "approved" if answer.approved else "rejected"', "return list(self._completed_steps)"],
    ids=["update", "query"],
)
def test_a_handler_that_returns_nothing_is_told_in_one_line(run: Run, project: Path, returned: str) -> None:
    text = (PROJECT / "workflow" / "system_patch_workflow_v3.py").read_text()
    assert returned in text
    (project / OWN).write_text(text.replace("_V3", "_Test").replace(returned, "return None"))
    try:
        run("python", "temporal_worker.py", "test", "--pace", "0").wait_for("Worker for test is running")
        code, output = run("python", "temporal_client.py", "test", "--clusters", "cluster2").end()
    finally:
        (project / OWN).unlink()
    assert code == 1 and "Traceback" not in output
    assert re.search("^What the workflow returned has another type than .*, not null$", output.splitlines()[-1]), output


@pytest.mark.parametrize("main", [temporal_worker.main, temporal_client.main], ids=["worker", "client"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["v99"], "There is no version 'v99'. Known versions: v1, v2"),
        (["v3", "--nonsense"], "unrecognized arguments: --nonsense"),
    ],
    ids=["unknown version", "unknown flag"],
)
def test_wrong_use_is_refused_with_exit_code_2(
    refused: Refused, main: Callable[[], None], arguments: list[str], message: str
) -> None:
    assert message in refused(main, *arguments).splitlines()[-1]


@pytest.mark.parametrize("script", ["temporal_worker.py", "temporal_client.py"])
@pytest.mark.parametrize(
    ("version", "line"),
    [("v99", "There is no version 'v99'. Known versions: "), ("v3", "No Temporal server answers at localhost:1. ")],
    ids=["unknown version", "no server"],
)
def test_wrong_use_gives_one_clear_line_and_exit_code_2(run: Run, script: str, version: str, line: str) -> None:
    code, output = run("python", script, version, TEMPORAL_ADDRESS=NOBODY).end()
    assert code == 2 and output.startswith(line) and len(output.splitlines()) == 1


async def test_without_any_setting_a_script_that_finds_no_server_says_how_to_start_it(monkeypatch: Any) -> None:
    monkeypatch.delenv("TEMPORAL_ADDRESS", raising=False)
    assert connect_config()["target_host"] == "localhost:7233"
    monkeypatch.setattr(connection, "DEFAULT_ADDRESS", NOBODY)
    with pytest.raises(UserError, match=r"Start one in another terminal: python temporal_server\.py"):
        await connect()


def test_an_unknown_namespace_gives_one_clear_line(run: Run) -> None:
    for script in ("temporal_worker.py", "temporal_client.py"):
        code, output = run("python", script, TEMPORAL_NAMESPACE="nowhere").end()
        assert code == 2 and "nowhere" in output and "Traceback" not in output


def test_an_empty_api_key_or_tls_setting_changes_nothing(run: Run) -> None:
    worker = run("python", "temporal_worker.py", "v1", TEMPORAL_API_KEY="", TEMPORAL_TLS="")
    worker.wait_for("Worker for v1 is running")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clusters", ""], "target_clusters"),
        (["--clusters", "a,b,a"], "target_clusters names a cluster twice"),
        (["--pilot-count", "-1"], "pilot_count must be a whole number, 0 or more"),
        (["--pilot-count", "three"], "--pilot-count: invalid int value: 'three'"),
        (["--approval-timeout", "0"], "approval_timeout_seconds"),
        (["--poll-interval", "0"], "--poll-interval"),
        (["--reject", "--no-answer"], "--no-answer: not allowed with argument --reject"),
    ],
)
def test_a_client_refuses_bad_input_before_it_starts_anything(
    refused: Refused, arguments: list[str], message: str
) -> None:
    assert message in refused(temporal_client.main, "v3", *arguments)


def test_a_version_without_an_approval_takes_no_answer(refused: Refused) -> None:
    assert "v1 asks for no approval" in refused(temporal_client.main, "v1", "--reject")


def test_a_second_worker_of_a_version_says_that_it_is_not_alone(run: Run, project: Path) -> None:
    first = run("python", "temporal_worker.py", "v7")
    first.wait_for("is running")
    second = run("python", "temporal_worker.py", "V7")
    assert str(first.pid) in second.wait_for("A worker of v7 is running already")
    second.wait_for("Worker for v7 is running")
    second.signal(signal.SIGTERM)
    assert second.end()[0] == 0
    [left] = (project / ".run").glob("temporal_worker_v7_*.pid")
    assert str(first.pid) in left.name


def test_a_client_answers_follows_and_prints_the_result(client: Client, run: Run) -> None:
    run("python", "temporal_worker.py", "v3", "--pace", "0").wait_for("is running")
    arguments = ["--clusters", "cluster1, cluster2", "--poll-interval", "0.1"]
    code, output = run("python", "temporal_client.py", "v3", *arguments).end()
    assert code == 0 and "Traceback" not in output
    assert "Approval request answered by update: approved. The workflow replied: approved" in output
    assert re.search(
        rf"Web UI: http://127.0.0.1:\d+/namespaces/default/workflows/{id_of('v3')}/[0-9a-f-]{{36}}$",
        output,
        re.MULTILINE,
    )
    steps = [line.strip() for line in output.splitlines() if re.fullmatch(r"  \S+ (patched|approved)", line)]
    hosts = [f"cluster{cluster}_host{host} patched" for cluster in (1, 2) for host in range(1, 6)]
    assert steps == ["patching approved", *hosts]
    assert "  cluster2: cluster2_host1, cluster2_host2, cluster2_host3, cluster2_host4, cluster2_host5" in output


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["--reject"], ["by update: rejected", "Workflow failed: ApprovalRejected: Rejected by the client"]),
        (["--reject", "--signal"], ["by signal: rejected", "Workflow failed: ApprovalRejected"]),
        (
            ["--no-answer", "--approval-timeout", "5"],
            ["Not answering", "Workflow failed: ApprovalTimeout: No answer within 0:00:05"],
        ),
    ],
    ids=["rejected by update", "rejected by signal", "no answer"],
)
def test_a_workflow_that_fails_gives_its_reason_and_exit_code_1(
    run: Run, arguments: list[str], messages: list[str]
) -> None:
    run("python", "temporal_worker.py", "v2", "--pace", "0").wait_for("is running")
    code, output = run("python", "temporal_client.py", "v2", *arguments).end()
    assert code == 1 and all(message in output for message in messages) and "Traceback" not in output


def test_the_failing_host_of_v7_is_named_by_the_client(run: Run) -> None:
    run("python", "temporal_worker.py", "v7", "--pace", "0.05").wait_for("is running")
    code, output = run("python", "temporal_client.py", "v7", "--clusters", "cluster2").end()
    assert code == 1
    assert "Workflow failed: HostNotPatched: cluster2_host2: PreconditionsNotMet: preconditions are not met" in output


def test_clusters_can_have_more_hosts(run: Run) -> None:
    run("python", "temporal_worker.py", "v6", "--pace", "0", "--hosts-per-cluster", "12").wait_for("is running")
    code, output = run("python", "temporal_client.py", "v6", "--clusters", "cluster2").end()
    assert code == 0 and output.count(" patched\n") == 12 and "cluster2_host12\n" in output + "\n"


@pytest.mark.parametrize("hosts", ["0", "-1", "many", "10001"])
def test_a_number_of_hosts_that_makes_no_sense_is_refused(refused: Refused, hosts: str) -> None:
    assert f"'{hosts}' is no whole number from 1 to" in refused(
        temporal_worker.main, "v6", "--hosts-per-cluster", hosts
    )


def test_without_a_worker_the_client_says_how_to_start_one_and_goes_on_waiting(run: Run) -> None:
    client = run("python", "temporal_client.py", "v2", "--clusters", "cluster2", "--signal")
    assert client.wait_for("No worker of v2 answers").endswith("python temporal_worker.py v2")
    run("python", "temporal_worker.py", "v2", "--pace", "0")
    code, output = client.end()
    assert code == 0 and "Workflow completed" in output


async def test_a_second_start_replaces_the_run_that_is_there(client: Client, run: Run) -> None:
    run("python", "temporal_worker.py", "v2", "--pace", "0").wait_for("is running")
    first = run("python", "temporal_client.py", "v2", "--no-answer")
    first.wait_for("Not answering")
    second = run("python", "temporal_client.py", "v2", "--clusters", "cluster2")
    code, output = first.end()
    assert code == 1 and "Workflow was terminated" in output
    assert second.end()[0] == 0


async def test_a_client_attaches_to_the_run_that_is_there_and_replaces_nothing(client: Client, run: Run) -> None:
    run("python", "temporal_worker.py", "v4", "--pace", "0").wait_for("is running")
    first = run("python", "temporal_client.py", "v4", "--clusters", "cluster2", "--no-answer")
    first.wait_for("Not answering")
    first.signal(signal.SIGKILL)
    before = await client.get_workflow_handle(id_of("v4")).describe()
    for clusters in ("cluster1", "cluster3"):  # The first finds it under way, the second at its end.
        code, output = run("python", "temporal_client.py", "v4", "--attach", "--clusters", clusters).end()
        assert code == 0 and "Attached to SystemPatchWorkflow_V4" in output
        assert "  cluster2: cluster2_host1" in output and clusters not in output
    assert (await client.get_workflow_handle(id_of("v4")).describe()).run_id == before.run_id


def test_a_client_that_finds_no_run_to_attach_to_says_so_in_one_line(run: Run) -> None:
    code, output = run("python", "temporal_client.py", "v5", "--attach", WORKSHOP_LEARNER="nobody").end()
    assert (code, output) == (2, "There is no run of v5 to attach to. Start one without --attach.")


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
async def test_a_client_that_is_stopped_leaves_the_workflow_running(
    client: Client, run: Run, number: int, expected: int
) -> None:
    run("python", "temporal_worker.py", "v2").wait_for("is running")
    script = run("python", "temporal_client.py", "v2", "--no-answer")
    script.wait_for("Not answering")
    script.signal(number)
    code, output = script.end()
    assert code == expected and "The workflow itself goes on" in output and "Traceback" not in output
    handle = client.get_workflow_handle(id_of("v2"))
    assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING
    await handle.terminate()


async def test_a_client_that_is_stopped_while_it_waits_for_a_worker_ends_without_a_traceback(
    client: Client, run: Run
) -> None:
    script = run("python", "temporal_client.py", "v2")
    script.wait_for("No worker of v2 answers")
    script.signal(signal.SIGINT)
    code, output = script.end()
    assert code == 130 and "The workflow itself goes on" in output and "Traceback" not in output
    await client.get_workflow_handle(id_of("v2")).terminate()


def test_clients_in_a_row_never_abort_at_their_exit(run: Run) -> None:
    run("python", "temporal_worker.py", "v2", "--pace", "0").wait_for("is running")
    for _ in range(5):
        assert run("python", "temporal_client.py", "v2", "--reject").end()[0] == 1


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "Failing workflow task {run_id=01a2, failure=Failure { failure: Some(Failure { message: "
            r'"[TMPRL1100] Nondeterminism error: Activity type of \'a\' does not match", source: "", }) }}',
            "Failing workflow task: [TMPRL1100] Nondeterminism error: Activity type of 'a' does not match",
        ),
        (
            'gRPC call query_workflow retried 8 times {error=Status { message: "tcp connect error" }}',
            "gRPC call query_workflow retried 8 times: tcp connect error",
        ),
        ("A message without more", "A message without more"),
    ],
)
def test_what_the_sdks_core_logs_is_cut_down_to_one_line_with_its_reason(message: str, expected: str) -> None:
    record = logging.makeLogRecord({"msg": message})
    assert shorten_core_message(record) and record.getMessage() == expected


def test_calls_that_fail_one_after_the_other_are_told_once() -> None:
    calls = ["gRPC call poll_workflow_task_queue retried 8 times", "gRPC call poll_activity_task_queue retried 9 times"]
    keeps = FailedCallsOnce().filter
    kept = [text for text in [*calls, "Something else", *calls] if keeps(logging.makeLogRecord({"msg": text}))]
    assert kept == [calls[0], "Something else"]


async def test_the_web_ui_link_leads_to_where_the_web_ui_is(client: Client, monkeypatch: Any) -> None:
    link = web_ui_link(client, "system-patch-v6/cluster1", "abc")
    port = int(client.service_client.config.target_host.rpartition(":")[2]) + 1000
    assert link == f"http://127.0.0.1:{port}/namespaces/default/workflows/system-patch-v6%2Fcluster1/abc"
    monkeypatch.setenv("TEMPORAL_UI_URL", "https://temporal.example.com/")
    assert web_ui_link(client, "a", None) == "https://temporal.example.com/namespaces/default/workflows/a"


def test_a_server_keeps_its_history_and_stops_cleanly(run: Run, tmp_path: Path) -> None:
    port = free_port()
    database = tmp_path / "history.db"
    for number in (signal.SIGTERM, signal.SIGINT):
        server = run("python", "temporal_server.py", "--port", str(port), "--database", str(database))
        server.wait_for("UI:")
        environment = {"TEMPORAL_ADDRESS": f"localhost:{port}"}
        if number == signal.SIGTERM:
            script = run("python", "temporal_client.py", "v2", "--no-answer", **environment)
            script.wait_for("Started")
        else:
            worker = run("python", "temporal_worker.py", "v2", **environment)
            worker.wait_for("Patching cluster1, cluster2, cluster3")
        again = run("python", "temporal_server.py", "--port", str(port)).end()
        assert again == (2, f"A Temporal server runs at localhost:{port} already: just use it.")
        server.signal(number)
        assert server.end()[0] == 0
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_server_keeps_its_history_where_it_should_whatever_the_folder_is_called(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "a #1? 100%"
    folder.mkdir()
    for _ in range(2):
        port = str(free_port())
        server = run("python", "temporal_server.py", "--port", port, "--database", str(folder / "history.db"))
        server.wait_for("UI:")
        server.signal(signal.SIGTERM)
        assert server.end()[0] == 0
    assert (folder / "history.db").exists()  # Beside it are the files of its write-ahead log.
    code, output = run("python", "temporal_server.py", "--port", port, "--database", str(tmp_path / "a#b.db")).end()
    assert code == 2 and output.splitlines()[-1].startswith("--database: the server takes no file with #")


MALFORMED = ["localhost:", "localhost:abc", "localhost:7233/", "http://localhost:7233", ":7233", "localhost:0", "a b:1"]


@pytest.mark.parametrize("address", [*MALFORMED, "localhost:65536", "localhost"])
async def test_an_address_that_is_none_gives_one_clear_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    with pytest.raises(UserError, match="must be a host and a port, such as localhost:7233") as refused:
        await connect()
    assert repr(address) in str(refused.value)


def test_a_configuration_that_can_not_be_read_is_told_without_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text('[profile.default]\naddress = "localhost:7233"\napi_key = SECRET\n')
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    with pytest.raises(UserError, match=r"can't be read: .*line 3") as told:
        connect_config()
    assert "SECRET" not in str(told.value)


@pytest.mark.parametrize("address", ["localhost:1", "127.0.0.1:65535", "[::1]:7233", "a.b-c.tmprl.cloud:7233"])
def test_an_address_that_is_one_is_taken(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    assert connect_config()["target_host"] == address


def test_a_flag_has_one_name_so_that_reload_can_be_taken_out(refused: Refused) -> None:
    assert "unrecognized arguments: --rel" in refused(temporal_worker.main, "v3", "--rel")


@pytest.mark.parametrize("build", ["a b", "1.2", "1:2", "é", "x" * 41])
def test_a_build_that_the_server_could_not_name_is_refused(refused: Refused, build: str) -> None:
    assert "is no name of a build" in refused(temporal_worker.main, "v3", "--build", build)


def test_a_taken_port_gives_one_clear_line(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for flags in (["--port", str(port)], ["--port", str(free_port()), "--ui-port", str(port)]):
            code, output = run("python", "temporal_server.py", "--temporary", *flags).end()
            assert code == 2 and output.startswith(f"Port {port} is taken by another program")
        code, output = run(
            "python", "workshop.py", "demo", TEMPORAL_ADDRESS=f"localhost:{port - UI_PORT_DISTANCE}"
        ).end()
        assert code == 2 and output.splitlines()[-1].endswith("TEMPORAL_ADDRESS=localhost:7300 make demo"), output


def test_a_port_that_leaves_none_for_the_web_ui_is_refused_by_the_demo(run: Run, elsewhere: str) -> None:
    code, output = run("python", "workshop.py", "demo", cwd=elsewhere, TEMPORAL_ADDRESS="localhost:65000").end()
    assert code == 2 and output.splitlines()[-1].startswith("Port 65000 leaves none for the Web UI"), output


@pytest.mark.parametrize(
    ("database", "problem"),
    [
        (".", "is no file: name one with --database"),
        ("no/such/folder/x.db", "There is no folder"),
        ("y" * 3000, "for --database: File name too long"),
        ("README.md", "is no history of a Temporal server"),
        ("other.db", "is no history of a Temporal server"),
    ],
)
def test_a_server_refuses_a_file_that_it_cannot_use(run: Run, elsewhere: str, database: str, problem: str) -> None:
    with closing(sqlite3.connect(Path(elsewhere, "other.db"))) as connection:
        connection.execute("CREATE TABLE mine (x)")
    code, output = run(
        "python", "temporal_server.py", *("--port", str(free_port())), "--database", database, cwd=elsewhere
    ).end()
    assert code == 2 and problem in output and "Traceback" not in output


def test_a_server_starts_on_a_file_that_a_killed_one_left_half_made(run: Run, tmp_path: Path) -> None:
    for number, tables in enumerate([[], ["namespaces", "shards"]]):
        database = tmp_path / f"{number}.db"
        database.touch()
        with closing(sqlite3.connect(database)) as connection:
            for table in tables:
                connection.execute(f"CREATE TABLE {table} (x)")
        server = run("python", "temporal_server.py", "--port", str(free_port()), "--database", str(database))
        server.wait_for("UI:")
        server.signal(signal.SIGTERM)
        assert server.end()[0] == 0


def test_a_server_without_its_program_says_how_to_get_it(run: Run) -> None:
    code, output = run("python", "temporal_server.py", "--port", str(free_port()), TEMPORAL_CLI="/no/such/cli").end()
    assert (code, output) == (2, "TEMPORAL_CLI names /no/such/cli, but there is no such program.")


def test_the_demo_patches_all_hosts_on_a_server_of_its_own_and_leaves_nothing_running(run: Run, elsewhere: str) -> None:
    port = free_port()
    code, output = run("python", "workshop.py", "demo", cwd=elsewhere, TEMPORAL_ADDRESS=f"localhost:{port}").end()
    assert code == 0, output
    assert f"Temporal server started: localhost:{port}" in output
    assert len(re.findall(r"  cluster\d_host\d patched", output)) == 15
    assert re.search(r"Done: 15 hosts patched, \d+ s", output)
    assert f"http://localhost:{port + 1000}/namespaces/default/workflows/{id_of('v6')}/" in output
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert not list((Path(elsewhere) / ".run").glob("*.pid"))


def test_sigterm_stops_the_demo_and_all_that_it_started(run: Run, elsewhere: str) -> None:
    port = free_port()
    demo = run("python", "workshop.py", "demo", cwd=elsewhere, TEMPORAL_ADDRESS=f"localhost:{port}")
    demo.wait_for("patching approved")
    demo.signal(signal.SIGTERM)
    code, output = demo.end()
    assert code == 130 and "Traceback" not in output
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize(
    "goes_on",
    [
        "asyncio.Event().wait()",
        "asyncio.sleep(0, time.sleep(1000))",
        "asyncio.Event().wait(), os.close(closed[0]), os.dup2(closed[1], 2)",
    ],
    ids=["waits", "blocks", "has nobody who reads what it says"],
)
def test_ctrl_c_ends_a_process_in_which_something_goes_on_for_ever(run: Run, tmp_path: Path, goes_on: str) -> None:
    """As a worker waits for an activity that never ends, or gets no turn because of it."""
    program = tmp_path / "program.py"
    program.write_text(f"""
import asyncio, os, time
from support.script import run_script, stop_event

closed = os.pipe()

async def main() -> int:
    stop_event(limit=0.5)
    print("Running.", flush=True)
    waits, *_ = {goes_on},
    await waits
    return 0

run_script(main)
""")
    process = run("python", str(program), PYTHONPATH=str(PROJECT))
    process.wait_for("Running.")
    process.signal(signal.SIGINT)
    code, output = process.end()
    says = "Something did not stop within 0.5 seconds: the process ends without it."
    assert code == 1 and output.endswith("Running." if "closed" in goes_on else says)


async def test_a_ctrl_c_that_comes_just_when_a_wait_is_over_is_not_lost() -> None:
    waited_for = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(within(60, waited_for))
    await asyncio.sleep(0)
    waited_for.set_result(None)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_wait_ends_when_its_time_is_over_and_with_what_it_waits_for() -> None:
    assert await within(60, asyncio.sleep(0, "done")) == "done"
    with pytest.raises(asyncio.TimeoutError):
        await within(0, asyncio.Event().wait())

"""`workshop.py` as a learner runs it: doctor, start, check and diff."""

from tests.conftest import PROJECT
from tests.exercises import exercise_7
from tests.exercises.check import free_port
from tests.exercises.wrong import Wrong
from workshop import changed_activities, learners_activities, learners_client, rename_classes

import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

NAMES = ("workflow/system_patch_workflow_mine.py", "workflow/activities_mine.py", "temporal_client_mine.py")


def solve(project: Path, number: int) -> None:
    """Paste the solution of an exercise over a learner's files."""
    text = (PROJECT / "workflow" / f"system_patch_workflow_v{number + 1}.py").read_text()
    text = rename_classes(text, f"V{number + 1}", "Mine")
    if methods := changed_activities(number, mine=False):
        own = "from workflow.activities_mine import SystemPatchActivities_Mine as SystemPatchActivities"
        text = re.sub(r"from workflow\.activities import .*", own, text)
        imports = "from temporalio.exceptions import ApplicationError\nfrom workflow.activities import *\n"
        activities = learners_activities(number) + "\n".join(code for _, _, _, code in methods)
        (project / NAMES[1]).write_text(
            activities.replace("from temporalio import", imports + "from temporalio import", 1)
        )
    (project / NAMES[0]).write_text(text)
    (project / NAMES[2]).write_text(learners_client(number + 1))


@pytest.mark.parametrize("number", range(1, 7))
def test_start_makes_files_that_run_at_once_and_are_not_yet_the_solution(
    address: str, run: Any, elsewhere: str, number: int
) -> None:
    code, output = run("python", "workshop.py", "start", str(number), cwd=elsewhere).end()
    assert code == 0 and f"python workshop.py check {number}" in output
    assert (Path(elsewhere) / NAMES[1]).exists() == (number in (3, 6))
    worker = run("python", "temporal_worker.py", "mine", "--pace", "0", cwd=elsewhere)
    worker.wait_for("Worker for mine is running")
    code, output = run("python", "temporal_client_mine.py", "--clusters", "cluster3", cwd=elsewhere).end()
    assert code == 0 and "cluster3_host5" in output, output
    worker.signal(signal.SIGTERM)
    assert run("python", "workshop.py", "check", str(number), cwd=elsewhere).end()[0] == 1

    code, output = run("python", "workshop.py", "diff", str(number), "--mine", cwd=elsewhere).end()
    assert code == 0 and output.startswith("--- workflow/system_patch_workflow_mine.py")

    solve(Path(elsewhere), number)
    code, output = run("python", "workshop.py", "diff", str(number), "--mine", cwd=elsewhere).end()
    assert (code, output) == (0, "No difference.")


def test_start_does_not_overwrite_and_force_keeps_the_old_files(run: Any, elsewhere: str) -> None:
    assert run("python", "workshop.py", "start", "3", cwd=elsewhere).end()[0] == 0
    files = [Path(elsewhere) / name for name in NAMES]
    for file in files:
        file.write_text(file.read_text() + "# My own work.\n")
    code, output = run("python", "workshop.py", "start", "4", cwd=elsewhere).end()
    assert code == 2 and "for exercise 3" in output and "python workshop.py start 4 --force" in output
    assert all("# My own work." in file.read_text() for file in files)
    for _ in range(2):
        code, output = run("python", "workshop.py", "start", "4", "--force", cwd=elsewhere).end()
        assert code == 0
    kept = sorted(Path(elsewhere, "old").glob("*/*"))
    assert sum("# My own work." in file.read_text() for file in kept) == 3 and len(kept) == 5
    assert not files[1].exists()  # Exercise 4 needs no activities.


def test_git_sees_nothing_of_a_learners_files(run: Any, elsewhere: str) -> None:
    shutil.copy(PROJECT / ".gitignore", elsewhere)
    subprocess.run("git init -q && git add -A", cwd=elsewhere, shell=True, check=True)
    for _ in range(2):
        run("python", "workshop.py", "start", "3", "--force", cwd=elsewhere).end()
    changed = subprocess.run(["git", "status", "--short"], cwd=elsewhere, capture_output=True, text=True, check=True)
    assert [line for line in changed.stdout.splitlines() if not line.startswith("A ")] == []


def test_check_prints_the_steps_in_order_and_stops_at_the_first_that_is_not_done(run: Any) -> None:
    code, output = run("python", "workshop.py", "check", "2", "--version", "V2").end()
    assert code == 1
    assert output.splitlines()[1:] == [
        "  ok    1. Python and Temporal accept your files",
        "  FAIL  2. It has a query completed_steps, which returns a list of texts",
        "",
        "Seen:     The class SystemPatchWorkflow_V2 has no query named completed_steps. Its queries: none.",
        "Expected: A method `completed_steps` with @workflow.query returns the list of the completed steps.",
        "Look at:  README.md, Exercise 2, points 1 and 2",
    ]


SET_ORDER = """\
        for name in {f"name{number}" for number in range(9)}:
            await workflow.execute_activity_method(
                SystemPatchActivities.check_vault_access_activity, input.vault, **OPTIONS | {"summary": name}
            )
            if name == "name1":
                await asyncio.sleep(0.01)
"""
BROKEN = {
    "a syntax error": ("async def run(", "async def run(:", r"SyntaxError: .*\(line \d+\)[^$]*line \d+\n.*def run\(:"),
    "a class that is missing": (
        "class SystemPatchWorkflow_Mine",
        "class Mine",
        "has no class SystemPatchWorkflow_Mine",
    ),
    "a sandbox violation": ("OPTIONS = ", "import random\nrandom.random()\nOPTIONS = ", "uses random.random"),
    "a loop that never ends": (
        "        clusters = [",
        "        while True:\n            pass\n        clusters = [",
        r"ran for 2 seconds without once waiting(.*\n)*.*line \d+, in run",
    ),
    "a name that does not exist": (
        "        clusters = [",
        "        nothing()\n        clusters = [",
        r"line \d+, in run\n +nothing\(\)\n +NameError: name 'nothing' is not defined",
    ),
    "a wait for nothing": (
        "        clusters = [",
        "        await workflow.wait_condition(lambda: False)\n        clusters = [",
        "waits for something that doesn't come",
    ),
    "a path that depends on a set's order": (
        "        clusters = [",
        SET_ORDER + "        clusters = [",
        "took another path",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_check_explains(run: Any, elsewhere: str, what: str) -> None:
    run("python", "workshop.py", "start", "3", cwd=elsewhere).end()
    solve(Path(elsewhere), 3)
    file = Path(elsewhere) / NAMES[0]
    old, new, says = BROKEN[what]
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    code, output = run("python", "workshop.py", "check", "3", cwd=elsewhere).end()
    assert code == 1 and re.search(says, output), output
    assert "Traceback" not in output and "tests/exercises" not in output and "site-packages" not in output


def test_check_ends_an_activity_that_stops_the_whole_worker(run: Any, elsewhere: str) -> None:
    run("python", "workshop.py", "start", "6", cwd=elsewhere).end()
    file = Path(elsewhere) / NAMES[1]
    own = "    @activity.defn\n    async def send_start_notification_activity(self, host: HostPatchInput) -> None:\n"
    file.write_text(file.read_text() + own + "        while True:\n            pass\n")
    code, output = run("python", "workshop.py", "check", "6", cwd=elsewhere).end()
    assert code == 1 and "nothing else in the worker got a turn" in output
    assert re.search(r"activities_mine.py, line 1\d, in send_start_notification_activity", output)


def test_check_ends_although_workflows_never_let_go_of_their_threads(run: Any, elsewhere: str) -> None:
    run("python", "workshop.py", "start", "1", cwd=elsewhere).end()
    solve(Path(elsewhere), 1)
    file = Path(elsewhere) / NAMES[0]
    waiting = "await workflow.wait_condition(lambda: self._answer is not None, timeout=timeout)"
    circling = "while self._answer is None:\n                pass"
    file.write_text(file.read_text().replace(waiting, circling))
    code, output = run("python", "workshop.py", "check", "1", cwd=elsewhere).end()
    assert code == 1 and "ran for 2 seconds without once waiting for anything" in output


def test_check_leaves_a_learners_server_and_worker_alone(address: str, run: Any, elsewhere: str) -> None:
    run("python", "workshop.py", "start", "2", cwd=elsewhere).end()
    worker = run("python", "temporal_worker.py", "mine", cwd=elsewhere)
    worker.wait_for("Worker for mine is running")
    solve(Path(elsewhere), 2)
    code, output = run("python", "workshop.py", "check", "2", cwd=elsewhere, TEMPORAL_NAMESPACE="nowhere").end()
    assert code == 0, output
    pid_file = Path(elsewhere) / ".run" / "temporal_worker_mine.pid"
    assert pid_file.read_text().strip() == str(worker.process.pid)
    worker.signal(signal.SIGINT)
    code, output = worker.end()
    assert code == 0 and "Patching" not in output  # It got no task.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_check_stops_at_once_and_takes_its_server_with_it(run: Any, number: int) -> None:
    check = run("python", "workshop.py", "check", "3", "--version", "v4")
    check.wait_for("  ok    5.")
    servers = subprocess.run(["pgrep", "-P", str(check.process.pid)], capture_output=True, text=True).stdout.split()
    assert servers
    check.signal(number)
    code, output = check.end()
    assert code == 128 + number and "Traceback" not in output
    assert subprocess.run(["ps", "-p", ",".join(servers)], capture_output=True).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "1"], "You have no files of your own yet: python workshop.py start 1"),
        (["check", "1", "--version", "v99"], "There is no version 'v99'. Known versions: v1, v2"),
        (["check", "99"], "invalid choice: 99"),
        (["diff", "2", "--mine"], "You have no files of your own yet: python workshop.py start 2"),
        (["start", "0"], "invalid choice: 0"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_wrong_use_gives_one_clear_line(run: Any, elsewhere: str, arguments: list[str], message: str) -> None:
    code, output = run("python", "workshop.py", *arguments, cwd=elsewhere).end()
    assert code == 2 and message in output.splitlines()[-1] and "Traceback" not in output


@pytest.mark.parametrize("number", range(1, 7))
def test_diff_has_what_the_exercise_changes_and_is_plain_in_a_pipe(run: Any, number: int) -> None:
    code, output = run("python", "workshop.py", "diff", str(number)).end()
    assert code == 0 and "\033" not in output
    changed = [line for line in output.splitlines() if re.match(r"[+-](?![+-]{2} )", line)]
    assert not any(line.startswith("-class ") for line in changed)
    expected = {
        1: ["+    @answer_approval.validator", '+            reply = await handle.execute_update("answer_approval"'],
        2: ["+    @workflow.query", '+            steps = await handle.query("completed_steps"'],
        3: ["+    heartbeat_timeout=timedelta(seconds=2),", "+            activity.heartbeat(step)"],
        4: ["+        await asyncio.gather(*[self._process_host(host) for host in hosts])"],
        5: ["+class SystemPatchWorkflow_Cluster_V6:", "+class SystemPatchWorkflow_Host_V6:"],
        6: ["+                task.cancel()", "+        if host.hostname == BROKEN_HOST:"],
    }
    for start in expected[number]:
        assert any(line.startswith(start) for line in changed)


def test_doctor_says_what_to_do_until_a_learner_can_begin(cli: str, run: Any, elsewhere: str) -> None:
    port = free_port()
    environment = {"TEMPORAL_ADDRESS": f"localhost:{port}", "cwd": elsewhere}
    code, output = run("python", "workshop.py", "doctor", **environment).end()
    assert code == 1 and f"TO DO  Server: No Temporal server answers at localhost:{port}" in output
    assert f"ok     Ports: {port} and {port + 1000} are free" in output
    assert "none yet" in output and "none is running" in output

    server = run("python", "temporal_server.py", "--temporary", "--port", str(port), **environment)
    server.wait_for("UI:")
    worker = run("python", "temporal_worker.py", "v3", **environment)
    worker.wait_for("is running")
    run("python", "workshop.py", "start", "4", **environment).end()
    code, output = run("python", "workshop.py", "doctor", **environment).end()
    assert code == 0 and "TO DO" not in output, output
    assert f"ok     Server: localhost:{port} answers, namespace default" in output
    assert f"ok     Web UI: http://localhost:{port + 1000} answers" in output
    assert f"Worker: v3 (process {worker.process.pid})" in output
    assert "Your files: for exercise 4" in output
    for line in ("ok     Python 3.", "ok     Packages: temporalio 1.", "ok     Server binary: ", "-      Docker"):
        assert line in output
    server.signal(signal.SIGTERM)
    server.end()
    code, output = run("python", "workshop.py", "doctor", **environment).end()
    assert code == 1


def test_doctor_sees_that_a_port_is_taken(run: Any, elsewhere: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, output = run("python", "workshop.py", "doctor", cwd=elsewhere, TEMPORAL_ADDRESS=f"localhost:{port}").end()
    assert code == 1 and f"TO DO  Ports: another program has taken {port}. Use others" in output


@pytest.mark.parametrize(
    ("flags", "passed", "says"),
    [
        (["--max-concurrent-activities", "100"], 3, "the workers keep up"),
        (["--max-concurrent-activities", "2"], 2, "for one of 2 slots"),
        (["--max-concurrent-activities", "many"], 0, "'many' is no whole number"),
    ],
    ids=["enough slots", "too few slots", "no number"],
)
async def test_check_7_tells_whether_activities_wait_with_these_settings_and_why(
    client: Client, monkeypatch: Any, capsys: Any, flags: list[str], passed: int, says: str
) -> None:
    monkeypatch.setattr(exercise_7, "WORKFLOWS", 1)
    monkeypatch.setattr(exercise_7, "PACE", 0.05)
    steps = []
    try:
        async for step in exercise_7.steps(client, flags, free_port()):
            steps.append(step)
        said = capsys.readouterr().out
    except Wrong as wrong:
        said = wrong.seen
        steps.pop()
    assert len(steps) == passed and says in said


def test_check_7_runs_the_whole_load_from_the_command_line(run: Any) -> None:
    check = run("python", "workshop.py", "check", "7", "--max-concurrent-activities", "50")
    check.wait_for("ok    1. A worker starts with your settings")
    check.signal(signal.SIGINT)
    code, output = check.end()
    assert code == 130 and "Traceback" not in output

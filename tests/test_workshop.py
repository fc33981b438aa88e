"""`workshop.py` as a learner runs it: doctor, start, check and diff. (The pages' tests walk through all exercises.)"""

import temporal_client_v8
import temporal_worker_v8
from checks import exercise_7
from checks.exercises import EXERCISES, STARTED, Exercise
from checks.failure import CheckFailure
from checks.lab import Lab
from checks.solutions import with_suffix
from commands import doctor
from commands.check import what_to_judge
from commands.diff import diff
from commands.start import learners_workflow, start, workflow_code
from support import PROJECT, load
from support.ports import UI_PORT_DISTANCE, free_port
from support.script import UserError
from tests.conftest import Refused, Run
from tests.learner import NAMES, solve
from workflow.versions import find_version, released_versions
from workshop import main

import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest
from temporalio.client import Client


def test_start_does_not_overwrite_and_force_keeps_the_old_files(run: Run, elsewhere: str) -> None:
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


@pytest.mark.parametrize("exercise", STARTED, ids=lambda exercise: str(exercise.number))
def test_start_makes_the_starting_version_but_for_its_names(exercise: Exercise) -> None:
    """So what `check` says to the version, it says to a learner who has not begun yet."""
    start, own = workflow_code(exercise.start), learners_workflow(exercise).partition("\n")[2]
    own = with_suffix(own, "Mine", exercise.start.upper())
    changed = {*start.splitlines()} ^ {*own.splitlines()}
    assert all("import" in line for line in changed) and bool(changed) == exercise.writes_activities


def test_a_learner_who_has_not_begun_yet_does_not_pass(run: Run, elsewhere: str) -> None:
    assert run("python", "workshop.py", "start", "1", cwd=elsewhere).end()[0] == 0
    code, output = run("python", "workshop.py", "check", "1", cwd=elsewhere).end()
    assert code == 1 and "  FAIL  2." in output


def test_git_sees_nothing_of_a_learners_files(run: Run, elsewhere: str) -> None:
    shutil.copy(PROJECT / ".gitignore", elsewhere)
    subprocess.run("git init -q && git add -A", cwd=elsewhere, shell=True, check=True)
    for _ in range(2):
        run("python", "workshop.py", "start", "3", "--force", cwd=elsewhere).end()
    changed = subprocess.run(["git", "status", "--short"], cwd=elsewhere, capture_output=True, text=True, check=True)
    assert [line for line in changed.stdout.splitlines() if not line.startswith("A ")] == []


def test_check_prints_the_steps_in_order_and_stops_at_the_first_that_is_not_done(run: Run) -> None:
    code, output = run("python", "workshop.py", "check", "2", "--version", "V2").end()
    assert code == 1
    output = re.sub(r" But this\s+machine is busy: .*?later\.", "", output, flags=re.DOTALL)  # If it is.
    assert output.splitlines()[1:] == [
        "  ok    1. Python and Temporal accept your files",
        "  FAIL  2. It has a query completed_steps, which returns a list of texts",
        "",
        "Seen:     The class SystemPatchWorkflow_V2 has no query named completed_steps. Its queries: none.",
        "Expected: A method `completed_steps` with @workflow.query returns the list of the completed steps.",
        "Look at:  exercises/2_ask_for_the_progress.md, Your task, points 1 and 2",
    ]


def test_check_finds_a_path_that_depends_on_the_order_of_a_set(run: Run, elsewhere: str) -> None:
    """It takes processes with other hash seeds to see that."""
    run("python", "workshop.py", "start", "3", cwd=elsewhere).end()
    solve(Path(elsewhere), EXERCISES[3])
    file = Path(elsewhere) / NAMES[0]
    listed = "for name in input.target_clusters]"
    assert listed in file.read_text()
    file.write_text(file.read_text().replace(listed, "for name in {*input.target_clusters}]"))
    code, output = run("python", "workshop.py", "check", "3", cwd=elsewhere).end()
    assert code == 1 and "took another path" in output
    assert "Traceback" not in output and "checks/" not in output and "site-packages" not in output


def test_check_works_from_any_folder(run: Run, project: Path, tmp_path: Path) -> None:
    code, output = run("python", str(project / "workshop.py"), "check", "4", cwd=tmp_path).end()
    assert code == 2 and "python workshop.py start 4" in output
    code, output = run("python", str(project / "workshop.py"), "check", "4", "--version", "v5", cwd=tmp_path).end()
    assert code == 0 and "All steps pass" in output and list(tmp_path.iterdir()) == [], output


def test_check_ends_an_activity_that_stops_the_whole_worker(run: Run, elsewhere: str) -> None:
    run("python", "workshop.py", "start", "6", cwd=elsewhere).end()
    file = Path(elsewhere) / NAMES[1]
    own = "    @activity.defn\n    async def send_start_notification_activity(self, host: HostPatchInput) -> None:\n"
    file.write_text(file.read_text() + own + "        while True:\n            pass\n")
    code, output = run("python", "workshop.py", "check", "6", cwd=elsewhere).end()
    assert code == 1 and "nothing else in the worker got a turn" in output
    assert re.search(r"activities_mine.py, line 1\d, in send_start_notification_activity", output)


def test_check_ends_although_workflows_never_let_go_of_their_threads(run: Run, elsewhere: str) -> None:
    run("python", "workshop.py", "start", "1", cwd=elsewhere).end()
    solve(Path(elsewhere), EXERCISES[1])
    file = Path(elsewhere) / NAMES[0]
    waiting = "await workflow.wait_condition(lambda: self._answer is not None, timeout=timeout)"
    circling = "sum(0 for _ in iter(int, 1))"  # 0 is never 1.
    file.write_text(file.read_text().replace(waiting, circling))
    code, output = run("python", "workshop.py", "check", "1", cwd=elsewhere).end()
    assert code == 1
    lines = r"(.*\n)*.*line \d+, in run\n(.*\n)*.*line \d+, in <genexpr>\n"
    assert re.search("ran for seconds without once waiting for anything" + lines, output), output


def test_check_leaves_a_learners_server_and_worker_alone(run: Run, elsewhere: str) -> None:
    run("python", "workshop.py", "start", "2", cwd=elsewhere).end()
    worker = run("python", "temporal_worker.py", "mine", cwd=elsewhere)
    worker.wait_for("Worker for mine is running")
    solve(Path(elsewhere), EXERCISES[2])
    code, output = run("python", "workshop.py", "check", "2", cwd=elsewhere, TEMPORAL_NAMESPACE="nowhere").end()
    assert code == 0, output
    assert (Path(elsewhere) / ".run" / f"temporal_worker_mine_{worker.pid}.pid").exists()
    worker.signal(signal.SIGINT)
    code, output = worker.end()
    assert code == 0 and "Patching" not in output  # It got no task.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_check_stops_at_once_and_takes_its_server_with_it(run: Run, number: int) -> None:
    check = run("python", "workshop.py", "check", "3", "--version", "v4")
    check.wait_for("  ok    5.")
    left = psutil.Process(check.pid).children(recursive=True)
    assert len(left) > 1
    check.signal(number)
    code, output = check.end()
    assert code == 128 + number and "Traceback" not in output
    assert psutil.wait_procs(left, timeout=10)[1] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "99"], "invalid choice: 99"),
        (["start", "98"], "invalid choice: 98"),
        (["check", "1", "--max-concurrent-activities", "5"], "unrecognized arguments: --max-concurrent-activities 5"),
    ],
)
def test_wrong_use_is_refused_with_exit_code_2(refused: Refused, arguments: list[str], message: str) -> None:
    assert message in refused(main, *arguments).splitlines()[-1]


def test_a_learners_name_that_is_none_is_told_before_anything_is_done(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_LEARNER", "ann@example.org")
    says = "WORKSHOP_LEARNER is 'ann@example.org': use up to 40 letters, digits, '_', '.' and '-'.\n"
    for arguments in (["start", "3", "--force"], ["diff", "1"], ["demo"]):
        assert refused(main, *arguments) == says
    assert refused(temporal_worker_v8.main) == refused(temporal_client_v8.main) == says


async def test_doctor_does_not_let_a_name_that_is_none_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_LEARNER", "ann@example.org")
    monkeypatch.setattr(doctor, "known_versions", released_versions)  # Not those that other tests write here.
    marks = [mark async for mark, text in doctor.findings() if text.startswith("Your name: WORKSHOP_LEARNER is")]
    assert marks == ["TO DO"]


def test_what_is_not_there_gives_one_clear_line(run: Run, elsewhere: str) -> None:
    with pytest.raises(UserError, match=r"There is no version 'v99'\. Known versions: v1, v2"):
        what_to_judge(EXERCISES[1], "v99", [])
    for number in (0, 7):
        with pytest.raises(UserError, match=f"In exercise {number} there is nothing to write.*: exercises/{number}_"):
            start(EXERCISES[number], force=False)
    with pytest.raises(UserError, match=r"Exercise 0 changes no file: exercises/0_run_it\.md"):
        diff(EXERCISES[0], mine=False)
    with pytest.raises(UserError, match="there is nothing to write in exercise 7"):
        diff(EXERCISES[7], mine=True)
    for command in (["check", "1"], ["diff", "2", "--mine"]):
        code, output = run("python", "workshop.py", *command, cwd=elsewhere).end()
        assert (code, output) == (2, f"You have no files of your own yet: python workshop.py start {command[1]}")


EXPECTED_IN_DIFF = {
    1: ["+    @answer_approval.validator", '+            reply = await handle.execute_update("answer_approval"'],
    2: ["+    @workflow.query", '+            steps = await handle.query("completed_steps"'],
    3: ["+    heartbeat_timeout=timedelta(seconds=2),", "+            activity.heartbeat(step)"],
    4: ["+        await asyncio.gather(*[self._process_host(host) for host in hosts])"],
    5: ["+class SystemPatchWorkflow_Cluster_V6:", "+class SystemPatchWorkflow_Host_V6:"],
    6: ["+                task.cancel()", "+        if host.hostname == BROKEN_HOST:"],
}


@pytest.mark.parametrize("number", EXPECTED_IN_DIFF)
def test_diff_has_what_the_exercise_changes_and_is_plain_in_a_pipe(
    capsys: pytest.CaptureFixture[str], number: int
) -> None:
    assert diff(EXERCISES[number], mine=False) == 0
    output = capsys.readouterr().out
    assert "\033" not in output and "temporal_client_mine.py" not in output
    changed = [line for line in output.splitlines() if re.match(r"[+-](?![+-]{2} )", line)]
    assert not any(line.startswith("-class ") for line in changed)
    for begin in EXPECTED_IN_DIFF[number]:
        assert any(line.startswith(begin) for line in changed)


def test_diff_shows_an_activity_that_was_broken_to_try_the_tests(run: Run, elsewhere: str) -> None:
    run("python", "workshop.py", "start", "9", cwd=elsewhere).end()
    assert run("python", "workshop.py", "diff", "8", "--mine", cwd=elsewhere).end() == (0, "No difference.")
    broken = "async def perform_update_activity(self, host: HostPatchInput) -> None: ..."
    with Path(elsewhere, "workflow", "activities_mine.py").open("a") as file:
        file.write(
            "\n    @activity.defn\n    async def perform_update_activity(self, host: HostPatchInput) -> None: ...\n"
        )
    code, output = run("python", "workshop.py", "diff", "8", "--mine", cwd=elsewhere).end()
    assert code == 0 and f"-    {broken}" in output


def test_doctor_says_what_to_do_until_a_learner_can_begin(run: Run, elsewhere: str) -> None:
    port = free_port()
    environment = {"TEMPORAL_ADDRESS": f"localhost:{port}", "cwd": elsewhere}
    code, output = run("python", "workshop.py", "doctor", **environment).end()
    assert code == 1 and f"TO DO  Server: No Temporal server answers at localhost:{port}" in output
    assert f"ok     Ports: {port} and {port + UI_PORT_DISTANCE} are free" in output
    assert "none yet" in output and "none is running" in output

    server = run("python", "temporal_server.py", "--temporary", "--port", str(port), **environment)
    server.wait_for("UI:")
    worker = run("python", "temporal_worker.py", "v3", **environment)
    worker.wait_for("is running")
    run("python", "workshop.py", "start", "4", **environment).end()
    code, output = run("python", "workshop.py", "doctor", **environment).end()
    assert code == 0 and "TO DO" not in output, output
    assert re.search(rf"ok     Server: localhost:{port} answers, version [\d.]+, namespace default", output)
    assert f"ok     Web UI: http://localhost:{port + UI_PORT_DISTANCE} answers" in output
    assert f"Worker: v3 (process {worker.pid})" in output
    assert "Your files: for exercise 4" in output
    for line in ("ok     Python 3.", "ok     Packages: temporalio 1.", "ok     Server binary: ", "-      Docker"):
        assert line in output
    assert "(Server " in output and "NOTE" not in output
    server.signal(signal.SIGTERM)
    server.end()
    code, output = run("python", "workshop.py", "doctor", **environment).end()
    assert code == 1


async def test_doctor_warns_of_a_server_that_is_older_than_what_was_tried(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "OLDEST_SERVER", (99, 1, 0))
    monkeypatch.setattr(doctor, "known_versions", released_versions)  # Not those that other tests write here.
    notes = [text async for mark, text in doctor.server_findings() if mark == "NOTE"]
    assert len(notes) == 1 and "is older than 99.1.0" in notes[0] and "Web UI differs" in notes[0]


async def test_a_workflow_whose_code_fails_again_and_again_is_told_by_client_doctor_and_log(
    client: Client, run: Run, elsewhere: str
) -> None:
    """Here it is the code of the hosts, which are children of children."""
    run("python", "workshop.py", "start", "5", cwd=elsewhere).end()
    solve(Path(elsewhere), EXERCISES[5])
    file = Path(elsewhere) / NAMES[0]
    code, host = file.read_text().split("class SystemPatchWorkflow_Host_Mine:")
    begin = "    async def run(self, host: HostPatchInput) -> None:\n"
    assert begin in host
    slip = f"{begin}        self.steps.append(host.hostname)\n"
    file.write_text(f"{code}class SystemPatchWorkflow_Host_Mine:{host.replace(begin, slip)}")
    worker = run("python", "temporal_worker.py", "mine", "--pace", "0", cwd=elsewhere)
    started = run("python", NAMES[2], "--clusters", "cluster1", cwd=elsewhere)
    line = await started.printed("Nothing moves: ")
    assert re.search(r"workflow \S+/cluster1/cluster1_host\d fails again and again, by AttributeError: .*'steps'", line)
    assert "Look at the worker's log" in line

    said = run("python", "workshop.py", "doctor", cwd=elsewhere)
    assert await said.ended() == 1
    [line] = [line for line in said.lines if line.startswith("TO DO  Workflow ")]
    assert "AttributeError: " in line and "the log of the worker of mine" in line

    assert worker.text().count("Traceback") == 1
    assert worker.text().count("(its traceback is above)") > 3
    assert not [line for line in worker.lines if line.startswith("    AttributeError")]

    file.write_text(file.read_text().replace(slip, begin))
    worker.signal(signal.SIGTERM)
    await worker.ended()
    run("python", "temporal_worker.py", "mine", "--pace", "0", cwd=elsewhere)
    assert await started.ended() == 0 and started.text().count("Nothing moves") == 1, started.text()


def test_doctor_sees_that_a_port_is_taken(run: Run, elsewhere: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, output = run("python", "workshop.py", "doctor", cwd=elsewhere, TEMPORAL_ADDRESS=f"localhost:{port}").end()
    assert code == 1 and f"TO DO  Ports: another program has taken {port}. Use others" in output


@pytest.mark.parametrize(
    ("flags", "passed", "says"),
    [
        (["--max-concurrent-activities", "100"], 4, "the workers keep up"),
        (["--max-concurrent-activities", "2"], 2, "for one of 2 slots"),
        (["--max-concurrent-activities", "100", "--max-cached-workflows", "0"], 3, "the code was replayed"),
        (["--max-concurrent-activities", "many"], 0, "'many' is no whole number"),
    ],
    ids=["enough slots", "too few slots", "no cache", "no number"],
)
async def test_check_7_tells_whether_activities_wait_with_these_settings_and_why(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    passed: int,
    says: str,
) -> None:
    monkeypatch.setattr(exercise_7, "WORKFLOWS", 1)
    monkeypatch.setattr(exercise_7, "PACE", 0.05)
    # How much of a host's time workflow tasks take hangs on the machine, and how long a task waits although there are
    # slots. That histories were replayed, or that there are too few slots, does not.
    for module in (exercise_7, load):
        monkeypatch.setattr(module, "MOST_BETWEEN", 0.0 if "0" in flags else 1.0)
        if "2" not in flags:
            monkeypatch.setattr(module, "MOST_QUEUE_WAIT", 2.0)
    steps = []
    try:
        async for step in exercise_7.steps(Lab(client, find_version("v8"), worker_flags=flags)):
            steps.append(step)
        said = capsys.readouterr().out
    except CheckFailure as failure:
        said = failure.seen
        steps.pop()
    assert len(steps) == passed and says in said


def test_check_7_begins_from_the_command_line_and_stops_by_ctrl_c(run: Run) -> None:
    check = run("python", "workshop.py", "check", "7", "--max-concurrent-activities", "50")
    check.wait_for("ok    1. A worker starts with your settings")
    check.signal(signal.SIGINT)
    code, output = check.end()
    assert code == 130 and "Traceback" not in output

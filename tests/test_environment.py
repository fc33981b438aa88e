"""Whatever the machine is like, and whatever is set in it: one clear line says what to do."""

from support.dev_server import prepare_database
from support.ports import free_port
from support.script import UserError
from tests.conftest import Run
from tests.learner import NAMES

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from temporalio.client import Client


@pytest.mark.parametrize("variables", [{"TEMPORAL_TLS": "true"}, {"TEMPORAL_API_KEY": "a key"}], ids=["TLS", "API key"])
@pytest.mark.parametrize(
    "script", [["temporal_client.py", "v1"], ["workshop.py", "demo"]], ids=lambda script: script[0]
)
def test_tls_for_a_server_on_this_machine_is_named_as_what_is_wrong(
    run: Run, elsewhere: str, script: list[str], variables: dict[str, str]
) -> None:
    code, output = run("python", *script, cwd=elsewhere, **variables).end()
    assert code == 2 and len(output.splitlines()) == 1, output
    assert "TLS or an API key is set" in output and "unset them" in output


@pytest.mark.parametrize("script", ["temporal_worker.py", "temporal_client.py"])
def test_a_namespace_that_does_not_exist_is_told_before_anything_else(run: Run, script: str) -> None:
    code, output = run("python", script, "v1", TEMPORAL_NAMESPACE="nowhere").end()
    assert code == 2 and len(output.splitlines()) == 1, output
    assert "has no namespace 'nowhere', which TEMPORAL_NAMESPACE" in output


def test_a_second_server_on_the_same_history_is_refused(run: Run, tmp_path: Path) -> None:
    database = ["--database", str(tmp_path / "one.db")]
    first = run("python", "temporal_server.py", "--port", str(free_port()), *database)
    first.wait_for("Server:")
    code, output = run("python", "temporal_server.py", "--port", str(free_port()), *database).end()
    assert code == 2 and f"Another server has its history in {tmp_path / 'one.db'}" in output.splitlines()[-1]
    first.signal(signal.SIGTERM)
    first.end()
    again = run("python", "temporal_server.py", "--port", str(free_port()), *database)
    again.wait_for("Server:")


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a text"])
def test_what_is_no_history_is_refused_and_left_as_it_is(tmp_path: Path, kind: str) -> None:
    database = tmp_path / "one.db"
    if kind == "a pipe":
        os.mkfifo(database)
    elif kind == "a folder":
        database.mkdir()
    else:
        database.write_text("my notes")
    with pytest.raises(UserError, match=r"one\.db is no (file|history of a Temporal server): name"):
        prepare_database(database)
    assert list(tmp_path.iterdir()) == [database]


def test_a_second_server_on_the_same_history_by_another_name_is_refused(run: Run, tmp_path: Path) -> None:
    run("python", "temporal_server.py", "--port", str(free_port()), "--database", str(tmp_path / "one.db")).wait_for(
        "Server:"
    )
    (tmp_path / "two.db").symlink_to("one.db")
    other = ["--database", str(tmp_path / "two.db")]
    code, output = run("python", "temporal_server.py", "--port", str(free_port()), *other).end()
    assert code == 2 and "Another server has its history in" in output


def test_output_that_can_not_be_written_gives_one_line_or_none(run: Run) -> None:
    for into, says in (("/dev/full", "The operating system says: No space left on device."), ("&-", "")):
        code, output = run("sh", "-c", f"python workshop.py diff 1 >{into}").end()
        assert (code, output) == (2 if says else 0, says)


def test_a_program_that_is_no_temporal_cli_is_told(run: Run) -> None:
    code, output = run("python", "workshop.py", "doctor", TEMPORAL_CLI="/bin/true").end()
    assert code == 1 and "/bin/true is no Temporal CLI that works here" in output


def test_files_of_a_learner_that_are_no_text_can_be_put_aside(run: Run, elsewhere: str) -> None:
    Path(elsewhere, NAMES[0]).write_bytes(b"\xff\xfe")
    assert "is no text in UTF-8" in run("python", "workshop.py", "diff", "1", "--mine", cwd=elsewhere).end()[1]
    code, output = run("python", "workshop.py", "start", "1", "--force", cwd=elsewhere).end()
    assert code == 0 and "Your old files are in old/no_known_exercise_1." in output


async def test_the_demo_notices_that_its_worker_has_ended(run: Run, elsewhere: str) -> None:
    demo = run("python", "workshop.py", "demo", cwd=elsewhere)
    await demo.printed("patching approved")
    programs = psutil.Process(demo.pid).children(recursive=True)
    [worker] = [each for each in programs if each.cmdline()[1:2] == ["temporal_worker.py"]]
    worker.kill()
    assert await demo.ended() == 1 and "The worker has ended, so the workflow waits." in demo.text()


def test_a_history_that_may_only_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # Root may write everywhere.
    with pytest.raises(UserError, match=r"The server may not write to .*one\.db: name another file"):
        prepare_database(tmp_path / "one.db")


def test_a_worker_whose_process_id_can_not_be_left_runs_and_says_so(run: Run, elsewhere: str) -> None:
    Path(elsewhere, ".run").write_text("no folder")
    worker = run("python", "temporal_worker.py", "v1", cwd=elsewhere)
    worker.wait_for("is running")
    assert "can't be written (File exists), so sh_restart_worker.sh does not find this worker" in worker.text()
    worker.signal(signal.SIGTERM)
    assert worker.end()[0] == 0
    code, output = run("python", "workshop.py", "demo", cwd=elsewhere).end()
    assert code == 2 and "can't be made: File exists" in output.splitlines()[-1]


def test_the_restart_script_crashes_all_workers_of_the_version(run: Run, elsewhere: str) -> None:
    workers = [run("python", "temporal_worker.py", "v2", cwd=elsewhere) for _ in range(2)]
    for worker in workers:
        worker.wait_for("is running:")
    other = run("python", "temporal_worker.py", "v3", cwd=elsewhere)
    other.wait_for("is running:")
    restart = run("./sh_restart_worker.sh", "v2", cwd=elsewhere)
    restart.wait_for("is running:")
    for worker in workers:
        assert worker.end()[0] == -signal.SIGKILL
        assert f"Worker of v2 crashed: kill -9 {worker.pid}." in restart.text()
    assert psutil.pid_exists(other.pid) and "is running already" not in restart.text()


async def test_a_worker_of_another_learner_is_named(client: Client, run: Run, elsewhere: str) -> None:
    run("python", "temporal_worker.py", "v1", cwd=elsewhere, WORKSHOP_LEARNER="ann").wait_for("is running:")
    said = run("python", "temporal_client.py", "v1", cwd=elsewhere, WORKSHOP_LEARNER="ben")
    line = await said.printed("No worker of v1 answers")
    assert "takes tasks of WORKSHOP_LEARNER=ann only, this client's are of ben" in line


def test_doctor_names_an_error_in_a_learners_files_and_the_learner(run: Run, elsewhere: str) -> None:
    run("python", "workshop.py", "start", "1", cwd=elsewhere).end()
    file = Path(elsewhere, NAMES[0])
    file.write_text(file.read_text() + "def (:\n")
    code, output = run("python", "workshop.py", "doctor", cwd=elsewhere, WORKSHOP_LEARNER="ann").end()
    assert code == 1
    assert "TO DO  Your files: for exercise 1. workflow/system_patch_workflow_mine.py can't be loaded" in output
    assert "Your name, the same in all terminals: WORKSHOP_LEARNER='ann'" in output


@pytest.mark.parametrize("script", ["temporal_worker.py", "temporal_client.py", "temporal_server.py", "workshop.py"])
def test_without_the_environment_a_script_says_how_to_get_it(run: Run, elsewhere: str, script: str) -> None:
    for ready, remedy in ((None, "source .venv/bin/activate"), ("/somewhere/else", "This folder was moved")):
        if ready:
            Path(elsewhere, ".venv").mkdir()
            Path(elsewhere, ".venv", "ready").write_text(ready)
        code, output = run(sys.executable, "-S", script, cwd=elsewhere).end()
        assert code == 1 and len(output.splitlines()) == 1, output
        assert "The package temporalio is missing in this Python" in output and remedy in output

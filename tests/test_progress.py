"""A learner alone: where they are, hints one at a time, and files that are looked at whenever they are saved."""

from checks.exercises import EXERCISES, STARTED, Exercise
from checks.failure import CheckFailure, Step
from checks.judge import Verdict
from commands import hint, progress, status, watch
from commands.progress import Progress
from support import PROJECT
from support.processes import Process
from support.script import UserError
from tests.conftest import Run
from tests.learner import NAMES

import json
import os
import re
import signal
from pathlib import Path

import psutil
import pytest

STEPS = ["Python and Temporal accept your files", "It asks", "It waits"]
PASSES = Verdict(STEPS)


def fails_at(number: int, where: str = "point 2", seen: str = "Seen.") -> Verdict:
    """A verdict on exercise 1: so many steps pass, and the next one sends the learner to this point of the task."""
    step = Step(STEPS[number], EXERCISES[1].place("Your task", where))
    return Verdict(STEPS[:number], step, CheckFailure(seen, "Expected."))


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the progress: for each test its own."""
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    return progress.FILE


def told(capsys: pytest.CaptureFixture[str]) -> str:
    assert status.status() == 0
    return capsys.readouterr().out


def test_who_has_not_begun_is_told_where_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    output = told(capsys)
    assert all(f"{each.number}  {each.title}" in output for each in EXERCISES.values())
    assert "Begin with exercises/0_run_it.md." in output
    with pytest.raises(UserError, match=r"workshop\.py start 1"):
        progress.current_exercise()


def test_who_is_in_the_middle_sees_steps_tries_and_the_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    progress.keep(EXERCISES[0], PASSES)
    progress.begin(EXERCISES[1])
    for number in (0, 1, 1):
        progress.keep(EXERCISES[1], fails_at(number))
    output = told(capsys)
    assert re.search(r"0  Run it +passed at \d\d:\d\d, 1 try", output)
    assert re.search(r"1  Wait for an approval +under way, 3 tries, last at \d\d:\d\d", output)
    assert f"ok    1. {STEPS[0]}" in output and f"FAIL  2. {STEPS[1]}" in output
    assert "Your task, point 2" in output and "Next: python workshop.py check 1" in output
    assert progress.current_exercise() == EXERCISES[1]


def test_who_has_passed_is_told_how_to_go_on_and_further_tries_do_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    for verdict in (fails_at(1), PASSES, PASSES):
        progress.keep(EXERCISES[1], verdict)
    output = told(capsys)
    assert re.search(r"1  Wait for an approval +passed at \d\d:\d\d, 2 tries", output)
    assert "python workshop.py diff 1" in output and EXERCISES[2].page in output


def test_since_when_a_step_fails_begins_anew_with_another_step(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(["1", "2", "3"])
    monkeypatch.setattr(progress, "now", lambda: next(times))
    since = [progress.keep(EXERCISES[1], fails_at(number)).failing_since for number in (0, 0, 1)]
    assert since == ["1", "1", "3"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"1": 3}', '{"1": {"tries": "x"}}', '{"1": {"what": 1}}', '{"x": {}}', '{"1": {"passed": [1]}}'],
)
def test_a_broken_file_is_told_and_put_aside(capsys: pytest.CaptureFixture[str], file: Path, text: str) -> None:
    file.write_text(text)
    assert progress.read() == {}
    assert "could not be read" in capsys.readouterr().err
    assert [each.read_text() for each in file.parent.iterdir()] == [text] and not file.exists()


def test_progress_that_can_not_be_kept_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "FILE", Path("/proc/nowhere/progress.json"))
    progress.keep(EXERCISES[1], PASSES)
    assert capsys.readouterr().err.startswith("Your progress is not kept: ")


def test_start_with_force_does_not_forget_what_was_done(run: Run, elsewhere: str) -> None:
    for arguments in (["start", "1"], ["check", "1"], ["start", "2", "--force"], ["start", "1", "--force"]):
        run("python", "workshop.py", *arguments, cwd=elsewhere).end()
    assert set(json.loads(Path(elsewhere, ".progress.json").read_text())) == {"1", "2"}
    code, output = run("python", "workshop.py", cwd=elsewhere).end()
    assert code == 0 and re.search("1  Wait for an approval +begun", output)


def test_a_check_of_another_version_is_no_progress(run: Run, elsewhere: str) -> None:
    run("python", "workshop.py", "check", "2", "--version", "v2", cwd=elsewhere).end()
    assert not Path(elsewhere, ".progress.json").exists()


# Hints


def hinted(capsys: pytest.CaptureFixture[str]) -> str:
    assert hint.hint(EXERCISES[1]) == 0
    return capsys.readouterr().out


def test_hints_come_one_at_a_time_and_first_that_for_the_point_at_which_the_check_failed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    titles = list(hint.hints_of(EXERCISES[1]))
    progress.keep(EXERCISES[1], fails_at(1, "point 6"))
    shown = [hinted(capsys) for _ in titles]
    assert "Hint: the client (point 6)" in shown[0]
    assert [[title for title in titles if title in each] for each in shown[1:]] == [[each] for each in titles[:-1]]
    assert "Those were all hints" in hinted(capsys)


def test_a_hint_to_which_the_check_has_sent_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    step = Step(STEPS[1], EXERCISES[1].place("Hint: how to fail (point 5)"))
    progress.keep(EXERCISES[1], Verdict([], step, CheckFailure("Seen.", "Expected.")))
    assert "Hint: how to fail (point 5)" in hinted(capsys)


def test_who_has_passed_gets_no_hint_but_what_comes_next(capsys: pytest.CaptureFixture[str]) -> None:
    progress.keep(EXERCISES[1], PASSES)
    output = hinted(capsys)
    assert "python workshop.py diff 1" in output and EXERCISES[2].page in output


@pytest.mark.parametrize("exercise", STARTED, ids=lambda exercise: exercise.page)
def test_every_exercise_has_hints_and_the_points_that_they_name_are_those_of_its_task(exercise: Exercise) -> None:
    found = hint.hints_of(exercise)
    assert found
    tasks = re.findall(r"^(\d+)\. ", (PROJECT / exercise.page).read_text(), re.MULTILINE)
    for title in found:
        assert {str(point) for point in hint.points(title)} <= {*tasks}


@pytest.mark.parametrize(
    ("text", "points"),
    [("a (point 3)", {3}), ("points 1, 2 and 7", {1, 2, 7}), ("points 3 to 5", {3, 4, 5}), ("no such thing", set())],
)
def test_points_are_read(text: str, points: set[int]) -> None:
    assert hint.points(text) == points


# Files that are saved


def test_watch_checks_again_whenever_a_file_is_saved_and_leaves_nothing_behind(run: Run, elsewhere: str) -> None:
    run("python", "workshop.py", "start", "2", cwd=elsewhere).end()
    watching = run("python", "workshop.py", "watch", cwd=elsewhere)
    wait_for_times(watching, "I check again", 1)
    assert "has no query named completed_steps" in watching.text()
    file = Path(elsewhere, NAMES[0])
    new = Path(elsewhere, "new")  # An editor's way to save.
    new.write_text(file.read_text() + "def (\n")
    os.replace(new, file)
    wait_for_times(watching, "I check again", 2)
    assert "Saved: system_patch_workflow_mine.py" in watching.text()
    assert "Since the last time: no longer done: Python and Temporal accept your files." in watching.text()
    new.write_text(file.read_text().replace("def (\n", ""))
    os.replace(new, file)
    while True:  # Until a check is under way, with a server of its own.
        children = psutil.Process(watching.pid).children(recursive=True)
        if any(each.is_running() and "start-dev" in each.cmdline() for each in children):
            break
        assert not watching.is_over.wait(0.05), watching.text()
    watching.signal(signal.SIGINT)
    assert watching.end()[0] == 130
    assert not psutil.wait_procs(children, timeout=20)[1]


def test_watch_runs_a_learners_tests_again_too(run: Run, elsewhere: str) -> None:
    run("python", "workshop.py", "start", "9", cwd=elsewhere).end()
    tests = Path(elsewhere, "test_mine.py")
    tests.write_text("raise ValueError('first')\n")
    watching = run("python", "workshop.py", "watch", "9", cwd=elsewhere)
    wait_for_times(watching, "I check again", 1)
    assert "ValueError: first" in watching.text()
    tests.write_text("raise ValueError('second')\n")
    wait_for_times(watching, "I check again", 2)
    assert "ValueError: second" in watching.text()


def test_a_file_that_is_saved_in_the_middle_of_a_check_gets_no_stale_verdict(run: Run, elsewhere: str) -> None:
    run("python", "workshop.py", "start", "2", cwd=elsewhere).end()
    watching = run("python", "workshop.py", "watch", "2", cwd=elsewhere)
    watching.wait_for("Checking ")
    Path(elsewhere, NAMES[0]).write_text("def (\n")
    wait_for_times(watching, "I check again", 1)
    assert "can't be loaded: SyntaxError" in watching.text() and "no query" not in watching.text()


def wait_for_times(process: Process, text: str, times: int) -> None:
    """Wait until a line with this text was printed so often."""
    while sum(text in line for line in process.lines) < times:
        assert not process.is_over.wait(0.05), process.text()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (fails_at(1), fails_at(2), "done now: It asks."),
        (fails_at(0), PASSES, "done now: 3 steps."),
        (fails_at(2), fails_at(1), "no longer done: It asks."),
        (fails_at(1), fails_at(1, seen="Another."), "the same step is not done, for another reason."),
        (fails_at(1), fails_at(1), "nothing has changed."),
        (PASSES, PASSES, "nothing has changed."),
    ],
)
def test_watch_says_what_is_another_than_before(before: Verdict, after: Verdict, says: str) -> None:
    assert watch.difference(before, after) == says


def test_watch_and_hint_need_an_exercise_in_which_something_is_written(run: Run, elsewhere: str) -> None:
    for arguments, says in {("watch", "7"): "there is nothing to write", ("watch", "1"): "start 1"}.items():
        code, output = run("python", "workshop.py", *arguments, cwd=elsewhere).end()
        assert code == 2 and says in output and len(output.splitlines()) == 1


def test_a_worker_with_reload_starts_anew_with_what_was_saved(run: Run, elsewhere: str) -> None:
    run("python", "workshop.py", "start", "2", cwd=elsewhere).end()
    worker = run("python", "temporal_worker.py", "mine", "--reload", cwd=elsewhere)
    worker.wait_for("is running")
    file = Path(elsewhere, NAMES[0])
    text = file.read_text()
    file.write_text("def (\n")
    worker.wait_for("can't be loaded")
    file.write_text(text)
    wait_for_times(worker, "is running", 2)
    assert sum("Worker stopped." in line for line in worker.lines) == 1
    worker.signal(signal.SIGTERM)
    code, output = worker.end()
    assert code == 0 and output.endswith("Worker stopped.") and "Traceback" not in output


def test_progress_of_an_exercise_that_is_not_known_does_no_harm(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(json.dumps({"99": vars(Progress(checked_at="2026-01-01T10:00:00"))}))
    assert "Begin with" in told(capsys)

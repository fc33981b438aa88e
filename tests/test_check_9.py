"""`check 9` judges a learner's tests: by what they let pass, and by what they notice.

(That those of the solution notice all is seen where the commands of its page are run.)
"""

from checks.exercise_9 import MISTAKES
from checks.habits import remarks
from tests.conftest import Run

import re
from pathlib import Path

import pytest


def check(run: Run, folder: str, tests: str | None = None, added: str = "") -> tuple[int, str]:
    """Begin exercise 9 there, with these tests in place of the given one, or in addition to it, and check them."""
    assert run("python", "workshop.py", "start", "9", cwd=folder).end()[0] == 0
    file = Path(folder, "test_mine.py")
    file.write_text(file.read_text() + added if tests is None else tests)
    code, output = run("python", "workshop.py", "check", "9", cwd=folder).end()
    assert "Traceback" not in output and "The check itself" not in output, output
    return code, " ".join(output.split())


def test_the_given_test_notices_nothing_and_all_points_of_the_task_are_named(run: Run, elsewhere: str) -> None:
    code, output = check(run, elsewhere)
    assert code == 1
    assert output.count("noticed by no test") == len(MISTAKES) == 15
    assert "0 of 15 mistakes are noticed." in output
    assert "points 1, 2, 3, 4, 5, 6, 7, 8, 9, 10." in output


@pytest.mark.parametrize(
    ("added", "says"),
    [
        (
            "import os\ndef test_exit():\n    os._exit(0)",
            "test_exit ended the process that it ran in, with exit code 0.",
        ),
        ("import os\ndef test_kill():\n    os.killpg(0, 9)", r"test_kill ended .*, by a signal \(Killed\)."),
        ("def test_end():\n    pytest.exit('enough')", "test_end ended all: 1 of 2 tests did not come to their end."),
        ("@pytest.mark.skip\ndef test_later():\n    pass", "test_later is skipped."),
        (
            "def test_wrong():\n    assert 1 == 2",
            r"test_wrong fails: assert 1 == 2 \(test_mine.py, line \d+\). Expected",
        ),
        ("@pytest.mark.timeout(1)\nasync def test_hang():\n    await asyncio.Event().wait()", r"test_hang .*Timeout"),
    ],
    ids=["exits", "kills its process", "ends pytest", "skips", "fails", "hangs"],
)
def test_a_test_that_does_not_pass_on_the_learners_own_workflow_is_told(
    run: Run, elsewhere: str, added: str, says: str
) -> None:
    code, output = check(run, elsewhere, added=f"\n{added}\n")
    assert code == 1 and "FAIL 1. All of your tests pass on your workflow" in output
    assert re.search(f"Seen: {says}", output), output


@pytest.mark.parametrize(
    ("tests", "says"),
    [
        ("def test_x(:\n", r"test_mine.py can't be loaded: SyntaxError: .* \(test_mine.py, line 1\)."),
        ("import sys\nsys.exit(3)\n", "test_mine.py ended pytest, as by sys.exit."),
        ("import os\nos._exit(3)\n", "test_mine.py ended the process that it ran in, with exit code 3."),
        ("", "There is no test in test_mine.py."),
    ],
    ids=["syntax error", "ends pytest", "ends its process", "empty"],
)
def test_a_file_that_can_not_be_loaded_is_told(run: Run, elsewhere: str, tests: str, says: str) -> None:
    code, output = check(run, elsewhere, tests)
    assert code == 1 and re.search(f"Seen: {says}", output), output


def test_a_test_that_passes_at_a_second_run_is_told(run: Run, elsewhere: str, tmp_path: Path) -> None:
    flag = str(tmp_path / "flag")
    added = f"\nasync def test_moody() -> None:\n    assert Path({flag!r}).exists() or Path({flag!r}).touch()\n"
    code, output = check(run, elsewhere, added=added)
    assert code == 1 and re.search(r"test_moody fails: .* Run once more, it passes\.", output), output


def test_a_test_that_needs_another_one_is_told(run: Run, elsewhere: str) -> None:
    added = "\nseen = []\ndef test_first(client):\n    seen.append(1)\ndef test_second():\n    assert seen\n"
    code, output = check(run, elsewhere, added=added)
    assert code == 1 and "if the quick tests are run first" in output, output


def test_a_test_that_insists_on_one_way_is_told(run: Run, elsewhere: str) -> None:
    code, output = check(
        run, elsewhere, added="\ndef test_way():\n    assert SystemPatchWorkflow_Mine()._completed_steps == []\n"
    )
    assert code == 1 and "That is on a workflow that keeps the steps in a dictionary" in output, output


def test_a_workflow_that_was_broken_to_see_a_test_red_is_told(run: Run, elsewhere: str) -> None:
    run("python", "workshop.py", "start", "9", cwd=elsewhere).end()
    file = Path(elsewhere, "workflow", "system_patch_workflow_mine.py")
    file.write_text(file.read_text().replace("return result", "return SystemPatchResult([])"))
    code, output = run("python", "workshop.py", "check", "9", cwd=elsewhere).end()
    assert code == 1 and "On version 9 as it is, all of your tests pass." in " ".join(output.split()), output


def test_habits_that_let_mistakes_pass_are_told() -> None:
    tests = """
import asyncio, pytest

def expect(value):
    assert value

def test_nothing():
    assert True

async def test_everything():
    try:
        assert 1 == 2
    except Exception:
        pass

def test_by_helper():
    expect(1)

def test_raises():
    with pytest.raises(ValueError):
        int("x")
"""
    assert remarks(tests, {"test_nothing": 0.1, "test_slow": 12.3}) == [
        "test_nothing asserts nothing: it fails only where something raises an exception.",
        "test_everything takes whatever exception there is, in line 13: a failed `assert` too.",
        "test_slow takes 12 seconds. Is there something to wait for, in place of a fixed time?",
    ]

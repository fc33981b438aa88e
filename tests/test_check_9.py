"""`check 9` judges a learner's tests: by what they let pass, and by what they notice.

(That those of the solution notice all is seen where the commands of its page are run.)
"""

from checks.exercise_9 import MISTAKES, Bench, judge_tests
from checks.exercises import EXERCISES
from checks.habits import remarks
from checks.machine import BUSY
from checks.test_runs import Outcome, TestRunner, make_folder
from commands.start import for_learner, learners_activities, learners_tests, learners_workflow, text_at
from support.dev_server import SERVER_ENVIRONMENT, server_command
from support.ports import UI_PORT_DISTANCE, free_port
from support.processes import Process

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

NAMESPACES = [f"run-{number}" for number in range(400)]
WORKFLOW = "workflow/system_patch_workflow_mine.py"
REFERENCE = {
    WORKFLOW: learners_workflow(EXERCISES[9]),
    "workflow/activities_mine.py": learners_activities(EXERCISES[9]),
    "before_mine.json": for_learner(text_at("before_v9.json")),
}


@pytest.fixture(scope="module")
def runner(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestRunner]:
    """What runs tests, on a server with a namespace for each run. They are of a copy of the project, into which no
    other process writes."""
    port = free_port()
    command = server_command(os.environ["TEMPORAL_CLI"], port, port + UI_PORT_DISTANCE, None)
    server = Process(*command, *[f"--namespace={name}" for name in NAMESPACES], environment=SERVER_ENVIRONMENT)
    server.wait_for("Server:")
    folder = tmp_path_factory.mktemp("runs")
    with mock.patch("checks.test_runs.PROJECT", project):
        yield TestRunner(f"127.0.0.1:{port}", [*NAMESPACES], os.environ["TEMPORAL_CLI"], folder)
    server.kill()


async def verdict_on(runner: TestRunner, tests: str = "", added: str = "", own: dict[str, str] = REFERENCE) -> str:
    """What is said to these tests, or to the given ones and more: the number of steps that passed, what is seen, and
    what noticed mistakes."""
    noticed: list[Outcome | None] = []
    bench = Bench(
        runner, tests or f"{learners_tests()}\n{added}\n", own, REFERENCE, lambda mistake, test: noticed.append(test)
    )
    verdict = await judge_tests(bench, lambda step: None)
    return "\n".join([f"{len(verdict.passed)}: {verdict.failure}", *map(str, filter(None, noticed))])


@pytest.fixture
def few_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only some mistakes are tried: the first three, of two points."""
    monkeypatch.setattr("checks.exercise_9.MISTAKES", MISTAKES[:3])


async def test_the_given_test_notices_nothing_and_the_points_of_the_task_are_named(
    runner: TestRunner, few_mistakes: None
) -> None:
    noticed: list[Outcome | None] = []
    bench = Bench(runner, learners_tests(), REFERENCE, REFERENCE, lambda mistake, test: noticed.append(test))
    verdict = await judge_tests(bench, lambda step: None)
    assert noticed == [None, None, None]
    assert verdict.failure is not None and verdict.failure.seen.startswith("0 of 3 mistakes are noticed.")
    assert verdict.failed is not None and str(verdict.failed.where) == "exercises/9_test_it.md, Your task, points 1, 2"


def test_each_point_of_the_task_but_one_has_a_mistake_that_should_be_noticed() -> None:
    """What a rollout does that is cancelled, a test of a host that fails notices too."""
    assert len(MISTAKES) == 15 and {mistake.point for mistake in MISTAKES} == {*range(1, 11)} - {8}


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ("import os\ndef test_exit():\n    os._exit(0)", "test_exit ended the process that .*, with exit code 0."),
        ("import os\ndef test_kill():\n    os.killpg(0, 9)", r"test_kill ended .*, by a signal \(Killed\)."),
        ("def test_end():\n    pytest.exit('enough')", "test_end ended all: 1 of 2 tests did not come to their end."),
        ("@pytest.mark.skip\ndef test_later():\n    pass", "test_later is skipped."),
        ("def test_wrong():\n    assert 1 == 2", r"test_wrong fails: assert 1 == 2 \(test_mine.py, line \d+\)."),
        ("@pytest.mark.timeout(1)\nasync def test_hang():\n    await asyncio.Event().wait()", r"test_hang .*Timeout"),
    ],
    ids=["exits", "kills its process", "ends pytest", "skips", "fails", "hangs"],
)
async def test_a_test_that_does_not_pass_on_the_learners_own_workflow_is_told(
    runner: TestRunner, added: str, says: str
) -> None:
    assert re.match(f"0: {says}", await verdict_on(runner, added=added))


@pytest.mark.parametrize(
    ("tests", "says"),
    [
        ("def test_x(:\n", r"test_mine.py can't be loaded: SyntaxError: .* \(test_mine.py, line 1\)."),
        ("import sys\nsys.exit(3)\n", "test_mine.py ended pytest, as by sys.exit."),
        ("import os\nos._exit(3)\n", "test_mine.py ended the process that it ran in, with exit code 3."),
        ("import os\n", "There is no test in test_mine.py."),
    ],
    ids=["syntax error", "ends pytest", "ends its process", "empty"],
)
async def test_a_file_that_can_not_be_loaded_is_told(runner: TestRunner, tests: str, says: str) -> None:
    assert re.match(f"0: {says}", await verdict_on(runner, tests))


async def test_a_test_that_hangs_without_a_limit_of_its_own_is_told(
    runner: TestRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checks.exercise_9.PATIENCE", 15.0)
    said = await verdict_on(runner, "import time\ndef test_hang():\n    time.sleep(1000)\n")
    assert re.match(r"0: test_hang did not come to its end in \d+ seconds\.", said)


async def test_a_test_that_passes_at_a_second_run_is_told(runner: TestRunner, tmp_path: Path) -> None:
    flag = str(tmp_path / "flag")
    added = f"def test_moody():\n    assert Path({flag!r}).exists() or Path({flag!r}).touch()"
    assert re.match(r"0: test_moody fails: .* Run once more, it passes\.", await verdict_on(runner, added=added))


async def test_a_test_that_needs_another_one_is_told(runner: TestRunner, few_mistakes: None) -> None:
    added = "seen = []\ndef test_first():\n    seen.append(1)\ndef test_second():\n    assert seen"
    assert re.match(
        "1: test_second fails: .* if the tests are run from the last", await verdict_on(runner, added=added)
    )


async def test_a_test_that_insists_on_one_way_is_told(runner: TestRunner, few_mistakes: None) -> None:
    added = "def test_way():\n    assert SystemPatchWorkflow_Mine()._completed_steps == []"
    said = await verdict_on(runner, added=added)
    assert re.match("2: test_way fails: .* on a workflow that keeps the steps in a dictionary", said)


async def test_a_workflow_that_was_broken_to_see_a_test_red_is_told(runner: TestRunner) -> None:
    broken = REFERENCE[WORKFLOW].replace("return result", "return SystemPatchResult([])")
    said = await verdict_on(runner, own={**REFERENCE, WORKFLOW: broken})
    assert "On version 9 as it is, all of your tests pass." in said


async def test_a_learner_who_names_the_usual_server_gets_that_of_the_check(
    runner: TestRunner, few_mistakes: None
) -> None:
    own_server = re.compile(r"    async with await WorkflowEnvironment(.*\n)*        yield server.client\n")
    tests = own_server.sub('    yield await Client.connect("localhost:7233")\n', learners_tests())
    assert "localhost:7233" in tests
    said = await verdict_on(runner, tests)
    assert said.startswith("3: 0 of 3 mistakes are noticed."), said


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

def test_that_it_does_not_get_there():
    try:
        int("x")
    except Exception:
        pass
    else:
        assert False

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


def test_what_an_editor_keeps_beside_a_file_is_left_alone(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emacs has a link to nothing beside a file that was changed and not saved."""
    copy = shutil.copytree(project, tmp_path / "project")
    for link in (copy / ".#test_mine.py", copy / "workflow" / ".#system_patch_workflow_mine.py"):
        link.symlink_to("ann@example.1234")
    monkeypatch.setattr("checks.test_runs.PROJECT", copy)
    make_folder(tmp_path / "made", {})
    assert (tmp_path / "made" / "workflow" / "types.py").exists()


async def test_a_mistake_is_noticed_by_what_fails_and_not_by_what_is_skipped_or_slow(runner: TestRunner) -> None:
    """What takes long before a test and after it counts as the test's own time."""
    added = """
@pytest.fixture
async def warmed_up():
    await asyncio.sleep(3)
    yield
    await asyncio.sleep(3)

async def test_happy(client: Client, warmed_up: None) -> None:
    async with started(client, SystemPatchActivities(pace=0)) as rollout:
        await rollout.execute_update(SystemPatchWorkflow_Mine.answer_approval, NO)
        try:
            with pytest.raises(WorkflowFailureError):
                await rollout.result()
        except BaseException:
            pytest.skip("later")
"""
    bench = Bench(runner, f"{learners_tests()}\n{added}\n", REFERENCE, REFERENCE, lambda *_: None)
    bench.seconds = (await bench.run(REFERENCE)).seconds
    assert bench.seconds["test_happy"] > 6
    goes_on = MISTAKES[1]
    assert await bench.red_test(bench.changed((goes_on.exercise, goes_on.name))) is None


async def test_on_a_busy_machine_a_test_that_comes_to_its_end_in_spite_of_all_notices_nothing(
    runner: TestRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checks.exercise_9.slowness", lambda: BUSY + 1)
    monkeypatch.setattr("checks.exercise_9.PATIENCE_WITH_MISTAKE", 0.3)
    tests = "import time\n\ndef test_slow():\n    time.sleep(1)\n"
    assert await Bench(runner, tests, REFERENCE, REFERENCE, lambda *_: None).red_test(REFERENCE) is None


async def test_a_mistake_is_noticed_by_a_test_that_hangs_each_time_and_not_by_one_that_did_so_once(
    runner: TestRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checks.exercise_9.PATIENCE_WITH_MISTAKE", 2.0)
    monkeypatch.setattr("checks.exercise_9.PATIENCE", 30.0)  # If this machine is busy.
    flag = str(tmp_path / "flag")
    hangs = "    time.sleep(1000)\n"
    once = f"    if not Path({flag!r}).exists():\n        Path({flag!r}).touch()\n    {hangs}"
    for body, is_noticed in [(once, False), (hangs, True)]:
        tests = f"import time\nfrom pathlib import Path\n\ndef test_slow():\n{body}"
        noticed_by = await Bench(runner, tests, REFERENCE, REFERENCE, lambda *_: None).red_test(REFERENCE)
        assert (noticed_by is not None) == is_noticed, noticed_by

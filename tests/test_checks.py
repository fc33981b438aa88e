"""The exercises' checks: they let right solutions pass, and say what is wrong with the others."""

from tests.answers import RIGHT, WRONG, Answer, Changes
from tests.conftest import PROJECT
from tests.exercises.judge import Verdict, judge
from workshop import rename_classes

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from temporalio.client import Client

FOLDER = PROJECT / "workflow"
# The first version that solves the exercise, and the message that its starting point gets.
SOLUTIONS = {
    1: ("v2", "The first activity was check_vault_access_activity"),
    2: ("v3", "has no query named completed_steps"),
    3: ("v4", "The update sent no heartbeat"),
    4: ("v5", "While cluster3_host1 was being updated, no update was begun in cluster4"),
    5: ("v6", "The rollout itself looked up the hosts of cluster3"),
    6: ("v7", "The preconditions of cluster2_host2 were met"),
}
# The versions in which the exercise's lesson holds: its solution and the later ones.
# Version 8 has no host that fails, and is not about exercise 6.
STILL_HOLDS = {0: [1], 1: range(2, 9), 2: range(3, 9), 3: range(4, 9), 4: range(5, 9), 5: range(6, 9), 6: [7]}


def said(verdict: Verdict) -> str:
    """All that the check says, for a message of the test's own."""
    return f"{verdict.passed}\n{verdict.failed}\n{verdict.wrong}"


@pytest.mark.parametrize(
    ("number", "version"), [(number, f"v{version}") for number, versions in STILL_HOLDS.items() for version in versions]
)
async def test_the_solution_and_every_later_version_pass(client: Client, number: int, version: str) -> None:
    verdict = await judge(number, version, client)
    assert verdict.wrong is None, said(verdict)


@pytest.mark.parametrize("number", SOLUTIONS)
async def test_the_starting_point_is_told_what_is_missing(client: Client, number: int) -> None:
    verdict = await judge(number, f"v{number}", client)
    assert verdict.wrong is not None and SOLUTIONS[number][1] in verdict.wrong.seen, said(verdict)


ACTIVITIES = """\
import asyncio
import time
from dataclasses import dataclass

from temporalio import activity
from temporalio.exceptions import ApplicationError

from workflow.activities import {0}
from workflow.types import HostPatchInput


@dataclass
class Progress:
    step: int


class SystemPatchActivities_Mine({0}):
"""


def changed(text: str, changes: Changes) -> str:
    for old, new in changes:
        assert old in text, f"There is no {old!r} to be changed."
        text = text.replace(old, new)
    return text


@pytest.fixture
def written() -> Iterator[Callable[[Answer], tuple[str, Path | None]]]:
    """Write an answer into files that Git ignores. Returns its version's name, and its client if it has one."""
    files: list[Path] = []

    def write(path: Path, text: str) -> Path:
        path.write_text(text)
        files.append(path)
        return path

    def write_answer(answer: Answer) -> tuple[str, Path | None]:
        name = f"answer{next(_numbers)}_mine"  # A name of its own, since Python loads a module once.
        solution = f"v{answer.exercise + 1}"
        text = changed((FOLDER / f"system_patch_workflow_{solution}.py").read_text(), answer.workflow)
        if answer.activity:
            imported = re.search(r"from workflow\.activities import (\w+) as SystemPatchActivities\n", text)
            assert imported
            own = f"from workflow.activities_{name} import SystemPatchActivities_Mine as SystemPatchActivities\n"
            text = text.replace(imported[0], own)
            write(FOLDER / f"activities_{name}.py", ACTIVITIES.format(imported[1]) + answer.activity)
        write(FOLDER / f"system_patch_workflow_{name}.py", rename_classes(text, solution.upper(), name.capitalize()))
        if answer.client is None:
            return name, None
        text = changed((PROJECT / "temporal_client.py").read_text(), answer.client)
        return name, write(PROJECT / f"temporal_client_{name}.py", text)

    yield write_answer
    for file in files:
        file.unlink()


_numbers = itertools.count(1)


@pytest.mark.parametrize("answer", WRONG, ids=lambda answer: f"{answer.exercise} {answer.what}")
async def test_a_wrong_solution_is_told_why(
    client: Client, written: Callable[[Answer], tuple[str, Path | None]], answer: Answer
) -> None:
    name, script = written(answer)
    verdict = await judge(answer.exercise, name, client, script)
    assert verdict.wrong is not None, said(verdict)
    assert re.search(answer.says, str(verdict.wrong)), said(verdict)


@pytest.mark.parametrize("answer", RIGHT, ids=lambda answer: f"{answer.exercise} {answer.what}")
async def test_another_right_solution_passes(
    client: Client, written: Callable[[Answer], tuple[str, Path | None]], answer: Answer
) -> None:
    name, script = written(answer)
    verdict = await judge(answer.exercise, name, client, script)
    assert verdict.wrong is None, said(verdict)

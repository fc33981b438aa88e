"""The exercises' checks: they let right solutions pass, and say what is wrong with the others."""

from checks.exercises import EXERCISES, STARTED, Exercise
from checks.judge import Submission, Verdict, judge
from checks.solutions import Solution, files_of, read_solutions, said_to_starting_point
from support import PROJECT
from workflow.versions import released_versions, version_number

import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from temporalio.client import Client

SOLUTIONS = [solution for exercise in STARTED for solution in read_solutions(exercise.number)]
TIME_LIMIT = 60.0  # Seconds. A busy machine may take its time.

Write = Callable[[Solution], Submission]


def versions_that_pass(exercise: Exercise) -> list[str]:
    """The versions in which the exercise's lesson holds: its solution, and the later ones."""
    first = version_number(exercise.solution)
    versions = [name for name in released_versions() if version_number(name) >= first]
    # Exercise 0 is about version 1. Version 8 has no host that fails, and is not about exercise 6.
    return versions[:1] if exercise.number in (0, 6) else versions


def said(verdict: Verdict) -> str:
    """All that the check says, for a message of the test's own."""
    return f"{verdict.passed}\n{verdict.failed}\n{verdict.failure}"


@pytest.mark.parametrize(
    ("number", "version"),
    [
        (each.number, version)
        for each in EXERCISES.values()
        if not each.settings
        for version in versions_that_pass(each)
    ],
)
async def test_the_solution_and_every_later_version_pass(client: Client, number: int, version: str) -> None:
    verdict = await judge(EXERCISES[number], Submission(version), client, TIME_LIMIT)
    assert verdict.failure is None, said(verdict)


@pytest.mark.parametrize("number", [exercise.number for exercise in STARTED])
async def test_the_starting_point_is_told_what_is_missing(client: Client, number: int) -> None:
    verdict = await judge(EXERCISES[number], Submission(EXERCISES[number].start), client, TIME_LIMIT)
    assert verdict.failure is not None
    assert re.search(said_to_starting_point(number), verdict.failure.seen), said(verdict)


_numbers = itertools.count(1)


@pytest.fixture
def written() -> Iterator[Write]:
    """Write a solution into files that Git ignores."""
    files: list[Path] = []

    def write(solution: Solution) -> Submission:
        # A name of its own, since Python loads a module once, and other processes write here too.
        name = f"solution{os.getpid()}n{next(_numbers)}_mine"
        for file, text in files_of(solution, EXERCISES[solution.exercise].solution, name).items():
            files.append(file)
            file.write_text(text)
        return Submission(name, None if solution.client is None else PROJECT / f"temporal_client_{name}.py")

    yield write
    for file in files:
        file.unlink()


@pytest.mark.parametrize("solution", SOLUTIONS, ids=lambda solution: f"{solution.exercise} {solution.name}")
async def test_a_right_solution_passes_and_a_wrong_one_is_told_why(
    client: Client, written: Write, solution: Solution
) -> None:
    verdict = await judge(EXERCISES[solution.exercise], written(solution), client, TIME_LIMIT)
    if solution.is_right:
        assert verdict.failure is None, said(verdict)
    else:
        assert verdict.failure is not None and re.search(solution.says, str(verdict.failure)), said(verdict)


def test_a_solution_can_be_applied_to_every_later_version_that_has_the_changed_lines() -> None:
    """A later version may have other lines there, but most have not."""
    applied = 0
    for solution in SOLUTIONS:
        for version in versions_that_pass(EXERCISES[solution.exercise])[1:]:
            try:
                applied += bool(files_of(solution, version, "any_mine"))
            except ValueError as error:
                assert "not there to be changed" in str(error)
    assert applied >= 400

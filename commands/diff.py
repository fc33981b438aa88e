"""What the solution of an exercise changes: `python workshop.py diff N`."""

from checks.exercises import STARTED, Exercise
from checks.solutions import with_suffix
from commands.start import (
    ACTIVITIES,
    CLIENT,
    TESTS,
    WORKFLOW,
    for_learner,
    learners_client,
    learners_tests,
    text_at,
    workflow_code,
)
from support import PROJECT
from support.script import UserError
from support.terminal import BOLD, CYAN, GREEN, PLAIN, RED, colored
from workflow.versions import find_version

import difflib
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

Change = tuple[str, str, str, str]
"""Label and code before, label and code after."""


def diff(exercise: Exercise, mine: bool) -> int:
    """Print what the solution changes, or with `mine` how a learner's files differ from it. Returns the exit code.

    Raises `UserError` if it changes nothing, or if there are no files of a learner's.
    """
    if not exercise.has_solution:
        raise UserError(f"Exercise {exercise.number} changes no file: {exercise.page}")
    if mine:
        if exercise not in STARTED:
            raise UserError(f"--mine: there is nothing to write in exercise {exercise.number}")
        if not (TESTS if exercise.writes_tests else WORKFLOW).exists():
            raise UserError(f"You have no files of your own yet: python workshop.py start {exercise.number}")
    changes = changed_tests(mine) if exercise.writes_tests else changed_code(exercise, mine)
    lines = [line for change in changes for line in unified(*change)]
    print("\n".join(lines) if lines else "No difference.")
    return 0


def changed_tests(mine: bool) -> list[Change]:
    """Return what the tests of the reference add to those that a learner is given, or has."""
    before = (TESTS.name, text_of(TESTS)) if mine else (f"{TESTS.name} as `start 9` gives it", learners_tests())
    return [(*before, "test_v9.py", for_learner(text_at("test_v9.py")))]


def changed_code(exercise: Exercise, mine: bool) -> list[Change]:
    """Return what the solution changes in the workflow, the activities and the client."""
    solution = exercise.solution
    after = workflow_code(solution)
    if mine:
        before = re.sub(r"^# Exercise .*\n", "", text_of(WORKFLOW))
        before = with_suffix(before, "Mine", solution.upper())
        if imported := re.search(r"from workflow\.activities import .*", after):
            before = re.sub(r"from workflow\.activities_mine import .*", imported[0], before)
        label = str(WORKFLOW.relative_to(PROJECT))
    else:
        before = with_suffix(workflow_code(exercise.start), exercise.start.upper(), solution.upper())
        label = f"workflow/system_patch_workflow_{exercise.start}.py"
    changes = [(label, before, f"workflow/system_patch_workflow_{solution}.py", after)]
    changes += changed_activities(exercise, mine)
    if exercise.client_function:
        client, own = f"temporal_client.py as `start {exercise.number}` gives it", learners_client(exercise.number)
        if mine and CLIENT.exists():
            client, own = CLIENT.name, text_of(CLIENT)
        changes.append((client, own, "temporal_client.py", learners_client(exercise.number + 1)))
    return changes


def changed_activities(exercise: Exercise, mine: bool) -> list[Change]:
    """Return the activities that the solution changes."""
    before, after = (find_version(version).activities for version in (exercise.start, exercise.solution))
    own = before
    if mine and ACTIVITIES.exists():
        try:
            own = importlib.import_module("workflow.activities_mine").SystemPatchActivities_Mine
        except (Exception, SystemExit) as error:
            raise UserError(f"{ACTIVITIES.relative_to(PROJECT)} can't be loaded: {error}") from error
    return [
        (f"{own.__name__}.{name}", source(own, name), f"{after.__name__}.{name}", source(after, name))
        for name in dir(after)
        if name.endswith("_activity") and not getattr(before, name) is getattr(own, name, None) is getattr(after, name)
    ]


def source(activities: type, name: str) -> str:
    """Return the code of an activity, or nothing if that is no function of the class."""
    try:
        return inspect.getsource(getattr(activities, name))
    except (AttributeError, TypeError, OSError):
        return ""


def text_of(file: Path) -> str:
    """Return what is in a learner's file. Raises `UserError` if that is no text."""
    try:
        return file.read_text(encoding="utf-8-sig")  # Some editors begin a file with a mark, which is no text.
    except ValueError as error:
        raise UserError(f"{file.relative_to(PROJECT)} is no text in UTF-8: {error}") from error
    except OSError as error:
        raise UserError(f"{file.relative_to(PROJECT)} can't be read: {error.strerror}.") from error


def unified(before_label: str, before: str, after_label: str, after: str) -> Iterator[str]:
    """Return the lines of a unified diff, in color at a terminal."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), before_label, after_label, lineterm="")
    for line in lines:
        bold = line.startswith(("---", "+++"))
        yield colored(line, BOLD if bold else {"+": GREEN, "-": RED, "@": CYAN}.get(line[:1], PLAIN))

"""A learner's own files: `python workshop.py start N` makes them."""

from checks.exercises import STARTED, Exercise
from checks.solutions import with_suffix
from commands import progress
from support import PROJECT
from support.script import UserError
from workflow.versions import find_version

import ast
import itertools
import os
import re
import shutil

WORKFLOW = PROJECT / "workflow" / "system_patch_workflow_mine.py"
ACTIVITIES = PROJECT / "workflow" / "activities_mine.py"
CLIENT = PROJECT / "temporal_client_mine.py"
TESTS = PROJECT / "test_mine.py"
BEFORE = PROJECT / "before_mine.json"  # A run from before exercise 8's change.
SOLUTION_BEGINS = "\n\n# Exercise 9: the solution.\n"  # In the file with the tests of the reference.
OLD = PROJECT / "old"


def start(exercise: Exercise, force: bool) -> int:
    """Make a learner's files for an exercise. Returns the exit code.

    Raises `UserError` if there is nothing to write in it, or if there are such files already, unless `force` has them
    kept aside.
    """
    if exercise not in STARTED:
        raise UserError(
            f"In exercise {exercise.number} there is nothing to write, so nothing to start: {exercise.page}"
        )
    own = [WORKFLOW, ACTIVITIES, CLIENT, TESTS]
    if exercise.writes_tests:
        own.append(BEFORE)
    existing = [file for file in own if os.path.lexists(file)]
    if existing and not force:
        raise UserError(
            f"You have files already, {for_exercise()}: {', '.join(file.name for file in existing)}. "
            f"To move them to the folder {OLD.name}/ and begin anew: "
            f"python workshop.py start {exercise.number} --force"
        )
    files = {WORKFLOW: learners_workflow(exercise)}
    if exercise.writes_activities:
        files[ACTIVITIES] = learners_activities(exercise)
    if exercise.writes_tests:
        files |= {TESTS: learners_tests(), BEFORE: for_learner(text_at("before_v9.json"))}
    else:
        files[CLIENT] = learners_client(exercise.number)
    if existing:
        folders = (
            OLD / f"{for_exercise().replace(' ', '_').removeprefix('for_')}_{copy}" for copy in itertools.count(1)
        )
        aside = next(folder for folder in folders if not folder.exists())
        aside.mkdir(parents=True)
        for file in existing:
            shutil.move(file, aside / file.name)
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    if existing:
        print(f"Your old files are in {aside.relative_to(PROJECT)}.")
    progress.begin(exercise)
    version = exercise.start.removeprefix("v")
    print(f"Exercise {exercise.number}: {exercise.title}. Your files, for now as in version {version}:")
    for file in files:
        print(f"  {file.relative_to(PROJECT)}")
    pace = "" if exercise.pace == 1 else f" --pace {exercise.pace:g}"
    try_them = (
        f"Try them, each in a terminal of its own:\n  python temporal_worker.py mine{pace}\n  python {CLIENT.name}"
    )
    if exercise.writes_tests:
        try_them = f"Try it:\n  pytest {TESTS.name}"
    print(
        f"""
{try_them}
Then read on in {exercise.page}. When you think you are done: python workshop.py check {exercise.number}"""
    )
    return 0


def for_exercise() -> str:
    """Return for which exercise a learner's workflow was made, in words."""
    found = re.match(rb"# Exercise (\d+)", WORKFLOW.read_bytes()) if WORKFLOW.is_file() else None
    return f"for exercise {int(found[1])}" if found else "for no known exercise"


def workflow_code(version: str) -> str:
    """Return the code of a version's workflow."""
    return (PROJECT / "workflow" / f"system_patch_workflow_{version}.py").read_text(encoding="utf-8")


def learners_workflow(exercise: Exercise) -> str:
    """Return the starting point of an exercise: a version's workflow, its classes named `..._Mine`."""
    text = with_suffix(workflow_code(exercise.start), exercise.start.upper(), "Mine")
    if exercise.writes_activities:
        text = re.sub(
            r"from workflow\.activities import .*",
            "from workflow.activities_mine import SystemPatchActivities_Mine as SystemPatchActivities",
            text,
        )
    return f"# Exercise {exercise.number}: your own copy of version {exercise.start.removeprefix('v')}.\n{text}"


def learners_activities(exercise: Exercise) -> str:
    """Return the file for a learner's own activities: a class that so far is the starting point's."""
    name = find_version(exercise.start).activities.__name__
    version = exercise.start.removeprefix("v")
    return f'''"""Your own activities for exercise {exercise.number}."""

from temporalio import activity

from workflow.activities import {name}
from workflow.types import HostPatchInput


class SystemPatchActivities_Mine({name}):
    """All activities of version {version}. One that you write here takes the place of the one with the same name."""
'''


def text_at(name: str) -> str:
    """Return the text of a file in the project's folder."""
    return (PROJECT / name).read_text(encoding="utf-8")


def learners_tests() -> str:
    """Return the file in which a learner writes tests: that of the reference, without the solution."""
    tests, _, _ = text_at("test_v9.py").partition(SOLUTION_BEGINS)
    return f"{for_learner(tests)}\n\n# Exercise 9: your tests go here.\n"


def for_learner(text: str) -> str:
    """Return tests of version 9, or a history of one of its runs, as those of a learner's own workflow."""
    text = with_suffix(text, "V9", "Mine").replace("_v9", "_mine").replace("system-patch-v9", "system-patch-mine")
    own = "workflow.activities_mine import SystemPatchActivities_Mine"
    return text.replace("workflow.activities import SystemPatchActivities_V4", own)


def learners_client(number: int) -> str:
    """Return the client without the body of each function that is written in exercise `number` or a later one."""
    text = (PROJECT / "temporal_client.py").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    written_in = {exercise.client_function: exercise.number for exercise in STARTED if exercise.number >= number}
    for node in reversed(ast.parse(text).body):
        if isinstance(node, ast.AsyncFunctionDef) and node.name in written_in:
            docstring, *body = node.body
            lines[docstring.end_lineno : body[-1].end_lineno] = [
                f"    # Exercise {written_in[node.name]}: your code goes here.\n"
            ]
    text = "".join(lines)
    text = text.replace("python temporal_client.py v3", f"python {CLIENT.name}")
    return text.replace('default_version="v1"', 'default_version="mine"')

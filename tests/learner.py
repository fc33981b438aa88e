"""A learner who solves an exercise by pasting its solution."""

from checks.exercises import Exercise
from checks.solutions import with_suffix
from commands.diff import changed_activities
from commands.start import for_learner, learners_activities, learners_client, text_at, workflow_code

import re
from pathlib import Path

TESTS = "test_mine.py"
NAMES = ("workflow/system_patch_workflow_mine.py", "workflow/activities_mine.py", "temporal_client_mine.py")


def solve(project: Path, exercise: Exercise) -> None:
    """Paste the solution of an exercise over a learner's files in this copy of the project."""
    if exercise.writes_tests:
        (project / TESTS).write_text(for_learner(text_at("test_v9.py")))
        return
    text = with_suffix(workflow_code(exercise.solution), exercise.solution.upper(), "Mine")
    if methods := changed_activities(exercise, mine=False):
        own = "from workflow.activities_mine import SystemPatchActivities_Mine as SystemPatchActivities"
        text = re.sub(r"from workflow\.activities import .*", own, text)
        imports = "from temporalio.exceptions import ApplicationError\nfrom workflow.activities import *\n"
        activities = learners_activities(exercise) + "\n".join(code for _, _, _, code in methods)
        (project / NAMES[1]).write_text(
            activities.replace("from temporalio import", imports + "from temporalio import", 1)
        )
    (project / NAMES[0]).write_text(text)
    (project / NAMES[2]).write_text(learners_client(exercise.number + 1))

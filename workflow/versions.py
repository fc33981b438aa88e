"""The versions of the workflow: one file each, found by its name.

`v3`, `V3` and `SystemPatchWorkflow_V3` all name `system_patch_workflow_v3.py`. A learner's own `mine` is found the
same way. There is no table to keep: a new file is a new version.
"""

import importlib
import inspect
import os
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE = "system_patch_workflow_{}.py"


class VersionError(Exception):
    """A version that does not exist or can't be loaded. Its text says what to do, in one line."""


@dataclass(frozen=True)
class Version:
    """All that belongs to one version of the workflow."""

    name: str
    workflow: Any
    """The workflow class that a client starts."""
    workflows: list[type]
    """All workflow classes of the file, children too: what a worker registers."""
    activities: Any
    """The class that holds the version's activities."""
    learner: str
    """Whose it is, where many share a server: the value of WORKSHOP_LEARNER, or nothing."""

    @property
    def task_queue(self) -> str:
        """The task queue of this version and learner only, so that no other worker takes its tasks."""
        return self.workflow_id

    @property
    def handlers(self) -> set[str]:
        """The names of the workflow's signals, updates and queries."""
        definition = getattr(self.workflow, "__temporal_workflow_definition")
        return {name for kind in (definition.signals, definition.updates, definition.queries) for name in kind if name}

    @property
    def has_approval(self) -> bool:
        """Whether the workflow takes an answer to an approval request, in one of the two ways."""
        return not self.handlers.isdisjoint({"answer_approval", "answer_approval_signal"})

    @property
    def workflow_id(self) -> str:
        """The id of the one run at a time that a client starts."""
        return "-".join(["system-patch", self.name, *filter(None, [self.learner])])


def activities_of(instance: object) -> list[Callable[..., Any]]:
    """Return all activities of an activity class's instance, in the form in which a worker wants them."""
    return [
        method
        for _, method in inspect.getmembers(instance, inspect.ismethod)
        if hasattr(method, "__temporal_activity_definition")
    ]


def known_versions() -> list[str]:
    """Return the names of all versions that have a file: v1, v2 and so on, then a learner's own."""
    files = Path(__file__).parent.glob(_FILE.format("*"))
    names = {file.stem.removeprefix("system_patch_workflow_") for file in files}
    released = sorted([name for name in names if version_number(name)], key=version_number)
    return released + sorted(names - {*released})


def version_number(name: str) -> int:
    """Return the number of a released version: 3 of `v3`. 0 if it is a learner's own."""
    found = re.fullmatch(r"v(\d+)", name)
    return int(found[1]) if found else 0


def released_versions() -> list[str]:
    """Return the names of the workshop's own versions, without a learner's."""
    return [name for name in known_versions() if version_number(name)]


def version_name(name: str) -> str:
    """Return the version that `name` names, in its short form: `v3`. Raises `VersionError` if it has no file."""
    short = re.sub(r"^systempatchworkflow_", "", name.strip().lower())
    if short not in known_versions():
        hint = " Make your own copy first: python workshop.py start 1" if short == "mine" else ""
        raise VersionError(f"There is no version {name!r:.60}. Known versions: {', '.join(known_versions())}.{hint}")
    return short


def find_version(name: str) -> Version:
    """Return the version that `name` names.

    Raises `VersionError` if there is none, if its file is broken, or if WORKSHOP_LEARNER can't be part of a name.
    """
    short = version_name(name)
    file = _FILE.format(short)
    try:
        module = importlib.import_module(f"workflow.{Path(file).stem}")
    except SystemExit as error:
        raise VersionError(f"workflow/{file} ends Python when it is loaded: it calls sys.exit.") from error
    except Exception as error:
        line = next(
            (f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.name == "<module>"), None
        )
        where = f", line {line}" if line and not isinstance(error, SyntaxError) else ""
        problem = traceback.format_exception_only(error)[-1].strip()
        if isinstance(error, SyntaxError):
            problem = f"{problem} (line {error.lineno})"
        raise VersionError(f"workflow/{file}{where} can't be loaded: {problem}") from error
    workflows = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__ == module.__name__ and hasattr(member, "__temporal_workflow_definition")
    ]
    class_name = f"SystemPatchWorkflow_{short.capitalize()}"
    main = next((member for member in workflows if member.__name__ == class_name), None)
    if main is None:
        raise VersionError(f"workflow/{file} has no class {class_name} with @workflow.defn.")
    if not hasattr(module, "SystemPatchActivities"):
        raise VersionError(f"workflow/{file} does not import SystemPatchActivities from workflow.activities.")
    return Version(short, main, workflows, module.SystemPatchActivities, learner_name())


def learner_name() -> str:
    """Return the value of WORKSHOP_LEARNER, or nothing. Raises `VersionError` if it can't be part of a name."""
    learner = os.environ.get("WORKSHOP_LEARNER", "")
    if not re.fullmatch(r"[A-Za-z0-9_.-]{0,40}", learner):
        raise VersionError(f"WORKSHOP_LEARNER is {learner!r:.60}: use up to 40 letters, digits, '_', '.' and '-'.")
    return learner

"""Solutions of the exercises that are not ours: `check` must say what is wrong with some, and let the others pass.

Each exercise has a file, such as `exercise_1.md`. A solution there is a change of the reference: of the version of the
workflow that solves the exercise, of the client, and of the activities, to which it may add methods.
"""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
PROJECT = FOLDER.parent.parent

# What a solution consists of: blocks of code, and one line each.
_PART = re.compile(r"^```(?P<kind>\w*)\n(?P<code>.*?)^```$|^(?P<line>[^\n]+)$", re.MULTILINE | re.DOTALL)
_SAYS = re.compile(r"Check says: (?:`([^`]+)`|`` (.+) ``)")
_CLIENT_AS_IT_IS = "Client: as it is"
_APART = "In a process of its own"
# The blocks by their labels, of which the workflow's is empty, and in which language each is.
_KINDS = {"": "diff", "Client:": "diff", "Activities:": "python"}

_IMPORT = re.compile(r"from (workflow\.activities\w*) import (\w+)(?: as SystemPatchActivities)?\n")
_ACTIVITIES = """\
import asyncio
import time
from dataclasses import dataclass

from temporalio import activity
from temporalio.exceptions import ApplicationError

from {module} import {base}
from workflow.types import HostPatchInput


@dataclass
class Progress:
    step: int


class SystemPatchActivities_Mine({base}):

{methods}"""


@dataclass(frozen=True)
class Hunk:
    """Lines that stand one after the other in a file, and what takes their place. Both end with a newline."""

    before: str
    after: str


@dataclass(frozen=True)
class Solution:
    """A solution of an exercise that is not ours: the reference, changed."""

    exercise: int
    name: str
    """What it does, in words. No other solution of the exercise has this name."""
    is_right: bool
    says: str
    """What `check` must say to it, as a regular expression. Nothing if it is right."""
    workflow: list[Hunk]
    client: list[Hunk] | None
    """What it changes in the client, which may be nothing. `None` if the client is not to be tried."""
    apart: bool
    """Whether it needs a process of its own, which it may end or block, or in which sets have another order."""
    activities: str
    """Methods of the class of activities, not indented. Nothing if it has the reference's activities."""


def read_solutions(exercise: int) -> list[Solution]:
    """Return the solutions of an exercise, in the order of its file, the wrong ones first.

    Raises `ValueError`, with the file and the heading, if something there is not as the file itself explains it, and
    `FileNotFoundError` if the exercise has no such file.
    """
    file = FOLDER / f"exercise_{exercise}.md"
    solutions: dict[str, Solution] = {}
    for title, section in _sections(file).items():
        if title == "Starting point":
            continue
        before, *parts = re.split(r"^### (.*)\n", section, flags=re.MULTILINE)
        if title not in ("Wrong", "Right") or before.strip():
            raise ValueError(f"{file.name}, {title}: the sections are Wrong and Right, and all in them has a heading")
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            try:
                if name in solutions:
                    raise ValueError("another solution has the same name")
                solutions[name] = _solution(exercise, name, title == "Right", text)
            except ValueError as error:
                raise ValueError(f"{file.name}, {name}: {error}") from None
    return list(solutions.values())


def said_to_starting_point(exercise: int) -> str:
    """Return what `check` must say to the starting point of an exercise, as a regular expression.

    Raises `ValueError` if the exercise's file does not tell.
    """
    file = FOLDER / f"exercise_{exercise}.md"
    found = _SAYS.fullmatch(_sections(file).get("Starting point", "").strip())
    if found is None:
        raise ValueError(f"{file.name}: it does not say what the starting point is told")
    return found[1] or found[2]


def _sections(file: Path) -> dict[str, str]:
    """Return the sections of a file by their headings."""
    _, *parts = re.split(r"^## (.*)\n", file.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _solution(exercise: int, name: str, is_right: bool, text: str) -> Solution:
    """Return the solution that is written under a heading. Raises `ValueError` if it can't be read."""
    says = label = ""
    apart = False
    blocks: dict[str, str] = {}
    for part in _PART.finditer(text):
        line = part["line"]
        if line is None:
            if label in blocks or _KINDS[label] != part["kind"] or not part["code"]:
                raise ValueError(f"a block of {part['kind'] or 'code'} that has not the right label, or is empty")
            blocks[label] = part["code"]
            label = ""
        elif label:
            raise ValueError(f"no block after {label!r}")
        elif not says and (found := _SAYS.fullmatch(line)):
            says = found[1] or found[2]
        elif line == _APART and not apart:
            apart = True
        elif line == _CLIENT_AS_IT_IS and "Client:" not in blocks:
            blocks["Client:"] = ""
        elif line in _KINDS:
            label = line
        else:
            raise ValueError(f"a line that is no label: {line!r}")
    if label or not blocks:
        raise ValueError(f"no block after {label!r}" if label else "nothing is changed")
    if is_right == bool(says):
        raise ValueError("a wrong solution has a line that begins with 'Check says: ', and a right one has none")
    client = _hunks(blocks["Client:"]) if "Client:" in blocks else None
    workflow = _hunks(blocks.get("", ""))
    return Solution(exercise, name, is_right, says, workflow, client, apart, blocks.get("Activities:", ""))


def _hunks(diff: str) -> list[Hunk]:
    """Return the hunks of a `diff` block. Raises `ValueError` if a line has no mark, or a hunk changes nothing."""
    hunks: list[Hunk] = []
    for lines in re.split(r"^@@\n", diff, flags=re.MULTILINE) if diff else []:
        before = after = ""
        for line in lines.splitlines(keepends=True):
            mark, code = (line[0], line[1:]) if line != "\n" else (" ", line)
            if mark not in "-+ ":
                raise ValueError(f"a line of a diff that begins with none of '-', '+' and ' ': {line!r}")
            before += code if mark in "- " else ""
            after += code if mark in "+ " else ""
        if not before or before == after:
            raise ValueError("a hunk that removes nothing and has no context, or changes nothing")
        if any(before == hunk.before for hunk in hunks):
            raise ValueError("two hunks that change the same lines")
        hunks.append(Hunk(before, after))
    return hunks


def changed(text: str, hunks: list[Hunk], suffix: str) -> str:
    """Return a file's text with the hunks applied, each wherever its lines stand in the text as it was before.

    The hunks name the workflow's classes as in the reference, `SystemPatchWorkflow_V2`: these names are taken to end
    with the text's `suffix`, such as `V3` or `Mine`. Raises `ValueError` with the lines that are not in the text.
    """
    after = {with_suffix(hunk.before, r"V\d+", suffix): with_suffix(hunk.after, r"V\d+", suffix) for hunk in hunks}
    missing = set(after)

    def replacement(found: re.Match[str]) -> str:
        missing.discard(found[0])
        return after[found[0]]

    if hunks:
        text = re.sub(f"^(?:{'|'.join(map(re.escape, after))})", replacement, text, flags=re.MULTILINE)
    if missing:
        raise ValueError("not there to be changed:\n" + "".join(before for before in after if before in missing))
    return text


def with_suffix(text: str, old: str, new: str) -> str:
    """Return code in which the names of workflow classes end with another suffix. `old` is a regular expression."""
    return re.sub(rf"\b(SystemPatchWorkflow\w*)_{old}\b", rf"\1_{new}", text)


def activities_module(solution: Solution, module: str, base: str) -> str:
    """Return the code of a module with a class `SystemPatchActivities_Mine` that has the solution's methods.

    It inherits from the class `base` of `module`, such as `SystemPatchActivities_V4` of `workflow.activities`.
    """
    return _ACTIVITIES.format(module=module, base=base, methods=textwrap.indent(solution.activities, "    "))


def files_of(solution: Solution, version: str, name: str) -> dict[Path, str]:
    """Return the files of a solution, by their paths, as a version of the workflow called `name`.

    They are `version`, such as `v2` or `mine`, with the solution's changes: the workflow, the activities if it has
    its own, and the client if it is to be tried. Raises `ValueError` if the version has not the lines to be changed,
    and `FileNotFoundError` if there is no such version.
    """
    suffix = version.capitalize()
    text = (PROJECT / "workflow" / f"system_patch_workflow_{version}.py").read_text()
    files = {}
    try:
        text = with_suffix(changed(text, solution.workflow, suffix), suffix, name.capitalize())
        if solution.activities:
            imported = _IMPORT.search(text)
            if imported is None:
                raise ValueError("it imports no activities")
            own = f"from workflow.activities_{name} import SystemPatchActivities_Mine as SystemPatchActivities\n"
            text = text.replace(imported[0], own)
            files[PROJECT / "workflow" / f"activities_{name}.py"] = activities_module(solution, *imported.groups())
        if solution.client is not None:
            client = (PROJECT / "temporal_client.py").read_text()
            files[PROJECT / f"temporal_client_{name}.py"] = changed(client, solution.client, suffix)
    except ValueError as error:
        raise ValueError(f"exercise_{solution.exercise}.md, {solution.name}, applied to {version}: {error}") from None
    return {PROJECT / "workflow" / f"system_patch_workflow_{name}.py": text, **files}

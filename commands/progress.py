"""What a learner has done so far, in a file of the project: for `status`, `hint` and `watch`."""

from checks.exercises import EXERCISES, Exercise
from checks.judge import Verdict
from support import PROJECT
from support.script import UserError

import dataclasses
import json
import os
import sys
from dataclasses import dataclass, field
from datetime import datetime

FILE = PROJECT / ".progress.json"


@dataclass
class Progress:
    """How far a learner is with an exercise. Times are in the form of ISO 8601, and empty if there is none yet."""

    tries: int = 0
    """How often it was checked, up to the first time that all steps passed."""
    begun_at: str = ""
    checked_at: str = ""
    passed_at: str = ""
    """When all steps passed for the first time."""
    passed: list[str] = field(default_factory=list)
    """The steps that passed at the last check, by their titles."""
    failed: str = ""
    """The step that did not, if any."""
    look_at: str = ""
    """Where on the page that step has sent the learner."""
    failing_since: str = ""
    """When this step failed for the first time in a row."""
    hints: list[str] = field(default_factory=list)
    """The titles of the hints that were shown."""


def read() -> dict[int, Progress]:
    """Return the progress by exercises. If the file can't be read, it is put aside, which is said."""
    if not FILE.exists():
        return {}
    try:
        return {int(number): _checked(said) for number, said in json.loads(FILE.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError, OSError):
        aside = FILE.with_suffix(".broken.json")
        try:
            os.replace(FILE, aside)
        except OSError as error:
            print(f"{FILE.name} can't be read, nor put aside: {error.strerror}.", file=sys.stderr)
        else:
            print(f"{FILE.name} could not be read. It is {aside.name} now, and all begins anew.", file=sys.stderr)
        return {}


def _checked(said: dict[str, object]) -> Progress:
    """Return what the file says of an exercise. Raises `TypeError` if something in it is of another type."""
    progress = Progress(**said)  # type: ignore[arg-type]
    for name, value in vars(Progress()).items():
        found = getattr(progress, name)
        if type(found) is not type(value) or (isinstance(found, list) and any(type(each) is not str for each in found)):
            raise TypeError(name)
    return progress


def _write(all_progress: dict[int, Progress]) -> None:
    """Write the file in one piece: a reader finds the old one or the new one."""
    new = FILE.with_suffix(f".{os.getpid()}.json")
    try:
        new.write_text(json.dumps({number: vars(each) for number, each in sorted(all_progress.items())}, indent=1))
        os.replace(new, FILE)
    except OSError as error:
        print(f"Your progress is not kept: {FILE.name}: {error.strerror}.", file=sys.stderr)


def now() -> str:
    """Return the time of day, as the file has it."""
    return datetime.now().isoformat(timespec="milliseconds")


def begin(exercise: Exercise) -> None:
    """Keep that the exercise is under way, from its beginning."""
    found = read()
    before = _of(found, exercise)
    found[exercise.number] = Progress(tries=before.tries, begun_at=now(), passed_at=before.passed_at)
    _write(found)


def keep(exercise: Exercise, verdict: Verdict) -> Progress:
    """Keep how a check of the learner's own files ended. Returns what is known of the exercise now."""
    found = read()
    before = _of(found, exercise)
    at = now()
    failed = verdict.failed.title if verdict.failed else ""
    found[exercise.number] = dataclasses.replace(
        before,
        tries=before.tries + (not before.passed_at),
        begun_at=before.begun_at or at,
        checked_at=at,
        passed_at=before.passed_at or ("" if failed else at),
        passed=verdict.passed,
        failed=failed,
        look_at=str(verdict.failed.where) if verdict.failed else "",
        failing_since="" if not failed else before.failing_since if failed == before.failed else at,
    )
    _write(found)
    return found[exercise.number]


def keep_hint(exercise: Exercise, title: str) -> None:
    """Keep that a hint was shown."""
    found = read()
    before = _of(found, exercise)
    found[exercise.number] = dataclasses.replace(before, hints=[*before.hints, title])
    _write(found)


def _of(found: dict[int, Progress], exercise: Exercise) -> Progress:
    return found.get(exercise.number, Progress())


def under_way(found: dict[int, Progress]) -> Exercise | None:
    """Return the exercise that was begun or checked last, or nothing."""
    times = {number: max(each.begun_at, each.checked_at) for number, each in found.items() if number in EXERCISES}
    return EXERCISES[max(times, key=lambda number: times[number])] if times else None


def current_exercise() -> Exercise:
    """Return the exercise that is under way. Raises `UserError` if none is."""
    exercise = under_way(read())
    if exercise is None:
        raise UserError(
            "You have not begun any exercise yet. Name one, such as 1, or begin: python workshop.py start 1"
        )
    return exercise

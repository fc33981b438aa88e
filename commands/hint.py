"""The hints of a page, one at a time: `python workshop.py hint N`."""

from checks.exercises import Exercise
from commands import progress
from commands.check import what_next
from commands.progress import Progress
from support import PROJECT

import re
import sys

from rich.console import Console
from rich.markdown import Markdown

# A summary of a hint says to which points of the task it belongs: "Hint: how to fail (point 5)".
HINT = re.compile(r"^<details>\n<summary>(Hint: .*?)</summary>\n(.*?)^</details>$", re.MULTILINE | re.DOTALL)


def hint(exercise: Exercise) -> int:
    """Print the next hint for an exercise, first the one to which the last check has sent. Returns 0.

    When all steps have passed, it says how to go on.
    """
    known = progress.read().get(exercise.number, Progress())
    if known.checked_at and not known.failed:
        print(f"All steps of exercise {exercise.number} have passed. {what_next(exercise)}")
        return 0
    hints = hints_of(exercise)
    left = [title for title in hints if title not in known.hints]
    if not left:
        print(f"Those were all hints: {exercise.page}, Hints." if hints else f"{exercise.page} has no hints.")
        if exercise.has_solution:
            print(f"What the solution changes: python workshop.py diff {exercise.number}")
        return 0
    wanted = points(known.look_at)
    fitting = [each for each in left if each in known.look_at] + [each for each in left if points(each) & wanted]
    title = [*fitting, *left][0]
    show(f"**{title}**\n\n{hints[title].strip()}")
    print(f"\n({len(hints) - len(left) + 1} of {len(hints)} hints of {exercise.page})")
    progress.keep_hint(exercise, title)
    return 0


def hints_of(exercise: Exercise) -> dict[str, str]:
    """Return the hints on an exercise's page, by their titles, in their order there."""
    text = (PROJECT / exercise.page).read_text(encoding="utf-8")
    return {found[1]: found[2] for found in HINT.finditer(text)}


def points(text: str) -> set[int]:
    """Return the numbers of a task's points that a text names: `points 2 and 5`, or `points 3 to 5`."""
    found = re.search(r"\bpoints? ([\d, toand]+)", text)
    numbers = [int(number) for number in re.findall(r"\d+", found[1])] if found else []
    return {*range(numbers[0], numbers[-1] + 1)} if found and " to " in found[1] else {*numbers}


def show(text: str) -> None:
    """Print Markdown: as it is read at a terminal, as it is elsewhere."""
    if sys.stdout.isatty():
        Console().print(Markdown(text))
    else:
        print(text)

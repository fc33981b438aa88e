"""Where am I: `python workshop.py`."""

from checks.exercises import EXERCISES, Exercise
from commands import progress
from commands.check import what_next
from commands.progress import Progress
from support.terminal import BOLD, GREEN, RED, colored

from datetime import datetime


def status() -> int:
    """Print the exercises with what passed, the one under way with its steps, and the next command. Returns 0."""
    found = progress.read()
    current = progress.under_way(found)
    for exercise in EXERCISES.values():
        known = found.get(exercise.number, Progress())
        is_current = exercise == current
        title = f"{exercise.number}  {exercise.title:<36}"
        print(f"  {colored(title, BOLD) if is_current else title} {in_words(known, is_current)}".rstrip())
        if is_current and known.failed:
            for number, step in enumerate(known.passed, 1):
                print(f"       {colored('ok', GREEN)}    {number}. {step}")
            print(f"       {colored('FAIL', RED)}  {len(known.passed) + 1}. {known.failed}")
            print(f"             Look at: {known.look_at}")
    print(f"\n{next_command(current, found)}")
    return 0


def in_words(known: Progress, is_current: bool) -> str:
    """Return how far an exercise is."""
    tries = "1 try" if known.tries == 1 else f"{known.tries} tries"
    if known.passed_at:
        passed = f"passed {readable(known.passed_at)}, {tries}"
        return f"{passed}; under way again" if is_current and known.checked_at and known.failed else passed
    if known.checked_at:
        return f"{'under way' if is_current else 'left'}, {tries}, last {readable(known.checked_at)}"
    return f"begun {readable(known.begun_at)}" if known.begun_at else ""


def readable(time: str) -> str:
    """Return a time as it is said: with its day, if that is not today."""
    try:
        at = datetime.fromisoformat(time)
    except ValueError:
        return time
    return f"at {at:%H:%M}" if at.date() == datetime.now().date() else f"on {at:%d %b, %H:%M}"


def next_command(current: Exercise | None, found: dict[int, Progress]) -> str:
    """Return how to go on."""
    if current is None:
        return f"Begin with {EXERCISES[0].page}. When you are done: python workshop.py check 0"
    known = found[current.number]
    if known.checked_at and not known.failed:
        return f"Exercise {current.number} is done. {what_next(current)}"
    number = current.number
    lines = [f"You are at {current.page}. Next: python workshop.py check {number}"]
    lines.append(f"Stuck? python workshop.py hint {number}")
    return "\n".join(lines)

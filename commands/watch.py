"""Is it right, again whenever a file is saved: `python workshop.py watch N`."""

from checks.exercises import STARTED, Exercise
from checks.judge import Verdict
from checks.report import Report
from commands.check import conclude, judge_files, keep
from commands.start import ACTIVITIES, CLIENT, TESTS, WORKFLOW
from room.report import Room, find_room
from support.script import UserError

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path

import watchfiles

CLEAR = "\033[2J\033[3J\033[H"
FILES = (WORKFLOW, ACTIVITIES, CLIENT, TESTS)
PAUSE = 200  # Milliseconds without a change, after which what was saved is checked.


class Watch:
    """Checks an exercise again and again, and knows how it ended the last time."""

    def __init__(self, exercise: Exercise, room: Room | None, folder: Path) -> None:
        """Begin with no check. Each has its files in the folder, and is reported to the room, if there is one."""
        self.exercise = exercise
        self._room = room
        self._folder = folder
        self._last: Verdict | None = None

    async def check(self, saved: list[str]) -> None:
        """Check once, and say what is another than the last time. Takes the names of the files that were saved."""
        print(CLEAR if sys.stdout.isatty() else "", end="")
        if saved:
            print(f"Saved: {', '.join(saved)}")
        report = Report()
        try:
            verdict = await judge_files(self.exercise, None, [], report, self._folder)
        except (UserError, OSError) as error:
            print(error)
        else:
            conclude(self.exercise, verdict, report)
            await keep(self.exercise, verdict, self._room)
            if self._last is not None:
                print(f"\nSince the last time: {difference(self._last, verdict)}")
            self._last = verdict
        print("\nI check again when you save a file. Ctrl-C ends this.", flush=True)


async def watch(exercise: Exercise) -> int:
    """Check a learner's files, and again whenever one of them is saved, until somebody stops this.

    A check that is under way then is given up. Raises `UserError` if there is nothing to write in the exercise, or if
    there are no files yet.
    """
    if exercise not in STARTED:
        raise UserError(
            f"In exercise {exercise.number} there is nothing to write, so nothing to watch: {exercise.page}"
        )
    if not (TESTS if exercise.writes_tests else WORKFLOW).exists():
        raise UserError(f"You have no files of your own yet: python workshop.py start {exercise.number}")
    with tempfile.TemporaryDirectory() as folder:
        await watch_files(Watch(exercise, find_room(), Path(folder)))
    return 0


async def watch_files(watched: Watch) -> None:
    """Check now, and whenever a file is saved, until this is cancelled."""
    known = contents()
    checking = asyncio.create_task(watched.check([]))
    try:
        # The folders: editors replace a file by a new one of that name.
        folders = {file.parent for file in FILES}
        names = {str(file) for file in FILES}
        async for _ in watchfiles.awatch(
            *folders, watch_filter=lambda _, path: path in names, step=PAUSE, recursive=False
        ):
            now = contents()
            if saved := [name for name in now if now[name] != known.get(name)]:
                await end(checking)
                known = now
                checking = asyncio.create_task(watched.check(saved))
    finally:
        await end(checking)


def contents() -> dict[str, bytes]:
    """Return what is in the learner's files, by their names."""
    found = {}
    for file in FILES:
        with contextlib.suppress(OSError):
            found[file.name] = file.read_bytes()
    return found


async def end(task: asyncio.Task[None]) -> None:
    """Give up a check, with all its processes. Raises what it raised, if that was an error of ours."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def difference(before: Verdict, after: Verdict) -> str:
    """Return in words what is another than before."""
    changes = {
        "done now": [title for title in after.passed if title not in before.passed],
        "no longer done": [title for title in before.passed if title not in after.passed],
    }
    said = [f"{what}: {listed(titles)}." for what, titles in changes.items() if titles]
    if said:
        return " ".join(said)
    if before.failure is None or after.failure is None or str(before.failure) == str(after.failure):
        return "nothing has changed."
    return "the same step is not done, for another reason."


def listed(titles: list[str]) -> str:
    """Return steps in words."""
    return "; ".join(titles) if len(titles) < 3 else f"{len(titles)} steps"

"""The board of a room: one workflow that lives as long as the room does, and keeps who is where.

Each report is a signal, so none is lost while the trainer's laptop sleeps: it waits in the history. Before that grows
long, the workflow continues as new, with what it knows as its input.
"""

import re
from dataclasses import dataclass, field

from temporalio import workflow

REPORTS_PER_RUN = 100  # So few take no time to be read again, when a worker has forgotten the workflow.
# So much a board has room for: learners, messages that are counted, letters of a text, tries.
MOST_LEARNERS, MOST_MESSAGES, MOST_LETTERS, MOST_TRIES = 200, 200, 200, 999
NAME = "[A-Za-z0-9_.-]{1,40}"


@dataclass
class Report:
    """How a learner's check ended."""

    learner: str
    exercise: int
    step: str  # The step that is not done. Nothing if all are.
    message: str  # What was seen there.
    tries: int  # How often the exercise was checked by now.
    done: int = 0  # How many steps are.


@dataclass
class Standing:
    """Where a learner is. Times are in seconds since 1970."""

    number: int  # The first learner who reported is 1.
    report: Report  # The last one.
    at: float
    furthest: int  # The most steps that were done in this exercise,
    since: float  # when it came so far,
    times: int  # and how many reports have come since that are no less far.
    passed: list[int]  # Exercises.


@dataclass
class Board:
    """Where all learners are, and who has reported which message."""

    standings: dict[str, Standing] = field(default_factory=dict)
    messages: dict[str, list[int]] = field(default_factory=dict)  # Numbers of learners.


@workflow.defn
class RoomWorkflow:
    """The board of one room."""

    @workflow.init
    def __init__(self, board: Board) -> None:
        """Take what an earlier run had on the board."""
        self._board = board
        self._reports = 0

    @workflow.run
    async def run(self, board: Board) -> None:
        """Keep the board, and go on in a new run before the history gets too long."""
        await workflow.wait_condition(self._is_long)
        workflow.continue_as_new(self._board)

    def _is_long(self) -> bool:
        return self._reports >= REPORTS_PER_RUN or workflow.info().is_continue_as_new_suggested()

    @workflow.signal
    def report(self, report: Report) -> None:
        """Take where a learner is. What makes no sense is left out."""
        self._reports += 1
        standings, messages = self._board.standings, self._board.messages
        known = standings.get(report.learner)
        if not re.fullmatch(NAME, report.learner) or not 0 <= report.exercise < 100:
            return  # Anybody may report anything: that harms nobody else's line.
        if known is None and len(standings) >= MOST_LEARNERS:
            return
        step, message, tries = readable(report.step), readable(report.message), min(report.tries, MOST_TRIES)
        now, number = workflow.time(), len(standings) + 1
        shown = Report(report.learner, report.exercise, step, message, tries, report.done)
        standing = Standing(number, shown, now, report.done, now, 1, [])
        if known is not None:
            standing.number, standing.passed = known.number, known.passed
            is_going_on = known.report.exercise == report.exercise and known.report.step and step
            if is_going_on and report.done <= known.furthest:
                # An earlier step that fails in between, as at half a line that was saved, is no progress.
                standing.furthest, standing.since = known.furthest, known.since
                standing.times = known.times + (report.done == known.furthest)
        if not step:
            standing.passed = sorted({*standing.passed, report.exercise})
        standings[report.learner] = standing
        key = f"{report.exercise}: {message}"
        if step and (key in messages or len(messages) < MOST_MESSAGES):
            messages[key] = sorted({*messages.get(key, []), standing.number})

    @workflow.query
    def board(self) -> Board:
        """Return all that is on the board."""
        return self._board


def readable(text: str) -> str:
    """Return what a board shows of a text that anybody may have sent."""
    short = text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 3]}..."
    return "".join(letter for letter in short if letter.isprintable())

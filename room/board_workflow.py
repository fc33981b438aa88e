"""The board of a room: one workflow that lives as long as the room does, and keeps who is where.

Each report is a signal, so none is lost while the trainer's laptop sleeps: it waits in the history. Before that grows
long, the workflow continues as new, with what it knows as its input.
"""

import re
from dataclasses import dataclass, field

from temporalio import workflow

REPORTS_PER_RUN = 500
# So much a board has room for: learners, messages that are counted, letters of a text, tries.
MOST_LEARNERS, MOST_MESSAGES, MOST_LETTERS, MOST_TRIES = 200, 500, 200, 999
NAME = "[A-Za-z0-9_.-]{1,40}"


@dataclass
class Report:
    """How a learner's check ended."""

    learner: str
    exercise: int
    step: str  # The step that is not done. Nothing if all are.
    message: str  # What was seen there.
    tries: int  # How often the exercise was checked by now.


@dataclass
class Standing:
    """Where a learner is. Times are in seconds since 1970."""

    report: Report  # The last one.
    at: float
    since: float  # When the first report of this step came,
    times: int  # and how many came of it since, in a row.
    passed: list[int]  # Exercises.


@dataclass
class Board:
    """Where all learners are, and how often each message was reported."""

    standings: dict[str, Standing] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)


@workflow.defn
class RoomWorkflow:
    """The board of one room."""

    @workflow.init
    def __init__(self, board: Board) -> None:
        self._board = board
        self._reports = 0

    @workflow.run
    async def run(self, board: Board) -> None:
        await workflow.wait_condition(self._is_long)
        workflow.continue_as_new(self._board)

    def _is_long(self) -> bool:
        return self._reports >= REPORTS_PER_RUN or workflow.info().is_continue_as_new_suggested()

    @workflow.signal
    def report(self, report: Report) -> None:
        self._reports += 1
        standings, messages = self._board.standings, self._board.messages
        known = standings.get(report.learner)
        if not re.fullmatch(NAME, report.learner) or not 0 <= report.exercise < 100:
            return  # Anybody may report anything: that harms nobody else's line.
        if known is None and len(standings) >= MOST_LEARNERS:
            return
        step, message, tries = readable(report.step), readable(report.message), min(report.tries, MOST_TRIES)
        now = workflow.time()
        standing = Standing(Report(report.learner, report.exercise, step, message, tries), now, now, 1, [])
        if known is not None:
            standing.passed = known.passed
            if (known.report.exercise, known.report.step) == (report.exercise, step):
                standing.since, standing.times = known.since, known.times + 1
        if not step:
            standing.passed = sorted({*standing.passed, report.exercise})
        standings[report.learner] = standing
        key = f"{report.exercise}: {message}"
        if step and (key in messages or len(messages) < MOST_MESSAGES):
            messages[key] = messages.get(key, 0) + 1

    @workflow.query
    def board(self) -> Board:
        return self._board


def readable(text: str) -> str:
    """Return what a board shows of a text that anybody may have sent."""
    return "".join(letter for letter in text[:MOST_LETTERS] if letter.isprintable())

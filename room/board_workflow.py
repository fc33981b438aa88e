"""The board of a room: one workflow that lives as long as the room does, and keeps who is where.

Each report is a signal, so none is lost while the trainer's laptop sleeps: it waits in the history. Before that grows
long, the workflow continues as new, with what it knows as its input.
"""

from dataclasses import dataclass, field

from temporalio import workflow

REPORTS_PER_RUN = 500
# So much a board has room for, whoever reports: learners, messages that are counted, letters of a text.
MOST_LEARNERS, MOST_MESSAGES, MOST_LETTERS = 200, 500, 200


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
        learner, step, message = (readable(text) for text in (report.learner, report.step, report.message))
        known = self._board.standings.get(learner)
        if not 0 <= report.exercise < 100 or (known is None and len(self._board.standings) >= MOST_LEARNERS):
            return
        now = workflow.time()
        standing = Standing(Report(learner, report.exercise, step, message, report.tries), now, now, 1, [])
        if known is not None:
            standing.passed = known.passed
            if (known.report.exercise, known.report.step) == (report.exercise, step):
                standing.since, standing.times = known.since, known.times + 1
        if not step:
            standing.passed = sorted({*standing.passed, report.exercise})
        self._board.standings[learner] = standing
        messages, key = self._board.messages, f"{report.exercise}: {message}"
        if step and (key in messages or len(messages) < MOST_MESSAGES):
            messages[key] = messages.get(key, 0) + 1

    @workflow.query
    def board(self) -> Board:
        return self._board


def readable(text: str) -> str:
    """Return what a board shows of a text that anybody may have sent."""
    return "".join(letter for letter in text[:MOST_LETTERS] if letter.isprintable())

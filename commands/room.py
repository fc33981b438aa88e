"""The room's board: `python workshop.py room`."""

from checks.exercises import EXERCISES
from room.board_workflow import Board, RoomWorkflow, Standing
from room.report import TASK_QUEUE, WORKFLOW_ID, open_board
from support.connection import connect
from support.script import UserError, stop_event, within

import asyncio
import contextlib
import logging
import re
import time
from collections import Counter
from datetime import timedelta

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError
from temporalio.worker import Worker

INTERVAL = 2.0  # Seconds between two looks.
# A learner is stuck who is at the same step for so many seconds, or has tried it so often.
STUCK_SECONDS, STUCK_TIMES = 600, 5
MOST_MESSAGES = 5
LINES_OF_TABLE = 6  # Beside its rows.
PATIENCE = 5.0  # Seconds that the server may take.
ATTEMPTS = 5
WIDTH = 120  # Where there is no terminal.
FAILING = 'ExecutionStatus = "Running" AND TemporalReportedProblems IS NOT NULL'
LEARNERS_RUN = re.compile(r"system-patch-[^-/]+-(?P<learner>[^/]+)")


async def room(once: bool, anonymous: bool, new: bool) -> int:
    """Run the board's worker, and show the board until somebody stops this. Returns the exit code.

    With `once` it is printed plainly, and that is all. With `anonymous` it has no names. With `new` it begins with an
    empty board. Raises `UserError` if there is no server.
    """
    client = await connect()
    logging.getLogger("temporalio").setLevel(logging.CRITICAL)  # Of reports that make no sense, which are dropped.
    stop = stop_event(limit=15)
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    async with Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[RoomWorkflow],
        # After a board that was killed, another is not to wait for its cache.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
    ):
        await open_board(client, new)
        if once:
            console.print(await look_patiently(client, anonymous))
            return 0
        shown, since = Group(), ""
        with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
            while not stop.is_set():
                height = console.height if console.is_terminal else None
                try:
                    shown, since = await within(PATIENCE, look(client, anonymous, height)), ""
                    live.update(shown, refresh=True)
                # It may just have continued as new, or the server is gone for a moment.
                except (RPCError, WorkflowQueryFailedError, asyncio.TimeoutError):
                    since = since or time.strftime("%X")
                    gone = Text(f"The server does not answer since {since}. What was seen last:\n", style="bold red")
                    live.update(Group(gone, shown), refresh=True)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(stop.wait(), INTERVAL)
        if console.is_terminal:
            console.print(shown)
    return 0


async def look_patiently(client: Client, anonymous: bool) -> Group:
    """Return what there is to see now. Raises `UserError` where the board does not answer, though it is asked again."""
    for _ in range(ATTEMPTS):
        try:
            return await look(client, anonymous)
        except WorkflowQueryFailedError as error:  # It may just have continued as new.
            failure = error
            await asyncio.sleep(INTERVAL)
    raise UserError(f"The board does not answer: {failure.message}")


async def look(client: Client, anonymous: bool, height: int | None = None) -> Group:
    """Return what there is to see now, in so many lines if there is a limit. Raises `RPCError` without an answer."""
    board = await client.get_workflow_handle_for(RoomWorkflow.run, WORKFLOW_ID).query(RoomWorkflow.board)
    failing = Counter([learner_of(run.id) async for run in client.list_workflows(FAILING)])
    names = {
        learner: f"learner {standing.number}" if anonymous else learner for learner, standing in board.standings.items()
    }
    said = stumbles(board, names)
    rows = max(1, height - LINES_OF_TABLE - len(said.plain.splitlines())) if height else None
    return Group(standings(board, names, failing, time.time(), rows), said)


def learner_of(workflow_id: str) -> str:
    """Return whose run it is, or nothing."""
    found = LEARNERS_RUN.match(workflow_id)
    return found["learner"] if found else ""


def is_stuck(standing: Standing, now: float) -> bool:
    """Return whether a learner needs somebody."""
    return bool(standing.report.step) and (now - standing.since >= STUCK_SECONDS or standing.times >= STUCK_TIMES)


def standings(
    board: Board, names: dict[str, str], failing: Counter[str], now: float, most_rows: int | None = None
) -> Table:
    """Return the table of the learners: who needs somebody comes first, the longest on top."""

    def needs_help(learner: str) -> bool:
        return is_stuck(board.standings[learner], now) or failing[learner] > 0

    def order(learner: str) -> tuple[bool, float, bool, str]:
        standing = board.standings[learner]
        is_first = needs_help(learner)
        return not is_first, standing.since if is_first else 0, not standing.report.step, learner

    stuck = sum(map(needs_help, board.standings))
    learners = sorted(board.standings, key=order)
    shown = learners[:most_rows]
    left = f", {len(learners) - len(shown)} not shown" if shown != learners else ""
    table = Table(title=f"{counted(len(learners), 'learner')}, {stuck} stuck{left}", expand=True, title_justify="left")
    table.add_column("learner", no_wrap=True, max_width=20)
    table.add_column("".join(str(number)[-1] for number in EXERCISES), no_wrap=True)
    table.add_column("step that is not done", no_wrap=True, ratio=1)
    for title in ("for", "tries", "failing"):
        table.add_column(title, justify="right", no_wrap=True)
    for learner in shown:
        standing = board.standings[learner]
        report = standing.report
        marks = [
            "✓" if number in standing.passed else "•" if number == report.exercise else "·" for number in EXERCISES
        ]
        step = f"{report.exercise}: {report.step}" if report.step else ""
        tries = standing.times if step else report.tries
        row = [names[learner], "".join(marks), step, duration(now - standing.since) if step else "", str(tries)]
        failed = failing[learner]
        style = "bold red" if needs_help(learner) else "" if step else "green"
        table.add_row(*map(escape, row), str(failed) if failed else "", style=style)
    return table


def stumbles(board: Board, names: dict[str, str]) -> Text:
    """Return what most learners stumble over. A message may have a learner's name in it."""
    most = sorted(board.messages.items(), key=lambda each: -len(each[1]))[:MOST_MESSAGES]
    lines = [f"{counted(len(learners), 'learner'):>12}  {message}" for message, learners in most]
    for learner, name in names.items():
        lines = [re.sub(rf"\b{re.escape(learner)}\b", name, line) for line in lines]
    if not lines:
        return Text("\nNobody has reported anything yet.")
    return Text("\n".join(["", "Most were told, in exercise:", *lines]), no_wrap=True, overflow="ellipsis")


def counted(number: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{number} {noun}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """Return a time as it is said."""
    minutes = timedelta(seconds=max(0, int(seconds))) // timedelta(minutes=1)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"

"""The room's board: `python workshop.py room`."""

from checks.exercises import EXERCISES
from room.board_workflow import Board, RoomWorkflow, Standing
from room.report import TASK_QUEUE, WORKFLOW_ID, open_board
from support.connection import connect
from support.script import stop_event

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
WIDTH = 120  # Where there is no terminal.
FAILING = 'ExecutionStatus = "Running" AND TemporalReportedProblems IS NOT NULL'
LEARNERS_RUN = re.compile(r"system-patch-[^-/]+-(?P<learner>[^/]+)")


async def room(once: bool, anonymous: bool) -> int:
    """Run the board's worker, and show the board until somebody stops this. Returns the exit code.

    With `once` it is printed plainly, and that is all. With `anonymous` it has no names. Raises `UserError` if there is
    no server.
    """
    client = await connect()
    logging.getLogger("temporalio").setLevel(logging.CRITICAL)  # Of reports that make no sense, which are dropped.
    stop = stop_event()
    async with Worker(client, task_queue=TASK_QUEUE, workflows=[RoomWorkflow]):
        await open_board(client)
        if once:
            Console(width=None if Console().is_terminal else WIDTH).print(await look(client, anonymous))
            return 0
        with Live(screen=Console().is_terminal, auto_refresh=False) as live:
            while not stop.is_set():
                # It may just have continued as new, or the server is gone for a moment.
                with contextlib.suppress(RPCError, WorkflowQueryFailedError):
                    live.update(await look(client, anonymous), refresh=True)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(stop.wait(), INTERVAL)
    return 0


async def look(client: Client, anonymous: bool) -> Group:
    """Return what there is to see now. Raises `RPCError` if the server does not say."""
    board = await client.get_workflow_handle_for(RoomWorkflow.run, WORKFLOW_ID).query(RoomWorkflow.board)
    failing = Counter([learner_of(run.id) async for run in client.list_workflows(FAILING)])
    names = {
        learner: f"learner {number}" if anonymous else learner for number, learner in enumerate(board.standings, 1)
    }
    return Group(standings(board, names, failing, time.time()), stumbles(board, names))


def learner_of(workflow_id: str) -> str:
    """Return whose run it is, or nothing."""
    found = LEARNERS_RUN.match(workflow_id)
    return found["learner"] if found else ""


def is_stuck(standing: Standing, now: float) -> bool:
    """Return whether a learner needs somebody."""
    return bool(standing.report.step) and (now - standing.since >= STUCK_SECONDS or standing.times >= STUCK_TIMES)


def standings(board: Board, names: dict[str, str], failing: Counter[str], now: float) -> Table:
    """Return the table of the learners: who is stuck comes first, the longest on top."""
    stuck = sum(is_stuck(each, now) for each in board.standings.values())
    table = Table(title=f"{len(board.standings)} learners, {stuck} stuck", expand=True, title_justify="left")
    table.add_column("learner", no_wrap=True, max_width=20)
    for number in EXERCISES:
        table.add_column(str(number), width=1)
    table.add_column("step that is not done", no_wrap=True, ratio=1)
    for title in ("for", "tries", "failing tasks"):
        table.add_column(title, justify="right")

    def order(learner: str) -> tuple[bool, float, str]:
        standing = board.standings[learner]
        needs_help = is_stuck(standing, now)
        return not needs_help, standing.since if needs_help else 0, learner

    for learner in sorted(board.standings, key=order):
        standing = board.standings[learner]
        report = standing.report
        marks = ["✓" if number in standing.passed else "•" if number == report.exercise else "" for number in EXERCISES]
        step = f"{report.exercise}: {report.step}" if report.step else ""
        row = [names[learner], *marks, step, duration(now - standing.since) if step else "", str(report.tries)]
        failed = failing[learner]
        style = "bold red" if is_stuck(standing, now) else "" if step else "green"
        table.add_row(*map(escape, row), str(failed) if failed else "", style=style)
    return table


def stumbles(board: Board, names: dict[str, str]) -> Text:
    """Return what the room stumbles over most. A message may have a learner's name in it."""
    most = sorted(board.messages.items(), key=lambda each: -each[1])[:MOST_MESSAGES]
    lines = [f"{times:4} times  {message}" for message, times in most]
    for learner, name in names.items():
        lines = [re.sub(rf"\b{re.escape(learner)}\b", name, line) for line in lines]
    return Text("\n".join(["", "Said most, by exercise:", *lines]) if lines else "\nNobody has reported anything yet.")


def duration(seconds: float) -> str:
    """Return a time as it is said."""
    minutes = timedelta(seconds=max(0, int(seconds))) // timedelta(minutes=1)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"

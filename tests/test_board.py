"""The board of a room: what learners' checks report, and what the trainer sees."""

from checks.exercises import EXERCISES
from checks.failure import CheckFailure, Step
from checks.judge import Verdict
from commands import doctor, progress
from commands import room as board
from commands.check import check, keep
from room import board_workflow
from room.board_workflow import Board, Report, RoomWorkflow, Standing
from room.report import Room, find_room
from support.script import UserError
from tests.conftest import Run
from workflow.versions import find_version

import asyncio
import io
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.worker import Worker

STEP, MESSAGE = "It asks", "Nobody was asked."
Rooms = WorkflowHandle[RoomWorkflow, None]


def reported(
    learner: str, exercise: int = 1, step: str = STEP, message: str = MESSAGE, tries: int = 1, done: int = 0
) -> Report:
    return Report(learner, exercise, step, message, tries, done)


@pytest.fixture
async def room(client: Client) -> AsyncIterator[Rooms]:
    """A room of the test's own, with its worker."""
    name = str(uuid.uuid4())
    async with Worker(client, task_queue=name, workflows=[RoomWorkflow]):
        yield await client.start_workflow(RoomWorkflow.run, Board(), id=name, task_queue=name)
        await client.get_workflow_handle(name).terminate()


async def test_the_board_has_where_each_learner_is_since_when_and_what_was_passed(room: Rooms) -> None:
    for report in (reported("ann", 0, "", ""), reported("ann"), reported("bob"), reported("ann", tries=2)):
        await room.signal(RoomWorkflow.report, report)
    found = await room.query(RoomWorkflow.board)
    assert [*found.standings] == ["ann", "bob"]
    ann = found.standings["ann"]
    assert (ann.number, ann.report, ann.times, ann.passed) == (1, reported("ann", tries=2), 2, [0])
    assert ann.since <= found.standings["bob"].at <= ann.at
    assert found.messages == {f"1: {MESSAGE}": [1, 2]}


async def test_who_fails_at_an_earlier_step_in_between_is_at_the_same_step_all_the_time(room: Rooms) -> None:
    for done in (0, 3, 3, 0, 1, 3):
        await room.signal(RoomWorkflow.report, reported("ann", step=f"Step {done + 1}", done=done))
    ann = (await room.query(RoomWorkflow.board)).standings["ann"]
    assert (ann.furthest, ann.times) == (3, 3)
    await room.signal(RoomWorkflow.report, reported("ann", step="Step 5", done=4))
    further = (await room.query(RoomWorkflow.board)).standings["ann"]
    assert (further.furthest, further.times) == (4, 1) and further.since > ann.since
    await room.signal(RoomWorkflow.report, reported("ann", 2))
    assert (await room.query(RoomWorkflow.board)).standings["ann"].furthest == 0


async def test_who_fails_after_all_was_done_begins_anew(room: Rooms) -> None:
    for step in (STEP, STEP, "", STEP):
        await room.signal(RoomWorkflow.report, reported("ann", step=step))
    ann = (await room.query(RoomWorkflow.board)).standings["ann"]
    assert (ann.times, ann.passed) == (1, [1])


NONSENSE: list[Any] = [
    "x",
    None,
    [1],
    {"learner": 5},
    vars(reported("a b")),
    vars(reported("\x1b[2J")),
    vars(reported("neg", -1)),
    {**vars(reported("eve")), "step": []},
]


async def test_reports_that_make_no_sense_are_dropped_and_huge_ones_are_cut(room: Rooms) -> None:
    await room.signal(RoomWorkflow.report, reported("ann"))
    for said in NONSENSE:
        await room.signal("report", said)
    await room.signal("report", args=[1, 2])
    await room.signal("nobody-knows-this", "x")
    await room.signal(RoomWorkflow.report, reported("eve", 2, "a\x1b[2J\n" * 100, "m" * 100_000, 10**30))
    found = await room.query(RoomWorkflow.board)
    assert [*found.standings] == ["ann", "eve"] and found.standings["ann"].report == reported("ann")
    eve = found.standings["eve"].report
    assert eve.tries == 999 and len(eve.message) == 200 and eve.step.isprintable()


async def test_a_flood_of_reports_of_one_learner_harms_nobody_elses_line_and_no_history_grows_long(
    client: Client, room: Rooms
) -> None:
    await room.signal(RoomWorkflow.report, reported("ann"))
    many = board_workflow.MOST_MESSAGES + board_workflow.REPORTS_PER_RUN
    await asyncio.gather(
        *[room.signal(RoomWorkflow.report, reported("eve", message=str(number))) for number in range(many)]
    )
    latest = client.get_workflow_handle_for(RoomWorkflow.run, room.id)
    found = await latest.query(RoomWorkflow.board)
    assert found.standings["ann"].report == reported("ann") and found.standings["eve"].times == many
    assert len(found.messages) == board_workflow.MOST_MESSAGES
    first = await client.get_workflow_handle(room.id, run_id=room.first_execution_run_id).describe()
    assert first.status == WorkflowExecutionStatus.CONTINUED_AS_NEW


async def test_there_is_room_for_so_many_learners(room: Rooms) -> None:
    names = [f"learner{number}" for number in range(board_workflow.MOST_LEARNERS + 5)]
    await asyncio.gather(*[room.signal(RoomWorkflow.report, reported(name)) for name in names])
    await room.signal(RoomWorkflow.report, reported(names[0], 2))
    found = await room.query(RoomWorkflow.board)
    assert len(found.standings) == board_workflow.MOST_LEARNERS


# What a learner's check sends


@pytest.fixture
def learner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Somebody without any progress yet."""
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")


FAILED = Verdict([], Step(STEP, EXERCISES[1].place("Your task")), CheckFailure(MESSAGE, "Expected."))


async def test_nothing_is_sent_unless_the_learner_has_said_so(
    learner: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def judged(*_: object) -> Verdict:
        return FAILED

    sent: list[object] = []

    async def report(room: object, *_: object) -> str:
        sent.append(room)
        return "Sent."

    monkeypatch.setattr("commands.check.judge_files", judged)
    monkeypatch.setattr("commands.check.report_to", report)
    monkeypatch.delenv("WORKSHOP_ROOM", raising=False)
    assert await check(EXERCISES[1], None, []) == 1 and sent == []
    monkeypatch.setenv("WORKSHOP_ROOM", "127.0.0.1:9")
    monkeypatch.setenv("WORKSHOP_LEARNER", "ann")
    assert await check(EXERCISES[1], None, []) == 1 and len(sent) == 1


async def test_a_room_that_does_not_answer_costs_a_line(learner: None, capsys: pytest.CaptureFixture[str]) -> None:
    await keep(EXERCISES[1], FAILED, Room({"target_host": "127.0.0.1:9"}, "ann"))
    assert capsys.readouterr().out == "\nThe room at 127.0.0.1:9 does not answer: nothing was reported.\n"


@pytest.mark.parametrize(
    ("address", "learner", "says"),
    [
        ("localhost:7233", "", "does not say who you are"),
        ("localhost", "ann", "must be a host and a port"),
        ("localhost:x", "ann", "must be a host and a port"),
        (":7233", "ann", "must be a host and a port"),
        ("http://localhost:7233", "ann", "must be a host and a port"),
        ("localhost:7233", "a b", "WORKSHOP_LEARNER is"),
    ],
)
def test_a_room_that_can_not_be_is_refused(
    address: str, learner: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_ROOM", address)
    monkeypatch.setenv("WORKSHOP_LEARNER", learner)
    with pytest.raises(UserError, match=says):
        find_room()


async def test_a_check_reports_and_says_what_it_sent_and_the_trainer_sees_it(
    client: Client, run: Run, elsewhere: str
) -> None:
    """The room's worker comes later, as after the sleep of a laptop."""
    learner = f"ann-{uuid.uuid4().hex[:8]}"
    environment = {"WORKSHOP_LEARNER": learner, "WORKSHOP_ROOM": "shared"}
    assert run("python", "workshop.py", "start", "2", cwd=elsewhere).end()[0] == 0
    code, output = run("python", "workshop.py", "check", "2", cwd=elsewhere, **environment).end()
    assert code == 1
    address = client.service_client.config.target_host
    assert output.splitlines()[-1].startswith(  # If the machine is busy, that is said too.
        f"Reported to the room at {address}: {learner}, exercise 2, try 1, step 2 not done: It has a query "
        "completed_steps, which returns a list of texts: The class SystemPatchWorkflow_Mine has no query named "
        "completed_steps. Its queries: none."
    )
    code, output = run("python", "workshop.py", "room", "--once", cwd=elsewhere).end()
    assert code == 0 and learner in output and "2: It has a query" in output
    code, output = run("python", "workshop.py", "room", "--once", "--anonymous", cwd=elsewhere).end()
    assert code == 0 and learner not in output and "learner 1" in output
    code, output = run("python", "workshop.py", "room", "--once", "--new", cwd=elsewhere).end()
    assert code == 0 and "0 learners, 0 stuck" in output


@pytest.mark.parametrize(
    ("room", "learner", "mark", "says"),
    [
        ("shared", "ann", "ok", "your checks report to {address} as ann"),
        ("shared", "", "TO DO", "export WORKSHOP_LEARNER=your-name"),
        ("127.0.0.1:9", "ann", "TO DO", "127.0.0.1:9 does not answer, so it would not hear of you."),
    ],
)
async def test_doctor_says_whether_the_room_will_hear_of_a_learner(
    client: Client, room: str, learner: str, mark: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_ROOM", room)
    monkeypatch.setenv("WORKSHOP_LEARNER", learner)
    found_mark, text = await doctor.room_finding()
    assert found_mark == mark and says.format(address=client.service_client.config.target_host) in text


# What the trainer sees


def seen(standings: dict[str, Standing], failing: Counter[str] | None = None, now: float = 1000) -> list[str]:
    """The rows of the table, as they are printed."""
    console = Console(width=120, record=True, file=io.StringIO())
    names = {learner: learner for learner in standings}
    console.print(board.standings(Board(standings), names, failing or Counter(), now))
    return console.export_text().splitlines()


def standing(
    learner: str, since: float = 900, times: int = 1, passed: list[int] | None = None, **more: Any
) -> Standing:
    return Standing(1, reported(learner, **more), since, 0, since, times, passed or [])


def test_who_is_stuck_comes_first_the_longest_on_top() -> None:
    rows = seen(
        {
            "ann": standing("ann"),
            "bob": standing("bob", times=5),
            "cleo": standing("cleo", since=100),
            "dan": standing("dan", since=100, step="", passed=[1]),
        }
    )
    assert rows[0].strip() == "4 learners, 2 stuck"
    order = [name for row in rows for name in ("ann", "bob", "cleo", "dan") if f" {name} " in row]
    assert order == ["cleo", "bob", "ann", "dan"]


def test_a_line_has_what_was_passed_how_long_and_what_fails_on_the_server() -> None:
    [row] = [
        row for row in seen({"ann": standing("ann", since=400, passed=[0], tries=7)}, Counter(ann=2)) if " ann " in row
    ]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    marks = "✓•" + "·" * (len(EXERCISES) - 2)
    assert cells == ["ann", marks, f"1: {STEP}", "10 min", "1", "2"]


def test_who_needs_nobody_gives_way_where_there_is_little_room() -> None:
    learners = {name: standing(name, times=5 if name == "zoe" else 1) for name in ("ann", "bob", "zoe")}
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(board.standings(Board(learners), {name: name for name in learners}, Counter(), 1000, 2))
    text = console.export_text()
    assert "3 learners, 1 stuck, 1 not shown" in text
    assert " zoe " in text and " ann " in text and " bob " not in text
    assert f"1: {STEP}" in text and "1 min" in text


def test_a_message_counts_once_for_each_learner_and_names_nobody() -> None:
    many = Board({"ann": standing("ann")}, {"1: Nobody but ann.": [1, 2], "2: Never.": [1]})
    said = board.stumbles(many, {"ann": "learner 1"}).plain.splitlines()
    assert [line.split() for line in said[-2:]] == [
        ["2", "learners", "1:", "Nobody", "but", "learner", "1."],
        ["1", "learner", "2:", "Never."],
    ]


@pytest.mark.parametrize(
    ("workflow_id", "learner"),
    [
        ("system-patch-v3-ann", "ann"),
        ("system-patch-mine-ann.b-c/cluster1/cluster1_host1", "ann.b-c"),
        ("system-patch-v3", ""),
        ("another", ""),
    ],
)
def test_a_run_on_the_server_is_known_by_its_learner(workflow_id: str, learner: str) -> None:
    assert board.learner_of(workflow_id) == learner


@workflow.defn(sandboxed=False)
class Broken:
    """Its task fails again and again."""

    @workflow.run
    async def run(self, reason: str) -> None:
        raise RuntimeError(reason)


async def test_runs_whose_code_fails_are_found_by_their_learner(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = f"bob{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("WORKSHOP_LEARNER", learner)
    id = find_version("v3").workflow_id
    async with Worker(client, task_queue=id, workflows=[Broken]):
        handle = await client.start_workflow(Broken.run, "broken", id=id, task_queue=id)
        while True:  # The server takes a moment to list it.
            failing = [each.id async for each in client.list_workflows(board.FAILING)]
            if learner in map(board.learner_of, failing):
                break
            await asyncio.sleep(0.2)
        await handle.terminate()

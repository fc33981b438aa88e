"""Reports to the room how a check ended, if the learner has said so."""

from checks.machine import slowness
from room.board_workflow import Board, Report, RoomWorkflow
from support.connection import DEFAULT_ADDRESS, connect_config, is_address
from support.script import UserError, within
from workflow.versions import VersionError, learner_name

import asyncio
import os
from dataclasses import dataclass
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

WORKFLOW_ID = TASK_QUEUE = "workshop-room"
PATIENCE = 1.0  # Seconds that a room may take to answer, on an idle machine.
SHARED = "shared"  # As the room's address: the server of TEMPORAL_ADDRESS.


@dataclass
class Room:
    """Where the room's board is, and who reports to it."""

    config: dict[str, Any]
    """What to connect with."""
    learner: str

    @property
    def address(self) -> str:
        """The server that has the board."""
        return str(self.config["target_host"])


def find_room() -> Room | None:
    """Return the room that WORKSHOP_ROOM names, or nothing if it names none.

    Raises `UserError` if it is no address, or if WORKSHOP_LEARNER does not say who reports. To be called before a check
    takes the variables of the connection for its own server.
    """
    address = os.environ.get("WORKSHOP_ROOM", "")
    if not address:
        return None
    try:
        learner = learner_name()
    except VersionError as error:
        raise UserError(str(error)) from None
    if not learner:
        raise UserError(
            f"WORKSHOP_ROOM is {address!r:.60}, and WORKSHOP_LEARNER does not say who you are: "
            "export WORKSHOP_LEARNER=your-name"
        )
    if address == SHARED:
        return Room(connect_config(), learner)
    if not is_address(address):
        raise UserError(
            f"WORKSHOP_ROOM is {address!r:.60}. It must be a host and a port, such as {DEFAULT_ADDRESS}, or `{SHARED}`."
        )
    return Room({"target_host": address}, learner)


async def report(room: Room, exercise: int, step: str, message: str, tries: int, done: int) -> str:
    """Report how a check ended: the step that is not done, and what was seen, or nothing if all is done.

    `done` is how many steps are. Returns in words what was sent, or that the room does not answer.
    """
    try:
        await within(PATIENCE * slowness(), send(room, Report(room.learner, exercise, step, message, tries, done)))
    except (RuntimeError, ValueError, RPCError, asyncio.TimeoutError):
        return f"The room at {room.address} does not answer: nothing was reported."
    what = f"step {done + 1} not done: {step}: {message}" if step else "all steps done."
    return f"Reported to the room at {room.address}: {room.learner}, exercise {exercise}, try {tries}, {what}"


async def send(room: Room, said: Report) -> None:
    """Send a report to the board. If there is none yet, it begins with this one.

    Raises what the SDK raises if the room's server can't be reached.
    """
    client = await Client.connect(**room.config)
    await open_board(client, start_signal="report", start_signal_args=[said])


async def open_board(client: Client, new: bool = False, **options: Any) -> None:
    """Start the board's workflow, with these options, unless it is there and no new one is asked for.

    Raises `RPCError`.
    """
    policy = WorkflowIDConflictPolicy.TERMINATE_EXISTING if new else WorkflowIDConflictPolicy.USE_EXISTING
    await client.start_workflow(
        RoomWorkflow.run, Board(), id=WORKFLOW_ID, task_queue=TASK_QUEUE, id_conflict_policy=policy, **options
    )

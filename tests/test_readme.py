"""The README's commands, taken from the file itself and run in their order, as a learner types them."""

from tests.conftest import PROJECT, Script
from tests.exercises.check import free_port
from tests.runs import YES
from tests.test_workshop import solve

import re
import signal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

README = (PROJECT / "README.md").read_text()
SECTIONS = dict(re.findall(r"^## Exercise (\d): .*?\n(.*?)(?=^## )", README, re.MULTILINE | re.DOTALL))


def commands(text: str) -> list[list[str]]:
    """The commands in the text's `sh` blocks, without their comments."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition("#")[0].split() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_every_exercise_begins_with_start_and_ends_with_check_and_diff() -> None:
    for number in map(str, range(1, 7)):
        found = [" ".join(command) for command in commands(SECTIONS[number])]
        assert found[0].startswith(f"python workshop.py start {number}")
        assert found[-2:] == [f"python workshop.py check {number}", f"python workshop.py diff {number}"]


@pytest.mark.parametrize("number", range(7))
async def test_the_commands_of_an_exercise_work_as_they_are_printed(
    client: Client, run: Any, elsewhere: str, number: int
) -> None:
    before, _, after = SECTIONS[str(number)].partition("\nChange your ")
    environment = {"cwd": elsewhere}
    worker: Script | None = None
    waiting: list[Script] = []

    def start_worker(*command: str) -> Script:
        if worker is not None:  # The learner stops it by Ctrl-C.
            worker.signal(signal.SIGINT)
            worker.end()
        started: Script = run(*command, "--pace", "0", **environment)
        started.wait_for("is running")
        return started

    for command in commands(before):
        if "temporal_server.py" in command:
            port = free_port()
            run(*command, "--temporary", "--port", str(port), **environment).wait_for("UI:")
            environment["TEMPORAL_ADDRESS"] = f"localhost:{port}"
        elif "temporal_worker.py" in command:
            worker = start_worker(*command)
        elif "temporal_client.py" in command and worker is None:
            waiting.append(run(*command, **environment))
            waiting[0].wait_for("No worker of")
        else:
            ended(command, run(*command, **environment))
    for process in waiting:
        ended(["temporal_client.py"], process)

    if after:  # The learner does what the task says, and restarts the worker.
        solve(Path(elsewhere), number)
        worker = start_worker("python", "temporal_worker.py", "mine")
    for command in commands(after):
        if "temporal_worker.py" in command:
            worker = start_worker(*command)
        elif "./sh_restart_worker.sh" in command:
            run(*command, "--pace", "0", **environment).wait_for("is running")
        else:
            process = run(*command, **environment)
            if "--no-answer" in command and "--approval-timeout" not in command:
                process.wait_for("Not answering")  # The learner answers in the Web UI.
                await client.get_workflow_handle("system-patch-mine").execute_update("answer_approval", YES)
            ended(command, process)


def ended(command: list[str], process: Script) -> None:
    """Wait for the end of a command, which is neither one of wrong use nor one of a bug."""
    code, output = process.end()
    is_to_fail = bool({"--reject", "--approval-timeout"} & {*command})
    assert code == is_to_fail, f"{' '.join(command)}\n{output}"
    assert "Traceback" not in output

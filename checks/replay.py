"""Runs recorded workflows again, in a process in which sets have another order:  python -m checks.replay v3 FILE

The file has in JSON: histories by workflow id, and notes of what these runs did. Exit code 3, and the reason on
standard output, if one of them takes another path than it did.
"""

from checks.recorder import Notes, Recorder, difference
from support.logs import short_logging_runtime
from support.processes import Process
from support.script import end_process
from support.strict_input import RightArguments, strict_data_converter
from workflow.versions import Version, find_version

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHistory
from temporalio.worker import Interceptor, Replayer

ANOTHER_PATH = 3  # An exit code that no crash of Python has.


async def replay(
    workflows: Sequence[type], histories: Mapping[str, str | dict[str, Any]], *interceptors: Interceptor
) -> Exception | None:
    """Return why one of these runs takes another path than its history says, or None if all take the same.

    Takes the histories by workflow id, as JSON or as what JSON stands for.
    """
    replayer = Replayer(
        workflows=workflows,
        data_converter=strict_data_converter(),
        interceptors=[RightArguments(), *interceptors],
        runtime=short_logging_runtime(),
    )

    async def recorded() -> AsyncIterator[WorkflowHistory]:
        for workflow_id, history in histories.items():
            yield WorkflowHistory.from_json(workflow_id, history)

    # All by one worker: making one takes longer than replaying a history.
    results = await replayer.replay_workflows(recorded(), raise_on_replay_failure=False)
    return next(iter(results.replay_failures.values()), None)


async def another_path(workflows: Sequence[type], histories: Mapping[str, str], notes: Notes) -> str | None:
    """Return in words what one of these runs does otherwise when it is run again, or None.

    The notes say what the runs did the first time: their inputs and their order count too.
    """
    recorder = Recorder()
    failure = await replay(workflows, histories, recorder)
    return difference(notes, recorder.notes) or (" ".join(str(failure).split()) if failure else None)


async def another_path_elsewhere(
    version: Version, histories: Mapping[str, str], notes: Notes, hash_seed: int
) -> str | None:
    """Do what `another_path` does in a process of its own, where texts have other hashes and sets another order.

    Raises `RuntimeError` if that process dies.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "histories.json")
        file.write_text(json.dumps([histories, notes]))
        seed = {"PYTHONHASHSEED": str(hash_seed)}
        process = Process("python", "-m", "checks.replay", version.name, str(file), environment=seed)
        try:
            code = await process.ended()
        finally:
            process.kill()
    if code not in (0, ANOTHER_PATH):
        raise RuntimeError(f"the replay ended with exit code {code}: {process.text()}")
    return process.lines[-1] if code else None


async def _main(name: str, file: str) -> int:
    histories, notes = json.loads(Path(file).read_text())
    reason = await another_path(find_version(name).workflows, histories, notes)
    if reason is not None:
        print(reason)
    return ANOTHER_PATH if reason else 0


if __name__ == "__main__":
    end_process(asyncio.run(_main(*sys.argv[1:])))

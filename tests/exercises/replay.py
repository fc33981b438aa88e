"""Runs recorded workflows again, in a process in which sets have another order:  python -m tests.exercises.replay v3

Reads a JSON object of histories by workflow id from standard input. Exit code 1, and the reason on standard output, if
one of them takes another path than it did.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from temporal_connection import short_logging_runtime, strict_data_converter
from workflow import Version, find_version


async def replay(version: Version, histories: Mapping[str, str]) -> str | None:
    """Return why one of these workflows takes another path than its history says, or None if all take the same."""
    replayer = Replayer(
        workflows=version.workflows, data_converter=strict_data_converter(), runtime=short_logging_runtime()
    )
    for workflow_id, text in histories.items():
        result = await replayer.replay_workflow(
            WorkflowHistory.from_json(workflow_id, text), raise_on_replay_failure=False
        )
        if result.replay_failure is not None:
            return str(result.replay_failure)
    return None


async def replay_elsewhere(version: Version, histories: Mapping[str, str], hash_seed: int) -> str | None:
    """Do the same in a process of its own, in which texts have other hashes and so sets of them another order."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.exercises.replay", version.name),
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        output, _ = await process.communicate(json.dumps(histories).encode())
    except asyncio.CancelledError:
        process.kill()
        raise
    return output.decode().strip() if process.returncode else None


if __name__ == "__main__":
    reason = asyncio.run(replay(find_version(sys.argv[1]), json.load(sys.stdin)))
    print(reason or "", flush=True)
    os._exit(1 if reason else 0)

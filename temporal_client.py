"""Starts one version of the workflow and follows it to its end:  python temporal_client.py v3

With --attach it follows the run that is there.
Exit codes: 0 the workflow completed, 1 it failed, 2 wrong use or no server, 130 Ctrl-C (the workflow goes on).
"""

from support.client import ending_of, following, is_closed, latest_run_id, look_for_worker, make_way, seconds_of
from support.client_flags import read_flags
from support.connection import connect, web_ui_link
from support.script import run_script
from workflow.types import ApprovalAnswer, SystemPatchInput, SystemPatchResult
from workflow.versions import Version

import asyncio
from datetime import timedelta

from temporalio.client import (
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

Handle = WorkflowHandle[object, object]


async def run_client(
    version: Version,
    input: SystemPatchInput,
    answer: ApprovalAnswer | None,
    *,
    by_signal: bool = False,
    attach: bool = False,
    poll_interval: float = 1.0,
) -> int:
    """Start the workflow, or pick up the run that is there, and follow it to its end. Returns the exit code."""
    client = await connect()
    if attach:
        run_id: str | None = await latest_run_id(client, version)
        print(f"Attached to {version.workflow.__name__}, workflow id {version.workflow_id}")
    else:
        await make_way(client, version.workflow_id)
        started = await client.start_workflow(
            version.workflow.run,
            input,
            id=version.workflow_id,
            task_queue=version.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
            static_summary=f"Patch {', '.join(input.target_clusters)}"[:200],
        )
        run_id = started.first_execution_run_id
        print(f"Started {version.workflow.__name__}, workflow id {version.workflow_id}")
    print(f"Web UI: {web_ui_link(client, version.workflow_id, run_id)}", flush=True)
    # With its run id, so that nothing goes to a run that has replaced this one.
    handle: Handle = client.get_workflow_handle_for(version.workflow.run, version.workflow_id, run_id=run_id)
    async with following(client, handle, version):
        await look_for_worker(handle, version)
        if version.has_approval and not await is_closed(handle):
            if answer is not None:
                await answer_approval(handle, answer, by_signal or "answer_approval" not in version.handlers)
            else:
                until = "" if attach else f", which ends after {input.approval_timeout_seconds} s"
                print(f"Not answering the approval request{until}.", flush=True)
        ending = asyncio.create_task(handle.result())
        if "completed_steps" in version.handlers:
            await print_progress(handle, ending, poll_interval)
        else:
            print(
                "Waiting for its end. Until then, the worker's terminal and the Web UI show what it does.", flush=True
            )
        return await print_end(handle, ending)


async def answer_approval(handle: Handle, answer: ApprovalAnswer, by_signal: bool) -> None:
    """Answer the approval request: by update, which returns a reply, or by signal, which does not."""
    word = "approved" if answer.approved else "rejected"
    try:
        if by_signal:
            await handle.signal("answer_approval_signal", answer)
            print(f"Approval request answered by signal: {word}", flush=True)
        else:
            reply = await handle.execute_update("answer_approval", answer, result_type=str)
            print(f"Approval request answered by update: {word}. The workflow replied: {reply}", flush=True)
    except WorkflowUpdateFailedError as error:
        print(f"The workflow refused the answer: {error.cause}", flush=True)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        print("The workflow ended before it could be answered.", flush=True)


async def print_progress(handle: Handle, ending: "asyncio.Task[object]", poll_interval: float) -> None:
    """Ask for the completed steps every `poll_interval` seconds, and print the new ones, until the workflow ends."""
    printed = 0
    while True:
        ended = ending.done()
        try:
            steps = await handle.query("completed_steps", result_type=list[str], rpc_timeout=timedelta(seconds=5))
            for step in steps[printed:]:
                print(f"  {step}", flush=True)
            printed = max(printed, len(steps))
        except WorkflowQueryFailedError as error:
            print(f"The query completed_steps failed: {error.message}", flush=True)
            return
        except (RPCError, WorkflowQueryRejectedError):
            pass  # No worker answered in time, or the run is paused. When it goes on, so do we.
        if ended:
            return
        await asyncio.wait([ending], timeout=poll_interval)


async def print_end(handle: Handle, ending: "asyncio.Task[object]") -> int:
    """Wait for the workflow's end, and print how it ended. Returns the exit code."""
    try:
        result = await ending
    except WorkflowFailureError as error:
        print(f"Workflow {ending_of(error)} (after {await seconds_of(handle):.1f} s)")
        return 1
    except ApplicationError as error:
        print(f"Workflow completed, but its result has not the type that `run` declares: {error.message}")
        return 1
    print(f"Workflow completed after {await seconds_of(handle):.1f} s. Patched hosts:")
    if isinstance(result, SystemPatchResult):
        for cluster in result.clusters:
            print(f"  {cluster.cluster}: {', '.join(cluster.patched_hosts)}")
    else:
        print(f"  {result}")
    return 0


def main() -> None:
    """Read the command line and run the client."""
    flags = read_flags(__doc__, default_version="v1")
    run_script(
        lambda: run_client(
            flags.version,
            flags.input,
            flags.answer,
            by_signal=flags.by_signal,
            attach=flags.attach,
            poll_interval=flags.poll_interval,
        ),
        "Stopped watching. The workflow itself goes on: see the Web UI, or follow it again with --attach.",
    )


if __name__ == "__main__":
    main()

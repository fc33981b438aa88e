"""Starts one version of the workflow and follows it to its end:  python temporal_client.py v3

With --attach it follows the run that is there.
Exit codes: 0 the workflow completed, 1 it failed, 2 wrong use or no server, 130 Ctrl-C (the workflow goes on).
"""

from temporal_connection import UserError, connect, run_script, web_ui_link

# isort: split
import argparse
import asyncio
import sys
import time
from datetime import timedelta
from pathlib import Path

from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError, TimeoutError
from temporalio.service import RPCError, RPCStatusCode

from workflow import Version, VersionError, find_version
from workflow.types import ApprovalAnswer, SystemPatchInput, SystemPatchResult, VaultReference

Handle = WorkflowHandle[object, object]
WORKER_TIMEOUT = 3.0


async def run_client(version: Version, input: SystemPatchInput, arguments: argparse.Namespace) -> int:
    """Start the workflow, or pick up the run that is there, and follow it to its end. Returns the exit code."""
    client = await connect()
    if arguments.attach:
        run_id: str | None = await run_to_attach_to(client, version)
        print(f"Attached to {version.workflow.__name__}, workflow id {version.workflow_id}")
    else:
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
    try:
        return await follow(handle, version, input, arguments)
    except RPCError as error:
        if error.status is not RPCStatusCode.UNAVAILABLE:
            raise
        again = f"python {Path(sys.argv[0]).name} {version.name} --attach"
        raise UserError(
            f"The Temporal server is gone: {error.message}. The run goes on when it is back. Follow it by: {again}"
        ) from error


async def run_to_attach_to(client: Client, version: Version) -> str:
    """Return the id of the version's latest run. Raises `UserError` if there has been none."""
    try:
        return (await client.get_workflow_handle(version.workflow_id).describe()).run_id
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise UserError(f"There is no run of {version.name} to attach to. Start one without --attach.") from error


async def follow(handle: Handle, version: Version, input: SystemPatchInput, arguments: argparse.Namespace) -> int:
    """Answer the workflow's approval request, follow its progress, print its end. Returns the exit code."""
    await look_for_worker(handle, version)

    if has_approval(version) and (await handle.describe()).close_time is None:
        if arguments.no_answer:
            until = "" if arguments.attach else f", which ends after {input.approval_timeout_seconds} s"
            print(f"Not answering the approval request{until}.", flush=True)
        else:
            answer = ApprovalAnswer(approved=not arguments.reject, approver="the client")
            await answer_approval(
                handle, answer, by_signal=arguments.signal or "answer_approval" not in version.handlers
            )

    ending = asyncio.create_task(handle.result())
    if "completed_steps" in version.handlers:
        await print_progress(handle, ending, arguments.poll_interval)
    else:
        print("Waiting for its end. Until then, the worker's terminal and the Web UI show what it does.", flush=True)
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


async def seconds_of(handle: Handle) -> float:
    """Return how long the workflow, which has ended, took by the server's clock."""
    description = await handle.describe()
    assert description.close_time is not None
    return (description.close_time - description.start_time).total_seconds()


def has_approval(version: Version) -> bool:
    """Return whether the workflow takes an answer to an approval request, in one of the two ways."""
    return not version.handlers.isdisjoint({"answer_approval", "answer_approval_signal"})


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
        except RPCError:
            pass  # No worker answered in time. The workflow goes on when there is one, and so do we.
        if ended:
            return
        await asyncio.wait([ending], timeout=poll_interval)


async def look_for_worker(handle: Handle, version: Version) -> None:
    """Say so if no live worker of this version takes up the workflow, with the command that starts one."""
    deadline = time.monotonic() + WORKER_TIMEOUT
    # The server lists pollers of a task queue, but also those that died minutes ago. What proves a live worker is that
    # it takes the first workflow task, the third event of the history.
    while time.monotonic() < deadline:
        if (await handle.describe()).history_length > 2:
            return
        await asyncio.sleep(0.05)
    command = f"python temporal_worker.py {version.name}"
    print(
        f"No worker of {version.name} answers, so the workflow waits. Start one in another terminal: {command}",
        flush=True,
    )


def ending_of(error: WorkflowFailureError) -> str:
    """Return how the workflow ended, and if it failed, the cause at the root, in one line."""
    ended = {CancelledError: "was cancelled", TerminatedError: "was terminated", TimeoutError: "timed out"}
    if type(error.cause) in ended:
        return ended[type(error.cause)]
    # A parent that fails because a child or an activity failed: what happened stands at the end of the chain, and
    # the first ApplicationError on the way there is the one that the workflow's author wrote.
    cause: BaseException = error.cause
    while not isinstance(cause, ApplicationError) and cause.__cause__ is not None:
        cause = cause.__cause__
    return f"failed: {' '.join(str(cause).split())}"


def main() -> None:
    """Read the command line and run the client."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", nargs="?", default="v1", help="version of the workflow, such as v3 (default: v1)")
    parser.add_argument(
        "--clusters",
        default="cluster1,cluster2,cluster3",
        help="clusters to patch, with commas between them (default: cluster1,cluster2,cluster3)",
    )
    parser.add_argument(
        "--pilot-count", type=int, default=3, help="hosts of each cluster that are patched first (default: 3)"
    )
    parser.add_argument(
        "--approval-timeout",
        type=int,
        default=300,
        metavar="SECONDS",
        help="how long the workflow waits for an approval, in seconds (default: 300)",
    )
    parser.add_argument(
        "--poll-interval",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="time between two questions for the progress, in seconds (default: 1)",
    )
    parser.add_argument("--signal", action="store_true", help="answer the approval request by signal, not by update")
    parser.add_argument(
        "--attach",
        action="store_true",
        help="pick up the run that is there instead of starting one, as after Ctrl-C (what it patches stays as it is)",
    )
    answer = parser.add_mutually_exclusive_group()
    answer.add_argument("--reject", action="store_true", help="reject the approval request")
    answer.add_argument("--no-answer", action="store_true", help="leave the approval request unanswered")
    arguments = parser.parse_args()
    if not 0.05 <= arguments.poll_interval <= 3600:
        parser.error("--poll-interval must be a number of seconds from 0.05 to 3600")
    try:
        version = find_version(arguments.version)
        if (arguments.signal or arguments.reject or arguments.no_answer) and not has_approval(version):
            parser.error(
                f"{version.name} asks for no approval: --signal, --reject and --no-answer come with exercise 1"
            )
        input = SystemPatchInput(
            target_clusters=[name.strip() for name in arguments.clusters.split(",")],
            pilot_count=arguments.pilot_count,
            vault=VaultReference(address="https://vault.example.com:8200", secret_path_prefix="ssh/hosts"),
            approval_timeout_seconds=arguments.approval_timeout,
        )
    except (VersionError, ApplicationError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    run_script(
        lambda: run_client(version, input, arguments),
        "Stopped watching. The workflow itself goes on: see the Web UI, or follow it again with --attach.",
    )


if __name__ == "__main__":
    main()

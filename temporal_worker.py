"""Runs a worker for one version of the workflow:  python temporal_worker.py v3

It takes workflow tasks and activity tasks from that version's task queue until Ctrl-C or SIGTERM stops it.
"""

from support.connection import connect
from support.logs import set_up_logging
from support.pid_lock import pid_lock
from support.script import UserError, run_script, stop_event
from workflow.versions import Version, VersionError, activities_of, find_version

import argparse
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio.worker import Worker

GRACEFUL_SHUTDOWN = timedelta(seconds=5)
# How long the server offers a workflow's next task to this worker only, which has the workflow in its cache. After a
# crash that is time lost. By default it is 10 seconds.
STICKY_TIMEOUT = timedelta(seconds=2)


async def run_worker(version: Version, pace: float) -> int:
    """Run the worker until it is told to stop. Returns the exit code."""
    client = await connect()
    activities = version.activities(pace)
    try:
        worker = Worker(
            client,
            task_queue=version.task_queue,
            workflows=version.workflows,
            activities=activities_of(activities),
            # An activity that is a plain `def` runs in one of its threads. The SDK runs 100 activities at a time.
            activity_executor=ThreadPoolExecutor(100),
            graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
            sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        )
    except (RuntimeError, ValueError) as error:
        reason = error.__cause__ or error
        raise UserError(f"Workflow or activities of {version.name} can't be registered: {error}: {reason}") from error
    stop = stop_event()
    with pid_lock(version) as note:
        if note:
            print(note)
        try:
            async with worker:
                names = ", ".join(workflow.__name__ for workflow in version.workflows)
                print(
                    f"Worker for {version.name} is running: task queue {version.task_queue}, workflows {names}, "
                    f"activities of {type(activities).__name__}. Ctrl-C stops it.",
                    flush=True,
                )
                await stop.wait()
                print("Stopping: running activities get 5 seconds to finish.", flush=True)
        except RuntimeError as error:
            raise UserError(f"The worker can't run: {error.__cause__ or error}") from error
    print("Worker stopped.", flush=True)
    return 0


def main() -> None:
    """Read the command line and run the worker."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("version", nargs="?", default="v1", help="version of the workflow, such as v3 (default: v1)")
    how_long = "how long the simulated work takes: 1 as in the exercises, 0.1 a tenth of that, 0 no time (default: 1)"
    parser.add_argument("--pace", type=float, default=1.0, help=how_long)
    arguments = parser.parse_args()
    if not 0 <= arguments.pace <= 100:
        parser.error("--pace must be a number from 0 to 100")
    try:
        version = find_version(arguments.version)
    except VersionError as error:
        parser.exit(2, f"{error}\n")
    set_up_logging()
    run_script(lambda: run_worker(version, arguments.pace))


if __name__ == "__main__":
    main()

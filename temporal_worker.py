"""Runs a worker for one version of the workflow:  python temporal_worker.py v3

It takes workflow tasks and activity tasks from that version's task queue until Ctrl-C or SIGTERM stops it.
"""

from support.connection import connect
from support.logs import set_up_logging
from support.pid_lock import pid_lock
from support.script import UserError, run_script, stop_event
from support.worker_flags import read_flags
from workflow.versions import Version, activities_of

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig

GRACEFUL_SHUTDOWN = timedelta(seconds=5)
# How long a workflow's next task is for this worker only, which has it in its cache. After a crash that is time lost.
STICKY_TIMEOUT = timedelta(seconds=2)
# With a workflow for each host, so many can be under way. One that is not in the cache is replayed for each task.
CACHED_WORKFLOWS = 10_000


async def run_worker(version: Version, pace: float, hosts_per_cluster: int, build: str) -> int:
    """Run the worker until it is told to stop. Returns the exit code."""
    client = await connect()
    # With builds, each run stays with the one that began it.
    build_version = WorkerDeploymentVersion(version.task_queue.replace(".", "-"), build)
    deployment = WorkerDeploymentConfig(build_version, True, VersioningBehavior.PINNED) if build else None
    try:
        activities = version.activities(pace, hosts_per_cluster)
        worker = Worker(
            client,
            task_queue=version.task_queue,
            workflows=version.workflows,
            activities=activities_of(activities),
            # An activity that is a plain `def` runs in one of its threads. The SDK runs 100 activities at a time.
            activity_executor=ThreadPoolExecutor(100),
            graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
            sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
            max_cached_workflows=CACHED_WORKFLOWS,
            deployment_config=deployment,
        )
    except (RuntimeError, ValueError, TypeError) as error:
        reason = f": {error.__cause__}" if error.__cause__ else ""
        raise UserError(f"Workflow or activities of {version.name} can't be registered: {error}{reason}") from error
    stop = stop_event(limit=15)  # Seconds. What still runs then is left to the next worker.
    with pid_lock(version) as note:
        if note and not build:
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
    flags = read_flags(__doc__)
    set_up_logging()
    run_script(lambda: run_worker(flags.version, flags.pace, flags.hosts_per_cluster, flags.build))


if __name__ == "__main__":
    main()

"""Runs a worker for one version of the workflow:  python temporal_worker.py v3

It takes workflow tasks and activity tasks from that version's task queue until Ctrl-C or SIGTERM stops it.
"""

from temporal_connection import UserError, connect, run_script, stop_event

# isort: split
import argparse
import asyncio
import fcntl
import inspect
import logging
import os
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from workflow import Version, VersionError, find_version

RUN_FOLDER = Path(__file__).parent / ".run"
GRACEFUL_SHUTDOWN = timedelta(seconds=5)
# How long the server offers a workflow's next task to this worker only, which has the workflow in its cache. After a
# crash that is time lost. By default it is 10 seconds.
STICKY_TIMEOUT = timedelta(seconds=2)


class ShortErrors(logging.Formatter):
    """Logs an error that was raised on purpose, or by a cancellation, in one line and without its traceback."""

    def formatException(
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """Return the error's own line for such an error, the whole traceback for any other."""
        on_purpose = isinstance(ei[1], ApplicationError | asyncio.CancelledError)
        return f"    {ei[1]}" if on_purpose else super().formatException(ei)


def activities_of(instance: object) -> list[Callable[..., Any]]:
    """Return all activities of an activity class's instance, in the form in which a worker wants them."""
    return [
        method
        for _, method in inspect.getmembers(instance, inspect.ismethod)
        if hasattr(method, "__temporal_activity_definition")
    ]


def pid_file(name: str) -> Path:
    """Return the file in which the worker of this version leaves its process id, for `sh_restart_worker.sh`."""
    return RUN_FOLDER / f"temporal_worker_{name}.pid"


def write_pid_file(name: str) -> IO[str] | None:
    """Write this process's id and lock the file. Returns the file, or None where another worker has locked it.

    The lock ends with the process, however that ends. So whoever finds the file locked knows that the worker is alive,
    and that no later process has got its id.
    """
    RUN_FOLDER.mkdir(exist_ok=True)
    file = pid_file(name).open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def running_worker(name: str) -> int | None:
    """Return the id of the process that runs a worker of this version, or None if there is none."""
    try:
        with pid_file(name).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read())
    except FileNotFoundError:
        pass
    return None


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
            graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
            sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        )
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"Workflow or activities of {version.name} can't be registered: {error}: {reason}") from error
    stop = stop_event()
    file = write_pid_file(version.name)
    if file is None:
        other = running_worker(version.name)
        print(f"A worker of {version.name} is running already, process {other}: they share the work.")
    try:
        async with worker:
            print(
                f"Worker for {version.name} is running: task queue {version.task_queue}, "
                f"workflows {', '.join(w.__name__ for w in version.workflows)}, "
                f"activities of {type(activities).__name__}. Ctrl-C stops it.",
                flush=True,
            )
            await stop.wait()
            print("Stopping: running activities get 5 seconds to finish.", flush=True)
    except RuntimeError as error:
        raise UserError(f"The worker can't run: {error.__cause__ or error}") from error
    finally:
        if file is not None:
            pid_file(version.name).unlink(missing_ok=True)
    print("Worker stopped.", flush=True)
    return 0


def set_up_logging(level: int = logging.INFO) -> None:
    """Log in short lines what is of this level (one of `logging`'s) or above."""
    handler = logging.StreamHandler()
    handler.setFormatter(ShortErrors("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler])
    # The messages name host and cluster; which task it was, the Web UI shows better than a line that is cut off.
    activity.logger.activity_info_on_message = False
    workflow.logger.workflow_info_on_message = False
    # When a client replaces a run, activities of the old one end. The SDK warns of what it then no longer can cancel.
    warnings.filterwarnings("ignore", "Cannot find activity to cancel")


def main() -> None:
    """Read the command line and run the worker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", nargs="?", default="v1", help="version of the workflow, such as v3 (default: v1)")
    parser.add_argument(
        "--pace",
        type=float,
        default=1.0,
        help="how long the simulated work takes: 1 as in the README, 0.1 a tenth of that, 0 no time (default: 1)",
    )
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

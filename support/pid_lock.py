"""Which process is a version's worker: it leaves its id in a file, and holds a lock on that.

`python -m support.pid_lock v4` prints the id of the worker of version 4, or an empty line: for sh_restart_worker.sh.
"""

from support import PROJECT
from workflow.versions import VersionError, find_version

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

RUN_FOLDER = PROJECT / ".run"
PREFIX = "temporal_worker_"


def pid_file(name: str) -> Path:
    """Return the file in which the worker of this version leaves its process id."""
    return RUN_FOLDER / f"{PREFIX}{name}.pid"


@contextmanager
def pid_lock(name: str) -> Iterator[int | None]:
    """Within this, this process is known as the worker of the version. Yields None, or the id of one that is already.

    The lock ends with the process, however that ends. So whoever finds the file locked knows that the worker is alive,
    and that no later process has got its id.
    """
    file = _write_pid_file(name)
    if file is None:
        yield running_worker(name)
        return
    try:
        yield None
    finally:
        pid_file(name).unlink(missing_ok=True)
        file.close()


def _write_pid_file(name: str) -> IO[str] | None:
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


def running_workers() -> dict[str, int]:
    """Return the ids of the processes that run a worker, by the name of its version."""
    names = sorted(file.stem.removeprefix(PREFIX) for file in RUN_FOLDER.glob(f"{PREFIX}*.pid"))
    found = [(name, running_worker(name)) for name in names]
    return {name: process for name, process in found if process is not None}


if __name__ == "__main__":
    try:
        print(running_worker(find_version(sys.argv[1]).name) or "")
    except VersionError as error:
        sys.exit(str(error))

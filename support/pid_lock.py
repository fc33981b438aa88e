"""Which processes are a version's workers: each leaves a file with its id in the name, and holds a lock on that.

`python -m support.pid_lock v4` prints the ids of the workers of version 4, or an empty line: for sh_restart_worker.sh.
"""

from support import PROJECT
from workflow.versions import Version, VersionError, find_version

import contextlib
import fcntl
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

RUN_FOLDER = PROJECT / ".run"
FILE = re.compile(r"temporal_worker_(?P<version>.+)_(?P<process>\d+)\.pid")


@dataclass(frozen=True)
class RunningWorker:
    """A worker that runs from this folder."""

    version: str
    process: int
    learner: str
    """The value of WORKSHOP_LEARNER where it was started, or nothing."""


@contextlib.contextmanager
def pid_lock(version: Version) -> Iterator[str]:
    """Within this, this process is known as a worker of the version. Yields what there is to say about it, or nothing.

    The lock ends with the process, however that ends. So whoever finds a file locked knows that the worker is alive,
    and that no later process has got its id.
    """
    others = [str(worker.process) for worker in running_workers() if worker.version == version.name]
    file = RUN_FOLDER / f"temporal_worker_{version.name}_{os.getpid()}.pid"
    try:
        RUN_FOLDER.mkdir(exist_ok=True)
        locked = _locked(file)
        locked.write(version.learner)
        locked.flush()
    except OSError as error:
        where = file.relative_to(PROJECT)
        yield f"{where} can't be written ({error.strerror}), so sh_restart_worker.sh does not find this worker."
        return
    try:
        already = f"A worker of {version.name} is running already, process {', '.join(others)}: they share the work."
        yield already if others else ""
    finally:
        file.unlink(missing_ok=True)
        locked.close()


def _locked(path: Path) -> IO[str]:
    """Return the file, made now and locked. Raises `OSError` if that can't be done."""
    while True:
        file = path.open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # Whoever found it unlocked, a moment ago, took it for a dead worker's and removed it.


def running_workers() -> list[RunningWorker]:
    """Return the workers that run from this folder. Files that dead ones have left are removed."""
    found = []
    for path in sorted(RUN_FOLDER.glob("*.pid")):
        named = FILE.fullmatch(path.name)
        if named is None:
            continue
        with contextlib.suppress(OSError), path.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # So that two who look don't take each other for it.
                path.unlink()
            except BlockingIOError:
                found.append(RunningWorker(named["version"], int(named["process"]), file.read(100).strip()))
    return found


if __name__ == "__main__":
    try:
        wanted = find_version(sys.argv[1]).name
    except VersionError as error:
        sys.exit(str(error))
    print(*[worker.process for worker in running_workers() if worker.version == wanted])

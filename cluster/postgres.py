"""PostgreSQL: found, with a database cluster of its own in a temporary folder, run by a user that is not root."""

from cluster.parts import Part
from support.ports import THIS_MACHINE, free_port
from support.processes import run_command
from support.script import UserError
from support.temporal_cli import numbers

import asyncio
import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DEBIAN = Path("/usr/lib/postgresql")
NO_POSTGRES = "PostgreSQL is missing: sudo apt-get install postgresql (Debian and Ubuntu), or put initdb on PATH."
USER = "temporal"
SMALL_DISK = "512m"
BALLAST = "ballast"
BLOCK = bytes(65_536)


@dataclass(frozen=True)
class Postgres:
    """A database cluster that was made."""

    programs: Path
    folder: Path
    port: int
    password: str

    @property
    def data(self) -> Path:
        """The folder that PostgreSQL itself takes."""
        return self.folder / "data"


def find_postgres() -> Path:
    """Return the folder of PostgreSQL's programs: Debian's newest, or what is on PATH. Raises `UserError` if none."""
    found = [path.parent for path in DEBIAN.glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda path: numbers(path.parent.name))
    on_path = shutil.which("initdb")
    if on_path is None:
        raise UserError(NO_POSTGRES)
    return Path(on_path).resolve().parent


def as_its_user() -> list[str]:
    """Return how a command begins that may not be run by root: as `postgres`, or where there is none, `nobody`."""
    if os.geteuid() != 0:
        return []
    user = _its_user()
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]


def _its_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise UserError("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`: add one.")


async def make_database(programs: Path, folder: Path) -> Postgres:
    """Make a database cluster in this folder, which is to be empty. Raises `UserError` if that fails."""
    made = Postgres(programs, folder, free_port(), secrets.token_hex(16))
    password_file = folder / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(made.password)
    if os.geteuid() == 0:
        for path in (folder, password_file):
            os.chown(path, _its_user().pw_uid, _its_user().pw_gid)
    command = [*as_its_user(), str(programs / "initdb"), "--pgdata", str(made.data), "--username", USER]
    command += ["--pwfile", str(password_file), "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
    await run_command(command, folder=folder)
    return made


def run_postgres(made: Postgres, log: Path) -> Part:
    """Start PostgreSQL on it. What it prints goes to files by the name `log`."""
    command = [*as_its_user(), str(made.programs / "postgres"), "-D", str(made.data), "-p", str(made.port)]
    # No other way in than by this port. Its shared memory is in files of its own folder, so that none is left after a
    # crash; and so much of its log as fits on a small disk.
    settings = {
        "listen_addresses": THIS_MACHINE,
        "unix_socket_directories": "",
        "dynamic_shared_memory_type": "mmap",
        "max_wal_size": "128MB",
    }
    command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    async def is_ready(_: Part) -> bool:
        question = [str(made.programs / "pg_isready"), "-h", THIS_MACHINE, "-p", str(made.port), "-t", "1"]
        with contextlib.suppress(UserError):
            await run_command(question, folder=made.folder)
            return True
        return False

    # SIGTERM would wait for all connections to end (https://www.postgresql.org/docs/current/server-shutdown.html).
    return Part("postgresql", command, is_ready, folder=made.folder, log=log, stop_signal=signal.SIGINT)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Within this, the folder is a small disk in memory. Raises `UserError` where that is not possible."""
    try:
        command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=700", "workshop", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError("A disk that can be filled needs root and Linux: leave out the faults `full`.") from error
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)


async def fill_disk(made: Postgres, seconds: float) -> None:
    """Keep its disk full for so many seconds, which must be a small one."""
    ballast = made.folder / BALLAST
    until = time.monotonic() + seconds
    try:
        with ballast.open("wb", buffering=0) as file:
            while time.monotonic() < until:
                with contextlib.suppress(OSError):  # It is full.
                    while file.write(BLOCK):
                        pass
                await asyncio.sleep(0.05)
    finally:
        ballast.unlink(missing_ok=True)

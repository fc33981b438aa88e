"""A kit is one archive with all that the set-up fetches. Here is the set-up from it, without a network.

`python -m support.kit KIT ARGUMENT...` makes .venv by `pip install ARGUMENT...`: that is what `make demo KIT=...` runs.
Nothing is installed at that time, so this is the standard library alone. `commands/kit.py` makes the kits.
"""

from support import PROJECT

import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from types import FrameType

# What a kit holds.
LABEL = "kit.json"  # {"platform": "linux-x86_64", "pythons": ["3.12", ...]}
WHEELS = "wheels"
CLI = "temporal"

UNPACKED = PROJECT / ".cache" / "kit"
ENVIRONMENT = PROJECT / ".venv"
ENVIRONMENT_SIZE = 450_000_000  # Bytes.
INSTALLED_CLI = PROJECT / ".cache" / "download" / "temporal-kit"  # `support.temporal_cli` finds it there.


class KitError(Exception):
    """Something about a kit that whoever uses it can mend. Its text says how, in one line."""


def this_platform() -> str:
    """Return what this machine is, in the words that kits use: `linux-x86_64`, `linux-arm64`, `macos-arm64`."""
    system, machine = platform.system().lower(), platform.machine().lower()
    return f"{system.replace('darwin', 'macos')}-{machine.replace('aarch64', 'arm64')}"


def set_up(path: Path, pip_arguments: list[str]) -> None:
    """Make .venv by `pip install` with these arguments, from a kit alone, and install the kit's Temporal CLI.

    Raises `KitError` if the kit does not fit or something fails, `OSError` if a file can't be written. Then, and after
    a Ctrl-C, nothing half-made is left. An environment that is there is only touched if the kit is in order.
    """
    try:
        unpack(path)
        try:
            run(sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT))
            from_kit = ["--no-index", "--find-links", str(UNPACKED / WHEELS)]
            run(str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", *from_kit, *pip_arguments)
            INSTALLED_CLI.parent.mkdir(exist_ok=True)
            (UNPACKED / CLI).replace(INSTALLED_CLI)
        except BaseException:
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)
            raise
    finally:
        shutil.rmtree(UNPACKED, ignore_errors=True)


def unpack(path: Path) -> None:
    """Unpack a kit, if it is one for this machine. Raises `KitError` if not, `OSError` if it can't be written."""
    if not path.is_file():
        raise KitError(f"There is no kit {path}: say where it is, KIT=path/to/kit.zip.")
    try:
        with zipfile.ZipFile(path) as kit:
            label = json.loads(kit.read(LABEL))
            refuse_unless_it_fits(label["platform"], label["pythons"])
            needed = sum(entry.file_size for entry in kit.infolist()) + ENVIRONMENT_SIZE
            if (free := shutil.disk_usage(PROJECT).free) < needed:
                room = f"{needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free"
                raise KitError(f"There is too little room on the disk of {PROJECT}: the set-up takes {room}.")
            shutil.rmtree(UNPACKED, ignore_errors=True)
            kit.extractall(UNPACKED)
        (UNPACKED / CLI).chmod(0o755)
    except (zipfile.BadZipFile, zlib.error, EOFError, LookupError, TypeError, ValueError) as error:
        raise KitError(f"{path} is no kit, or not all of it: copy it again, or ask for a new one.") from error


def refuse_unless_it_fits(its_platform: str, pythons: list[str]) -> None:
    """Raise `KitError` unless a kit for this platform and these versions of Python is one for this Python."""
    if its_platform != this_platform():
        raise KitError(f"This kit is for {its_platform}, and this machine is {this_platform()}: take the kit for that.")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if python not in pythons:
        remedy = f"With one that it is for: make demo PYTHON=python{pythons[-1]} KIT=..."
        raise KitError(f"This kit is for Python {', '.join(pythons)}, and this is Python {python}. {remedy}")


def run(*command: str) -> None:
    """Run a program to its end. Raises `KitError` with what it says if it fails. A Ctrl-C ends it, and all its kin."""
    # What is set for pip elsewhere must lead it neither to a network nor out of .venv.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    process = subprocess.Popen(
        command,
        cwd=PROJECT,
        env={**environment, "PIP_CONFIG_FILE": os.devnull},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode != 0:
        said = (re.findall(r"^ *ERROR: (.*)", output, re.MULTILINE) or [" ".join(output.split())])[0].rstrip(".")
        does_not_fit = re.search("No matching distribution|ResolutionImpossible", output)
        remedy = " Ask for a kit of this version of the workshop, or is this system very old?" if does_not_fit else ""
        raise KitError(f"`{command[2]}` says: {said}.{remedy}")


def main() -> None:
    """Read the command line, and set up from the kit that it names."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # It was not started by nohup.
        signals.append(signal.SIGHUP)

    def stop(number: int, frame: FrameType | None) -> None:
        for each in signals:  # Whoever is impatient must not interrupt the tidying up.
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for each in signals:
        signal.signal(each, stop)
    kit, *pip_arguments = sys.argv[1:]
    print(f"Making the Python environment in .venv from {kit} (once, half a minute) ...", flush=True)
    try:
        set_up(Path(kit).expanduser(), pip_arguments)
    except KitError as error:
        sys.exit(str(error))
    except OSError as error:
        remedy = "Make room, or take a folder that you may write to, and start this again."
        sys.exit(f"{error.filename or PROJECT}: {error.strerror}. {remedy}")
    except KeyboardInterrupt:
        print("\nStopped. Nothing half-made is left: start it again.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()

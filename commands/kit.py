"""Archives from which others set up the workshop without a network: `python workshop.py kit`."""

from support import PROJECT
from support.kit import CLI, LABEL, WHEELS, this_platform
from support.processes import run_command
from support.script import UserError
from support.temporal_cli import find_temporal_cli, progress

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
FOLDER = PROJECT / "kits"
BLOCK_SIZE = 1_000_000  # Bytes that are packed between two looks at whether to stop.


@dataclass(frozen=True)
class Platform:
    """What there is to know of a kind of machine."""

    wheels: list[str]
    """The platforms of wheels that run there, in pip's words."""
    program: bytes
    """How each program for it begins, as a regular expression."""


def linux(machine: str, number: bytes) -> Platform:
    """Return a Linux platform. `machine` is its name, `number` how programs have it."""
    # glibc 2.28 is of 2018. No wheel that the workshop needs asks for a newer one.
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(28, 16, -1)]
    return Platform([*tags, f"manylinux2014_{machine}"], rb"\x7fELF.{14}" + number)


PLATFORMS = {
    "linux-x86_64": linux("x86_64", rb"\x3e\x00"),
    "linux-arm64": linux("aarch64", rb"\xb7\x00"),
    "macos-arm64": Platform(["macosx_11_0_arm64"], rb"\xcf\xfa\xed\xfe\x0c\x00\x00\x01"),
}


def platform_and_path(text: str) -> tuple[str, Path]:
    """Read a value of `--cli`, such as `macos-arm64=temporal`. Raises `ArgumentTypeError` if it is none."""
    platform, _, path = text.partition("=")
    if platform not in PLATFORMS or not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not PLATFORM=PATH, with one of {', '.join(PLATFORMS)}")
    return platform, Path(path).expanduser()


async def kit(pythons: Sequence[str], clis: dict[str, Path], folder: Path) -> int:
    """Make a kit for each platform whose Temporal CLI is there: for this one, and for those that `clis` names.

    The kits go into `folder` and hold wheels for these versions of Python. Returns the exit code. Raises `UserError` if
    a CLI is none for its platform, or pip can't get a wheel, and `OSError` if a file can't be written. Then, and after
    a Ctrl-C, nothing half-made is left.
    """
    clis = dict(clis)
    if this_platform() in PLATFORMS and this_platform() not in clis:
        clis[this_platform()] = Path(await find_temporal_cli())
    for platform, cli in clis.items():
        refuse_unless_for(platform, cli)
    folder.mkdir(parents=True, exist_ok=True)
    for platform, cli in clis.items():
        file = await make_kit(platform, pythons, cli, folder)
        print(f"{file}: {file.stat().st_size / 1e6:.0f} MB, for {platform} and Python {', '.join(pythons)}", flush=True)
    if missing := [platform for platform in PLATFORMS if platform not in clis]:
        where = "https://docs.temporal.io/cli has it. Unpack it, and say where: "
        print(f"None for {' and '.join(missing)}, whose Temporal CLI is not here. {where}--cli {missing[0]}=PATH")
    if clis:
        print("With a kit, in a copy of this folder: make demo KIT=path/to/kit.zip")
    return 0 if clis else 2


def refuse_unless_for(platform: str, cli: Path) -> None:
    """Raise `UserError` unless the file is a program for this platform."""
    try:
        with cli.open("rb") as file:
            head = file.read(20)
    except OSError as error:
        raise UserError(f"The Temporal CLI {cli} can't be read: {error.strerror}.") from error
    if not re.match(PLATFORMS[platform].program, head, re.DOTALL):
        raise UserError(f"{cli} is no program for {platform}: give its Temporal CLI, --cli {platform}=PATH")


async def make_kit(platform: str, pythons: Sequence[str], cli: Path, folder: Path) -> Path:
    """Make one kit. Returns its file. Raises as `kit` does."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as unfinished:
        wheels = Path(unfinished, WHEELS)
        for python in pythons:
            async with progress(f"Wheels for {platform}, Python {python}"):
                await download_wheels(platform, python, wheels)
        archive = Path(unfinished, f"workshop-kit-{platform}.zip")
        async with progress(f"Packing {archive.name}"):
            with ZipFile(archive, "w") as packed:
                packed.writestr(LABEL, json.dumps({"platform": platform, "pythons": pythons}))
                for wheel in sorted(wheels.iterdir()):  # They are compressed already.
                    await pack(wheel, packed, f"{WHEELS}/{wheel.name}", ZIP_STORED)
                await pack(cli, packed, CLI, ZIP_DEFLATED)
        return archive.replace(folder / archive.name)


async def download_wheels(platform: str, python: str, folder: Path) -> None:
    """Let pip download what `make` installs there, all as wheels. Raises `UserError` if it can't."""
    # constraints.txt names all packages, for all versions of Python. Left to look for what each depends on, pip would
    # do so for the Python that it runs on. Some of them are for old versions only: a new one just does not use these.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--ignore-requires-python", "--only-binary", ":all:", "--dest", str(folder)]
    command += ["--implementation", "cp", "--python-version", python]
    command += [part for tag in PLATFORMS[platform].wheels for part in ("--platform", tag)]
    command += ["--requirement", str(PROJECT / "constraints.txt"), *build_requirements()]
    try:
        await run_command(command)
    except UserError as error:
        hint = ""
        if "No matching distribution" in str(error):
            hint = " Either pip's index can't be reached from here (which one: pip config list), or has no such wheel."
        raise UserError(f"{error}{hint}") from error


def build_requirements() -> list[str]:
    """Return what pip installs to install this project itself."""
    [requires] = re.findall(r"^requires = (\[.*\])$", (PROJECT / "pyproject.toml").read_text(), re.MULTILINE)
    requirements: list[str] = json.loads(requires)  # In one line, and in double quotes, TOML is JSON.
    return requirements


async def pack(file: Path, archive: ZipFile, name: str, method: int) -> None:
    """Put a file into an archive, under this name, by one of zipfile's methods."""
    entry = ZipInfo(name)
    entry.compress_type = method
    with file.open("rb") as source, archive.open(entry, "w") as target:
        while block := source.read(BLOCK_SIZE):
            target.write(block)
            await asyncio.sleep(0)  # A Ctrl-C is seen here.

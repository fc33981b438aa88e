"""Kits: what is in them, the set-up from one, and what is said of one that does not fit."""

from commands import kit as making
from commands.kit import PLATFORMS, PYTHONS, kit
from support import PROJECT, temporal_cli
from support import kit as setting_up
from support.kit import CLI, INSTALLED_CLI, LABEL, WHEELS, KitError, this_platform
from support.script import UserError
from tests.conftest import Refused, Run
from workshop import main

import asyncio
import errno
import json
import os
import re
import shutil
import signal
import sys
from collections import namedtuple
from importlib.metadata import requires
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
LINUX, LINUX_ARM, MACOS = (
    b"\x7fELF" + bytes(14) + b"\x3e\x00",
    b"\x7fELF" + bytes(14) + b"\xb7\x00",
    b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01",
)


def make_wheel(folder: Path, file: str) -> None:
    """Make a wheel of this name, whose package is one empty module."""
    folder.mkdir(exist_ok=True)
    name, version, tag = file.removesuffix(".whl").split("-", maxsplit=2)
    with ZipFile(folder / file, "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        about = f"{name}-{version}.dist-info"
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        wheel.writestr(f"{about}/RECORD", "")


def pack_kit(file: Path, platform: str | None = None, python: str = THIS_PYTHON) -> Path:
    """Make a kit that has the package `thing`, and a server that does nothing."""
    make_wheel(file.parent, "thing-1.0-py3-none-any.whl")
    with ZipFile(file, "w") as packed:
        packed.writestr(LABEL, json.dumps({"platform": platform or this_platform(), "pythons": [python]}))
        packed.write(file.parent / "thing-1.0-py3-none-any.whl", f"{WHEELS}/thing-1.0-py3-none-any.whl")
        packed.writestr(CLI, "#!/bin/sh\n")
    return file


def what_is_made(folder: str) -> list[str]:
    """The names of all that a set-up makes, as far as it is there."""
    made = [setting_up.ENVIRONMENT, setting_up.UNPACKED, INSTALLED_CLI]
    return [file.name for file in made if Path(folder, file.relative_to(PROJECT)).exists()]


# To make one


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All wheels that pip gets, in a project on Linux that needs the package `thing`."""
    wheels = tmp_path / "index"
    make_wheel(wheels, "setuptools-99.0-py3-none-any.whl")
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(PROJECT / "pyproject.toml", project)
    (project / "constraints.txt").write_text("thing==1.0\n")
    cli = tmp_path / "temporal"
    cli.write_bytes(LINUX + bytes(10_000))

    async def find_cli() -> str:
        return str(cli)

    monkeypatch.setattr(making, "PROJECT", project)
    monkeypatch.setattr(making, "this_platform", lambda: "linux-x86_64")
    monkeypatch.setattr(making, "find_temporal_cli", find_cli)
    for name, value in {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(wheels)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return wheels


async def test_a_kit_has_the_wheels_of_its_platform_for_each_python_and_the_server(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for_linux = ["thing-1.0-cp312-cp312-manylinux_2_17_x86_64.whl", "thing-1.0-cp314-cp314-manylinux_2_28_x86_64.whl"]
    for_macos = ["thing-1.0-cp310-abi3-macosx_11_0_arm64.whl"]
    for wheel in (*for_linux, *for_macos, "thing-1.0-cp313-cp313-manylinux_2_17_x86_64.whl"):
        make_wheel(index, wheel)
    (tmp_path / "for_macos").write_bytes(MACOS)
    assert await kit(["3.12", "3.14"], {"macos-arm64": tmp_path / "for_macos"}, tmp_path / "kits") == 0
    for platform, wheels in {"linux-x86_64": for_linux, "macos-arm64": for_macos}.items():
        with ZipFile(tmp_path / "kits" / f"workshop-kit-{platform}.zip") as packed:
            names = [f"{WHEELS}/{wheel}" for wheel in ["setuptools-99.0-py3-none-any.whl", *wheels]]
            assert packed.namelist() == [LABEL, *names, CLI]
            assert json.loads(packed.read(LABEL)) == {"platform": platform, "pythons": ["3.12", "3.14"]}
            assert packed.read(CLI)[:4] in (LINUX[:4], MACOS[:4])
    assert len([*(tmp_path / "kits").iterdir()]) == 2
    said = capsys.readouterr().out
    assert re.search(r"workshop-kit-linux-x86_64\.zip: \d+ MB, for linux-x86_64 and Python 3\.12, 3\.14\n", said)
    assert "None for linux-arm64, whose Temporal CLI is not here." in said and "--cli linux-arm64=PATH\n" in said


async def test_a_wheel_that_pip_can_not_get_is_told_and_nothing_is_left(index: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No matching distribution found for .*Either pip's index can't be reached"):
        await kit(["3.12"], {}, tmp_path / "kits")
    assert [*(tmp_path / "kits").iterdir()] == []


async def test_a_ctrl_c_leaves_nothing(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def download(platform: str, python: str, folder: Path) -> None:
        make_wheel(folder, "thing-1.0-py3-none-any.whl")

    async def pack(file: Path, archive: ZipFile, name: str, method: int) -> None:
        making_kit.cancel()  # As a Ctrl-C does.
        await asyncio.Event().wait()

    monkeypatch.setattr(making, "download_wheels", download)
    monkeypatch.setattr(making, "pack", pack)
    making_kit = asyncio.create_task(kit(["3.12"], {}, tmp_path / "kits"))
    with pytest.raises(asyncio.CancelledError):
        await making_kit
    assert [*(tmp_path / "kits").iterdir()] == []


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_cli_of_another_platform_is_refused(tmp_path: Path, platform: str) -> None:
    heads = {"linux-x86_64": LINUX, "linux-arm64": LINUX_ARM, "macos-arm64": MACOS}
    cli = tmp_path / "temporal"
    for other, head in {**heads, "an archive": b"\x1f\x8b"}.items():
        cli.write_bytes(head + b"\n" * 20)
        if other == platform:
            making.refuse_unless_for(platform, cli)
        else:
            with pytest.raises(UserError, match=f"is no program for {platform}: give its Temporal CLI"):
                making.refuse_unless_for(platform, cli)


def test_a_cli_needs_its_platform(refused: Refused) -> None:
    assert "'temporal' is not PLATFORM=PATH, with one of linux-x86_64, " in refused(main, "kit", "--cli", "temporal")


def test_kits_are_for_the_pythons_on_which_the_tests_run() -> None:
    tested = re.findall(r'python: "(.+?)"', (PROJECT / ".github" / "workflows" / "ci.yml").read_text())
    assert {*tested} == {*PYTHONS}


def needed(package: str, extra: str = "") -> set[str]:
    """The names of all packages that this one needs on this Python, and of those that they need."""
    names: set[str] = set()
    for requirement in map(Requirement, requires(package) or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            names |= {canonicalize_name(requirement.name)}.union(
                *(needed(requirement.name, extra) for extra in ("", *requirement.extras))
            )
    return names


def test_what_kits_are_made_from_names_all_that_make_installs() -> None:
    pinned = re.findall(r"^(\S+)==", (PROJECT / "constraints.txt").read_text(), re.MULTILINE)
    assert needed("system-patching-workshop", "dev") <= {canonicalize_name(name) for name in pinned}


# To set up from one


def test_make_sets_up_from_a_kit_whatever_is_set_for_pip(
    run: Run, elsewhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = ["make", ".venv/ready", f"KIT={pack_kit(tmp_path / 'a kit.zip')}", "INSTALL=thing"]
    environment = {"MAKEFLAGS": "", "MAKELEVEL": "0"}  # Whatever make has started the tests.
    code, output = run(*make, cwd=elsewhere, PIP_USER="1", PIP_NO_BINARY=":all:", **environment).end()
    assert code == 0 and len(output.splitlines()) == 1, output
    assert Path(elsewhere, ".venv", "ready").read_text() == f"{elsewhere}\n"
    assert run(f"{elsewhere}/.venv/bin/python", "-c", "import thing", cwd=tmp_path).end() == (0, "")
    assert what_is_made(elsewhere) == [".venv", "temporal-kit"]
    monkeypatch.setattr(temporal_cli, "CACHE", Path(elsewhere, ".cache"))
    assert temporal_cli.downloaded_cli() == str(Path(elsewhere, INSTALLED_CLI.relative_to(PROJECT)))
    assert "Making" not in run(*make, cwd=elsewhere, **environment).end()[1]  # All is there already.


def set_up(run: Run, folder: str, *arguments: str) -> tuple[int, str]:
    """Set up by a Python that has no packages. Returns the exit code, and what is said after the first line."""
    code, output = run(sys.executable, "-S", "-m", "support.kit", *arguments, cwd=folder).end()
    return code, output.partition("\n")[2]


def test_a_kit_that_does_not_fit_is_told_and_the_environment_stays(run: Run, elsewhere: str, tmp_path: Path) -> None:
    whole = pack_kit(tmp_path / "whole.zip").read_bytes()
    bad = {
        tmp_path / "cut.zip": whole[: len(whole) // 2],
        tmp_path / "changed.zip": whole.replace(b"thing.py", b"other.py", 1),  # In the wheel.
        tmp_path / "empty.zip": b"",
    }
    for file, content in bad.items():
        file.write_bytes(content)
    another = tmp_path / "another.zip"
    with ZipFile(another, "w") as packed:
        packed.writestr("notes.txt", "my notes")
    expected = {file: f"{file} is no kit, or not all of it: copy it again, or ask for a new one." for file in bad}
    expected[another] = f"{another} is no kit, or not all of it: copy it again, or ask for a new one."
    for missing in (tmp_path / "missing.zip", tmp_path):
        expected[missing] = f"There is no kit {missing}: say where it is, KIT=path/to/kit.zip."
    expected[pack_kit(tmp_path / "platform.zip", platform="beos-m68k")] = (
        f"This kit is for beos-m68k, and this machine is {this_platform()}: take the kit for that."
    )
    expected[pack_kit(tmp_path / "python.zip", python="3.99")] = (
        f"This kit is for Python 3.99, and this is Python {THIS_PYTHON}. "
        "With one that it is for: make demo PYTHON=python3.99 KIT=..."
    )
    Path(elsewhere, ".venv").mkdir()
    for file, said in expected.items():
        assert set_up(run, elsewhere, str(file)) == (1, said)
        assert what_is_made(elsewhere) == [".venv"]


def test_a_file_that_can_not_be_written_is_told(run: Run, elsewhere: str, tmp_path: Path) -> None:
    Path(elsewhere, ".cache").write_text("no folder")
    code, said = set_up(run, elsewhere, str(pack_kit(tmp_path / "kit.zip")))
    remedy = "Make room, or take a folder that you may write to, and start this again."
    assert (code, said) == (1, f"{elsewhere}/.cache/kit: Not a directory. {remedy}")


def test_too_little_room_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(free=300_000_000))
    monkeypatch.setattr(setting_up, "UNPACKED", tmp_path / "unpacked")
    with pytest.raises(KitError, match=r"too little room on the disk of .*: the set-up takes 450 MB, and 300 MB are"):
        setting_up.unpack(pack_kit(tmp_path / "kit.zip"))
    assert not (tmp_path / "unpacked").exists()


@pytest.mark.parametrize("failure", [KitError("`pip` says: …"), OSError(errno.ENOSPC, "No space"), KeyboardInterrupt()])
def test_what_fails_on_the_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    made = {name: tmp_path / name for name in ("UNPACKED", "ENVIRONMENT", "INSTALLED_CLI")}
    for name, path in made.items():
        monkeypatch.setattr(setting_up, name, path)

    def run(*command: str) -> None:
        if "pip" in command:
            raise failure
        made["ENVIRONMENT"].mkdir()

    monkeypatch.setattr(setting_up, "run", run)
    with pytest.raises(type(failure)):
        setting_up.set_up(pack_kit(tmp_path / "kit.zip"), [])
    assert not any(path.exists() for path in made.values())


def test_what_pip_misses_in_a_kit_is_told() -> None:
    remedy = "Ask for a kit of this version of the workshop, or is this system very old?"
    with pytest.raises(
        KitError, match=rf"`pip` says: .* requirement thing \(from versions: none\)\. {re.escape(remedy)}"
    ):
        setting_up.run(sys.executable, "-m", "pip", "download", "--no-index", "thing")


def test_a_ctrl_c_ends_pip_and_leaves_nothing(run: Run, elsewhere: str, tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    os.mkfifo(requirements)  # Whoever opens it waits for the other end.
    arguments = [str(pack_kit(tmp_path / "kit.zip")), "--requirement", str(requirements)]
    setting = run(sys.executable, "-m", "support.kit", *arguments, cwd=elsewhere)
    with requirements.open("w"):  # Now pip reads it.
        setting.signal(signal.SIGINT)
        code, output = setting.end()
    assert code == 130 and output.splitlines()[1:] == ["", "Stopped. Nothing half-made is left: start it again."]
    assert what_is_made(elsewhere) == []
    with pytest.raises(OSError) as refused:
        os.open(requirements, os.O_WRONLY | os.O_NONBLOCK)
    assert refused.value.errno == errno.ENXIO  # Nobody reads it any more.


# For exercise 7


def test_the_images_to_pull_beforehand_are_those_of_the_compose_files() -> None:
    page = (PROJECT / "docs" / "troubleshooting.md").read_text()
    pulled = sorted(re.findall(r"^docker pull (\S+)$", page, re.MULTILINE))
    for file in (PROJECT / "grafana").glob("compose.*.yml"):
        assert sorted(re.findall(r"^ *image: (\S+)$", file.read_text(), re.MULTILINE)) == pulled

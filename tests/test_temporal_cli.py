"""Which Temporal CLI is used where there are several, and what is built where there is none."""

from support import temporal_cli
from support.script import UserError
from support.temporal_cli import CLI_PROGRAM, CLI_VERSION, GO_MODULE, find_temporal_cli, installed_cli, numbers

import re
from collections.abc import Callable
from pathlib import Path

import pytest

Install = Callable[[str], str]
OLD = "1.5.1 (Server 1.29.1, UI 2.42.1)"
NEW = "1.9.1 (Server 1.32.0, UI 2.54.1)"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a program `temporal` on PATH that is of this version, on a machine that has no other. Returns its path."""
    monkeypatch.delenv("TEMPORAL_CLI", raising=False)
    monkeypatch.setattr(temporal_cli, "CACHE", tmp_path)
    monkeypatch.setattr(temporal_cli, "BUILT_CLI", tmp_path / "built")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")

    def program(version: str) -> str:
        file = tmp_path / "bin" / "temporal"
        file.parent.mkdir()
        file.write_text(f"#!/bin/sh\necho 'temporal version {version}'\n")
        file.chmod(0o755)
        return str(file)

    return program


async def test_one_on_path_is_used_if_it_is_not_too_old(install: Install) -> None:
    path = install(NEW)
    assert await installed_cli() == path


async def test_one_on_path_that_is_too_old_is_left_alone(install: Install, tmp_path: Path) -> None:
    install(OLD)
    assert await installed_cli() is None
    own = tmp_path / "built"
    own.touch(mode=0o755)
    assert await installed_cli() == str(own)


async def test_a_download_that_was_interrupted_is_not_taken_for_the_program(install: Install, tmp_path: Path) -> None:
    folder = tmp_path / "download"
    folder.mkdir()
    (folder / "temporal-sdk-python-1.35.0.downloading").touch(mode=0o755)
    assert await installed_cli() is None
    whole = folder / "temporal-sdk-python-1.35.0"
    whole.touch(mode=0o755)
    assert await installed_cli() == str(whole)


async def test_an_old_one_is_better_than_none(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def impossible() -> str:
        raise UserError("No network.")

    monkeypatch.setattr(temporal_cli, "download_cli", impossible)
    path = install(OLD)
    assert await find_temporal_cli() == path
    said = capsys.readouterr().out
    assert f"{path} is {OLD}, too old" in said and "No network. So it is the old one after all" in said


async def test_the_one_that_is_named_is_used_whatever_its_age_and_a_name_on_path_will_do(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = install(OLD)
    monkeypatch.setenv("TEMPORAL_CLI", "temporal")
    assert await installed_cli() == path
    monkeypatch.chdir(Path(path).parent)
    monkeypatch.setenv("TEMPORAL_CLI", "./temporal")
    assert await installed_cli() == path  # Which holds from any other folder, too.
    monkeypatch.setenv("TEMPORAL_CLI", "temporal-of-tomorrow")
    with pytest.raises(UserError, match="TEMPORAL_CLI names temporal-of-tomorrow, but there is no such program"):
        await installed_cli()


def test_what_is_built_is_the_version_that_it_is_called() -> None:
    module = (GO_MODULE / "go.mod").read_text()
    assert re.findall(r"github.com/temporalio/cli v(\S+)", module) == [CLI_VERSION]
    assert f"\t{CLI_PROGRAM}\n" in module
    assert f"github.com/temporalio/cli v{CLI_VERSION} h1:" in (GO_MODULE / "go.sum").read_text()


def test_versions_are_compared_by_their_numbers() -> None:
    assert numbers("go1.26.8 linux/amd64") >= numbers("1.26.8") > numbers("1.9.1") > numbers("1.9") > numbers()

"""What a script has started ends with it, however it ends."""

from support.processes import Process
from tests.conftest import Run

import signal
from pathlib import Path

import psutil
import pytest

STARTS_ANOTHER = """
from support.processes import Process
program = Process("python", "-c", "import time; time.sleep(60)")
print("started", program.pid, flush=True)
program.end()
"""


def test_a_program_ends_when_whoever_started_it_is_killed(run: Run) -> None:
    starter = run("python", "-c", STARTS_ANOTHER)
    program = psutil.Process(int(starter.wait_for("started ").split()[1]))
    starter.signal(signal.SIGKILL)
    program.wait(30)


def test_check_that_is_killed_leaves_nothing_behind(run: Run) -> None:
    check = run("python", "workshop.py", "check", "3", "--version", "v4")
    check.wait_for("  ok    1.")
    left = psutil.Process(check.pid).children(recursive=True)
    assert any("start-dev" in process.cmdline() for process in left)
    check.signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(left, timeout=30)
    assert alive == []


def test_a_program_that_ends_by_itself_leaves_what_it_started_alone(run: Run, tmp_path: Path) -> None:
    """As `sh_restart_worker.sh` does with the worker that it starts."""
    ended = Process("/bin/sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!")
    code, output = ended.end()
    left = psutil.Process(int(output))
    assert code == 0 and left.is_running()
    left.kill()


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    for program in ("no-such-program", "./no-such-script", str(tmp_path)):
        with pytest.raises(OSError, match="No such program"):
            Process(program)

"""The command line of `temporal_worker.py`."""

from support.flags import add_hosts_per_cluster, build_id, named_version, pace
from support.reload import run_anew_when_saved
from support.script import run_script
from workflow.versions import Version

import argparse
import sys
from dataclasses import dataclass


@dataclass
class WorkerFlags:
    """What a worker is told on its command line."""

    version: Version
    pace: float
    """By what the time that simulated work takes is multiplied."""
    hosts_per_cluster: int
    """How many hosts the simulated inventory has for each cluster."""
    build: str
    """The build of the code, or nothing."""


def read_flags(description: str | None) -> WorkerFlags:
    """Return what the command line says. If it is wrong, ends the process with exit code 2 and a line that says why.

    With --reload it never returns: this process then runs the script without it, again and again.
    """
    # No shorter forms of a flag: --reload is taken out by its name, below.
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("version", nargs="?", default="v1", help="version of the workflow, such as v3 (default: v1)")
    parser.add_argument("--pace", type=pace, default=1.0, help="how long work takes: 0.1 for a tenth (default: 1)")
    add_hosts_per_cluster(parser)
    parser.add_argument("--build", type=build_id, default="", metavar="ID", help="build of the code, see exercise 8")
    parser.add_argument("--reload", action="store_true", help="start anew whenever a file of the workflow is saved")
    arguments = parser.parse_args()
    if arguments.reload:
        rest = [each for each in sys.argv if each != "--reload"]
        run_script(lambda: run_anew_when_saved(["python", *rest]))
    version = named_version(arguments.version, parser)
    return WorkerFlags(version, arguments.pace, arguments.hosts_per_cluster, arguments.build)

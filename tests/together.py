"""Runs workers of several versions in one process, each at a pace of its own:  python -m tests.together v1=0.5 v4=0.15

What a worker does when the network or the server is gone does not depend on its process, and each process costs as much
processor time as a whole run.
"""

from support.logs import set_up_logging
from support.script import run_script
from temporal_worker import run_worker
from workflow.activities import HOSTS_PER_CLUSTER
from workflow.versions import find_version

import asyncio
import sys


async def run_all(paces: dict[str, float]) -> int:
    """Run the workers, by the names of their versions. Returns the exit code."""
    workers = [run_worker(find_version(name), pace, HOSTS_PER_CLUSTER, "") for name, pace in paces.items()]
    return max(await asyncio.gather(*workers))


if __name__ == "__main__":
    set_up_logging()
    pairs = [argument.split("=") for argument in sys.argv[1:]]
    run_script(lambda: run_all({name: float(pace) for name, pace in pairs}))

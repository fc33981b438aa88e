"""Measures what one server takes: many learners at once against one alone:  python -m scripts.measure_room

For `docs/for_trainers.md`. All run on this machine, each with a worker and a client of their own, on one server that
keeps its history in a file, as in a room. It takes some ten minutes, and two gigabytes of memory for 30 learners.
"""

from support.ports import free_port
from support.processes import Process

import argparse
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

LEARNERS, CHECKS = 30, 10
# Worker and client for an exercise, and what the client prints when its run has ended, with the seconds.
RUNS = {
    "exercise 1: one rollout of v2, pace 0.2": (
        ["temporal_worker.py", "v2", "--pace", "0.2"],
        ["temporal_client.py", "v2"],
        r"completed after ([\d.]+) s",
    ),
    "exercise 5: one rollout of v6, pace 0.2": (
        ["temporal_worker.py", "v6", "--pace", "0.2"],
        ["temporal_client.py", "v6"],
        r"completed after ([\d.]+) s",
    ),
    "exercise 7: five rollouts of v8, 20 slots": (
        ["temporal_worker_v8.py", "--max-concurrent-activities", "20"],
        ["temporal_client_v8.py"],
        r"workflows ended, ([\d.]+) s after",
    ),
}


def measure(learners: int, worker: list[str], client: list[str], ended: str, address: str) -> list[float]:
    """Run so many learners side by side. Returns how many seconds each one's run took."""
    workers, clients = [], []
    try:
        for number in range(learners):
            environment = {"TEMPORAL_ADDRESS": address, "WORKSHOP_LEARNER": f"learner{number}"}
            port = free_port()
            ports = (["--metrics-port", str(port)], ["--metrics-addresses", f"127.0.0.1:{port}"])
            if "v8" not in worker[0]:
                ports = ([], [])
            workers.append(Process("python", *worker, *ports[0], environment=environment))
            clients.append((["python", *client, *ports[1]], environment))
        for process in workers:
            process.wait_for("Metrics: " if "v8" in worker[0] else "is running")
        running = [Process(*command, environment=environment) for command, environment in clients]
        outputs = [process.end()[1] for process in running]
    finally:
        for process in workers:
            process.kill()
    found = [re.search(ended, output) for output in outputs]
    if None in found:
        sys.exit(f"A client did not come to its end: {outputs[found.index(None)]}")
    return [float(each[1]) for each in found if each]


def measure_checks(checks: int) -> list[float]:
    """Run so many checks side by side. Returns how many seconds each one took."""
    begun = time.monotonic()
    running = [Process("python", "workshop.py", "check", "4", "--version", "v5") for _ in range(checks)]
    seconds = []
    for process in running:
        code, output = process.end()
        seconds.append(time.monotonic() - begun)
        if code != 0:
            sys.exit(f"A check failed: {output}")
    return seconds


def told(what: str, alone: list[float], together: list[float]) -> str:
    """Return a line of the table."""
    return f"| {what} | {alone[0]:.1f} s | {statistics.median(together):.1f} s | {max(together):.1f} s |"


def main() -> None:
    """Measure all, and print the table."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    print(f"{psutil.cpu_count()} cores, {psutil.virtual_memory().total / 1e9:.0f} GB")
    print("| what | one alone | many: median | many: slowest |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        database = str(Path(folder, "room.db"))
        server = Process("python", "temporal_server.py", "--port", str(port), "--database", database)
        try:
            server.wait_for("Server:")
            for what, (worker, client, ended) in RUNS.items():
                alone, together = (
                    measure(learners, worker, client, ended, f"localhost:{port}") for learners in (1, LEARNERS)
                )
                print(told(f"{LEARNERS} learners, {what}", alone, together), flush=True)
        finally:
            server.kill()
    print(told(f"{CHECKS} times `check 4`", measure_checks(1), measure_checks(CHECKS)), flush=True)


if __name__ == "__main__":
    main()

"""Measures exercise 7 with different numbers of activity slots and plots it:  python -m scripts.plot_slots

It needs `pip install -e '.[docs]'` and a server, and takes some five minutes. For each number of slots it runs
temporal_worker_v8.py and temporal_client_v8.py, and takes the figures from the client's table, column event histories.
"""

from support import PROJECT
from support.processes import Process

import argparse
import re
import signal
import sys

import matplotlib.pyplot as plt

PICTURE = PROJECT / "docs" / "slots_v8.png"
SLOTS = [2, 3, 5, 8, 12, 20, 50]
ROWS = {
    "end_to_end": "workflow end-to-end, mean",
    "queue_wait": "queue wait (schedule-to-start), mean",
    "execution": "activity execution, mean",
}


def measure(slots: int) -> dict[str, float]:
    """Run the load once with so many slots. Returns what the client's table says, in seconds."""
    worker = Process("python", "temporal_worker_v8.py", "--max-concurrent-activities", str(slots))
    try:
        worker.wait_for("Metrics: ")
        code, output = Process("python", "temporal_client_v8.py").end()
    except AssertionError as error:
        sys.exit(f"The worker did not start: {error}")
    finally:
        worker.signal(signal.SIGTERM)
        worker.end()
    if code != 0:
        sys.exit(f"The client failed: {output}")
    figures = {}
    for name, row in ROWS.items():
        found = re.search(rf"^{re.escape(row)} .* (\d+\.\d+) s$", output, re.MULTILINE)
        assert found is not None, output
        figures[name] = float(found[1])
    print(f"{slots:3} slots: {figures}", flush=True)
    return figures


def plot(figures: dict[int, dict[str, float]]) -> None:
    """Draw the figures over the number of slots, and keep the picture in docs/."""
    labels = {"end_to_end": "workflow, end to end", "queue_wait": "queue wait", "execution": "activity execution"}
    plt.figure(figsize=(8, 4.2))
    for name, label in labels.items():
        plt.plot(list(figures), [run[name] for run in figures.values()], marker="o", label=label)
    plt.xscale("log")
    plt.yscale("log")
    plt.xticks(list(figures), [str(slots) for slots in figures])
    plt.minorticks_off()
    plt.yticks([0.01, 0.1, 1, 10, 60], ["0.01 s", "0.1 s", "1 s", "10 s", "60 s"])
    plt.xlabel("activity slots (--max-concurrent-activities)")
    plt.title("Mean times of five rollouts, one started each two seconds")
    plt.grid(alpha=0.3)
    plt.legend()
    plt.tight_layout()
    plt.savefig(PICTURE, dpi=110)


def main() -> None:
    """Measure, then plot."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    plot({slots: measure(slots) for slots in SLOTS})


if __name__ == "__main__":
    main()

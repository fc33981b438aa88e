"""Draws the figures. It needs `pip install -e '.[docs]'`; without that there are no plots."""

from benchmarks.measure import Figures

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

PLOTS: dict[str, tuple[str, Callable[[Figures], float]]] = {
    "hosts_per_second": ("hosts patched in a second", lambda each: each.rate),
    "events": ("events in the longest history", lambda each: each.events_of_longest),
    "cpu": ("processor time of server and worker, ms a host", lambda each: cpu_a_host(each)),
    "memory": ("memory of server and worker at most, MB", lambda each: each.server_mb + each.worker_mb),
}


def cpu_a_host(figures: Figures) -> float:
    """Return how many milliseconds of processor time a host cost, the server's and the worker's."""
    return (figures.server_cpu + figures.worker_cpu) / figures.hosts * 1000


def plot(figures: Sequence[Figures], folder: Path) -> None:
    """Draw the figures over the number of hosts, a line a version, into `benchmarks.png` in this folder."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print("No plots, for which there must be matplotlib: pip install -e '.[docs]'")
        return
    usual = [each for each in figures if each.database == figures[0].database and each.pace == figures[0].pace]
    fig, axes = plt.subplots(2, 2, figsize=(11, 8))
    for ax, (title, value) in zip(axes.flat, PLOTS.values(), strict=True):
        for version, group in itertools.groupby(sorted(usual, key=lambda f: (f.version, f.hosts)), lambda f: f.version):
            line = list(group)
            ax.plot([each.hosts for each in line], [value(each) for each in line], marker="o", label=version)
        ax.set_xscale("log")
        if title.startswith("events"):
            ax.set_yscale("log")
        else:
            ax.set_ylim(bottom=0)
        ax.set_xticks(sorted({each.hosts for each in usual}), [f"{n:,}" for n in sorted({f.hosts for f in usual})])
        ax.minorticks_off()
        ax.set_xlabel("hosts")
        ax.set_title(title)
        ax.grid(alpha=0.3)
        ax.legend()
    fig.tight_layout()
    fig.savefig(folder / "benchmarks.png", dpi=90)

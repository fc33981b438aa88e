"""Draws exercise 7's dashboard, for whoever has no Docker:  python -m tests.plot_dashboard

It needs `pip install -e '.[docs]'` and Prometheus (`python -m tests.prometheus` gets it), and takes a minute. It runs
temporal_worker_v8.py and temporal_client_v8.py as they are in 7.1, on a server of their own, and beside them a real
Prometheus. What the dashboard asks Prometheus, it asks too, and draws the answers where the dashboard has them.
"""

from support import PROJECT
from support.dev_server import own_server
from support.metrics import METRICS_PORTS
from support.ports import free_port
from support.processes import Process
from support.script import UserError, run_script
from tests import prometheus

import argparse
import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

PICTURE = PROJECT / "docs" / "pictures" / "7_dashboard.png"
PANELS = json.loads((PROJECT / "grafana" / "dashboards" / "workers.json").read_text())["panels"]
COLUMNS, WIDTH, LINE = 24, 13.0, 0.27  # Grafana's columns; how many inches they have here, and one of its lines.
AFTERWARDS = 8.0  # Seconds for which it goes on after the client's end.
MOST_LABELS = 6  # In a legend.
Series = list[dict[str, Any]]
"""What Prometheus answers: lines, each with its labels (`metric`) and its points (`values`: time and number)."""


async def measure() -> tuple[dict[str, Series], float]:
    """Run the load and ask all that the dashboard asks. Returns the answers by question, and when it was begun."""
    port = METRICS_PORTS[0]
    with tempfile.TemporaryDirectory() as folder:
        async with own_server():
            worker = Process("python", "temporal_worker_v8.py")
            try:
                await worker.printed("Metrics: ")
                with prometheus.running(Path(folder), free_port(), [f"127.0.0.1:{port}"]) as asked:
                    asked.wait_for("sum(up)", 1)
                    begun = time.time()
                    client = Process("python", "temporal_client_v8.py")
                    if await client.ended() != 0:
                        raise UserError(f"The client failed: {client.text()}")
                    print(client.text())
                    time.sleep(AFTERWARDS)
                    during = {"start": begun, "end": time.time(), "step": 1.0}
                    questions = [target["expr"] for panel in PANELS for target in panel.get("targets", [])]
                    return {
                        each: asked.ask("query_range", query=each.replace("$task_queue", ".*"), **during)
                        for each in questions
                    }, begun
            finally:
                await worker.stop()


def label(legend: str, series: dict[str, Any]) -> str:
    """Return a line's name, as the dashboard's legend has it."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: series["metric"].get(found[1], ""), legend)


def points(series: dict[str, Any], begun: float) -> list[tuple[float, float]]:
    """Return a line's points: seconds since the begin, and numbers."""
    return [(float(at) - begun, float(value)) for at, value in series["values"]]


def draw(answers: dict[str, Series], begun: float) -> None:
    """Draw the panels where the dashboard has them, and keep the picture."""
    lines = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in PANELS)
    figure = plt.figure(figsize=(WIDTH, lines * LINE))
    for panel in PANELS:
        place = panel["gridPos"]
        left, top = place["x"] / COLUMNS, 1 - place["y"] / lines
        if panel["type"] == "row":
            figure.text(0.01, top - 0.8 / lines, panel["title"], fontsize=11, weight="bold")
            continue
        height, width = place["h"] / lines, place["w"] / COLUMNS
        # Room for the title above, and for what stands at the axes.
        box = (left + 0.04, top - height + 1.3 / lines, width - 0.05, height - 2.6 / lines)
        figure.text(left + 0.01, top - 0.9 / lines, panel["title"], fontsize=8 if width > 0.2 else 7)
        found = [
            (label(target["legendFormat"], series), points(series, begun))
            for target in panel["targets"]
            for series in answers[target["expr"]]
        ]
        if panel["type"] == "stat":
            unit = " ms" if panel["fieldConfig"]["defaults"]["unit"] == "ms" else ""
            number = f"{found[0][1][-1][1]:,.0f}{unit}"
            figure.text(left + width / 2, top - 2.7 / lines, number, fontsize=17, ha="center", color="tab:green")
            continue
        axes = figure.add_axes(box)
        found.sort(key=lambda each: -max(value for _, value in each[1]))  # The legend has the highest.
        for name, line in found:
            axes.plot(*zip(*line, strict=True), label=name, linewidth=1.2)
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, max(at for _, line in found for at, _ in line) if found else 1)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
        names = axes.get_legend_handles_labels()
        if names[0]:
            axes.legend(names[0][:MOST_LABELS], names[1][:MOST_LABELS], fontsize=6.5, loc="best", framealpha=0.6)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=90)
    print(f"{PICTURE.relative_to(PROJECT)}: {len(PANELS)} panels")


async def main() -> int:
    """Measure, then draw."""
    draw(*await measure())
    return 0


if __name__ == "__main__":
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    run_script(main)

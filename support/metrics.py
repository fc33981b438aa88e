"""What workers tell of themselves in their metrics. Durations there are in milliseconds, here in seconds."""

import asyncio
import http.client
import math
import re
from collections import Counter

METRICS_PORTS = (8086, 8087, 8088, 8089)  # Where Prometheus and the client look for workers.
QUEUE_WAIT = "temporal_activity_schedule_to_start_latency"
EXECUTION = "temporal_activity_execution_latency"
TASK_WAIT = "temporal_workflow_task_schedule_to_start_latency"
TASK_EXECUTION = "temporal_workflow_task_execution_latency"
END_TO_END = "temporal_workflow_endtoend_latency"
SLOTS_USED = "temporal_worker_task_slots_used"
SLOTS_AVAILABLE = "temporal_worker_task_slots_available"
OF_ACTIVITIES = 'worker_type="ActivityWorker"'

Metrics = dict[tuple[str, str], float]
"""By a worker's address and the series' name with its labels: the series' value."""


async def read_metrics(addresses: list[str], task_queue: str) -> Metrics:
    """Return the metrics of all workers of a task queue that offer them at one of the addresses."""

    def read(address: str) -> Metrics:
        connection = http.client.HTTPConnection(address, timeout=10)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode(errors="replace").splitlines()
        except (OSError, http.client.HTTPException):
            return {}
        finally:
            connection.close()
        samples = [line.rpartition(" ") for line in lines if f'task_queue="{task_queue}"' in line]
        return {(address, series): float(value) for series, _, value in samples}

    found = await asyncio.gather(*[asyncio.to_thread(read, address) for address in addresses])
    return {series: value for metrics in found for series, value in metrics.items()}


def since(before: Metrics, after: Metrics) -> Metrics:
    """Return by how much each series has grown. One that has become less was set to 0 by a restart in between."""
    return {
        series: value - before.get(series, 0) if value >= before.get(series, 0) else value
        for series, value in after.items()
    }


def is_there(metrics: Metrics, name: str, label: str = "") -> bool:
    """Return whether there is a series of this name which has this label."""
    return any(series.startswith(f"{name}{{") and label in series for _, series in metrics)


def total(metrics: Metrics, name: str, label: str = "") -> float:
    """Return the sum of all series of this name, of all workers, which have this label."""
    return sum(value for (_, series), value in metrics.items() if series.startswith(f"{name}{{") and label in series)


def mean(metrics: Metrics, name: str, label: str = "") -> float:
    """Return the mean of a histogram of durations, in seconds. It is exact. NaN if it has counted nothing."""
    count = total(metrics, f"{name}_count", label)
    return total(metrics, f"{name}_sum", label) / count / 1000 if count else math.nan


def p95_bucket(metrics: Metrics, name: str) -> str:
    """Return the bounds of the histogram's bucket in which the p95 lies. A histogram doesn't know it any better."""
    counts: Counter[float] = Counter()
    for (_, series), value in metrics.items():
        if series.startswith(f"{name}_bucket{{") and (bound := re.search(r'le="([^"]+)"', series)):
            counts[float(bound[1])] += int(value)
    upper = min(bound for bound, count in counts.items() if count >= 0.95 * counts[math.inf])
    lower = max([bound for bound in counts if bound < upper], default=0.0)
    return f"{lower / 1000:g} to {upper / 1000:g} s"

"""Runs a throttled worker of exercise 7, with metrics for Prometheus:  python temporal_worker_v8.py

Each setting that is worth playing with is a flag. Several such workers share the work, each with a --metrics-port of
its own. Exit codes: 0 stopped by Ctrl-C or SIGTERM, 1 something did not stop, 2 wrong use, no server, or the metrics
address can't be had.
"""

from support.connection import connect
from support.flags import check_learner_name, metrics_address, pace, whole_number
from support.logs import make_runtime, set_up_logging
from support.metrics import METRICS_PORTS
from support.script import UserError, run_script, stop_event
from temporal_worker import GRACEFUL_SHUTDOWN, STICKY_TIMEOUT
from workflow.versions import activities_of, find_version

import argparse
import logging
from dataclasses import dataclass

from temporalio.runtime import PrometheusConfig
from temporalio.worker import (
    PollerBehavior,
    PollerBehaviorAutoscaling,
    PollerBehaviorSimpleMaximum,
    Worker,
    WorkerTuner,
)

# Upper bounds of the histograms' buckets, in milliseconds. The SDK's own for waiting times are 100, 500, 1000, 5000 and
# so on: a quantile read from them may be wrong by a factor of five.
BUCKETS = [float(first * 10**power) for power in range(6) for first in (1, 2, 3, 5, 7)]


@dataclass
class Settings:
    """What can be set of the worker: a flag each. `main` says what they are."""

    max_concurrent_activities: int
    max_concurrent_workflow_tasks: int
    activity_pollers: int
    workflow_pollers: int
    max_cached_workflows: int
    autoscale_pollers: bool
    resource_based_slots: bool
    pace: float
    metrics_address: str


async def run_worker(settings: Settings) -> int:
    """Run the worker until it is told to stop. Returns the exit code.

    Raises `UserError` if the address for the metrics can't be had.
    """
    # The key is a part of the metrics' names: it stands for all of them that are histograms of durations.
    metrics = PrometheusConfig(bind_address=settings.metrics_address, histogram_bucket_overrides={"latency": BUCKETS})
    try:
        runtime = make_runtime(metrics)
    except ValueError as error:
        raise UserError(
            f"No metrics at {settings.metrics_address}: {error}. Does another worker use it? Choose another port with "
            "--metrics-port."
        ) from error
    client = await connect(runtime)
    version = find_version("v8")

    def pollers(most: int) -> PollerBehavior:
        return PollerBehaviorAutoscaling() if settings.autoscale_pollers else PollerBehaviorSimpleMaximum(most)

    tuner = None
    if settings.resource_based_slots:
        tuner = WorkerTuner.create_resource_based(target_memory_usage=0.8, target_cpu_usage=0.9)
    worker = Worker(
        client,
        task_queue=version.task_queue,
        workflows=version.workflows,
        activities=activities_of(version.activities(settings.pace)),
        tuner=tuner,  # In place of the two numbers of slots.
        max_concurrent_activities=None if tuner else settings.max_concurrent_activities,
        max_concurrent_workflow_tasks=None if tuner else settings.max_concurrent_workflow_tasks,
        activity_task_poller_behavior=pollers(settings.activity_pollers),
        workflow_task_poller_behavior=pollers(settings.workflow_pollers),
        max_cached_workflows=settings.max_cached_workflows,
        # A worker may be handed an activity with the answer to its workflow task ("eager"). That activity never waits
        # in the task queue, and waiting is what this exercise measures.
        disable_eager_activity_execution=True,
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
    )
    stop = stop_event(limit=15)
    try:
        async with worker:
            print(f"Worker for v8 is running: task queue {version.task_queue}. Ctrl-C stops it. Its settings:")
            for name, value in vars(settings).items():
                print(f"  --{name.replace('_', '-'):<30} {value}")
            print(f"Metrics: http://{settings.metrics_address}/metrics", flush=True)
            await stop.wait()
            print("Stopping: running activities get 5 seconds to finish.", flush=True)
    except RuntimeError as error:
        raise UserError(f"The worker can't run: {error.__cause__ or error}") from error
    print("Worker stopped.", flush=True)
    return 0


def main() -> None:
    """Read the command line and run the worker."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--max-concurrent-activities",
        type=whole_number(1, 10_000),
        default=5,
        metavar="SLOTS",
        help="activities that may run at the same time; the SDK's own default is 100",
    )
    parser.add_argument(
        "--max-concurrent-workflow-tasks",
        type=whole_number(2, 10_000),
        default=100,
        metavar="SLOTS",
        help="workflows whose code may run at the same time, 2 or more",
    )
    parser.add_argument(
        "--activity-pollers",
        type=whole_number(1, 1000),
        default=5,
        metavar="POLLERS",
        help="requests for an activity that may wait at the server at the same time",
    )
    parser.add_argument(
        "--workflow-pollers",
        type=whole_number(2, 1000),
        default=5,
        metavar="POLLERS",
        help="requests for a workflow task that may wait at the server at the same time, 2 or more",
    )
    parser.add_argument(
        "--max-cached-workflows",
        type=whole_number(0, 1_000_000),
        default=1000,
        metavar="WORKFLOWS",
        help="workflows kept in memory (the sticky cache); one that is evicted is replayed from its history",
    )
    parser.add_argument(
        "--autoscale-pollers",
        action="store_true",
        help="as many pollers as the server advises, in place of --activity-pollers and --workflow-pollers",
    )
    parser.add_argument(
        "--resource-based-slots",
        action="store_true",
        help="as many slots as CPU and memory allow, up to 90 and 80 %% of them, in place of both --max-concurrent-...",
    )
    parser.add_argument(
        "--pace",
        type=pace,
        default=0.2,
        help="how long the simulated work takes: 1 is 9.9 seconds a host, 0.1 a tenth of that, 0 no time",
    )
    metrics = parser.add_mutually_exclusive_group()
    metrics.add_argument(
        "--metrics-address",
        type=metrics_address,
        default=f"127.0.0.1:{METRICS_PORTS[0]}",
        metavar="IP:PORT",
        help="where Prometheus and the client read this worker's metrics",
    )
    metrics.add_argument(
        "--metrics-port",
        type=lambda text: metrics_address(f"127.0.0.1:{text}"),
        dest="metrics_address",
        default=argparse.SUPPRESS,
        metavar="PORT",
        help=f"the same on this machine, by its port: Prometheus and the client look at {METRICS_PORTS}",
    )
    arguments = parser.parse_args()
    check_learner_name(parser)
    set_up_logging(logging.WARNING)  # A line for each step of so many hosts would tell nobody anything.
    run_script(lambda: run_worker(Settings(**vars(arguments))))


if __name__ == "__main__":
    main()

"""The log in short lines, whether they come from Python or from the SDK's core."""

import asyncio
import functools
import logging
import math
import re
import time
import warnings
from types import TracebackType

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

SILENCE = 30.0  # Seconds without a failed call after which the next one is news.
_ONCE_MORE = "once more: "


class ShortErrors(logging.Formatter):
    """Logs an error without its traceback if it was raised on purpose, by a cancellation, or is the same once more.

    A workflow task that fails is tried again and again: its traceback is worth reading once.
    """

    def __init__(self, fmt: str | None = None, datefmt: str | None = None) -> None:
        """Take what `logging.Formatter` takes."""
        super().__init__(fmt, datefmt)
        self._told: set[str] = set()

    def formatException(
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """Return the whole traceback, or the error's own line."""
        if isinstance(ei[1], ApplicationError | asyncio.CancelledError):
            return f"    {ei[1]}"
        text = super().formatException(ei)
        if text in self._told:
            return f"{_ONCE_MORE}{text.splitlines()[-1]} (its traceback is above)"
        self._told.add(text)
        return text

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text: an error that is the same once more in the same line as the message."""
        return super().format(record).replace(f"\n{_ONCE_MORE}", ": ")


def set_up_logging(level: int = logging.INFO) -> None:
    """Log in short lines what is of this level (one of `logging`'s) or above."""
    handler = logging.StreamHandler()
    handler.setFormatter(ShortErrors("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler])
    # The messages name host and cluster; which task it was, the Web UI shows better than a line that is cut off.
    activity.logger.activity_info_on_message = False
    workflow.logger.workflow_info_on_message = False
    # When a client replaces a run, activities of the old one end. The SDK warns of what it then no longer can cancel.
    warnings.filterwarnings("ignore", "Cannot find activity to cancel")


def shorten_core_message(record: logging.LogRecord) -> bool:
    """Cut a message of the SDK's core, which prints whole objects, down to what it is about and its reason.

    Changes the record. Returns True, which tells `logging` to keep it.
    """
    text = record.getMessage().replace("\\'", "'")
    reason = re.search(r'message: "((?:[^"\\]|\\.)*)"', text)
    about = text.partition(" {")[0]
    record.msg, record.args = (f"{about}: {reason[1]}" if reason else about), None
    return True


class FailedCallsOnce(logging.Filter):
    """Keeps one of the many lines that there are when a server is gone and all calls to it fail."""

    def __init__(self) -> None:
        """Begin with no line."""
        super().__init__()
        self._told_at = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to keep the record. One of a failed call is kept if there was none for half a minute."""
        if not record.getMessage().startswith("gRPC call "):
            return True
        before, self._told_at = self._told_at, time.monotonic()
        return self._told_at - before > SILENCE


def make_runtime(metrics: PrometheusConfig | None = None) -> Runtime:
    """Return a runtime whose core logs short lines by Python's own logging, and offers its metrics if told where.

    Raises `ValueError` if the address for the metrics is malformed or taken.
    """
    logger = logging.getLogger("temporalio.core")
    logger.addFilter(shorten_core_message)
    logger.addFilter(FailedCallsOnce())
    levels = TelemetryFilter(core_level="WARN", other_level="ERROR")
    forwarding = LogForwardingConfig(logger, prepend_target_on_message=False)
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(levels, forwarding=forwarding), metrics=metrics))


# The runtime of all clients that bring none of their own.
short_logging_runtime = functools.cache(make_runtime)

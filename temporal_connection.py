"""What every script here needs: a connection to Temporal, and a clean end of the process."""

import os
import sys
from types import TracebackType


def quiet_interrupt(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End the process without a traceback where Ctrl-C comes before `run_script` can see to it."""
    if kind is KeyboardInterrupt:
        os._exit(130)
    sys.__excepthook__(kind, error, trace)


# At once, and each script imports this module first: the other imports take most of a script's first second.
sys.excepthook = quiet_interrupt

import asyncio
import dataclasses
import functools
import inspect
import logging
import re
import signal
import traceback
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn, get_origin
from urllib.parse import quote

from temporalio import client, worker, workflow
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
    JSONTypeConverter,
)
from temporalio.envconfig import ClientConfig
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.service import RPCError, RPCStatusCode

CONNECT_TIMEOUT = 10.0
PLAIN_TYPES = (str, int, bool, list, dict)
DEFAULT_ADDRESS = "localhost:7233"  # Where temporal_server.py listens.


def one_line(text: str) -> str:
    """Return a text for a terminal: in one line, and with what is not printable escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(text.split()))


class UserError(Exception):
    """Something that whoever runs the script can mend. Its text says how, in one line."""

    def __str__(self) -> str:
        """Return the text, whatever it quotes."""
        return one_line(super().__str__())


class StrictTypes(JSONTypeConverter):
    """Refuses what the SDK would make fit: a text as a list of its letters, 2.5 as 2, true as 1."""

    def to_typed_value(self, hint: type, value: Any) -> Any:
        """Leave the value to the SDK if it has the right type. Raises `TypeError` if not."""
        if get_origin(hint) is list and not isinstance(value, list):
            raise TypeError(f"Expected value to be list, was {type(value)}")
        if hint is int and (not isinstance(value, int) or isinstance(value, bool)):
            raise TypeError(f"Expected value to be int, was {type(value)}")
        return JSONTypeConverter.Unhandled


class StrictPayloadConverter(CompositePayloadConverter):
    """Fails what gets an input of the wrong shape, at once and with type `InvalidInput`.

    By default such an input fails the *workflow task*, which the server then retries for ever: right for a bug in the
    workflow's code, which a new worker can mend, but no new worker mends an input.
    """

    def __init__(self) -> None:
        """Take the SDK's own converters, with JSON made strict."""
        strict = JSONPlainPayloadConverter(custom_type_converters=[StrictTypes()])
        defaults = DefaultPayloadConverter.default_encoding_payload_converters
        super().__init__(*[strict if converter.encoding == strict.encoding else converter for converter in defaults])

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """Decode as usual. Raises an `ApplicationError` that names the field where that can't be done."""
        try:
            values = super().from_payloads(payloads, type_hints)
        except Exception as error:
            raise _invalid_input(error) from None
        for value, hint in zip(values, type_hints or [], strict=False):
            # Only JSON is decoded by the type. What comes as null or as plain bytes could be anything.
            expected = get_origin(hint) or hint
            if (dataclasses.is_dataclass(hint) or expected in PLAIN_TYPES) and not isinstance(value, expected):
                found = "null" if value is None else type(value).__name__
                raise _invalid_input(TypeError(f"input must be a {expected.__name__}, not {found}"))
        return values


def _invalid_input(error: BaseException) -> FailureError:
    reasons: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, FailureError):
            return cause
        reasons.append(str(cause))
        cause = cause.__cause__
    return ApplicationError(": ".join(reasons), type="InvalidInput", non_retryable=True)


class RightArgumentsInbound(worker.WorkflowInboundInterceptor):
    """Stands before a workflow's `run` and its handlers."""

    async def execute_workflow(self, input: worker.ExecuteWorkflowInput) -> Any:
        """Go on to `run`. Raises an `ApplicationError` where there is no input for it, or more than one."""
        if len(input.args) != 1:
            reason = f"input must be one value, not {len(input.args)}"
            raise ApplicationError(reason, type="InvalidInput", non_retryable=True)
        return await super().execute_workflow(input)

    async def handle_signal(self, input: worker.HandleSignalInput) -> None:
        """Go on to the signal's handler, or drop the signal, as the SDK drops one that can't be decoded."""
        if reason := _wrong_arguments(workflow.get_signal_handler(input.signal), input.args):
            workflow.logger.error("Signal %s is dropped: %s", input.signal, reason)
            return
        await super().handle_signal(input)

    async def handle_update_handler(self, input: worker.HandleUpdateInput) -> Any:
        """Go on to the update's handler. Raises an `ApplicationError`, which refuses it, if its arguments don't fit."""
        if reason := _wrong_arguments(workflow.get_update_handler(input.update), input.args):
            raise ApplicationError(reason, type="InvalidInput", non_retryable=True)
        return await super().handle_update_handler(input)


def _wrong_arguments(handler: Callable[..., Any] | None, arguments: Sequence[Any]) -> str | None:
    if handler is not None:
        try:
            inspect.signature(handler).bind(*arguments)
        except TypeError as error:
            return str(error)
    return None


class RightArguments(client.Interceptor, worker.Interceptor):
    """Refuses what comes with too few or too many values: its workflow task too would be retried for ever."""

    def workflow_interceptor_class(
        self, input: worker.WorkflowInterceptorClassInput
    ) -> type[worker.WorkflowInboundInterceptor] | None:
        """Return what stands before the workflows. Each worker that is made with the client asks for it."""
        return RightArgumentsInbound


def connect_config() -> dict[str, Any]:
    """Return what to connect with: from TEMPORAL_ADDRESS and the other variables, or from the CLI's configuration file.

    With nothing set, the development server on this machine. Raises `UserError` if the configuration can't be read.
    """
    # An empty TEMPORAL_API_KEY or TEMPORAL_TLS would turn TLS on.
    variables = {key: value for key, value in os.environ.items() if value or not key.startswith("TEMPORAL_")}
    try:
        config: dict[str, Any] = {**ClientConfig.load_client_connect_config(override_env_vars=variables)}
    except Exception as error:
        raise UserError(f"The configuration of the connection to Temporal can't be read: {error}") from error
    config.setdefault("target_host", DEFAULT_ADDRESS)
    return config


def shorten_core_message(record: logging.LogRecord) -> bool:
    """Cut a message of the SDK's core, which prints whole objects, down to what it is about and its reason."""
    text = record.getMessage().replace("\\'", "'")
    reason = re.search(r'message: "((?:[^"\\]|\\.)*)"', text)
    about = text.partition(" {")[0]
    record.msg, record.args = (f"{about}: {reason[1]}" if reason else about), None
    return True


def make_runtime(metrics: PrometheusConfig | None = None) -> Runtime:
    """Return a runtime whose core logs short lines by Python's own logging, and offers its metrics if told where.

    Raises `ValueError` if the address for the metrics is malformed or taken.
    """
    logger = logging.getLogger("temporalio.core")
    logger.addFilter(shorten_core_message)
    warnings = TelemetryFilter(core_level="WARN", other_level="ERROR")
    forwarding = LogForwardingConfig(logger, prepend_target_on_message=False)
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(warnings, forwarding=forwarding), metrics=metrics))


# The runtime of all clients that bring none of their own.
short_logging_runtime = functools.cache(make_runtime)


def strict_data_converter() -> DataConverter:
    """Return the SDK's own data converter, but with `StrictPayloadConverter`."""
    return dataclasses.replace(DataConverter.default, payload_converter_class=StrictPayloadConverter)


async def connect(runtime: Runtime | None = None) -> client.Client:
    """Return a client that is connected, by way of `runtime` if given.

    Raises `UserError` where no server answers within ten seconds.
    """
    config = connect_config()
    try:
        connecting = client.Client.connect(
            **config,
            data_converter=strict_data_converter(),
            interceptors=[RightArguments()],
            runtime=runtime or short_logging_runtime(),
        )
        return await asyncio.wait_for(connecting, CONNECT_TIMEOUT)
    except (RuntimeError, ValueError, asyncio.TimeoutError) as error:
        address = config["target_host"]
        if address == DEFAULT_ADDRESS:
            problem = "Start one in another terminal: python temporal_server.py"
        else:
            reason = str(error).partition(": tonic")[0]  # What follows is how the SDK's core prints its own objects.
            problem = f"TEMPORAL_ADDRESS or your Temporal configuration file names it: is it right? ({reason})"
        raise UserError(f"No Temporal server answers at {address}. {problem}") from error


def web_ui_link(connected: client.Client, workflow_id: str, run_id: str | None) -> str:
    """Return the address of a run in the Web UI.

    TEMPORAL_UI_URL says where the Web UI is. Without it: Temporal Cloud's for a server there, else the server's own
    host on the gRPC port plus 1000, which is where the development server has it.
    """
    host, _, port = connected.service_client.config.target_host.rpartition(":")
    if "TEMPORAL_UI_URL" in os.environ:
        base = os.environ["TEMPORAL_UI_URL"].rstrip("/")
    elif host.endswith((".tmprl.cloud", ".temporal.io")):
        base = "https://cloud.temporal.io"
    else:
        base = f"http://{host}:{int(port) + 1000}"
    run = f"/{run_id}" if run_id else ""
    return f"{base}/namespaces/{quote(connected.namespace)}/workflows/{quote(workflow_id, safe='')}{run}/history"


STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def stop_event() -> asyncio.Event:
    """Return an event that the first Ctrl-C or SIGTERM sets. The second one ends the process at once."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def stop() -> None:
        event.set()
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    return event


async def _run_until_stopped(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    # Not left to asyncio.run, which turns Ctrl-C into a cancellation too: where a thread of the SDK's core happens to
    # receive the signal, the event loop would sleep on.
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(main())
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        running.cancel()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        return await running
    except (
        asyncio.CancelledError,
        client.WorkflowUpdateRPCTimeoutOrCancelledError,
    ):  # The latter: where an update waits.
        if not received:
            raise
        return 128 + received[0]


def run_script(main: Callable[[], Coroutine[Any, Any, int]], when_interrupted: str = "") -> NoReturn:
    """Run `main` and end the process with the exit code that it returns.

    A `UserError` or an error answer of the server becomes one line and exit code 2. Ctrl-C or SIGTERM cancel `main`,
    print `when_interrupted` and give the usual 130 or 143, unless `main` sees to them itself by `stop_event`.
    """
    try:
        code = asyncio.run(_run_until_stopped(main))
        if code > 128 and when_interrupted:
            print(f"\n{when_interrupted}", file=sys.stderr)
    except UserError as error:
        print(error, file=sys.stderr)
        code = 2
    except RPCError as error:
        what = "is gone" if error.status is RPCStatusCode.UNAVAILABLE else "answered with an error"
        print(f"The Temporal server {what}: {one_line(error.message)}", file=sys.stderr)
        code = 2
    except BrokenPipeError:  # Whoever read the output, such as `head`, has had enough.
        code = 1
    except Exception:
        traceback.print_exc()
        code = 1
    # Threads of the SDK's core may still be at work when the interpreter ends, and then abort the process
    # (https://github.com/temporalio/sdk-python/issues/300). So the process ends here, without waiting for them.
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        pass
    os._exit(code)

"""Input of the wrong shape fails what gets it, at once.

By default such an input fails the *workflow task*, which the server then retries for ever: right for a bug in the
workflow's code, which a new worker can mend, but no new worker mends an input.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, get_origin

from temporalio import client, worker, workflow
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
    JSONTypeConverter,
)
from temporalio.exceptions import ApplicationError, FailureError

PLAIN_TYPES = (str, int, bool, list, dict)


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
    """Fails what gets an input of the wrong shape, with type `InvalidInput`."""

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
        """Go on to `run`. Raises an `ApplicationError` where there is no input for it, or too much."""
        if _wrong_arguments(functools.partial(input.run_fn, None), input.args):
            takes = len(inspect.signature(input.run_fn).parameters) - 1
            reason = f"input must be {'one value' if takes == 1 else f'{takes} values'}, not {len(input.args)}"
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


def strict_data_converter() -> DataConverter:
    """Return the SDK's own data converter, but with `StrictPayloadConverter`."""
    return dataclasses.replace(DataConverter.default, payload_converter_class=StrictPayloadConverter)

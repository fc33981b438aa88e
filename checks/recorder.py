"""What workflow code does, line by line, so that two runs of it can be compared."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

from temporalio import worker, workflow

MOST_LETTERS = 140
Notes = dict[str, list[str]]
"""By run id, what a workflow's code did, in that order."""


class Recorder(worker.Interceptor):
    """Notes what all workflows of a worker do. The worker gets it as an interceptor."""

    def __init__(self) -> None:
        """Begin with no note."""
        self.notes: Notes = {}

    def workflow_interceptor_class(
        self, input: worker.WorkflowInterceptorClassInput
    ) -> type[worker.WorkflowInboundInterceptor]:
        """Return what stands before each workflow."""
        return type("RecordingInbound", (_Inbound,), {"notes": self.notes})


class _Inbound(worker.WorkflowInboundInterceptor):
    notes: ClassVar[Notes]

    def init(self, outbound: worker.WorkflowOutboundInterceptor) -> None:
        # Begun anew where a run that was put aside is run again from its history.
        self._lines = self.notes[outbound.info().run_id] = []
        super().init(_Outbound(outbound, self._lines))

    async def execute_workflow(self, input: worker.ExecuteWorkflowInput) -> Any:
        result = await super().execute_workflow(input)
        self._lines.append(f"returned {_as_json([result])}")
        if (steps := workflow.get_query_handler("completed_steps")) is not None:
            answer = steps()
            if inspect.isawaitable(answer):
                answer = await answer
            self._lines.append(f"had the completed_steps {_as_json([answer])}")
        return result


class _Outbound(worker.WorkflowOutboundInterceptor):
    def __init__(self, next: worker.WorkflowOutboundInterceptor, lines: list[str]) -> None:
        super().__init__(next)
        self._lines = lines

    def _note(self, what: str, args: Sequence[Any], summary: str | None = None) -> None:
        self._lines.append(f"{what} with {_as_json(args)}" + (f", summary {summary!r}" if summary else ""))

    def start_activity(self, input: worker.StartActivityInput) -> workflow.ActivityHandle[Any]:
        self._note(f"began {input.activity}", input.args, input.summary)
        return super().start_activity(input)

    def start_local_activity(self, input: worker.StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        self._note(f"began {input.activity}", input.args)
        return super().start_local_activity(input)

    async def start_child_workflow(
        self, input: worker.StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        self._note(f"began the child workflow {input.id}", input.args, input.static_summary)
        return await super().start_child_workflow(input)

    async def signal_child_workflow(self, input: worker.SignalChildWorkflowInput) -> None:
        self._note(f"sent the signal {input.signal} to {input.child_workflow_id}", input.args)
        await super().signal_child_workflow(input)

    async def signal_external_workflow(self, input: worker.SignalExternalWorkflowInput) -> None:
        self._note(f"sent the signal {input.signal} to {input.workflow_id}", input.args)
        await super().signal_external_workflow(input)

    def continue_as_new(self, input: worker.ContinueAsNewInput) -> NoReturn:
        self._note("began anew", input.args)
        super().continue_as_new(input)


def _as_json(values: Sequence[Any]) -> str:
    try:
        texts = [payload.data.decode() for payload in workflow.payload_converter().to_payloads(values)]
    except Exception as error:  # The SDK will say it too, where it matters.
        return f"something that can't be sent: {error}"
    return ", ".join(texts)


def shortened(line: str) -> str:
    """Return the start of a line, which is what a reader looks at."""
    return line if len(line) <= MOST_LETTERS else f"{line[:MOST_LETTERS]}..."


def difference(before: Notes, after: Notes) -> str | None:
    """Return in words where a run did something else the second time, or None if none did.

    A run of which more is known the one time than the other is compared as far as both are known.
    """
    for run, lines in before.items():
        for first, second in zip(lines, after.get(run, []), strict=False):
            if first != second:
                return f"The first time it {shortened(first)}; run again, it {shortened(second)}"
    return None

"""What a worker's activities do is seen, and can be held; what goes wrong in a learner's code is reported."""

from checks.clock import Clock, current_clock, timed_by
from checks.explain import (
    blocking_call,
    explain_core_message,
    explain_workflow_error,
    explain_wrong_call,
    has_blocked,
)
from checks.failure import CheckFailure
from checks.names import GET_HOSTS, UPDATE, hosts_of, subject_of
from checks.traces import shortened
from support.histories import Handle
from support.script import within
from workflow.types import HostPatchInput

import asyncio
import dataclasses
import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    HandleQueryInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

# Errors of an activity that are no simulated failure but a slip of the pen.
SLIPS = (NameError, AttributeError, TypeError, ImportError, LookupError, AssertionError)


@dataclasses.dataclass
class Call:
    """One attempt of an activity, as the worker saw it."""

    name: str
    subject: str
    """The host or cluster that it is about."""
    workflow_id: str
    run_id: str
    activity_id: str
    attempt: int
    details: Any
    """The heartbeat details with which the attempt began."""
    begun_at: int
    """Its place in the order of all begins and ends of activities."""
    ended_at: int = 0
    """The same of its end, or 0 if it is under way."""
    done: bool = False
    held: bool = False
    error: BaseException | None = None


class Watch(Interceptor):
    """All that a worker's activities do, and gates that hold them. The worker gets it as an interceptor."""

    def __init__(self) -> None:
        """Begin with nothing seen, and no gate."""
        self.hosts_per_cluster = 1
        self.small_clusters: set[str] = set()
        """Clusters that have one host only, where more would only take time."""
        self.order = itertools.count(1)
        """Numbers the begins and ends of activities."""
        self.calls: list[Call] = []
        """The attempts of activities so far, in the order in which they were begun."""
        self.skipped: set[str] = set()
        """Activities that do nothing, where it is not about what they do."""
        self.failing: set[tuple[str, str]] = set()
        """Activities that fail, and for which hosts."""
        self.clock_of: Callable[[Call], Clock] = lambda call: Clock()
        """What makes the clock of an activity's attempt."""
        self.trouble: asyncio.Future[CheckFailure] = asyncio.get_running_loop().create_future()
        """Set as soon as there is an error in a learner's code."""
        self.is_deaf = False
        """Whether somebody else sees to such errors at the moment."""
        self.last_news = 0.0
        """When an activity last began or ended, or a client printed something, by `time.monotonic`."""
        self.news = asyncio.Event()
        """Set when there is news, and then replaced by another one."""
        self._gates: dict[tuple[str, str], asyncio.Event] = {}
        self._loop = asyncio.get_running_loop()

    # Holding activities, and looking at them.

    def hold(self, name: str, *subjects: str) -> None:
        """Hold this activity, for these hosts or clusters, before it does anything."""
        for subject in subjects:
            self._gates[name, subject] = asyncio.Event()

    def release(self, name: str, *subjects: str) -> None:
        """Let held activities go on."""
        for subject in subjects:
            self._gates[name, subject].set()
            for call in self.calls:
                call.held = call.held and (call.name, call.subject) != (name, subject)
        self.last_news = time.monotonic()

    def begun(self, name: str | None = None) -> set[str]:
        """Return the hosts or clusters for which an activity (this one, or any) was begun."""
        return {call.subject for call in self.calls if name in (None, call.name)}

    def done(self, name: str) -> set[str]:
        """Return the hosts or clusters for which this activity is done."""
        return {call.subject for call in self.calls if call.name == name and call.done}

    def updates_of(self, host: str) -> int:
        """Return how often the host's update was done. Several attempts of one activity count once."""
        done = [call for call in self.calls if (call.name, call.subject, call.done) == (UPDATE, host, True)]
        return len({(call.run_id, call.activity_id) for call in done})

    def activities_in(self, *handles: Handle) -> list[str]:
        """Return the names of the activities of these workflows, in the order in which they were begun."""
        ids = [handle.id for handle in handles]
        return [call.name for call in self.calls if call.workflow_id in ids]

    def workflow_of(self, name: str, subject: str) -> str:
        """Return the id of the workflow in which this activity was begun for the host or cluster, or nothing."""
        found = [call.workflow_id for call in self.calls if (call.name, call.subject) == (name, subject)]
        return found[0] if found else ""

    def queries(self) -> int:
        """Return how many queries were answered so far."""
        return _WatchedQuery.number

    # Telling.

    def notify(self) -> None:
        """Let whoever waits look again."""
        news, self.news = self.news, asyncio.Event()
        news.set()

    def notify_from_thread(self) -> None:
        """Let whoever waits look again. Can be called from any thread."""
        self._loop.call_soon_threadsafe(self.notify)

    def report(self, trouble: CheckFailure) -> None:
        """End the check with this, whatever it waits for. Can be called from any thread."""
        trouble.is_error = True

        def set_trouble() -> None:
            if not self.trouble.done() and not self.is_deaf:
                self.trouble.set_result(trouble)

        self._loop.call_soon_threadsafe(set_trouble)

    # Standing between the worker and its activities.

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Return what stands before each activity."""
        return _WatchedActivity(next, self)

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        """Return what stands before each query."""
        return _WatchedQuery

    async def execute(self, call: Call, run: Callable[[], Awaitable[Any]]) -> Any:
        """Run one attempt of an activity: note it, hold it at its gate, then let it do its work in no time."""
        self.calls.append(call)
        self.last_news = time.monotonic()
        self.notify()
        try:
            if (call.name, call.subject) in self.failing:
                raise ApplicationError("this host fails, to see what happens", non_retryable=True)
            gate = self._gates.get((call.name, call.subject))
            call.held = gate is not None
            while gate is not None and not gate.is_set():
                activity.heartbeat()
                try:
                    await within(0.2, gate.wait())
                except asyncio.TimeoutError:
                    continue
            call.held = False
            if call.name == GET_HOSTS:
                return hosts_of(call.subject, 1 if call.subject in self.small_clusters else self.hosts_per_cluster)
            if call.name in self.skipped:
                return None
            clock = self.clock_of(call)
            try:
                with timed_by(clock):
                    return await run()
            finally:
                if clock.blocked:
                    self.report(blocking_call())
        except BaseException as error:
            call.error = error
            raise
        finally:
            call.held = False
            call.ended_at = next(self.order)
            call.done = call.error is None
            self.last_news = time.monotonic()
            self.notify()


class _WatchedActivity(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, watch: Watch) -> None:
        super().__init__(next)
        self._watch = watch

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        super().init(_Heartbeats(outbound))

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        call = Call(
            name=info.activity_type,
            subject=subject_of(input.args),
            workflow_id=info.workflow_id or "",
            run_id=info.workflow_run_id or "",
            activity_id=info.activity_id,
            attempt=info.attempt,
            details=info.heartbeat_details,
            begun_at=next(self._watch.order),
        )
        for host in [value for value in input.args if isinstance(value, HostPatchInput)]:
            if not host.hostname.startswith(f"{host.cluster}_"):
                seen = f"{call.name} was called for {host.hostname} of {host.cluster}."
                expected = "A host goes with its own cluster. Do clusters share an attribute?"
                self._watch.report(CheckFailure(seen, expected))
        return await self._watch.execute(call, lambda: super(_WatchedActivity, self).execute_activity(input))


class _Heartbeats(ActivityOutboundInterceptor):
    def heartbeat(self, *details: Any) -> None:
        clock = current_clock()
        if clock is None or not clock.is_silent():
            super().heartbeat(*details)


class _WatchedQuery(WorkflowInboundInterceptor):
    number: ClassVar[int] = 0  # How many queries of any workflow of this process were answered.

    async def handle_query(self, input: HandleQueryInput) -> Any:
        _WatchedQuery.number += 1
        before = {name: repr(value) for name, value in vars(workflow.instance()).items()}
        answer = await super().handle_query(input)
        for name, value in vars(workflow.instance()).items():
            if before.get(name) != repr(value):
                raise ApplicationError(f"it changed self.{name}", type="QueryChangedState")
        return answer


class TroubleHandler(logging.Handler):
    """Reports to a watch what the SDK logs of exceptions in a learner's code."""

    def __init__(self, watch: Watch) -> None:
        """Take whom to report to."""
        super().__init__(logging.WARNING)
        self._watch = watch
        self._blocked: dict[object, CheckFailure] = {}  # What was seen of a run that has blocked.

    def emit(self, record: logging.LogRecord) -> None:
        """Report the record's exception, or what the SDK's core says of the workflow's code."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            if trouble := explain_core_message(record.getMessage()):
                self._watch.report(trouble)
        elif record.name.startswith("temporalio.activity"):
            if trouble := explain_wrong_call(error):
                self._watch.report(trouble)
            elif isinstance(error, SLIPS):
                self._watch.report(
                    CheckFailure(
                        "Your activity raised an exception that looks like a slip.",
                        "The activity does its work without it.",
                        shortened(error),
                    )
                )
        elif record.name.startswith("temporalio.worker") and record.getMessage().startswith("Failed"):
            self._report_activation(error, record.args)

    def _report_activation(self, error: BaseException, run: object) -> None:
        """Report that an activation of a run, and with it the workflow's task, has failed.

        Not if it has blocked for the first time: it may just be on a busy machine, and the server offers the task
        again. Where the SDK then can't put the run aside, the block is the reason.
        """
        if run in self._blocked and (has_blocked(error) or "Eviction processed, but" in str(error)):
            self._watch.report(self._blocked[run])
        elif has_blocked(error):
            self._blocked[run] = explain_workflow_error(error)
        else:
            self._watch.report(explain_workflow_error(error))

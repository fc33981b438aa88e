"""Where a solution is tried out: a worker that is watched, and whose activities can be held."""

import asyncio
import contextvars
import dataclasses
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WithStartWorkflowOperation,
    WorkflowContinuedAsNewError,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    HandleQueryInput,
    Interceptor,
    Worker,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from temporal_client import ending_of
from temporal_worker import activities_of
from tests.exercises.wrong import (
    BLOCKS,
    Wrong,
    explain_core_message,
    explain_registration_error,
    explain_workflow_error,
    shortened,
    shortened_output,
)
from tests.runs import VAULT, YES, Handle, history
from workflow import Version
from workflow.activities import SystemPatchActivities
from workflow.types import (
    ApprovalAnswer,
    ClusterPatchInput,
    HostFailure,
    HostPatchInput,
    SystemPatchInput,
    SystemPatchResult,
)

T = TypeVar("T")
PATIENCE = 1.5  # Seconds without any news after which nothing more is expected to happen.
WORKFLOW_THREADS = 16
RPC_TIMEOUT = timedelta(seconds=3)
# Errors of an activity that are no simulated failure but a slip of the pen.
SLIPS = (NameError, AttributeError, TypeError, ImportError, LookupError, AssertionError)

UPDATE_NAME, SIGNAL_NAME = "answer_approval", "answer_approval_signal"
AS_NEW = "The workflow began anew, by continue_as_new."
ANSWERED = "It can be answered once, at any time after its start."

REQUEST = "request_approval_activity"
GET_HOSTS = "get_cluster_hosts_activity"
PRECONDITIONS = "check_host_preconditions_activity"
UPDATE = "perform_update_activity"
HEALTH = "check_service_health_activity"
SUCCESS = "send_success_notification_activity"
ALERT = "send_failure_alert_activity"


class Clock:
    """What an activity's sleeps cost in a check: no time, whether by `self._work` or by `asyncio.sleep` itself."""

    def __init__(self) -> None:
        """Begin with nothing slept."""
        self.slept = 0.0
        self.blocked = False
        """Whether the activity called `time.sleep`, which would stop the whole worker."""

    async def sleep(self, seconds: float) -> None:
        """Stand in for `asyncio.sleep`."""
        self.slept += seconds
        await _sleep(0)

    def block(self, seconds: float) -> None:
        """Stand in for `time.sleep`."""
        self.slept += seconds
        self.blocked = True


_sleep, _block = asyncio.sleep, time.sleep
_clock: contextvars.ContextVar[Clock | None] = contextvars.ContextVar("clock", default=None)


async def _asyncio_sleep(delay: float, result: Any = None) -> Any:
    clock = _clock.get()
    await (_sleep(delay) if clock is None else clock.sleep(delay))
    return result


def _time_sleep(delay: float) -> None:
    clock = _clock.get()
    if clock is None:
        _block(delay)
    else:
        clock.block(delay)


@contextmanager
def clocks() -> Iterator[None]:
    """Within this, an activity sleeps by its own clock if it has one. All other code sleeps as ever."""
    with mock.patch.object(asyncio, "sleep", _asyncio_sleep), mock.patch.object(time, "sleep", _time_sleep):
        yield


@contextmanager
def timed_by(clock: Clock) -> Iterator[None]:
    """Within this, sleeping is a matter of this clock."""
    token = _clock.set(clock)
    try:
        yield
    finally:
        _clock.reset(token)


@dataclasses.dataclass
class Call:
    """One attempt of an activity, as the worker saw it."""

    name: str
    subject: str
    """The host or cluster that it is about."""
    workflow_id: str
    attempt: int
    details: Any
    """The heartbeat details with which the attempt began."""
    done: bool = False
    error: BaseException | None = None


class Lab:
    """A running worker of one version on one server, all that its activities do, and gates that hold them."""

    def __init__(self, client: Client, version: Version, script: Path | None) -> None:
        """Take the version that is tried out, and the client script to try with it, if any."""
        self.client = client
        self.version = version
        self.script = script
        self.hosts_per_cluster = 1
        self.calls: list[Call] = []
        self.handles: list[Handle] = []
        self.trouble: asyncio.Future[Wrong] = asyncio.get_running_loop().create_future()
        self.clock_of: Callable[[Call], Clock] = lambda call: Clock()
        """What makes the clock of an activity's attempt."""
        self.failing: set[tuple[str, str]] = set()
        """Activities that fail, and for which hosts."""
        self._begun: list[asyncio.Task[Any]] = []
        self._gates: dict[tuple[str, str], asyncio.Event] = {}
        self._news = asyncio.Condition()
        self._last_activity = 0.0
        self._loop = asyncio.get_running_loop()

    # Starting, answering, asking.

    def defined(self, kind: str) -> list[str]:
        """Return the names of the workflow's `signals`, `updates` or `queries`."""
        definition = getattr(self.version.workflow, "__temporal_workflow_definition")
        return [name for name in getattr(definition, kind) if name]

    async def start(
        self, clusters: list[str], pilot_count: int = 1, approval_timeout: int = 60, **options: Any
    ) -> Handle:
        """Start a workflow that patches these clusters. Its hosts are made up: `hosts_per_cluster` in each."""
        handle: Handle = await self.client.start_workflow(
            self.version.workflow.run,
            SystemPatchInput(clusters, pilot_count, VAULT, approval_timeout),
            id=self.new_id(),
            task_queue=self.version.task_queue,
            **options,
        )
        self.handles.append(handle)
        return handle

    def new_id(self) -> str:
        """Return the id of a workflow of this check's own."""
        return f"check-{self.version.name}-{len(self.handles) + 1}-{time.monotonic_ns() % 10**6}"

    async def start_with_update(self, clusters: list[str], answer: ApprovalAnswer) -> Handle:
        """Start a workflow together with an update that answers it, so that the answer comes as early as possible."""
        start = WithStartWorkflowOperation(
            self.version.workflow.run,
            SystemPatchInput(clusters, 1, VAULT, 60),
            id=self.new_id(),
            task_queue=self.version.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        )
        sending = self.client.execute_update_with_start_workflow(
            UPDATE_NAME, answer, start_workflow_operation=start, rpc_timeout=RPC_TIMEOUT
        )
        await self._reply(sending)
        handle: Handle = await start.workflow_handle()
        self.handles.append(handle)
        return handle

    def ways(self) -> list[bool]:
        """Return the ways in which the workflow can be answered: False for the update, True for the signal."""
        return [False] * (UPDATE_NAME in self.defined("updates")) + [True] * (SIGNAL_NAME in self.defined("signals"))

    async def answer(self, handle: Handle, by_signal: bool, answer: ApprovalAnswer = YES) -> Any:
        """Answer the approval request. Returns what an update replies. Raises `Wrong` if it is refused."""
        try:
            if by_signal:
                return await handle.signal(SIGNAL_NAME, answer)
            return await self._reply(handle.execute_update(UPDATE_NAME, answer, rpc_timeout=RPC_TIMEOUT))
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            raise Wrong(f"It ended before it was answered. {await self.what_it_does(handle)}", ANSWERED) from error

    async def _reply(self, sending: Awaitable[Any]) -> Any:
        try:
            return await sending
        except WorkflowUpdateFailedError as error:
            if getattr(error.cause, "type", "") == "AcceptedUpdateCompletedWorkflow":
                raise Wrong(
                    "The workflow ended before its update had replied.", "The update replies at once."
                ) from error
            raise Wrong(f"A first answer by update was refused: {error.cause}", ANSWERED) from error
        except RPCTimeoutOrCancelledError as error:
            raise Wrong("The update got no reply within 3 seconds.", ANSWERED) from error

    async def approve(self, handle: Handle) -> None:
        """Say yes, by update or by signal, if the workflow takes one of them."""
        for by_signal in self.ways()[:1]:
            await self.answer(handle, by_signal)

    async def completed_steps(self, handle: Handle) -> list[str]:
        """Return what the query answers. Raises `Wrong` if it is there no longer, fails or returns something else."""
        if "completed_steps" not in self.defined("queries"):
            raise Wrong(
                f"The class {self.version.workflow.__name__} has no query named completed_steps."
                f" Its queries: {', '.join(self.defined('queries')) or 'none'}.",
                "A method `completed_steps` with @workflow.query returns the list of the completed steps.",
            )
        try:
            steps = await handle.query("completed_steps", rpc_timeout=RPC_TIMEOUT)
        except WorkflowQueryFailedError as error:
            expected = "A query only reads." if "it changed" in error.message else "It returns a list of texts."
            raise Wrong(f"The query completed_steps failed: {error.message}", expected) from error
        if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
            raise Wrong(f"The query completed_steps returned {steps!r:.200}.", "It returns a list of texts.")
        return steps

    async def result(self, handle: Handle, expectation: str, patience: float = PATIENCE) -> SystemPatchResult:
        """Return the result of a workflow that has to complete. Raises `Wrong` if it fails, or goes on for ever."""
        await self.closed(handle, expectation, patience)
        try:
            result = await handle.result(follow_runs=False)
        except WorkflowFailureError as error:
            raise Wrong(f"The workflow {ending_of(error)}.", expectation) from error
        except WorkflowContinuedAsNewError as error:
            raise Wrong(AS_NEW, expectation) from error
        except ApplicationError as error:
            raise Wrong(f"The result has not the type that `run` declares: {error.message}", expectation) from error
        if not isinstance(result, SystemPatchResult):
            raise Wrong(f"`run` returned {result!r:.200}.", "It returns a SystemPatchResult, as it did before.")
        return result

    async def failure(self, handle: Handle, expectation: str, patience: float = PATIENCE) -> BaseException:
        """Return the error with which a workflow failed that has to fail, and `Wrong` if it does anything else."""
        await self.closed(handle, expectation, patience)
        try:
            result = await handle.result(follow_runs=False)
        except WorkflowContinuedAsNewError as error:
            raise Wrong(AS_NEW, expectation) from error
        except WorkflowFailureError as error:
            if (await handle.describe()).status != WorkflowExecutionStatus.FAILED:
                raise Wrong(f"The workflow {ending_of(error)}.", expectation) from error
            return error.cause
        except ApplicationError:
            result = "something else than `run` declares"
        raise Wrong(f"The workflow completed, as if all had gone well. Its result: {result!r:.200}", expectation)

    async def is_waiting(self, handle: Handle) -> bool:
        """Return whether approval was requested, and the workflow has nothing to do but to wait for the answer."""
        events = [event.event_type for event in await history(handle)]
        idle = events[-1] in (EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED, EventType.EVENT_TYPE_TIMER_STARTED)
        return idle and EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED in events

    async def is_busy(self) -> bool:
        """Return whether a workflow's code is being run, which normally takes no time."""
        for handle in self.handles:
            if (await history(handle))[-1].event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
                return True
        return False

    async def closed(self, handle: Handle, expectation: str, patience: float = PATIENCE) -> None:
        """Wait for the end of a workflow. Raises `Wrong` if it still runs when nothing has happened for a while."""
        ended = asyncio.Event()

        async def follow() -> None:
            async for _ in handle.fetch_history_events(wait_new_event=True):
                pass
            ended.set()
            await self.tell()

        following = asyncio.create_task(follow())
        try:
            if not await self.wait(ended.is_set, patience):
                raise Wrong(await self.what_it_does(handle), expectation)
        finally:
            following.cancel()

    async def what_it_does(self, handle: Handle) -> str:
        """Return one sentence on how a workflow has ended, or on what it waits for."""
        described = await handle.describe()
        if described.status != WorkflowExecutionStatus.RUNNING:
            try:
                await handle.result(follow_runs=False)
            except WorkflowContinuedAsNewError:
                return AS_NEW
            except (WorkflowFailureError, ApplicationError) as error:
                return f"The workflow {ending_of(error) if isinstance(error, WorkflowFailureError) else error}."
            return "The workflow is completed already."
        description = described.raw_description
        for pending in description.pending_activities:
            subject = next((c.subject for c in self.calls if c.name == pending.activity_type.name and not c.done), "")
            why = f", last failure: {pending.last_failure.message}" if pending.last_failure.message else ""
            about = f" of {subject}" if subject else ""
            return f"The workflow still runs: {pending.activity_type.name}{about} is at attempt {pending.attempt}{why}."
        if description.pending_children:
            ids = ", ".join(child.workflow_id.rpartition("/")[2] for child in description.pending_children)
            return f"The workflow still runs: it waits for its child workflows {ids}."
        timers = await self.timers(handle)
        if timers:
            return f"The workflow still runs, and waits for a timer of {timers[-1]:g} s."
        return (
            "The workflow still runs, and waits for something that doesn't come: "
            "no activity and no timer of it is under way."
        )

    async def timers(self, handle: Handle) -> list[float]:
        """Return for how many seconds each timer of the workflow was set."""
        return [
            event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta().total_seconds()
            for event in await history(handle)
            if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED
        ]

    # Watching and holding activities.

    def hold(self, name: str, *subjects: str) -> None:
        """Hold this activity, for these hosts or clusters, before it does anything."""
        for subject in subjects:
            self._gates[name, subject] = asyncio.Event()

    def release(self, name: str, *subjects: str) -> None:
        """Let held activities go on."""
        for subject in subjects:
            self._gates[name, subject].set()

    def begun(self, name: str | None = None) -> set[str]:
        """Return the hosts or clusters for which an activity (this one, or any) was begun."""
        return {call.subject for call in self.calls if name in (None, call.name)}

    def updates_of(self, host: str) -> int:
        """Return how often the host's update was done."""
        return len([call for call in self.calls if (call.name, call.subject, call.done) == (UPDATE, host, True)])

    def queries(self) -> int:
        """Return how many queries were answered so far."""
        return _WatchedQuery.answered

    def done(self, name: str) -> set[str]:
        """Return the hosts or clusters for which this activity is done."""
        return {call.subject for call in self.calls if call.name == name and call.done}

    def activities_in(self, *handles: Handle) -> list[str]:
        """Return the names of the activities of these workflows, in the order in which they were begun."""
        ids = [handle.id for handle in handles]
        return [call.name for call in self.calls if call.workflow_id in ids]

    async def wait(self, condition: Callable[[], bool], patience: float = PATIENCE) -> bool:
        """Wait until the condition holds. Returns whether it does.

        It gives up `patience` seconds after the last activity has begun or ended, and after three times as much even if
        that goes on and on.
        """
        started = time.monotonic()
        async with self._news:
            while not condition():
                left = min(max(started, self._last_activity) + patience, started + 3 * patience) - time.monotonic()
                try:
                    await asyncio.wait_for(self._news.wait(), max(left, 0.001))
                except asyncio.TimeoutError:
                    if left <= 0.01 or time.monotonic() >= max(started, self._last_activity) + patience:
                        return condition()
        return True

    async def until(self, condition: Callable[[], Awaitable[bool]], timeout: float) -> bool:
        """Ask the server again and again until the condition holds. Returns whether it does after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not await condition():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.03)
        return True

    def begin(self, scenario: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin something whose end is awaited later, so that several workflows run side by side."""
        self._begun.append(asyncio.create_task(scenario))
        return self._begun[-1]

    async def close(self) -> None:
        """End what was begun and not awaited."""
        for task in self._begun:
            task.cancel()
        await asyncio.gather(*self._begun, return_exceptions=True)

    async def tell(self) -> None:
        """Let whoever waits look again."""
        async with self._news:
            self._news.notify_all()

    async def execute(self, call: Call, run: Callable[[], Awaitable[Any]]) -> Any:
        """Run one attempt of an activity: note it, hold it at its gate, then let it do its work in no time."""
        self.calls.append(call)
        self._last_activity = time.monotonic()
        await self.tell()
        try:
            if (call.name, call.subject) in self.failing:
                raise ApplicationError("this host fails, to see what happens", non_retryable=True)
            gate = self._gates.get((call.name, call.subject))
            while gate is not None and not gate.is_set():
                activity.heartbeat()
                try:
                    await asyncio.wait_for(gate.wait(), 0.2)
                except asyncio.TimeoutError:
                    continue
            if call.name == GET_HOSTS:
                return hosts_of(call.subject, self.hosts_per_cluster)
            clock = self.clock_of(call)
            try:
                with timed_by(clock):
                    return await run()
            finally:
                if clock.blocked:
                    self.report(BLOCKS)
        except BaseException as error:
            call.error = error
            raise
        finally:
            call.done = call.error is None
            self._last_activity = time.monotonic()
            await asyncio.shield(self.tell())

    # What goes wrong in the worker.

    def report(self, trouble: Wrong) -> None:
        """End the check with this, whatever it waits for. Can be called from any thread."""
        trouble.is_error = True

        def set_trouble() -> None:
            if not self.trouble.done():
                self.trouble.set_result(trouble)

        self._loop.call_soon_threadsafe(set_trouble)


def hosts_of(cluster: str, count: int) -> list[str]:
    """Return the names of a cluster's first hosts."""
    return [f"{cluster}_host{number}" for number in range(1, count + 1)]


def listed(names: Iterable[str]) -> str:
    """Return names as they stand in a sentence."""
    return ", ".join(sorted(names)) or "none"


def were(names: Iterable[str]) -> str:
    """Return names with the verb that fits them, as a part of a sentence."""
    return f"{listed(names)} {'was' if len(set(names)) == 1 else 'were'}"


def subject_of(args: Iterable[Any]) -> str:
    """Return the host or cluster that an activity's arguments are about, or nothing."""
    for value in args:
        if isinstance(value, HostPatchInput | HostFailure):
            return value.hostname
        if isinstance(value, ClusterPatchInput):
            return value.name
    return ""


class ClientScript:
    """A learner's client, as a process of its own."""

    def __init__(self, lab: Lab) -> None:
        """Take the script that the lab has."""
        self._lab = lab
        self.lines: list[str] = []
        self.workflow: Handle = lab.client.get_workflow_handle(lab.version.workflow_id)

    async def __aenter__(self) -> "ClientScript":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        self._reader.cancel()

    async def start(self, *flags: str) -> "ClientScript":
        """Start it with these flags."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(str(self._lab.script), self._lab.version.name, *flags),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip())
            await self._lab.tell()
        await self.process.wait()
        await self._lab.tell()

    def ended(self) -> bool:
        """Return whether all is read and the process is over."""
        return self._reader.done()

    def wrong(self, seen: str, expected: str) -> Wrong:
        """Return what is wrong, with how the client ended and what it printed."""
        code = self.process.returncode
        end = f" The client ended with exit code {code}. It printed:" if code is not None else " The client printed:"
        return Wrong(seen + end, expected, shortened_output(self.lines))


class Watch(Interceptor):
    """Lets the lab see and hold the activities, and makes sure that queries change nothing."""

    def __init__(self, lab: Lab) -> None:
        """Watch for this lab."""
        self._lab = lab

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Return what stands before each activity."""
        return _WatchedActivity(next, self._lab)

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        """Return what stands before each query."""
        return _WatchedQuery


class _WatchedActivity(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, lab: Lab) -> None:
        super().__init__(next)
        self._lab = lab

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        call = Call(
            info.activity_type, subject_of(input.args), info.workflow_id or "", info.attempt, info.heartbeat_details
        )
        for host in [value for value in input.args if isinstance(value, HostPatchInput)]:
            if not host.hostname.startswith(f"{host.cluster}_"):
                seen = f"{call.name} was called for {host.hostname} of {host.cluster}."
                self._lab.report(Wrong(seen, "A host goes with its own cluster. Do clusters share an attribute?"))
        return await self._lab.execute(call, lambda: super(_WatchedActivity, self).execute_activity(input))


class _WatchedQuery(WorkflowInboundInterceptor):
    answered = 0  # By all workflows of this process.

    async def handle_query(self, input: HandleQueryInput) -> Any:
        _WatchedQuery.answered += 1
        before = {name: repr(value) for name, value in vars(workflow.instance()).items()}
        answer = await super().handle_query(input)
        for name, value in vars(workflow.instance()).items():
            if before.get(name) != repr(value):
                raise ApplicationError(f"it changed self.{name}", type="QueryChangedState")
        return answer


class _Trouble(logging.Handler):
    """Reports to the lab what the SDK logs of exceptions in a learner's code."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(logging.WARNING)
        self._lab = lab

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            if trouble := explain_core_message(record.getMessage()):
                self._lab.report(trouble)
        elif record.name.startswith("temporalio.activity"):
            if isinstance(error, SLIPS):
                self._lab.report(
                    Wrong(
                        "Your activity raised an exception that looks like a slip.",
                        "The activity does its work without it.",
                        shortened(error),
                    )
                )
        elif record.getMessage().startswith("Failed"):  # An activation, and with it the workflow's task.
            self._lab.report(explain_workflow_error(error))


@asynccontextmanager
async def open_lab(client: Client, version: Version, script: Path | None) -> AsyncIterator[Lab]:
    """Run a worker of the version, and watch it.

    Raises `Wrong` if the worker can't be made of the learner's classes.
    """
    lab = Lab(client, version, script)
    log = logging.getLogger("temporalio")
    handler = _Trouble(lab)
    log.addHandler(handler)
    try:
        with clocks():
            activities = version.activities(1.0)
            for name in dir(SystemPatchActivities):
                if name.endswith("_activity") and not hasattr(
                    getattr(activities, name), "__temporal_activity_definition"
                ):
                    raise Wrong(f"Your {name} is no activity.", "An activity has @activity.defn above its `async def`.")
            try:
                watched = Worker(
                    client,
                    task_queue=version.task_queue,
                    workflows=version.workflows,
                    activities=activities_of(activities),
                    interceptors=[Watch(lab)],
                    # Of the worker's own executor it would wait at its end until all threads are done, which a loop
                    # that never ends is not.
                    workflow_task_executor=ThreadPoolExecutor(WORKFLOW_THREADS),
                    workflow_runner=SandboxedWorkflowRunner(
                        # So that Python's warnings about workflow code reach the judge.
                        restrictions=SandboxRestrictions.default.with_passthrough_modules("warnings")
                    ),
                )
            except (RuntimeError, ValueError, TypeError) as error:
                raise explain_registration_error(error) from error
            running = asyncio.create_task(watched.run())
            try:
                yield lab
            finally:
                await lab.close()
                # A workflow that never lets go of its thread would keep the worker from stopping.
                await asyncio.wait([running, asyncio.create_task(watched.shutdown())], timeout=1)
    finally:
        log.removeHandler(handler)

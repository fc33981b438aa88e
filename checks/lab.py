"""Where a solution is tried out: a worker on a real server that is watched, and workflows that run on it."""

from checks.explain import explain_registration_error
from checks.failure import CheckFailure
from checks.machine import BUSY, slowness
from checks.names import VAULT, YES
from checks.recorder import Recorder
from checks.watch import TroubleHandler, Watch
from support.client import ending_of
from support.histories import Handle, history, own_name
from support.script import within
from workflow.activities import SystemPatchActivities
from workflow.types import ApprovalAnswer, SystemPatchInput, SystemPatchResult
from workflow.versions import Version, activities_of

import asyncio
import itertools
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.client import (
    Client,
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
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

T = TypeVar("T")
_numbers = itertools.count(1)
PATIENCE = 1.5  # Seconds without any news after which nothing more is expected to happen.
# Seconds without any news after which nothing more is expected although something is still under way. On an idle
# machine a workflow's code is run within milliseconds; a busy one gets as many times more as it is slower.
BUSY_PATIENCE = 12.0
WORKFLOW_THREADS = 16
ACTIVITY_THREADS = 100  # As many as activities that run at a time, by the SDK's default.
RPC_TIMEOUT = timedelta(seconds=60)  # Late: before that, it is seen that nothing is under way any more.
REPLY_PATIENCE = 2.0
BLOCKED = 2  # Seconds without waiting for anything, on an idle machine, after which a workflow is taken to be blocked.

AS_NEW = "The workflow began anew, by continue_as_new."
ANSWERED = "It can be answered once, at any time after its start."


class Way(Enum):
    """The ways in which a workflow can be answered, each with its handler's name."""

    UPDATE = "answer_approval"
    SIGNAL = "answer_approval_signal"


class Lab(Watch):
    """A running worker of one version on one server, and the workflows that are tried out on it."""

    def __init__(
        self, client: Client, version: Version, script: Path | None = None, worker_flags: list[str] | None = None
    ) -> None:
        """Take the version that is tried out, and the client script and a worker's flags to try with it, if any."""
        super().__init__()
        self.client = client
        self.version = version
        self.script = script
        self.worker_flags = worker_flags or []
        self.clients_workflows: list[Handle] = []
        """The workflows that clients started, if they did."""
        self.recorder = Recorder()
        """Has noted what the workflows did."""
        self.handles: list[Handle] = []
        """The workflows that were started so far."""
        self._starting = 0
        self._begun: list[asyncio.Task[Any]] = []
        self._closed: set[str] = set()

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
        return f"{self.version.workflow_id}-check-{next(_numbers)}"

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
            Way.UPDATE.value, answer, start_workflow_operation=start, rpc_timeout=RPC_TIMEOUT
        )
        replying = self.begin(self._reply(sending))
        self._starting += 1
        try:
            handle: Handle = await start.workflow_handle()
            self.handles.append(handle)
        finally:
            self._starting -= 1
        await replying
        return handle

    def ways(self) -> list[Way]:
        """Return the ways in which the workflow can be answered."""
        there = {*self.defined("updates"), *self.defined("signals")}
        return [way for way in Way if way.value in there]

    async def answer(self, handle: Handle, way: Way, answer: ApprovalAnswer = YES) -> Any:
        """Answer the approval request. Returns what an update replies. Raises `CheckFailure` if it is refused."""
        try:
            if way is Way.SIGNAL:
                return await handle.signal(way.value, answer)
            return await self._reply(handle.execute_update(way.value, answer, rpc_timeout=RPC_TIMEOUT))
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            raise CheckFailure(
                f"It ended before it was answered. {await self.what_it_does(handle)}", ANSWERED
            ) from error

    async def _reply(self, sending: Coroutine[Any, Any, Any]) -> Any:
        replying = self.begin(sending)  # If it is cancelled, the SDK raises an exception of its own: `close` gets it.

        async def has_replied() -> bool:
            return replying.done()

        try:
            if not await self.until(has_replied, REPLY_PATIENCE):
                raise CheckFailure("The update got no reply: its handler still waits.", ANSWERED)
            return replying.result()
        except WorkflowUpdateFailedError as error:
            if getattr(error.cause, "type", "") == "AcceptedUpdateCompletedWorkflow":
                raise CheckFailure(
                    "The workflow ended before its update had replied.", "The update replies at once."
                ) from error
            raise CheckFailure(f"A first answer by update was refused: {error.cause}", ANSWERED) from error
        finally:
            replying.cancel()

    async def approve(self, handle: Handle) -> None:
        """Say yes, by update or by signal, if the workflow takes one of them."""
        for way in self.ways()[:1]:
            await self.answer(handle, way)

    async def completed_steps(self, handle: Handle) -> list[str]:
        """Return what the query answers. Raises `CheckFailure` if it is not there, or answers no list of texts."""
        if "completed_steps" not in self.defined("queries"):
            raise CheckFailure(
                f"The class {self.version.workflow.__name__} has no query named completed_steps."
                f" Its queries: {', '.join(self.defined('queries')) or 'none'}.",
                "A method `completed_steps` with @workflow.query returns the list of the completed steps.",
            )
        try:
            steps = await handle.query("completed_steps", rpc_timeout=RPC_TIMEOUT)
        except WorkflowQueryFailedError as error:
            expected = "A query only reads." if "it changed" in error.message else "It returns a list of texts."
            seen = f"The query completed_steps failed: {error.message}"
            if "TMPRL1101" in error.message:
                seen = "The query completed_steps ran for seconds and was not done: a loop that never ends?"
            raise CheckFailure(seen, expected) from error
        if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
            raise CheckFailure(f"The query completed_steps returned {steps!r:.200}.", "It returns a list of texts.")
        return steps

    async def result(self, handle: Handle, expectation: str, patience: float = PATIENCE) -> SystemPatchResult:
        """Return the result of a workflow that has to complete. Raises `CheckFailure` if it does not."""
        await self.closed(handle, expectation, patience)
        try:
            result = await handle.result(follow_runs=False)
        except WorkflowFailureError as error:
            raise CheckFailure(f"The workflow {ending_of(error)}.", expectation) from error
        except WorkflowContinuedAsNewError as error:
            raise CheckFailure(AS_NEW, expectation) from error
        except ApplicationError as error:
            raise CheckFailure(
                f"The result has not the type that `run` declares: {error.message}", expectation
            ) from error
        if not isinstance(result, SystemPatchResult):
            raise CheckFailure(f"`run` returned {result!r:.200}.", "It returns a SystemPatchResult, as it did before.")
        return result

    async def failure(self, handle: Handle, expectation: str, patience: float = PATIENCE) -> BaseException:
        """Return the error with which a workflow failed that has to. Raises `CheckFailure` if it does anything else."""
        await self.closed(handle, expectation, patience)
        try:
            result = await handle.result(follow_runs=False)
        except WorkflowContinuedAsNewError as error:
            raise CheckFailure(AS_NEW, expectation) from error
        except WorkflowFailureError as error:
            if (await handle.describe()).status != WorkflowExecutionStatus.FAILED:
                raise CheckFailure(f"The workflow {ending_of(error)}.", expectation) from error
            return error.cause
        except ApplicationError:
            result = "something else than `run` declares"
        raise CheckFailure(f"The workflow completed, as if all had gone well. Its result: {result!r:.200}", expectation)

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
        """Wait for the end of a workflow. Raises `CheckFailure` if it still runs when nothing happens any more."""
        ended = asyncio.Event()

        async def follow() -> None:
            async for _ in handle.fetch_history_events(wait_new_event=True):
                pass
            ended.set()
            self.notify()

        following = asyncio.create_task(follow())
        try:
            # News of the end may come late: who asks, hears of it.
            if not await self.wait(ended.is_set, patience) and (await handle.describe()).close_time is None:
                raise CheckFailure(await self.what_it_does(handle), expectation)
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
            ids = ", ".join(own_name(child.workflow_id) for child in description.pending_children)
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

    # Waiting.

    async def wait(self, condition: Callable[[], bool], patience: float = PATIENCE) -> bool:
        """Wait until the condition holds. Returns whether it does.

        It gives up when there has been no news for `patience` seconds (since the start of the wait, or since an
        activity has begun or ended) and nothing is under way any more, which on a busy machine may take longer. It also
        gives up if news come on and on, and the condition never holds.
        """
        started = time.monotonic()
        while True:
            since = max(started, self.last_news)
            if await self._wait_for_news(condition, since + patience):
                return True
            silent = time.monotonic() - max(started, self.last_news)
            longest = 3 * max(patience, BUSY_PATIENCE)
            if silent >= BUSY_PATIENCE or time.monotonic() - started >= longest:
                slow = slowness()
                if silent >= BUSY_PATIENCE * slow or time.monotonic() - started >= longest * slow:
                    return condition()
            if silent >= patience:
                if await self.is_quiet():
                    return condition()
                await asyncio.sleep(0.2)

    async def _wait_for_news(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Wait until the condition holds, or until this time. Returns whether it holds."""
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            try:
                await within(left, self.news.wait())
            except asyncio.TimeoutError:
                return condition()
        return True

    async def until(self, condition: Callable[[], Awaitable[bool]], timeout: float) -> bool:
        """Ask the server again and again until the condition holds.

        Returns whether it does after `timeout` seconds and when nothing is under way any more, as in `wait`.
        """
        started = time.monotonic()
        while not await condition():
            waited = time.monotonic() - started
            if waited > timeout:
                out_of_patience = waited > timeout + BUSY_PATIENCE and waited > timeout + BUSY_PATIENCE * slowness()
                if out_of_patience or await self.is_quiet():
                    return await condition()
            await asyncio.sleep(0.03)
        return True

    async def is_quiet(self) -> bool:
        """Return whether nothing is under way from which news could come: no workflow's code, and no activity.

        Activities that are held don't count, nor do timers. It takes two looks, for between two steps the server may
        be about to pass something on, from a child to its parent, say.
        """
        news = self.last_news
        if not await self._nothing_is_pending():
            return False
        slow = slowness()
        await asyncio.sleep(0.3 * slow if slow > BUSY else 0.3)
        return await self._nothing_is_pending() and self.last_news == news

    async def _nothing_is_pending(self) -> bool:
        if self._starting:
            return False
        held = {(call.workflow_id, call.activity_id) for call in self.calls if call.held}
        clients = self.clients_workflows[-1:]
        runs = [handle for handle in self.handles if handle.id not in self._closed] + clients
        while runs:
            run = runs.pop()
            is_child = run not in self.handles + clients
            try:
                description = (await run.describe()).raw_description
            except RPCError as error:
                if error.status != RPCStatusCode.NOT_FOUND or run in self.handles:
                    raise
                if is_child:
                    return False  # It is about to be started.
                continue  # The client has not started it yet.
            if description.workflow_execution_info.close_time.seconds:
                if is_child:
                    return False  # Its parent is about to hear of it.
                if run in self.handles:  # Clients start one after the other, all of one id.
                    self._closed.add(run.id)
                continue
            # On another task queue there is no worker, and so nothing will come of it.
            is_ours = description.execution_config.task_queue.name == self.version.task_queue
            is_new = description.workflow_execution_info.history_length < 2  # Its first task is about to be scheduled.
            if is_ours and (is_new or description.HasField("pending_workflow_task")):
                return False
            for pending in description.pending_activities:
                is_cancelled = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
                if is_cancelled or (run.id, pending.activity_id) not in held:
                    return False
            runs += [self.client.get_workflow_handle(child.workflow_id) for child in description.pending_children]
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


@asynccontextmanager
async def open_lab(lab: Lab) -> AsyncIterator[None]:
    """Within this, a worker of the lab's version runs, and is watched.

    Raises `CheckFailure` if the worker can't be made of the learner's classes.
    """
    log = logging.getLogger("temporalio")
    handler = TroubleHandler(lab)
    log.addHandler(handler)
    interval = sys.getswitchinterval()
    # Several workflows that never let go of their threads must not leave the rest of this process without its turns.
    sys.setswitchinterval(interval / 10)
    try:
        say_where_coroutines_begin()
        worker = make_worker(lab)
        running = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            await lab.close()
            # A workflow that never lets go of its thread would keep the worker from stopping.
            await asyncio.wait([running, asyncio.create_task(worker.shutdown())], timeout=slowness())
    finally:
        sys.setswitchinterval(interval)
        log.removeHandler(handler)


def say_where_coroutines_begin() -> None:
    """Have Python name the line in which something was called that is never awaited. It counts for this thread."""
    sys.set_coroutine_origin_tracking_depth(1)


def make_worker(lab: Lab) -> Worker:
    """Return the worker. Raises `CheckFailure` if it can't be made of the learner's classes."""
    try:
        activities = lab.version.activities(1.0, lab.hosts_per_cluster)
    except TypeError as error:
        raise CheckFailure(
            f"Your class of activities can't be made: {error}.",
            "A worker gives it a pace and a number of hosts: either it has no `__init__` of its own, or one that takes "
            "both.",
        ) from error
    for name in dir(SystemPatchActivities):
        if name.endswith("_activity") and not hasattr(getattr(activities, name), "__temporal_activity_definition"):
            raise CheckFailure(f"Your {name} is no activity.", "An activity has @activity.defn above its `def`.")
    try:
        worker = Worker(
            lab.client,
            task_queue=lab.version.task_queue,
            workflows=lab.version.workflows,
            activities=activities_of(activities),
            activity_executor=ThreadPoolExecutor(ACTIVITY_THREADS, initializer=say_where_coroutines_begin),
            interceptors=[lab, lab.recorder],
            # By default heartbeats wait until 1.6 of 2 seconds are over, which leaves little for a busy machine.
            max_heartbeat_throttle_interval=timedelta(seconds=0.4),
            # Of the worker's own executor it would wait at its end until all threads are done, which a loop that never
            # ends is not.
            workflow_task_executor=ThreadPoolExecutor(WORKFLOW_THREADS, initializer=say_where_coroutines_begin),
            workflow_runner=SandboxedWorkflowRunner(
                # So that Python's warnings about workflow code reach the judge.
                restrictions=SandboxRestrictions.default.with_passthrough_modules("warnings")
            ),
        )
    except (RuntimeError, ValueError, TypeError) as error:
        raise explain_registration_error(error) from error
    # The SDK fails a task in which the workflow has waited for nothing for 2 seconds, and may then never get rid of its
    # run (sdk-python, issue 875). On a busy machine a right workflow can take so long. There is no setting for it.
    assert worker._workflow_worker is not None  # It has workflows.
    worker._workflow_worker._deadlock_timeout_seconds = round(BLOCKED * slowness())
    return worker

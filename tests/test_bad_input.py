"""Whatever anybody sends, in whichever way, ends in a clear refusal: no hang, no traceback, no task tried for ever.

The examples come from Hypothesis, the same ones at each run. test_input.py has those that are worth a name.
"""

import temporal_client
import temporal_server
import temporal_worker
from support.connection import connect, web_ui_link
from support.histories import history
from support.logs import ShortErrors
from support.script import UserError
from tests.runs import failed_tasks, id_of, patch_input, worker
from workflow.versions import VersionError, find_version, known_versions, released_versions

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

GOOD = json.loads(json.dumps(patch_input(["cluster3"]), default=vars))
NO = {"approved": False, "approver": "Bob"}
PATIENCE = 30  # More than the 10 seconds after which the server offers a task again that got lost.

the_same_each_time = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=40,
    phases=[Phase.explicit, Phase.generate],  # No shrinking: a failing example may take as long as PATIENCE.
    suppress_health_check=[HealthCheck.too_slow],
)

# What to send

hostile_texts = some.sampled_from(
    [
        "",
        " ",
        "../../etc/passwd",
        "a\nb",
        "a\0b",
        "\x1b[2J",
        "\ud800",
        "💥" * 200,
        "%s%n{0}",
        "__temporal_x",
        "x" * 3_000,
    ]
)
texts = some.one_of(hostile_texts, some.text(max_size=20))
numbers = some.one_of(
    some.integers(),
    some.floats(),
    some.sampled_from([-1, 0, 2**31, 2**63, 10**12, 10**14, 10**20, 10**400, 1e308, float("nan"), float("inf")]),
)
values: some.SearchStrategy[Any] = some.recursive(
    some.one_of(some.none(), some.booleans(), numbers, texts),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def almost(good: dict[str, Any]) -> some.SearchStrategy[Any]:
    """The right input, but with one field that has any value, or is missing."""
    wrong = some.tuples(some.sampled_from(sorted(good)), values).map(lambda pair: {**good, pair[0]: pair[1]})
    return wrong | some.sampled_from(sorted(good)).map(lambda name: {k: v for k, v in good.items() if k != name})


def as_json(value: Any) -> Payload:
    """The value as a client sends it, without any check."""
    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode())


encodings = some.sampled_from([b"json/plain", b"json/protobuf", b"binary/null", b"binary/plain", b"binary/x", b""])
garbage = some.builds(
    lambda encoding, data: Payload(metadata={"encoding": encoding} if encoding else {}, data=data),
    encodings,
    some.binary(max_size=20) | some.sampled_from([b"{", b"[" * 2000, b"1" * 5000, b"\xff\xfe", b'{"a":1,"a":2}']),
)


def payloads(good: dict[str, Any]) -> some.SearchStrategy[list[RawValue]]:
    """What a call may carry: mostly one payload, of whatever kind."""
    one = some.one_of(almost(good).map(as_json), values.map(as_json), garbage).map(RawValue)
    return some.one_of(one.map(lambda payload: [payload]), some.lists(one, max_size=3))


# Where to send it

tracebacks: list[str] = []


class Watch(logging.Handler):
    """Notes what a worker's log would show with a traceback."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and "Traceback" in ShortErrors().formatException(record.exc_info):
            tracebacks.append(ShortErrors().formatException(record.exc_info))


@pytest.fixture(scope="module")
async def plain(client: Client) -> AsyncIterator[Client]:
    """A client that checks nothing, on a server with a worker of each version."""
    watch = Watch()
    logging.getLogger().addHandler(watch)
    async with AsyncExitStack() as workers:
        for version in released_versions():
            await workers.enter_async_context(worker(client, version))
        yield await Client.connect(client.service_client.config.target_host)
    logging.getLogger().removeHandler(watch)


TYPES = [
    (each.__name__, find_version(version).task_queue)
    for version in released_versions()
    for each in find_version(version).workflows
]
WITH_APPROVAL = [
    version for version in released_versions() if hasattr(find_version(version).workflow, "answer_approval")
]
number = iter(range(1_000_000))


async def ending(handle: WorkflowHandle[Any, Any]) -> str:
    """Wait for the end of a run. Returns the type of its failure, or an empty text if it completed."""
    try:
        await asyncio.wait_for(handle.result(), PATIENCE)
        kind = ""
    except WorkflowFailureError as error:
        assert isinstance(error.cause, ApplicationError), error.cause
        kind = error.cause.type or "none"
    assert failed_tasks(await history(handle)) == []
    assert not tracebacks, tracebacks[0]
    return kind


async def waiting(plain: Client, version: str) -> WorkflowHandle[Any, Any]:
    """A run that waits for its approval."""
    found = find_version(version)
    id = id_of(f"bad-{next(number)}")
    return await plain.start_workflow(found.workflow.__name__, GOOD, id=id, task_queue=found.task_queue)


@given(some.sampled_from(TYPES), payloads(GOOD))
@the_same_each_time
async def test_a_workflow_takes_its_input_or_fails_at_once(
    plain: Client, type_and_queue: tuple[str, str], sent: list[RawValue]
) -> None:
    name, queue = type_and_queue
    handle = await plain.start_workflow(
        name,
        args=sent,
        id=id_of(f"bad-{next(number)}"),
        task_queue=queue,
        start_signal="answer_approval_signal",
        start_signal_args=[NO],
    )
    assert await ending(handle) in ("InvalidInput", "ApprovalRejected", "")


@given(
    some.sampled_from(WITH_APPROVAL), some.sampled_from(["answer_approval_signal", "record_step"]) | texts, payloads(NO)
)
@the_same_each_time
async def test_a_signal_is_taken_or_dropped_and_the_workflow_lives_on(
    plain: Client, version: str, name: str, sent: list[RawValue]
) -> None:
    handle = await waiting(plain, version)
    with suppress(RPCError, ValueError):  # Refused on the way: a name too long, or one that is no text.
        await handle.signal(name, args=sent)
    await handle.signal("answer_approval_signal", NO)
    assert await ending(handle) in ("ApprovalRejected", "")


@given(some.sampled_from(WITH_APPROVAL), some.just("answer_approval") | texts, payloads(NO))
@the_same_each_time
async def test_an_update_is_answered_or_refused_and_the_workflow_lives_on(
    plain: Client, version: str, name: str, sent: list[RawValue]
) -> None:
    handle = await waiting(plain, version)
    try:
        reply = await asyncio.wait_for(handle.execute_update(name, args=sent), PATIENCE)
        assert reply in ("approved", "rejected")
    except (WorkflowUpdateFailedError, RPCError, ValueError):
        pass
    await handle.signal("answer_approval_signal", NO)
    assert await ending(handle) in ("ApprovalRejected", "")


@given(some.sampled_from(WITH_APPROVAL), some.just("completed_steps") | texts, payloads(NO))
@the_same_each_time
async def test_a_query_is_answered_or_refused_and_the_workflow_lives_on(
    plain: Client, version: str, name: str, sent: list[RawValue]
) -> None:
    handle = await waiting(plain, version)
    with suppress(WorkflowQueryFailedError, RPCError, ValueError):
        await handle.query(name, args=sent, rpc_timeout=timedelta(seconds=PATIENCE))
    await handle.signal("answer_approval_signal", NO)
    assert await ending(handle) == "ApprovalRejected"


# Command lines, environment, names

words = texts.filter(lambda text: "\0" not in text)  # No process can get a NUL on its command line or environment.
numerals = (
    some.integers().map(str) | some.floats().map(str) | some.sampled_from(["0", "1e400", "١٢", "1_0", "9" * 5_000])
)
FLAGS: dict[str, Callable[[], None]] = {
    "client --clusters --pilot-count --approval-timeout --poll-interval": temporal_client.main,
    "worker --pace": temporal_worker.main,
    "server --port --ui-port --database": temporal_server.main,
}


class Accepted(Exception):
    """The command line was accepted."""


@given(some.data())
@settings(the_same_each_time, max_examples=200)
def test_a_command_line_is_accepted_or_refused_with_exit_code_2(data: some.DataObject) -> None:
    program = data.draw(some.sampled_from(sorted(FLAGS)))
    flag = some.sampled_from([*program.split()[1:], "--attach", "--signal", "--reject", "--temporary"])
    part = (
        flag | some.builds("{}={}".format, flag, words | numerals) | numerals | words | some.sampled_from(["v1", "v3"])
    )
    arguments = data.draw(some.lists(part, max_size=5))

    def accept(*_: Any) -> NoReturn:
        raise Accepted

    with pytest.MonkeyPatch.context() as patch, suppress(Accepted):
        patch.setattr("sys.argv", [program.split()[0], *arguments])
        for module in (temporal_client, temporal_worker, temporal_server):
            patch.setattr(module, "run_script", accept)
        patch.setattr(logging, "basicConfig", lambda **_: None)
        with pytest.raises(SystemExit) as refused:
            FLAGS[program]()
        assert refused.value.code == 2 or {"-h", "--help"} & {*arguments}


@given(words | texts | some.text(alphabet="vV0123456789_./\\SystemPatchWorkflow", max_size=12))
@settings(the_same_each_time, max_examples=300)
def test_a_version_name_finds_one_of_the_known_versions_or_lists_them(name: str) -> None:
    try:
        assert find_version(name).name in known_versions()
    except VersionError as error:
        assert "Known versions: v1, v2" in str(error) and "\n" not in str(error) and len(str(error)) < 400


VARIABLES = [
    "TEMPORAL_NAMESPACE",
    "TEMPORAL_API_KEY",
    "TEMPORAL_TLS",
    "TEMPORAL_TLS_CLIENT_CERT_PATH",
    "TEMPORAL_TLS_CLIENT_CERT_DATA",
    "TEMPORAL_TLS_SERVER_CA_CERT_DATA",
    "TEMPORAL_TLS_SERVER_NAME",
    "TEMPORAL_CONFIG_FILE",
    "TEMPORAL_PROFILE",
    "TEMPORAL_CODEC_ENDPOINT",
    "TEMPORAL_GRPC_META_X",
    "TEMPORAL_UI_URL",
]
ADDRESSES = [
    "",
    "localhost",
    ":",
    ":0",
    "127.0.0.1:",
    "127.0.0.1:99999",
    "[::1",
    "a b:1",
    "x://y",
    "http://127.0.0.1:1/x",
]
settings_of_environment = words.filter(lambda text: not any("\ud800" <= letter <= "\udfff" for letter in text))


@given(
    some.dictionaries(some.sampled_from(VARIABLES), settings_of_environment, max_size=3),
    some.none() | some.sampled_from(ADDRESSES) | settings_of_environment,
)
@the_same_each_time
async def test_an_environment_leads_to_a_connection_or_to_one_clear_line(
    variables: dict[str, str], target: str | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        if target is not None:
            patch.setenv("TEMPORAL_ADDRESS", target)
        try:
            client = await connect()
            web_ui_link(client, "system-patch-v1", None)
            await client.get_workflow_handle("nobody").describe()
        except UserError as error:
            assert str(error) and "\n" not in str(error)
        except RPCError as error:
            assert error.message

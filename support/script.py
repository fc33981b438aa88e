"""How a script runs and ends: exit codes, Ctrl-C and SIGTERM, errors in one line, no abort at the interpreter's end."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from temporalio.client import WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

T = TypeVar("T")
STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM]
if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # Its terminal was closed, and it was not started by nohup.
    STOP_SIGNALS.append(signal.SIGHUP)


def one_line(text: str) -> str:
    """Return a text for a terminal: in one line, and with what is not printable escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(text.split()))


class UserError(Exception):
    """Something that whoever runs the script can mend. Its text says how, in one line."""

    def __str__(self) -> str:
        """Return the text, whatever it quotes."""
        return one_line(super().__str__())


async def within(seconds: float, awaitable: Awaitable[T]) -> T:
    """Wait for something, but not for longer. Raises `asyncio.TimeoutError` when the time is over.

    Unlike `asyncio.wait_for` up to Python 3.11, it never loses a cancellation, and with it a Ctrl-C, that comes just
    when the wait is over (https://github.com/python/cpython/issues/86296).
    """
    task = asyncio.ensure_future(awaitable)
    try:
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            raise asyncio.TimeoutError
        return task.result()
    finally:
        task.cancel()


def stop_event(limit: float | None = None) -> asyncio.Event:
    """Return an event that the first Ctrl-C, SIGTERM or closed terminal sets. A second one ends the process at once.

    With a limit, the process itself ends so many seconds after the first one, with exit code 1, if it has not come to
    its end by then: a worker waits for ever for an activity that does not end, and for a workflow that the SDK can't
    put aside (https://github.com/temporalio/sdk-python/issues/875).
    """
    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def give_up() -> None:
        with contextlib.suppress(OSError):  # The terminal may be closed.
            os.write(2, f"Something did not stop within {limit:g} seconds: the process ends without it.\n".encode())
        os._exit(1)

    def see_to_the_end(*_: object) -> None:
        for number in STOP_SIGNALS:
            # That a terminal is closed may be told twice, by the shell and by the system.
            signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL)
        if limit is not None:
            timer = threading.Timer(limit, give_up)
            timer.daemon = True
            timer.start()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, event.set)
        signal.signal(number, see_to_the_end)  # Called first, and even if the event loop gets no turn.
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
    except (asyncio.CancelledError, WorkflowUpdateRPCTimeoutOrCancelledError):  # The latter: where an update waits.
        if not received:
            raise
        return 128 + received[0]


def run_script(main: Callable[[], Coroutine[Any, Any, int]], when_interrupted: str = "") -> NoReturn:
    """Run `main` and end the process with the exit code that it returns.

    A `UserError` or an error answer of the server becomes one line and exit code 2. Ctrl-C, SIGTERM or a closed
    terminal cancel `main`, print `when_interrupted` and give the usual 130, 143 or 129, unless `main` sees to them
    itself by `stop_event`.
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
    except ApplicationError as error:  # What came was not what was asked for: see support.strict_input.
        print(f"What the workflow returned has another type than this script expects: {error.message}", file=sys.stderr)
        code = 1
    except BrokenPipeError:  # Whoever read the output, such as `head`, has had enough.
        code = 1
    except OSError as error:  # A full disk, a folder that may only be read, and so on.
        code = _tell_of(error)
    except KeyboardInterrupt:  # After the end of the event loop.
        code = 130
    except Exception:
        traceback.print_exc()
        code = 1
    end_process(code)


def end_process(code: int) -> NoReturn:
    """End this process with the exit code, when all is written, and without waiting for any thread.

    Threads of the SDK's core may still be at work when the interpreter ends, and then abort the process
    (https://github.com/temporalio/sdk-python/issues/300).
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        pass
    except OSError as error:
        code = _tell_of(error)
    os._exit(code)


def _tell_of(error: OSError) -> int:
    """Say what the operating system says. Returns the exit code."""
    with contextlib.suppress(OSError):  # That may be about the stream for errors, too.
        where = f" {error.filename}:" if error.filename else ""
        print(f"The operating system says:{where} {error.strerror or error}.", file=sys.stderr, flush=True)
    return 2

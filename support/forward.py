"""Opens a port of this machine to others.

A development server that is told to listen at another address than 127.0.0.1 does not find its own parts any more
(Temporal CLI 1.9.1). So it listens there as ever, and what comes to the other address is handed on to it.
"""

from support.ports import THIS_MACHINE

import asyncio
import contextlib

PIECE = 65_536  # Bytes.


async def forward(address: str, port: int) -> asyncio.Server:
    """Hand on all connections to a port of this IP address to the same port of 127.0.0.1. Returns what to close.

    Raises `OSError` if the port can't be had.
    """

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # At the end of the event loop, Python 3.11 prints a traceback for each connection whose task is cancelled.
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.CancelledError):
            answers, questions = await asyncio.open_connection(THIS_MACHINE, port)
            with contextlib.closing(questions):
                await asyncio.gather(copy(reader, questions), copy(answers, writer))

    return await asyncio.start_server(hand_on, address, port)


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Write what is read, to its end."""
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

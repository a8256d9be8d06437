"""The pieces of a streamed answer, read in a thread, as a generator of the event loop; and the end of one that is left.

When a reader leaves a stream early, the engine would go on to the statement's time limit. So the statement is killed,
by its mark: on a server that is the query's id; the engine in process gives ids of its own, so there it is the query's
`log_comment`. Either looks between blocks of rows whether it is to end, as it does at the time limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from analytics_server.errors import StoreError, StoreRetryable
from analytics_server.store.errors_map import translate
from analytics_server.store.workers import Closed

if TYPE_CHECKING:
    from _typeshed import SupportsRead

log = logging.getLogger(__name__)

PIECE_BYTES = 262_144
MOST_PIECES = 8
"""So many wait in memory for the reader."""

KILL_AGAIN_S = 0.2
MOST_PAUSE_S = 5.0


def kill_statement(mark: str, *, in_process: bool) -> str:
    """What ends the statement of this mark, which is of letters and digits, on the replica that runs it."""
    named = "Settings['log_comment']" if in_process else "query_id"
    return f"KILL QUERY WHERE {named} = '{mark}' ASYNC"


async def pieces_of(
    source: Callable[[], AbstractContextManager[SupportsRead[bytes]]],
    submit: Callable[[Callable[[], None]], Future[None]],
    *,
    after: Callable[[], None],
    kill: Callable[[], Awaitable[None]],
    is_left: Callable[[], bool],
) -> AsyncGenerator[bytes, None]:
    """What `source` has to read, in a thread of `submit`'s, where `after` is the last thing that is done.

    A generator that is closed early kills the statement, and waits for the thread, unless `is_left` says that the store
    does not wait for it either.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
    room, stopped = threading.Semaphore(MOST_PIECES), threading.Event()

    def put(piece: bytes | Exception | None) -> None:
        while not (stopped.is_set() or loop.is_closed()):
            if room.acquire(timeout=1.0):
                with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the reader
                    loop.call_soon_threadsafe(pieces.put_nowait, piece)
                    return
        stopped.set()

    def pump() -> None:
        try:
            if stopped.is_set():
                return
            with source() as opened:
                while not stopped.is_set() and (piece := opened.read(PIECE_BYTES)):
                    put(piece)
            put(None)
        except Exception as error:
            put(translate(error, "A streamed query"))
        finally:
            after()

    try:
        running = submit(pump)
    except Closed as error:
        raise StoreRetryable("A streamed query came after the store was closed.") from error
    reading, is_over = asyncio.wrap_future(running), False
    try:
        while (piece := await pieces.get()) is not None:
            room.release()
            if isinstance(piece, Exception):
                is_over = True
                raise piece
            yield piece
        is_over = True
    finally:
        stopped.set()
        room.release()  # for a piece that waits to be put
        if not is_left():
            if not is_over:
                await _end(reading, kill)
            await reading


async def _end(reading: asyncio.Future[None], kill: Callable[[], Awaitable[None]]) -> None:
    """Kill it until nothing is read of it any more: the first attempt may come before the engine knows the statement.

    Where it is refused, the statement goes on to its time limit.
    """
    pause_s = KILL_AGAIN_S
    while not reading.done():
        try:
            await kill()
        except StoreRetryable as error:
            if reading.get_loop().is_closed():
                return
            log.debug("a statement is not killed yet, will try again", extra={"reason": error.message[:200]})
        except StoreError as error:
            log.debug("a statement can't be killed", extra={"reason": error.message[:200]})
            return
        await asyncio.wait({reading}, timeout=pause_s)
        pause_s = min(2 * pause_s, MOST_PAUSE_S)

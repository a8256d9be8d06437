"""Running queries: each can be cancelled by its id, by who asked it (`KILL QUERY`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from analytics_server.errors import RequestError

Key = tuple[str, str]
"""The token, and the id that its client gave or was given."""


class RunningQueries:
    """Of this process. Only the event loop calls it."""

    def __init__(self) -> None:
        self._ends: dict[Key, list[asyncio.Future[None]]] = {}

    @contextmanager
    def entered(self, token_id: str, query_id: str) -> Iterator[asyncio.Future[None]]:
        """While a question is answered; the future is done when it is to end."""
        key, end = (token_id, query_id), asyncio.get_running_loop().create_future()
        self._ends.setdefault(key, []).append(end)
        try:
            yield end
        finally:
            self._ends[key].remove(end)
            if not self._ends[key]:
                del self._ends[key]

    def has(self, token_id: str, query_id: str) -> bool:
        """Is a question of that id being answered to that token?"""
        return (token_id, query_id) in self._ends

    def end(self, token_id: str, query_id: str) -> None:
        """End all questions of that id that the token asked."""
        for end in self._ends.get((token_id, query_id), ()):
            if not end.done():
                end.set_result(None)


async def until_ended(pieces: AsyncGenerator[bytes], end: asyncio.Future[None]) -> AsyncGenerator[bytes]:
    """The pieces, until `end` is done; the generator is closed in any case.

    Raises `RequestError` (sql_cancelled) then, and what the pieces raise.
    """
    async with aclosing(pieces):
        while True:
            piece = asyncio.ensure_future(anext(pieces, None))
            either: set[asyncio.Future[Any]] = {piece, end}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not piece.done():
                    piece.cancel()
                    await asyncio.wait({piece})
            if end.done():
                if not piece.cancelled():
                    piece.exception()  # it came too late
                raise RequestError("The query was cancelled by KILL QUERY.", code="sql_cancelled")
            if (found := piece.result()) is None:
                return
            yield found

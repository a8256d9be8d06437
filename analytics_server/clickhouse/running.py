"""Questions that are being answered: each can be ended by its id, by who asked it (`KILL QUERY`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from analytics_server.errors import RequestError

Key = tuple[str, str]
"""The token, and the id that its client gave or was given."""


class RunningQueries:
    """Of this process. Only the event loop calls it."""

    def __init__(self) -> None:
        self._scopes: dict[Key, list[asyncio.Timeout]] = {}

    @asynccontextmanager
    async def entered(self, token_id: str, query_id: str) -> AsyncIterator[None]:
        """While a question is answered. Raises `RequestError` (sql_cancelled) in the place where it was when `end`
        came."""
        key, scope = (token_id, query_id), asyncio.timeout(None)
        try:
            async with scope:
                self._scopes.setdefault(key, []).append(scope)
                try:
                    yield
                finally:
                    self._scopes[key].remove(scope)
                    if not self._scopes[key]:
                        del self._scopes[key]
        except TimeoutError:
            if not scope.expired():
                raise
            raise RequestError("The query was cancelled by KILL QUERY.", code="sql_cancelled") from None

    def has(self, token_id: str, query_id: str) -> bool:
        """Is a question of that id being answered to that token?"""
        return (token_id, query_id) in self._scopes

    def end(self, token_id: str, query_id: str) -> None:
        """End all questions of that id that the token asked."""
        for scope in self._scopes.get((token_id, query_id), ()):
            scope.reschedule(asyncio.get_running_loop().time())

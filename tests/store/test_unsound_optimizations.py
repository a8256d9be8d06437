"""Optimizations of the engine that fail are off, whichever way a question goes."""

from __future__ import annotations

import orjson

from analytics_server.store import Store
from analytics_server.store.settings import UNSOUND

ASKED = "SELECT name, value FROM system.settings WHERE name IN {names:Array(String)}"


async def test_they_are_off_for_statements_and_streams(store: Store) -> None:
    names = {"names": list(UNSOUND)}
    assert {str(name): value for name, value in (await store.query(ASKED, names)).rows} == UNSOUND
    streamed = b"".join([piece async for piece in store.stream(ASKED, names, format="JSONCompactEachRow")])
    assert dict(map(orjson.loads, streamed.splitlines())) == UNSOUND

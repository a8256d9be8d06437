"""The event ids that a start reads back from ClickHouse are those that came within the window."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import uuid4

from analytics_server.batch_ids import new_batch_id
from analytics_server.collect.identity.duplicates import Duplicates
from analytics_server.collect.identity.restore import restore_event_ids
from analytics_server.config import CollectSection
from analytics_server.ingest.wal.segment import MOST_OPEN_S
from analytics_server.store.protocol import ResultSet, Store

SITE = "a.example"
NOW = 1_800_000_000.0
WINDOW_S = 900


class OneEvent:
    """`events` with one row."""

    def __init__(self, batch_id: int, event_id: bytes) -> None:
        self._batch_id = batch_id
        self._event_id = event_id

    async def query(self, sql: str, parameters: dict[str, Any], *, timeout_s: float) -> ResultSet:
        return ResultSet(columns=("site_id", "events"), rows=[(SITE, 1)] if self._has(parameters) else [])

    async def stream(self, sql: str, parameters: dict[str, Any], **named: Any) -> AsyncIterator[bytes]:
        if self._has(parameters):
            yield f"{self._event_id.hex()}\t{self._batch_id:016X}\t{SITE}\n".encode()

    def _has(self, parameters: dict[str, Any]) -> bool:
        return self._batch_id >= int(parameters["arrived_since"])


async def is_known(opened_s: float) -> bool:
    """Of an event in a segment that was opened so long ago."""
    event_id = uuid4().bytes
    store = OneEvent(new_batch_id(NOW - opened_s, historic=True), event_id)
    duplicates = Duplicates(window_s=WINDOW_S, capacity=1_000, clock=lambda: NOW)
    await restore_event_ids(duplicates, cast(Store, store), NOW, CollectSection(duplicate_window_s=WINDOW_S))
    duplicates.settle()
    return duplicates.seen((SITE, event_id))


async def test_an_event_that_came_within_the_window_is_known_although_its_segment_was_opened_before() -> None:
    assert await is_known(WINDOW_S + MOST_OPEN_S - 1)
    assert not await is_known(WINDOW_S + MOST_OPEN_S + 1)

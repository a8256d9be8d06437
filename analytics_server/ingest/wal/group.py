"""A commit group of the WAL: rows that are made durable together, and the acknowledgements that wait for it."""

from __future__ import annotations

from collections.abc import Callable

from analytics_server.ingest.wal import segment
from analytics_server.model import Row

MAX_GROUP_BYTES = 64 * 1_048_576
"""Bounds memory while the disk is slow, and keeps a group's frame far below `MOST_BYTES`."""

MOST_BYTES = segment.MAX_FRAME_BYTES - 64
"""Of the rows of one request that has a group for itself: a longer frame could not be read back."""

Waiter = Callable[[str], None]
"""Called on the loop once the rows are durable, with "", or with why they are not."""


class CommitGroup:
    """`payload` are the rows as MessagePack, `old_payload` those of past months, of which only the number is kept."""

    __slots__ = ("bytes", "old_events", "old_payload", "payload", "rows", "waiters")

    def __init__(self) -> None:
        self.payload: list[bytes] = []
        self.rows: list[Row] = []
        self.old_payload: list[bytes] = []
        self.old_events = 0
        self.waiters: list[Waiter] = []
        self.bytes = 0

    @property
    def events(self) -> int:
        """All rows, of whatever time."""
        return len(self.rows) + self.old_events

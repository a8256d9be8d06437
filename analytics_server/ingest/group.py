"""A commit group: rows that are made durable together, and who waits for it."""

from __future__ import annotations

from collections.abc import Callable

from analytics_server.ingest import segment
from analytics_server.model import Row

MAX_GROUP_BYTES = 64 * 1_048_576
"""Bounds memory while the disk is slow, and keeps a group's frame far below `MOST_BYTES`."""

MOST_BYTES = segment.MAX_FRAME_BYTES - 64
"""Of the rows of one request that has a group for itself: a longer frame could not be read back."""

Waiter = Callable[[str], None]
"""Called on the loop once the rows are durable, with "", or with why they are not."""


class Group:
    """`payload` are the rows as MessagePack."""

    __slots__ = ("bytes", "payload", "rows", "waiters")

    def __init__(self) -> None:
        self.payload: list[bytes] = []
        self.rows: list[Row] = []
        self.waiters: list[Waiter] = []
        self.bytes = 0

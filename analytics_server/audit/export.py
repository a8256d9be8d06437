"""Writes entries out for others: NDJSON, chain by chain, each line the canonical text with its hash added."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime

from analytics_server.audit.chain import ChainRow
from analytics_server.audit.table import chain_sizes, rows_after
from analytics_server.store.protocol import Store

PAGE = 20_000


def export_line(row: ChainRow) -> bytes:
    """One entry as a line: its text as it is stored, and the stored hash as the last member."""
    return f'{row.text[:-1]},"hash":"{row.hash}"}}\n'.encode()


async def export_lines(
    store: Store, start: datetime, end: datetime, advance: Callable[[int, int], None] = lambda done, total: None
) -> AsyncGenerator[bytes, None]:
    """The entries of a range of time. `advance` hears how many entries of how many are looked through.

    Raises a store error.
    """
    first_us, end_us = (round(each.timestamp() * 1_000_000) for each in (start, end))
    sizes = await chain_sizes(store)
    total, done = sum(rows for _, rows, _ in sizes), 0
    for server, _, newest in sizes:
        at = 0
        while page := await rows_after(store, server, at, until=newest, limit=PAGE):
            at = page[-1].sequence
            yield await asyncio.to_thread(_lines, page, first_us, end_us)
            done += len(page)
            advance(done, total)


def _lines(page: Sequence[ChainRow], first_us: int, end_us: int) -> bytes:
    return b"".join(export_line(row) for row in page if first_us <= row.at_us < end_us)

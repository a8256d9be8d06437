"""What an answer tells of the rows and bytes that were read for it.

ClickHouse counts whole granules, 8,192 rows each, and the edges of a site's rows lie in granules shared with its
neighbours in the table: the true numbers of a small site's question say how many rows its neighbours have there, and
how long their titles are. So what is told follows from the site's own events where they are few, and is rounded up to
large steps where they are many, of which the shared edges are a small part.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from analytics_server.store.protocol import ResultSet, Store

ROW_STEP = 65_536
BYTE_STEP = 16 * 1024 * 1024
EVENT_BYTES = 1_000
"""What an event counts as."""

CACHE_S = 10.0
CACHE_ENTRIES = 10_000
SITE = "site"
"""The parameter that names the site in every statement about one."""

_OWN = "SELECT sum(b.events) FROM traffic AS b WHERE b.site_id = {site:String}"


def told_rows(read: int, own: int) -> int:
    """How many rows are said to have been read of a site with so many events."""
    return _told(read, own, ROW_STEP)


def told_bytes(read: int, own: int) -> int:
    """How many bytes are said to have been read of a site with so many events."""
    return _told(read, own * EVENT_BYTES, BYTE_STEP)


def _told(read: int, own: int, step: int) -> int:
    """All of its own where that is less than a step; else whole steps, at least one, and no more than its own."""
    if own <= step:
        return own
    return min(own, step * max(1, -(-read // step)))


class SiteEventCounts:
    """How many events each site has, asked once in a while."""

    def __init__(self, store: Store, *, timeout_s: float) -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._known: dict[str, tuple[float, int]] = {}

    async def of(self, site_id: str) -> int:
        """Events of a site, some seconds old. Raises a store error."""
        known = self._known.get(site_id)
        if known is not None and time.monotonic() - known[0] < CACHE_S:
            return known[1]
        answer = await self._store.query(_OWN, {SITE: site_id}, timeout_s=self._timeout_s, tenant=site_id)
        count = int(str(answer.rows[0][0] or 0))
        if count:  # a new site's first events are not waited for
            if len(self._known) >= CACHE_ENTRIES:
                self._known.clear()
            self._known[site_id] = time.monotonic(), count
        return count

    async def tell(self, result: ResultSet, parameters: Mapping[str, object]) -> tuple[int, int]:
        """Rows and bytes to tell of a statement's result; nothing of one about no site. Raises a store error."""
        site_id = parameters.get(SITE)
        if not isinstance(site_id, str):
            return 0, 0
        own = await self.of(site_id)
        return told_rows(result.rows_read, own), told_bytes(result.bytes_read, own)

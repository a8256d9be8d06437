"""Fill the live hub at start from what ClickHouse already holds.

Owns one query: the last half hour of `events`, grouped to what the hub counts and
bounded in rows, so that a restart does not show an empty live view. When it fails the hub starts empty.
"""

from __future__ import annotations

import logging
from typing import Protocol

from analytics_server.errors import StoreError
from analytics_server.live.hub import Hub, SeedRow
from analytics_server.live.ranking import WINDOW_MINUTES
from analytics_server.store.protocol import Parameters, ResultSet, Settings

log = logging.getLogger(__name__)

MAX_SEED_ROWS = 200_000
SEED_TIMEOUT_S = 10.0

_SQL = """
SELECT
    site_id,
    toUnixTimestamp64Micro(max(ts)) AS newest,
    name,
    visitor_id,
    path,
    source,
    country,
    count() AS events
FROM events
WHERE ts >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
GROUP BY site_id, toStartOfMinute(ts), name, visitor_id, path, source, country
ORDER BY newest DESC
LIMIT {limit:UInt32}
"""


class QueryStore(Protocol):
    """The one thing asked of the store."""

    async def query(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        settings: Settings | None = None,
        timeout_s: float = 30.0,
    ) -> ResultSet:
        """As the store answers. Raises a store error."""
        ...


async def seed_hub(hub: Hub, store: QueryStore, now: float) -> int:
    """Count the stored events of the window that ends at `now` (seconds since the epoch).

    Returns the number of grouped rows read, 0 when the store failed.
    """
    since_us = int((now - WINDOW_MINUTES * 60) * 1_000_000)
    try:
        answer = await store.query(_SQL, {"since": since_us, "limit": MAX_SEED_ROWS}, timeout_s=SEED_TIMEOUT_S)
    except StoreError as error:
        log.warning("live numbers begin empty", extra={"reason": error.message[:200]})
        return 0
    hub.seed(_seed_row(row) for row in reversed(answer.rows))
    return len(answer.rows)


def _seed_row(row: tuple[object, ...]) -> SeedRow:
    site_id, newest, name, visitor_id, path, source, country, events = row
    return SeedRow(
        site_id=str(site_id),
        ts=int(str(newest)),
        name=str(name),
        visitor_id=int(str(visitor_id)),
        path=str(path),
        source=str(source),
        country=str(country),
        count=int(str(events)),
    )

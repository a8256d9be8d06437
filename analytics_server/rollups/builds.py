"""Builds of derived tables that nothing refers to any more: their rows are deleted, once no question can read them.

A build's rows are written before the row that makes it valid, and are never mended: a newer build takes their place.
"""

from __future__ import annotations

import logging

from analytics_server.errors import StoreError
from analytics_server.rollups.build_ids import begun_before
from analytics_server.rollups.registry import DerivedTable
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

ORPHAN_S = 7_200.0
"""Older builds that are not valid will not become so, and the last question about one that was is long answered."""

SWEEP_S = 3_600.0
"""From one sweep to the next."""

MOST_BUILDS = 1_000
TIMEOUT_S = 600.0


async def sweep_builds(store: Store, table: DerivedTable, now_s: float) -> None:
    """Delete the rows of such builds, of some at a time. `now_s`: seconds since 1970.

    A store error is logged: what is left is deleted by a later sweep, and nothing else has to wait for it.
    """
    try:
        await store.catch_up([table.builds])  # what another server has made valid is no orphan
        found = await _query(
            store,
            f"SELECT DISTINCT t.build_id FROM {table.name} AS t WHERE {begun_before('t.build_id', now_s - ORPHAN_S)} "
            f"AND t.build_id NOT IN (SELECT b.build_id FROM {table.builds} AS b FINAL) LIMIT {MOST_BUILDS}",
            {},
        )
        if not found:
            return
        await _query(store, f"DELETE FROM {table.name} WHERE build_id IN {{builds:Array(UInt64)}}", {"builds": found})
    except StoreError as error:
        log.warning(
            "old builds not deleted, will try again", extra={"table": table.name, "reason": error.message[:300]}
        )
    else:
        log.info("old builds deleted", extra={"table": table.name, "builds": len(found)})


async def _query(store: Store, sql: str, parameters: dict[str, object]) -> list[int]:
    """Also for DELETE: in the store's reading threads it doesn't hold up a flush, and no request waits for it."""
    answer = await store.query(sql, parameters, settings={"max_threads": 1}, timeout_s=TIMEOUT_S)
    return [int(str(row[0])) for row in answer.rows]

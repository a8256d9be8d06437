"""Mutations: delete rows and wait for the end, without holding up the server's inserts.

Data parts that hold no other row are dropped, which takes no time whatever their size: expiry removes whole months so.
A part never changes, and a merged one has another name, so no row that arrives meanwhile goes with it. Only where rows
of a part stay, a mutation of ClickHouse rewrites the table's parts.

A mutation's command is kept in a file of the table, and shown in `system.mutations`: a condition must never name a
person. It may read other tables; these must not change while it runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from analytics_server.errors import StoreFatal, StoreRetryable
from analytics_server.rollups.comparison import SETTINGS, TIMEOUT_S
from analytics_server.store.protocol import Store
from analytics_server.store.settings import READ_NOW

log = logging.getLogger(__name__)

CHECK_S = 0.05
LONGEST_CHECK_S = 2.0
PARTS_AT_ONCE = 100
MOST_S = 6 * 3600.0
_UNDER_WAY = (
    "SELECT countIf(NOT is_done), anyIf(latest_fail_reason, NOT is_done) FROM system.mutations "
    "WHERE database = currentDatabase() AND table = {table:String} AND position(command, {marker:String}) > 0"
)
_PARTS = "SELECT name, rows FROM system.parts WHERE database = currentDatabase() AND table = {table:String} AND active"


async def delete_rows(store: Store, table: str, condition: str, *, marker: str) -> None:
    """Delete, and return when it is done. `marker`: a part of the condition that no other mutation has.

    A call that repeats one that was broken off waits for both. Raises a store error.
    """
    if await _left_after_parts(store, table, condition):
        await store.command(
            f"ALTER TABLE {table} DELETE WHERE {condition} "
            "SETTINGS mutations_sync = 0, allow_nondeterministic_mutations = 1"
        )
    await mutations_ended(store, table, marker=marker)


async def mutations_ended(store: Store, table: str, *, marker: str) -> None:
    """Wait for those whose condition has the marker, also such as a killed process has left. Raises a store error."""
    deadline = time.monotonic() + MOST_S
    told, wait_s = "", CHECK_S
    while True:
        answer = await store.query(_UNDER_WAY, {"table": table, "marker": marker})
        left, reason = answer.rows[0]
        if not int(str(left)):
            return
        if reason and reason != told:
            told = str(reason)
            log.warning("a mutation fails, ClickHouse tries it again", extra={"table": table, "reason": told[:300]})
        if time.monotonic() > deadline:
            raise StoreRetryable(f"A mutation of {table} has not ended within {MOST_S:.0f} s.")
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 1.2, LONGEST_CHECK_S)


async def _left_after_parts(store: Store, table: str, condition: str) -> bool:
    """Drop the parts that hold no other rows; do rows stand in others?"""
    settings = {**SETTINGS, **READ_NOW}
    counted = await store.query(
        f"SELECT _part, count() FROM {table} WHERE {condition} GROUP BY _part", settings=settings, timeout_s=TIMEOUT_S
    )
    if not counted.rows:
        return False
    parts = set((await store.query(_PARTS, {"table": table}, timeout_s=TIMEOUT_S)).rows)
    whole = [str(part) for part, rows in counted.rows if (part, rows) in parts]
    return not await _drop_parts(store, table, whole) or len(whole) < len(counted.rows)


async def _drop_parts(store: Store, table: str, parts: Sequence[str]) -> bool:
    """Were all dropped? One may have been merged meanwhile, or be larger than the server lets go at once."""
    try:
        for at in range(0, len(parts), PARTS_AT_ONCE):
            drops = ", ".join(f"DROP PART '{part}'" for part in parts[at : at + PARTS_AT_ONCE])
            await store.command(f"ALTER TABLE {table} {drops}")
    except StoreFatal as error:
        log.info("parts are not dropped but rewritten", extra={"table": table, "reason": error.message[:300]})
        return False
    return True

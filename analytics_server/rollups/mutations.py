"""Deletes rows by a mutation of ClickHouse and waits for its end, without holding up the server's inserts.

A mutation's command is kept in a file of the table, and shown in `system.mutations`: a condition must never name a
person. It may read other tables; these must not change while it runs.
"""

from __future__ import annotations

import asyncio
import logging
import time

from analytics_server.errors import StoreRetryable
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

CHECK_S = 0.1
LONGEST_CHECK_S = 2.0
MOST_S = 6 * 3600.0
_UNDER_WAY = (
    "SELECT countIf(NOT is_done), anyIf(latest_fail_reason, NOT is_done) FROM system.mutations "
    "WHERE database = currentDatabase() AND table = {table:String} AND position(command, {marker:String}) > 0"
)


async def delete_rows(store: Store, table: str, condition: str, *, marker: str) -> None:
    """Delete, and return when it is done. `marker`: a part of the condition that no other mutation has.

    A call that repeats one that was broken off waits for both. Raises a store error.
    """
    await store.command(
        f"ALTER TABLE {table} DELETE WHERE {condition} "
        "SETTINGS mutations_sync = 0, allow_nondeterministic_mutations = 1"
    )
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
        wait_s = min(wait_s * 1.5, LONGEST_CHECK_S)

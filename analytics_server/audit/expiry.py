"""Expiry of the audit log: cuts what is older than `[privacy] audit_retention_days`, and seals each cut.

The seal is written before anything is removed (`seals.py`). It names, for every chain that no longer begins with its
first entry, the last one that is gone and its hash, so a check knows where the chain goes on. As seals grow old too,
each cut seals again all chains that ever were cut, also those of which nothing is left: a chain that rests for long,
such as that of the commands, goes on behind its seal.

Before anything is sealed, the part to be removed is checked as `audit verify` checks it, with the entry behind it, and
an entry's age is that of its hashed text: otherwise a change of the table would be removed and then proven by the seal.
A chain that is broken there is not cut, so that the fault stays visible.

A server cuts the chains of its own data directory alone, as only its key proves that. Another server's chain stays,
also where that seems to be gone: it may come back after a long outage, or keep its entries longer. An operator has
to say that it is gone (`retiring.py`). One server cuts at a time (`store/lease.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from datetime import datetime, timedelta

from analytics_server.audit.chain import ChainHead, ChainRow, moment
from analytics_server.audit.seals import CUT, SealKey, Seals, read_seals
from analytics_server.audit.table import delete_until, newest_sequence, old_ends, rows_after
from analytics_server.audit.verify import BrokenEntry, ChainWalk
from analytics_server.errors import AnalyticsError
from analytics_server.http.audit import AuditEntry, Recorder
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

PORTION = 1_000
"""So many entries are in memory and checked at once: at least two, as the last of each portion is read again."""


CUT_LEASE = "audit-retention"
CUT_LEASE_S = 60.0
"""Chains are cut, and retired, by one process at a time: each seal names all chains."""


class BrokenChain(AnalyticsError):
    """A chain is not as it was written where it was to be cut."""

    code = "broken_chain"
    status = 409


async def cut(
    store: Store,
    recorder: Recorder,
    *,
    now: datetime,
    keep_days: int,
    key: SealKey,
    own: Collection[ChainHead],
    server: str,
) -> list[ChainHead]:
    """Remove what is too old; returns the last removed entry of each chain. `keep_days` 0 keeps everything.

    `own`: the heads of the key's data directory, read before; `server`: that of them to whose chain `recorder` writes.
    Raises a store error or `AuditUnavailable`: then nothing more is removed, and the next cut goes on; and
    `BrokenChain`, when all others are cut.
    """
    if not keep_days:
        return []
    before = now - timedelta(days=keep_days)
    due = {end.server for end in await old_ends(store, before)}
    seals = await read_seals(store, key, {head.server for head in own})
    ends, left_over, broken = list[ChainHead](), list[ChainHead](), list[str]()
    for head in own:
        if head.server not in due:
            continue
        end, fault = await old_end(store, head, seals, before)
        sealed = seals.proven.get(head.server)
        if fault is not None:
            log.error(
                "a broken chain of the audit log is not cut: analytics-server audit verify says more",
                extra={"server": head.server, "entry": fault.sequence, "fault": fault.fault},
            )
            broken.append(f"{head.server} at entry {fault.sequence}: {fault.fault}")
        elif sealed is None or end.sequence > sealed.sequence:
            ends += [end] if end.sequence else []
        else:
            left_over.append(sealed)
    if ends:
        await seal_ends(recorder, key, server, seals, ends)
    for end in [*ends, *left_over]:
        await delete_until(store, end)
    if broken:
        raise BrokenChain(f"Broken chains of the audit log are not cut: {'; '.join(broken)}.")
    return ends


async def seal_ends(recorder: Recorder, key: SealKey, server: str, seals: Seals, ends: Collection[ChainHead]) -> None:
    """Record that the chains were cut as far as that, and what all seals before say. Raises as `Recorder` does."""
    for end in ends:
        seals.take(end, is_proven=True)
    details = key.details(server, seals.proven.values(), seals.unproven())
    await recorder.append(
        AuditEntry(action=CUT, principal_kind="internal", principal_name="retention", details=details)
    )


async def old_end(
    store: Store, head: ChainHead, seals: Seals, before: datetime
) -> tuple[ChainHead, BrokenEntry | None]:
    """The chain's last entry in front of the first that is not old, and what is wrong as far as there."""
    walk = ChainWalk(head.server, seals.ends.get(head.server), seals.forged_in(head.server))
    newest = await newest_sequence(store, head.server)
    end, at, repeated = walk.previous, walk.previous.sequence, 0
    while True:
        page = await rows_after(store, head.server, at, until=newest, limit=PORTION)
        end, is_young = await asyncio.to_thread(_walk_portion, walk, page[repeated:], head, end, before)
        if is_young or walk.broken is not None:
            return end, walk.broken
        if len(page) < PORTION:
            walk.end(head)
            return end, walk.broken
        at, repeated = page[-1].sequence - 1, 1  # the last one again: it may be stored twice


def _walk_portion(
    walk: ChainWalk, rows: Collection[ChainRow], head: ChainHead, end: ChainHead, before: datetime
) -> tuple[ChainHead, bool]:
    """The last old entry as far as the portion goes, and whether it holds one that is not old."""
    for row in rows:
        if not walk.take(row) or not walk.compare_with_head(head):
            return end, False
        if moment(row.at_us) >= before:
            return end, True
        end = walk.previous
    return end, False

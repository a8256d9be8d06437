"""Cuts what is older than `[privacy] audit_retention_days` off the chains, and seals each cut by an entry.

The seal is written before anything is removed (`seals.py`). It names, for every chain that no longer begins with its
first entry, the last one that is gone and its hash, so a check knows where the chain goes on. As seals grow old too,
each cut seals again all chains that ever were cut, also those of which nothing is left: a chain that rests for long,
such as that of the commands, goes on behind its seal.

A server cuts the chains of its own data directory alone, as only its key proves that. Another server's chain stays, also
where that seems to be gone: it may come back after a long outage, or keep its entries longer. One server cuts at a
time (`store/lease.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from analytics_server.audit.chain import ChainHead
from analytics_server.audit.seals import CUT, SealKey, read_seals
from analytics_server.audit.table import delete_until, old_ends
from analytics_server.http.audit import AuditEntry, Recorder
from analytics_server.store.protocol import Store


async def cut(
    store: Store, recorder: Recorder, *, now: datetime, keep_days: int, key: SealKey, own: Collection[str], server: str
) -> list[ChainHead]:
    """Remove what is too old; returns the last removed entry of each chain. `keep_days` 0 keeps everything.

    `own`: the chains of the key's data directory; `server`: that of them to which `recorder` writes. Raises a store
    error or `AuditUnavailable`: then nothing more is removed, and the next cut goes on.
    """
    if not keep_days:
        return []
    ends = [end for end in await old_ends(store, now - timedelta(days=keep_days)) if end.server in own]
    if not ends:
        return []
    seals = await read_seals(store, key, own)
    for end in ends:
        seals.take(end, is_proven=True)
    await recorder.append(
        AuditEntry(
            action=CUT,
            principal_kind="internal",
            principal_name="retention",
            details=key.details(server, seals.proven.values(), seals.unproven()),
        )
    )
    for end in ends:
        await delete_until(store, end)
    return ends

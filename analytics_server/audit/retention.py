"""Cuts what is older than `[privacy] audit_retention_days` off every chain, and seals each cut by an entry.

The seal is written before anything is removed. It names, for every chain that no longer begins with its first entry,
the last one that is gone and its hash, so a check knows where the chain goes on. As seals grow old too, each cut seals
again all chains that ever were cut, also those of which nothing is left: a chain that rests for long, such as that of
the commands, goes on behind its seal.

One server cuts at a time (`store/lease.py`). Two that did would do no harm: the same entries go, and any seal fits.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from analytics_server.audit.chain import ChainHead
from analytics_server.audit.table import delete_until, old_ends, rows_of_action
from analytics_server.http.audit import AuditEntry, Recorder
from analytics_server.store.protocol import Store

CUT = "audit_cut"


async def cut(store: Store, recorder: Recorder, *, now: datetime, keep_days: int) -> list[ChainHead]:
    """Remove what is too old; returns the last removed entry of each chain. `keep_days` 0 keeps everything.

    Raises a store error or `AuditUnavailable`: then nothing more is removed, and the next cut goes on.
    """
    if not keep_days:
        return []
    ends = await old_ends(store, now - timedelta(days=keep_days))
    if not ends:
        return []
    sealed = await read_seals(store)
    sealed.update((end.server, end) for end in ends)
    details = {server: f"{end.sequence}:{end.hash}" for server, end in sorted(sealed.items())}
    await recorder.append(
        AuditEntry(action=CUT, principal_kind="internal", principal_name="retention", details=details)
    )
    for end in ends:
        await delete_until(store, end)
    return ends


class _Seal(msgspec.Struct, frozen=True, kw_only=True):
    details: dict[str, str] = {}


async def read_seals(store: Store) -> dict[str, ChainHead]:
    """Of every chain that was cut: the last entry that a seal allows to be gone. Raises a store error."""
    found: dict[str, ChainHead] = {}
    for row in await rows_of_action(store, CUT):
        try:
            details = msgspec.json.decode(row.text, type=_Seal).details
        except msgspec.MsgspecError:
            continue
        for server, end in details.items():
            number, _, digest = end.partition(":")
            if (
                number.isascii()
                and number.isdigit()
                and int(number) >= found.get(server, ChainHead(server="")).sequence
            ):
                found[server] = ChainHead(server=server, sequence=int(number), hash=digest)
    return found

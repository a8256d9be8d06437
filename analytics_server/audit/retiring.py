"""Removes the chain of a server that is gone for good, on an operator's command.

A server cuts the chains of its own data directory alone (`expiry.py`). Where data directories are replaced, and
ClickHouse stays, chains are left that no server cuts, with names of people in them. Such a chain is removed whole, once
its newest entry is older than entries are kept, so nothing goes that is still needed. As with a cut it is checked
first and sealed before anything is removed, by the key of the data directory that does it.

Should its server come back after all, it finds a seal about its chain that its key did not make, and `audit verify`
there names it as forged: the removal can't pass for that server's own work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

import msgspec

from analytics_server.audit.chain import ChainHead, moment, shown_moment
from analytics_server.audit.expiry import CUT_LEASE, CUT_LEASE_S, BrokenChain, old_end, seal_ends
from analytics_server.audit.seals import SealKey, read_seals
from analytics_server.audit.table import delete_until, newest_sequence, rows_after
from analytics_server.audit.verify import BrokenEntry
from analytics_server.errors import AnalyticsError
from analytics_server.http.audit import AuditEntry, Recorder
from analytics_server.store.lease import Lease, leased
from analytics_server.store.protocol import Store


class CannotRetire(AnalyticsError):
    """The chain is none that may be removed."""

    code = "cannot_retire"
    status = 409
    log_level = logging.DEBUG


class UnknownChain(CannotRetire):
    """There is no chain of that name."""

    code = "unknown_chain"
    status = 404


class CutUnderWay(AnalyticsError):
    """Another process cuts or retires chains just now."""

    code = "audit_cut_under_way"
    status = 409
    log_level = logging.DEBUG


class Retired(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed: the chain's last entry, and what was wrong with the chain, if that was accepted."""

    end: ChainHead
    broken: BrokenEntry | None = None

    def details(self) -> dict[str, str]:
        """What an entry says of it."""
        found = {"until": str(self.end.sequence), "hash": self.end.hash}
        if self.broken is not None:
            found["broken"] = f"entry {self.broken.sequence}: {self.broken.fault}"
        return found


class RetiredChain(msgspec.Struct, frozen=True, kw_only=True):
    """A chain that was removed: its last entry, and what was wrong with it, if that was accepted."""

    chain: str
    last: int
    hash: str
    broken: BrokenEntry | None
    removed: bool = True


def shown_retired(retired: Retired) -> RetiredChain:
    """What was removed, as it is shown."""
    end = retired.end
    return RetiredChain(chain=end.server, last=end.sequence, hash=end.hash, broken=retired.broken)


async def check_retired(store: Store, chain: str, *, now: datetime, keep_days: int, own: Collection[str]) -> ChainHead:
    """The newest entry of a chain that may be removed. Raises `CannotRetire`, a store error."""
    if chain in own:
        raise CannotRetire(f"{chain} is a chain of this data directory: its server cuts it by itself.")
    if not keep_days:
        raise CannotRetire("[privacy] audit_retention_days = 0 keeps all entries.")
    newest = await newest_sequence(store, chain)
    rows = await rows_after(store, chain, newest - 1, until=newest, limit=1) if newest else []
    if not rows:
        raise UnknownChain(f"There is no chain {chain}: analytics-server audit verify lists all.")
    if moment(rows[0].at_us) >= now - timedelta(days=keep_days):
        raise CannotRetire(
            f"The newest entry of {chain} is of {shown_moment(rows[0].at_us)}, and entries are kept for {keep_days}"
            " days: its server may be alive. Wait until it is older, or lower [privacy] audit_retention_days."
        )
    return ChainHead(server=chain, sequence=newest, hash=rows[0].hash)


async def retire(
    store: Store,
    recorder: Recorder,
    chain: str,
    *,
    now: datetime,
    keep_days: int,
    key: SealKey,
    own: Collection[str],
    server: str,
    entry: Callable[[Retired], AuditEntry],
    accept_broken: bool = False,
) -> Retired:
    """Remove a chain of another data directory. `own`: the chains of the key's; `server`: that of them to whose chain
    `recorder` writes; `entry`: what is recorded of it, before anything is removed; `accept_broken`: also where it is
    not as it was written.

    Raises `CannotRetire`, `BrokenChain`, a store error or `AuditUnavailable`. After a kill it is done by calling again,
    and told again.
    """
    head = await check_retired(store, chain, now=now, keep_days=keep_days, own=own)
    before = now - timedelta(days=keep_days)
    seals = await read_seals(store, key, own)
    end, fault = await old_end(store, head, seals, before)
    if fault is None and end.sequence < head.sequence:
        raise CannotRetire(f"{chain} has entries in front of its last one that are younger than {keep_days} days.")
    if fault is not None and not accept_broken:
        raise BrokenChain(f"{chain} is broken at entry {fault.sequence}: {fault.fault}. {fault.about}")
    if seals.proven.get(chain) != head:
        await seal_ends(recorder, key, server, seals, [head])
    retired = Retired(end=head, broken=fault)
    await recorder.append(entry(retired))
    await delete_until(store, head)
    return retired


async def retire_in_turn(
    store: Store,
    recorder: Recorder,
    chain: str,
    *,
    now: datetime,
    keep_days: int,
    key: SealKey,
    own: Collection[str],
    server: str,
    entry: Callable[[Retired], AuditEntry],
    accept_broken: bool = False,
) -> Retired:
    """`retire`, beside no cut of any server. Raises what that raises, and `CutUnderWay`."""
    await check_retired(store, chain, now=now, keep_days=keep_days, own=own)
    async with leased(Lease(store, CUT_LEASE, holder=server, ttl_s=CUT_LEASE_S)) as taken:
        if not taken:
            raise CutUnderWay("A server cuts the audit log just now, or was ended while it did: try again in a minute.")
        return await retire(
            store,
            recorder,
            chain,
            now=now,
            keep_days=keep_days,
            key=key,
            own=own,
            server=server,
            entry=entry,
            accept_broken=accept_broken,
        )

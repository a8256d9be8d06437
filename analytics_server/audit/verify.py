"""Checks every chain of the audit log, from its beginning or its last seal to its head.

Found is what was edited, removed, put in another order or stored twice, each chain's first such entry by its number;
that the newest entries are missing is found where the chain's head is known, on the machine that wrote it. Reads in
pages, so memory is bounded however long the log is; hashes are made in a thread, so a server goes on answering.

A seal says up to which entry a chain was cut because of its age (`expiry.py`), and that entry's hash. Entries in
front of it may be there or not: a cut that was interrupted leaves some. A seal that is not genuine counts for nothing,
and is itself a fault of the chain that it stands in (`seals.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Literal

import msgspec

from analytics_server.audit.chain import ChainHead, ChainRow, hash_text, shown_moment
from analytics_server.audit.seals import SealKey, Seals, read_seals
from analytics_server.audit.table import chain_sizes, rows_after
from analytics_server.store.protocol import Store

PAGE = 10_000

Fault = Literal["edited", "removed", "duplicated", "unreadable", "newest removed", "forged seal"]


class BrokenEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The first entry of a chain that is not as it was written; `at` and `action` where it can still be read."""

    sequence: int
    fault: Fault
    about: str
    at: str = ""
    action: str = ""


class ChainReport(msgspec.Struct, frozen=True, kw_only=True):
    """One chain. `is_head_known`: was its end compared with the head that its server keeps? `is_seal_proven`: was its
    seal, if it has one, made with the key of this data directory?"""

    server: str
    entries: int
    first: int
    last: int
    hash: str
    is_head_known: bool
    sealed_until: int = 0
    is_seal_proven: bool = False
    broken: BrokenEntry | None = None


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """All chains."""

    ok: bool
    entries: int
    chains: list[ChainReport]


class _Linked(msgspec.Struct, frozen=True, kw_only=True):
    """What the check needs of an entry's text, also of a later version's."""

    server: str
    sequence: int
    at: str
    action: str
    previous: str = ""
    site_id: str = ""


_decode = msgspec.json.Decoder(_Linked).decode


class ChainWalk:
    """Takes a chain's entries in order and stops at the first that is wrong."""

    def __init__(self, server: str, seal: ChainHead | None, forged: Mapping[int, str] | None = None) -> None:
        """`forged`: seals of the chain that are not genuine, by number, and why."""
        self._server = server
        self._forged = forged or {}
        self._sealed_until = seal.sequence if seal else 0
        self.previous = ChainHead(server=server, sequence=self._sealed_until, hash=seal.hash if seal else "")
        self.first = 0
        self.entries = 0
        self.broken: BrokenEntry | None = None

    def take(self, row: ChainRow) -> bool:
        """Check the next entry; is the chain whole so far?"""
        if row.sequence in self._forged:
            return self._break(row.sequence, "forged seal", self._forged[row.sequence], row)
        if row.sequence <= self._sealed_until:
            return True
        before = self.previous
        if row.sequence == before.sequence and self.entries:
            return self._break(row.sequence, "duplicated", "It is stored twice.")
        if row.sequence != before.sequence + 1:
            last = row.sequence - 1
            gone = f"{before.sequence + 1}" if last == before.sequence + 1 else f"{before.sequence + 1} to {last}"
            return self._break(before.sequence + 1, "removed", f"Missing: {gone}.")
        text = row.text.encode()
        if hash_text(text) != row.hash:
            return self._break(row.sequence, "edited", "Its text does not match its hash.", row)
        try:
            entry = _decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return self._break(row.sequence, "unreadable", "Its text is no entry.")
        repeated = (row.server, row.sequence, shown_moment(row.at_us), row.action, row.site_id)
        if repeated != (entry.server, entry.sequence, entry.at, entry.action, entry.site_id):
            return self._break(row.sequence, "edited", "Its columns do not match its text.", row)
        if entry.previous != before.hash:
            return self._break(
                row.sequence,
                "edited",
                f"It does not follow on entry {before.sequence}: one of the two was changed.",
                row,
            )
        self.previous = ChainHead(server=self._server, sequence=row.sequence, hash=row.hash)
        self.first = self.first or row.sequence
        self.entries += 1
        return True

    def take_page(self, rows: Iterable[ChainRow], head: ChainHead | None) -> None:
        """Check the next entries, as far as the first that is wrong. For threads."""
        for row in rows:
            if not self.take(row) or (head is not None and not self.compare_with_head(head)):
                return

    def end(self, head: ChainHead | None) -> None:
        """The chain ends here: compare it with its head."""
        if head is None or self.broken is not None:
            return
        if head.sequence > self.previous.sequence:
            missing = f"{self.previous.sequence + 1} to {head.sequence}"
            self._break(
                self.previous.sequence + 1, "newest removed", f"The head is {head.sequence}; missing: {missing}."
            )

    def compare_with_head(self, head: ChainHead) -> bool:
        """The entry of the head's number was just taken: is it the head?"""
        if head.sequence == self.previous.sequence and head.hash != self.previous.hash:
            return self._break(head.sequence, "edited", "Its hash is not that of the head which its server keeps.")
        return True

    def _break(self, sequence: int, fault: Fault, about: str, row: ChainRow | None = None) -> bool:
        self.broken = BrokenEntry(
            sequence=sequence,
            fault=fault,
            about=about,
            at=shown_moment(row.at_us) if row else "",
            action=row.action if row else "",
        )
        return False


async def verify(
    store: Store,
    heads: Iterable[ChainHead],
    *,
    key: SealKey | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> VerifyReport:
    """Check all chains that are stored or whose head is known. Raises a store error.

    `heads`, those of a data directory, must have been read before; `key`: that of its seals, without which any seal
    counts. `advance` hears how many entries of how many are checked.
    """
    read = list(heads)
    known = {head.server: head for head in read if head.sequence}
    sizes = {server: (rows, newest) for server, rows, newest in await chain_sizes(store)}
    total, done = sum(rows for rows, _ in sizes.values()), 0
    seals = await read_seals(store, key, {head.server for head in read})
    reports = []

    def tell(before: int, seen: int) -> None:
        advance(before + seen, total)

    for server in sorted({*sizes, *known}):
        rows, newest = sizes.get(server, (0, 0))
        report = await _verify_chain(store, server, rows, newest, known.get(server), seals, partial(tell, done))
        reports.append(report)
        done += rows
    return VerifyReport(
        ok=all(report.broken is None for report in reports),
        entries=sum(report.entries for report in reports),
        chains=reports,
    )


async def _verify_chain(
    store: Store,
    server: str,
    rows: int,
    newest: int,
    head: ChainHead | None,
    seals: Seals,
    advance: Callable[[int], None],
) -> ChainReport:
    seal = seals.ends.get(server)
    walk = ChainWalk(server, seal, seals.forged_in(server))
    at, seen = 0, 0
    while walk.broken is None:
        page = await rows_after(store, server, at, until=newest, limit=PAGE)
        await asyncio.to_thread(walk.take_page, page, head)
        seen += len(page)
        advance(seen)
        if len(page) < PAGE:
            break
        at = page[-1].sequence
    walk.end(head)
    if walk.broken is None and seen != rows:
        walk.broken = BrokenEntry(sequence=newest, fault="duplicated", about=f"{rows} entries are stored, {seen} fit.")
    return ChainReport(
        server=server,
        entries=walk.entries,
        first=walk.first,
        last=walk.previous.sequence,
        hash=walk.previous.hash,
        is_head_known=head is not None,
        sealed_until=seal.sequence if seal else 0,
        is_seal_proven=seals.is_proven(server),
        broken=walk.broken,
    )

"""The audit log of one chain: takes entries, links them, and writes them in batches.

An entry of a change is written before the change is answered (`append`). All others wait in memory (`note`), for about
two seconds: they cost the answer nothing but an append to a list, and a process that is killed loses those. Entries are
linked when they are written, so a chain has no gap whatever happens to those that wait.

Constraint: bounded memory, one writer. A batch is one INSERT into one month. If its outcome isn't known, the table is
asked which of its rows it holds before they are sent again, under the same numbers and hashes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter

from analytics_server.audit.chain import ChainHead, ChainRow, HeadFile, chained, shown_moment
from analytics_server.audit.refusals import Refusals
from analytics_server.audit.seals import SealKeyFile, read_seals
from analytics_server.audit.table import insert_rows, newest_sequence, rows_after, stored_sequences
from analytics_server.errors import AuditUnavailable, StoreError
from analytics_server.http.audit import AuditEntry
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

WRITE_INTERVAL_S = 2.0
"""An insert takes 12 ms of processor time, however few its rows (measured): what a quiet server pays for its log."""
APPEND_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 5.0
MOST_WAITING = 20_000
"""Entries in memory. Past that, reads and refusals are counted instead: ClickHouse is away, or far too slow."""
MOST_WITH_CHANGES = 2 * MOST_WAITING
"""Past that, changes are too, which are told so."""
MOST_IN_BATCH = 5_000
MONTH = len("2026-11")
LOST = "audit_lost"
"""The action of the entry that says how many others did not fit in memory."""


class _Waiting(NamedTuple):
    entry: AuditEntry
    at_us: int


class _Batch(NamedTuple):
    rows: list[ChainRow]
    head: ChainHead
    query_id: str
    taken: int
    """How many entries had been taken when the batch was complete."""


class AuditLog:
    """One chain. `clock`: microseconds since 1970."""

    def __init__(
        self,
        store: Store,
        data_dir: Path,
        chain: str,
        *,
        registry: CollectorRegistry | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._store = store
        self._file, self._seal_key = HeadFile(data_dir, chain), SealKeyFile(data_dir)
        self._clock = clock
        self._head = ChainHead(server="")
        self._queue: deque[_Waiting] = deque()
        self._batch: _Batch | None = None
        self._is_doubtful = False
        self._accepted = 0
        self._written = 0
        self._lost = 0
        self._refusals = Refusals()
        self._writing = asyncio.Lock()
        self._work = asyncio.Event()
        self._counter = Counter(
            "audit_entries_total",
            "Entries of the audit log: written, or lost because they did not fit in memory.",
            ["outcome"],
            registry=registry or CollectorRegistry(),
        )
        for outcome in ("written", "lost"):
            self._counter.labels(outcome)

    @property
    def head(self) -> ChainHead:
        """The newest entry that is known to be written."""
        return self._head

    @property
    def is_open(self) -> bool:
        """Is it known where the chain ends?"""
        return bool(self._head.server)

    # ---- opening -------------------------------------------------------

    async def open(self) -> None:
        """Find the chain's end: that of the file, or what was written behind it before a crash.

        Raises `OSError` where the file can't be read or written, or a store error; then the file's head counts.
        """
        if not self.is_open:
            self._head = await asyncio.to_thread(self._file.read_or_make)
        newest = await newest_sequence(self._store, self._head.server)
        if newest < self._head.sequence:
            seal = await self._seal()
            if seal is not None and seal.sequence == self._head.sequence:  # all of it was too old
                return
            log.error(
                "entries of the audit log are missing: analytics-server audit verify says which",
                extra={"server": self._head.server, "expected": self._head.sequence, "found": newest},
            )
            return
        await self._take_over(newest)

    async def _seal(self) -> ChainHead | None:
        """Up to which entry the chain was cut, as far as that is proven."""
        try:
            key = await asyncio.to_thread(self._seal_key.read)
        except (OSError, ValueError):
            key = None
        return (await read_seals(self._store, key, {self._head.server})).ends.get(self._head.server)

    async def _take_over(self, newest: int) -> None:
        """Go on behind entries whose batch was written, but not the file."""
        if newest == self._head.sequence:
            return
        (last,) = await rows_after(self._store, self._head.server, newest - 1, until=newest, limit=1)
        self._head = ChainHead(server=last.server, sequence=last.sequence, hash=last.hash)
        await self._write_head()

    # ---- taking entries ------------------------------------------------

    def note(self, entry: AuditEntry) -> None:
        """Record an entry within about two seconds. Never waits, never fails."""
        at_us = self._clock()
        self._take_due(at_us)
        self._work.set()
        if not entry.principal_kind and not self._refusals.is_single(entry, at_us):
            return
        if len(self._queue) >= MOST_WAITING:
            self._lose()
            return
        self._put(entry, at_us)

    async def append(self, entry: AuditEntry) -> None:
        """Record an entry, and those before it; durable afterwards.

        Raises `AuditUnavailable`: the entry is then written later, unless the process ends before, or counted where too
        many wait.
        """
        if len(self._queue) >= MOST_WITH_CHANGES:
            self._lose()
            raise AuditUnavailable(
                "It was done, but the audit log takes no entry of it: too many wait, as ClickHouse does not take them."
                " It will be counted there among the lost ones (audit_lost)."
            )
        self._put(entry, self._clock())
        self._work.set()
        mine = self._accepted
        try:
            async with asyncio.timeout(APPEND_TIMEOUT_S):
                await self.write(mine)
        except (StoreError, TimeoutError) as error:
            raise AuditUnavailable(
                "It was done, but its entry in the audit log is not written yet, as ClickHouse does not take it. Look"
                " what there is before you try again."
            ) from error

    def _lose(self) -> None:
        self._lost += 1
        self._counter.labels("lost").inc()

    def _put(self, entry: AuditEntry, at_us: int) -> None:
        self._queue.append(_Waiting(entry, at_us))
        self._accepted += 1

    def _take_due(self, at_us: int, *, all_: bool = False) -> None:
        for entry in self._refusals.due(at_us, all_=all_):
            self._put(entry, at_us)

    # ---- writing -------------------------------------------------------

    async def run(self) -> None:
        """Write what waits every two seconds, until cancelled."""
        failing = False
        while True:
            await self._work.wait()
            await asyncio.sleep(WRITE_INTERVAL_S)
            self._work.clear()
            try:
                await self.write()
                failing = False
            except StoreError as error:
                if not failing:
                    log.warning("audit entries not written, trying again", extra={"reason": error.message[:200]})
                failing = True
            if self._queue or self._batch or self._refusals.is_counting:
                self._work.set()

    async def write(self, until: int | None = None) -> None:
        """Write all that waits, or so many of all entries that were ever taken. Raises a store error."""
        async with self._writing:
            if not self.is_open:
                raise StoreError("The audit log is not open.")
            self._take_due(self._clock())
            while self._batch is not None or self._queue:
                if until is not None and self._written >= until:
                    return
                if self._batch is None:
                    self._batch = self._link()
                await self._send(self._batch)

    def _link(self) -> _Batch:
        """The next entries in their chain: those of one month."""
        if self._lost:
            lost, self._lost = self._lost, 0
            note = AuditEntry(action=LOST, principal_kind="internal", details={"entries": str(lost)})
            self._put(note, self._clock())
        queue, head, rows = self._queue, self._head, list[ChainRow]()
        month = shown_moment(queue[0].at_us)[:MONTH]
        fitting = takewhile(lambda waiting: shown_moment(waiting.at_us)[:MONTH] == month, queue)
        for waiting, _ in zip(fitting, range(MOST_IN_BATCH), strict=False):
            row, head = chained(head, waiting.entry, waiting.at_us)
            rows.append(row)
        for _ in rows:
            queue.popleft()
        self._is_doubtful = False
        return _Batch(rows, head, f"audit-{head.server}-{head.sequence}-", self._written + len(rows))

    async def _send(self, batch: _Batch) -> None:
        rows = batch.rows
        if self._is_doubtful:
            stored = await stored_sequences(self._store, rows, batch.query_id)
            rows = [row for row in rows if row.sequence not in stored]
        self._is_doubtful = True
        if rows:
            await insert_rows(self._store, rows, batch.query_id)
        self._head, self._batch, self._written = batch.head, None, batch.taken
        self._counter.labels("written").inc(len(batch.rows))
        await self._write_head()

    async def _write_head(self) -> None:
        try:
            await asyncio.to_thread(self._file.write, self._head)
        except OSError as error:
            log.warning("the head of the audit log is not on disk", extra={"reason": str(error.strerror)})

    async def close(self) -> None:
        """Write what waits, within a few seconds."""
        if not self.is_open:
            return
        self._take_due(self._clock(), all_=True)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.write()
        except (StoreError, TimeoutError) as error:
            log.warning("the last audit entries are lost", extra={"reason": str(error)[:200]})

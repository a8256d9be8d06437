"""Integrity of the data parts: are all there that were? Checked when the server starts, and noted while it runs.

ClickHouse goes on without a part that is gone or that it can't load, so the server looks
itself: a loss is logged with table, part and remedy, shown in `/metrics`, and kept in the
record that `doctor` reads. A loss never stops the start: beacons are taken all the same. Parts
that a read at the start found damaged go to `detached/`; nothing is deleted, and nothing that
is computed from `events` is made to fit what is left of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from analytics_server.errors import StoreError, StoreFatal
from analytics_server.store.parts import (
    STATE_TABLES,
    DataPart,
    DetachedPart,
    PartLoss,
    PartRecord,
    is_readable,
    oldest_salt,
    read_detached,
    read_parts,
    record_path,
    set_aside,
    set_aside_unreadable,
    watched_tables,
)
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How soon after a flush its parts are in the record."""
REST_S = 5.0
"""Between two writes of the record."""
DETACHED_S = 60.0
"""So often it is looked for parts that the engine put aside while it ran, even when nothing is flushed."""
MOST_ATTEMPTS = 5
CONSEQUENCES = {
    "events": "These events are in no answer that is computed from events.",
    "sites": "Sites of beacons are taken as they come and not stored, so that a restored part still counts.",
    "tokens": "Tokens of that part are refused. Make a new one: analytics-server token create --role admin.",
    "people": "People of that part can't sign in. Invite them again: analytics-server person add.",
    "salts": "A new salt was made if today's is gone: visitors who come again today count once more.",
    "saved": "Goals, funnels, segments or experiments of that part are not there.",
    "privacy_keys": "Opt-outs and erasures until now are not recognised: restore the part, or enter them again.",
    "opt_outs": "Events of users on that part of the opt-out list are stored.",
    "erasures": "Erasures of that part are not gone on with: ask for them again.",
    "backfills": "Hosts of entry and exit pages of old sessions may stay empty until doctor --repair rebuilds them.",
    "archive_roots": "Erasures may not name files of days that lie in other directories than [export] directory.",
    "schema_migrations": "Schema files may be applied once more, which changes nothing.",
}
"""By table; a rollup's is that it can be rebuilt."""
REBUILD = "Numbers that are read from this table are too low until analytics-server doctor --repair rebuilds it."
REMEDY = (
    "Stop the server and restore [server] data_dir, or this part, from a backup. Without one, "
    "analytics-server doctor --repair --accept-loss takes what is left as complete."
)

CHECKED_BYTES = 32 * 1_048_576
MOST_CHECKED = 64
"""Of the newest parts so many are read whole at the start, which takes a fraction of a second."""


def _tell_set_aside(part: DataPart) -> None:
    log.error(
        "a data part can't be read and was moved to detached/",
        extra={"table": part.table, "part": part.name, "rows": part.rows},
    )


_ADVICE = {"remedy": REMEDY}


class Integrity:
    """The record of parts lies in `data_dir`; `delivered` counts the batches delivered so far.

    `rollups`: tables that can be computed again from `events`.
    """

    def __init__(
        self,
        store: Store,
        rollups: Sequence[str],
        data_dir: Path,
        registry: CollectorRegistry,
        delivered: Callable[[], int],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._tables = watched_tables(rollups)
        self._removable = ("events", *rollups)  # rows of these are removed on purpose while servers run
        self._data_dir = data_dir
        self._record: PartRecord | None = None
        self._delivered = delivered
        self._owns_files = store.capabilities.owns_files
        self._clock = clock
        self._losses: list[PartLoss] = []
        self._unread: set[str] = set()
        self._open = False
        self._removals = 0
        self._writing = asyncio.Lock()
        self._parts = Gauge(
            "clickhouse_lost_parts",
            "Data parts that are missing, or set aside because they are damaged.",
            ["table"],
            registry=registry,
        )
        self._rows = Gauge(
            "clickhouse_lost_rows", "Rows of the lost data parts, as far as known.", ["table"], registry=registry
        )
        for table in self._tables:
            self._parts.labels(table)
            self._rows.labels(table)

    # ---- at the start --------------------------------------------------

    async def inspect(self) -> None:
        """Read the small tables, compare the parts with the record, and tell what is lost. Raises a store error.

        Before the schema is brought up to date, so that what a migration does is no loss. Parts are recorded only
        where the engine's files belong to this process alone.
        """
        self._record = PartRecord(record_path(self._data_dir))
        for table in STATE_TABLES:
            await self.reading(table, partial(self._read_whole, table))
        if self._owns_files:
            await self._check_newest()
        await self._compare()
        self._open = True

    async def _read_whole(self, table: str) -> None:
        there = await self._store.query(
            "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
            {"table": table},
        )
        if there.rows[0][0]:
            await self._store.query(f"SELECT sum(cityHash64(*)) FROM {table}")

    async def _check_newest(self) -> None:
        """The parts that were written last are what a start reads, and what a failing disk damages first."""
        newest = await self._store.query(
            "SELECT table, name, sum(bytes_on_disk) OVER (ORDER BY modification_time DESC, name) AS bytes "
            "FROM system.parts WHERE database = currentDatabase() AND active AND table IN {tables:Array(String)} "
            "ORDER BY bytes LIMIT {most:UInt32}",
            {"tables": list(self._removable), "most": MOST_CHECKED},
        )
        chosen = {(str(table), str(name)) for table, name, size in newest.rows if int(str(size)) <= CHECKED_BYTES}
        for part in await read_parts(self._store, self._tables):
            if (part.table, part.name) in chosen and not await is_readable(self._store, part):
                await set_aside(self._store, part)
                _tell_set_aside(part)

    async def reading(self, table: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do some work that reads a table (and maybe others); it goes on without it where files are damaged.

        With the engine in process, parts that can't be read are set aside first, and the work is tried again. Any
        other error is raised.
        """
        for _ in range(MOST_ATTEMPTS):
            try:
                await work()
                return
            except StoreFatal as error:
                if error.damaged_part is None:
                    raise
                failure = error
            if not self._owns_files or not await self._set_aside(failure, table):
                break
        self._unread.add(table)
        log.error(
            "a table can't be read, going on without it", extra={"table": table, "reason": failure.message, **_ADVICE}
        )

    async def _set_aside(self, failure: StoreError, table: str) -> bool:
        suspected = (table,) if table in STATE_TABLES else ()
        moved = await set_aside_unreadable(self._store, failure, self._tables, tables=suspected)
        for part in moved:
            _tell_set_aside(part)
        if moved and self._open:
            await self._compare()
        return bool(moved)

    def has_lost(self, table: str) -> bool:
        """Does the table lack rows whose loss was not accepted, or could it not be read?"""
        return table in self._unread or any(loss.table == table for loss in self._losses)

    # ---- while it runs -------------------------------------------------

    async def run(self) -> None:
        """Keep the record up to date until cancelled."""
        seen, looked_at = -1, 0.0
        while True:
            await asyncio.sleep(LOOK_S)
            since = time.monotonic() - looked_at
            if (self._delivered() != seen and since >= REST_S) or since >= DETACHED_S:
                seen, looked_at = self._delivered(), time.monotonic()
                try:
                    await self._compare()
                except StoreError as error:
                    log.debug("data parts not looked at", extra={"reason": error.message[:200]})

    async def close(self) -> None:
        """The last look, when nothing is written any more."""
        await self._look()

    async def _look(self) -> None:
        if not self._open:
            return
        try:
            await self._compare()
        except StoreError as error:
            log.warning("data parts not recorded", extra={"reason": error.message[:200]})

    @asynccontextmanager
    async def removing(self) -> AsyncIterator[None]:
        """Within it parts of `events` and the rollups may vanish, as their rows are removed on purpose. They are not
        recorded meanwhile, so that a crash leaves no false alarm, and are recorded again at its end. Raises `OSError`.
        """
        assert self._record is not None, "not inspected"
        self._removals += 1
        try:
            async with self._writing:
                await asyncio.to_thread(self._record.forget, self._removable)
            yield
        finally:
            self._removals -= 1
        if not self._removals:
            await self._look()

    async def _compare(self) -> None:
        present = await read_parts(self._store, self._tables)
        detached = await read_detached(self._store, self._tables, local=self._owns_files)
        async with self._writing:
            found = await asyncio.to_thread(self._note, present, detached)
        for loss in found:
            if loss not in self._losses:
                log.error(
                    "data of ClickHouse is lost",
                    extra={
                        "table": loss.table,
                        "part": loss.name,
                        "partition": loss.part.partition,
                        "rows": loss.rows if loss.rows >= 0 else "unknown",
                        "cause": loss.cause,
                        **({"kept_in": loss.path} if loss.path else {}),
                        "consequence": CONSEQUENCES.get(loss.table, REBUILD),
                        **_ADVICE,
                    },
                )
        self._losses = found
        for table in self._tables:
            own = [loss for loss in found if loss.table == table]
            self._parts.labels(table).set(len(own))
            self._rows.labels(table).set(sum(max(0, loss.rows) for loss in own))

    def _note(self, present: Sequence[DataPart], detached: Sequence[DetachedPart]) -> list[PartLoss]:
        """What is lost; and what is there, on disk. Parts of a ClickHouse server aren't recorded: others drop some."""
        assert self._record is not None, "not inspected"
        found = self._record.compare(present, detached, oldest_salt=oldest_salt(self._clock()))
        recorded = present if not self._removals else [part for part in present if part.table not in self._removable]
        try:
            self._record.write(recorded if self._owns_files else (), found)
        except OSError as error:
            log.warning("data parts not recorded", extra={"reason": error.strerror})
        return found

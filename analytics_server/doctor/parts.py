"""The check of ClickHouse's data parts: is each there that was, and can each be read?

What was there stands in the server's record (`store.parts`). Every file of every part is read and
compared with its checksum, which takes about as long as reading the disk. A repair moves damaged
parts of rollups aside, since they are rebuilt from `events` afterwards; other parts, and the record
itself, only with consent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from analytics_server.doctor.report import BaseCheck, Facts, Finding, count
from analytics_server.rollups.rebuild import Advance
from analytics_server.rollups.registry import SHIPPED_ROLLUPS
from analytics_server.store.parts import (
    DataPart,
    PartLoss,
    PartRecord,
    is_readable,
    is_whole,
    oldest_salt,
    read_detached,
    read_parts,
    set_aside,
    watched_tables,
)
from analytics_server.store.protocol import Store

TABLES = watched_tables(SHIPPED_ROLLUPS)
EXAMPLES = 50
SHOWN = 3


class PartsCheck(BaseCheck):
    """Parts that are missing, detached or damaged, with the rows they had. `local`: ClickHouse runs in this process."""

    name = "parts"

    def __init__(
        self,
        store: Store,
        record: PartRecord,
        clock: Callable[[], float],
        advance: Advance,
        *,
        local: bool,
        accept_loss: bool,
    ) -> None:
        self._store = store
        self._record = record
        self._clock = clock
        self._advance = advance
        self._local = local
        self._accept_loss = accept_loss
        self._unreadable: list[DataPart] = []

    async def examine(self) -> Finding:
        """Read every part, and compare with those that were recorded."""
        present = await read_parts(self._store, TABLES)
        self._unreadable = []
        tables = list(dict.fromkeys(part.table for part in present))
        for number, table in enumerate(tables):
            self._advance(f"data parts of {table}", number, len(tables))
            if not await is_whole(self._store, table):
                own = [part for part in present if part.table == table]
                self._unreadable += [part for part in own if not await is_readable(self._store, part)]
        detached = await read_detached(self._store, TABLES, local=self._local)
        found = self._record.compare(present, detached, oldest_salt=oldest_salt(self._clock()))
        found += [PartLoss(part=part, name=part.name, cause="unreadable") for part in self._unreadable]
        facts: Facts = {"parts": len(present), "lost": [shown(loss) for loss in found[:EXAMPLES]]}
        if not found:
            return self.ok(f"All {count(len(present), 'data part')} are there and can be read.", **facts)
        return self.error(told(found), REMEDY, **facts)

    async def repair(self) -> str:
        """Move unreadable parts of rollups to detached/; with consent those of any table."""
        wanted = [part for part in self._unreadable if self._accept_loss or part.table in SHIPPED_ROLLUPS]
        for part in wanted:
            await set_aside(self._store, part)
        done = [f"moved {count(len(wanted), 'damaged part')} to detached/"] if wanted else []
        if self._accept_loss and await self.settle(TABLES):
            done.append("took what is left as complete")
        return " and ".join(done)

    async def settle(self, tables: Sequence[str]) -> bool:
        """Take what is there of some tables as all there is; true when that changes what is reported."""
        present = await read_parts(self._store, TABLES)
        detached = await read_detached(self._store, TABLES, local=self._local)
        before = self._record.compare(present, detached, oldest_salt=oldest_salt(self._clock()))
        kept = present if self._local else []
        await asyncio.to_thread(self._record.accept, tables, kept, detached)
        return any(loss.table in tables for loss in before)


class RecordedLossCheck(BaseCheck):
    """What a running server has noted: its tables can't be looked at now."""

    name = "parts"

    def __init__(self, record: PartRecord) -> None:
        self._losses = record.losses

    async def examine(self) -> Finding:
        """Report what the record says."""
        if not self._losses:
            return self.ok("The running server misses no data part.", lost=[])
        return self.error(told(self._losses), REMEDY, lost=[shown(loss) for loss in self._losses[:EXAMPLES]])


REMEDY = (
    "Stop the server, and restore the data directory or the parts from a backup (what could not be loaded is kept in "
    "the table's detached/). --repair rebuilds rollups. Without a backup, --repair --accept-loss takes what is left "
    "as complete and makes the rollups fit it."
)


def told(losses: Sequence[PartLoss]) -> str:
    """By table: how many parts and rows, of which months, and the first of them."""
    said = []
    for table in dict.fromkeys(loss.table for loss in losses):
        own = [loss for loss in losses if loss.table == table]
        rows = sum(max(0, loss.rows) for loss in own)
        unknown = "at least " if any(loss.rows < 0 for loss in own) else ""
        when = sorted({_when(loss.part.partition) for loss in own} - {""})
        of = f" of {', '.join(when[:SHOWN])}{' …' if len(when) > SHOWN else ''}" if when else ""
        names = ", ".join(f"{loss.name} ({loss.cause})" for loss in own[:SHOWN])
        more = f" and {len(own) - SHOWN} more" if len(own) > SHOWN else ""
        said.append(
            f"{table} lacks {count(len(own), 'data part')} with {unknown}{count(rows, 'row')}{of}: {names}{more}"
        )
    return "; ".join(said) + "."


def shown(loss: PartLoss) -> Mapping[str, int | str]:
    """For programs."""
    return {
        "table": loss.table,
        "part": loss.name,
        "partition": loss.part.partition,
        "rows": loss.rows,
        "cause": loss.cause,
        "path": loss.path,
    }


def _when(partition: str) -> str:
    """A partition's month or day, as people write it; "" for the partition of a table that has but one."""
    if not partition.isdigit():
        return ""
    return "-".join((partition[:4], partition[4:6], partition[6:])).rstrip("-")

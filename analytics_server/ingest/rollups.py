"""Makes the rollups agree with `events` again after a batch whose outcome was in doubt.

ClickHouse commits an insert into `events` and what its materialized views write in
separate steps, so a process that dies between them leaves rollups that miss the batch.
For the keys that the batch touches, each view's own SELECT is computed anew from
`events` and compared with what its target holds. Where a sum differs, one row is
added that makes up the difference (sums wrap, so a surplus is taken back too); all
other aggregates (`min`, `max`, `any`, `uniq…`) may be repeated without harm. Doing it
twice changes nothing. Nothing else may be flushing for the same sites meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from analytics_server.errors import StoreFatal
from analytics_server.model import COLUMN_NAMES
from analytics_server.store.protocol import ResultSet, Store

LATE_DAYS = 2
"""Events may be older than their session's start by as much as a public beacon may lie behind, and a margin."""

_SOURCE = re.compile(r"FROM (?:`?\w+`?\.)?events AS e\b")
_TARGET = re.compile(r" TO (?:`?\w+`?\.)?`?(\w+)`? ")


class _Rollup(msgspec.Struct, frozen=True, kw_only=True):
    """A materialized view over `events` and the table it writes to."""

    target: str
    select: str
    keys: tuple[str, ...]
    sums: tuple[str, ...]
    others: tuple[str, ...]


class Rollups:
    """Reads once which rollups there are, and reconciles them batch by batch."""

    def __init__(self, store: Store, *, timeout_s: float) -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._known: list[_Rollup] | None = None

    async def reconcile(self, batch_id: int) -> None:
        """Bring all rollups into line for the keys of this batch. Raises a store error."""
        scope = await self._query(
            "SELECT groupUniqArray(site_id), min(least(ts, session_start)) FROM events WHERE batch_id = {batch:UInt64}",
            {"batch": batch_id},
        )
        sites, since = scope.rows[0]
        if not sites:
            return
        parameters = {"batch": batch_id, "sites": sites, "since": since}
        if self._known is None:
            self._known = await self._read()
        for rollup in self._known:
            await self._store.command(statement(rollup), parameters)

    async def _read(self) -> list[_Rollup]:
        views = await self._query(
            "SELECT create_table_query, as_select FROM system.tables "
            "WHERE database = currentDatabase() AND engine = 'MaterializedView' ORDER BY name"
        )
        columns = await self._query(
            "SELECT table, name, type, is_in_sorting_key FROM system.columns "
            "WHERE database = currentDatabase() ORDER BY table, position"
        )
        found = []
        for create, select in views.rows:
            target = _TARGET.search(str(create).partition("(")[0])
            if target is None or _SOURCE.search(str(select)) is None:
                continue
            own = [(str(name), str(kind), bool(key)) for table, name, kind, key in columns.rows if table == target[1]]
            keys = tuple(name for name, _, key in own if key)
            sums = tuple(name for name, kind, key in own if kind.startswith("SimpleAggregateFunction(sum,") and not key)
            if not keys or not sums:
                raise StoreFatal(f"The rollup {target[1]} has no sorting key or no sum: it can't be reconciled.")
            others = tuple(name for name, _, _ in own if name not in keys and name not in sums)
            found.append(_Rollup(target=target[1], select=str(select), keys=keys, sums=sums, others=others))
        return found

    async def _query(self, sql: str, parameters: dict[str, object] | None = None) -> ResultSet:
        return await self._store.query(sql, parameters, timeout_s=self._timeout_s)


def statement(rollup: _Rollup) -> str:
    """The INSERT that makes up the differences of one rollup."""
    touched = _over(rollup.select, "batch_id = {batch:UInt64}")
    scoped = _over(
        rollup.select,
        f"site_id IN {{sites:Array(String)}} AND ts >= subtractDays({{since:DateTime64(6, 'UTC')}}, {LATE_DAYS})",
    )
    keys = ", ".join(rollup.keys)
    affected = f"({keys}) IN (SELECT {keys} FROM ({touched}))"
    sums = ", ".join(f"sum({name}) AS {name}" for name in rollup.sums)
    chosen = [*(f"expected.{name}" for name in rollup.keys), *(f"expected.{n} - present.{n}" for n in rollup.sums)]
    chosen += [f"expected.{name}" for name in rollup.others]
    differs = " OR ".join(f"expected.{name} != present.{name}" for name in rollup.sums)
    return (
        f"INSERT INTO {rollup.target} ({_list(rollup.keys, rollup.sums, rollup.others)}) "
        "SETTINGS async_insert = 0, insert_deduplicate = 0, join_use_nulls = 0 "
        f"SELECT {', '.join(chosen)} "
        f"FROM (SELECT {_list(rollup.keys, rollup.sums, rollup.others)} FROM ({scoped}) WHERE {affected}) AS expected "
        f"LEFT JOIN (SELECT {keys}, {sums} FROM {rollup.target} WHERE {affected} GROUP BY {keys}) AS present "
        f"USING ({keys}) WHERE {differs}"
    )


def _over(select: str, condition: str) -> str:
    """The view's SELECT over a part of the events only."""
    part = f"(SELECT {', '.join(COLUMN_NAMES)} FROM events WHERE {condition})"
    return _SOURCE.sub(lambda _: f"FROM {part} AS e", select, count=1)


def _list(*groups: Sequence[str]) -> str:
    return ", ".join(name for group in groups for name in group)

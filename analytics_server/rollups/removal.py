"""Takes removed events out of a rollup, key by key, beside full ingestion.

Before events are removed, the keys that count any of them are written down (`collect`), as hashes in `erasure_keys`.
Afterwards the rows of these keys are deleted (`remove`) and made again of the events that are left (`restore`): a sum
could be lowered, but a `min`, `max` or `uniq` can't. Each step may be repeated: what is restored is what the rollup
lacks, which is nothing where it was restored already.

Events that arrive meanwhile are counted once. A server's own inserts run one after the other, so none is between its
two commits while a statement here runs. With several servers one may be; then the comparison (`is_right`), which counts
only while nothing is inserted, fails, and the caller removes and restores once more.
A hash may belong to two keys. Then both are removed and restored, which is as right.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Mapping, Sequence
from datetime import date, timedelta
from typing import TypeVar

from analytics_server.errors import StoreError, StoreRetryable
from analytics_server.rollups.between_inserts import InsertWatch
from analytics_server.rollups.comparison import SETTINGS, TIMEOUT_S, Calendar, scope
from analytics_server.rollups.materialized_views import Rollup, is_gone, read_views
from analytics_server.rollups.mutations import delete_rows
from analytics_server.store.protocol import Store

T = TypeVar("T")

EVENTS_AT_ONCE = 5_000_000
"""So many events are looked at by one statement: flushes of this server wait for it."""

QUIET_ATTEMPTS = 300
QUIET_WAIT_S = 0.1
_ON_OWN_DAYS = (
    "toDate(ts) IN {days:Array(Date)} AND ts >= toDateTime64({first:Date}, 6, 'UTC') "
    "AND ts < toDateTime64({end:Date}, 6, 'UTC')"
)
_INSERT = (
    "SETTINGS async_insert = 0, insert_deduplicate = 0, join_use_nulls = 0, max_partitions_per_insert_block = 1000, "
    "max_threads = 2, max_bytes_before_external_group_by = 300000000"
)


class EventRemoval:
    """One rollup, and the keys of one removal. `types`: of the target's columns. `removal_id`: letters and digits."""

    def __init__(self, store: Store, rollup: Rollup, types: Mapping[str, str], removal_id: str, watch: InsertWatch):
        self.target = rollup.target
        self._store = store
        self._rollup = rollup
        self._types = types
        self._watch = watch
        self._id = removal_id
        self._chosen = f"(SELECT key FROM erasure_keys WHERE id = '{removal_id}' AND part = '{rollup.target}')"

    async def collect(self, condition: str, parameters: Mapping[str, object], named: str = "") -> None:
        """Write down the keys that count events of this condition, and those whose rows meet `named`."""
        rollup, head = self._rollup, "INSERT INTO erasure_keys (id, part, site_id, day, key) "
        day = f"toDate(x.{rollup.time})" if rollup.time else "toDate(0)"
        chosen = f"SELECT DISTINCT '{self._id}', '{rollup.target}', x.site_id, {day}, {self._key('x')}"
        await self._store.command(f"{head}{_INSERT} {chosen} FROM ({rollup.over(condition)}) AS x", parameters)
        if named:
            await self._store.command(f"{head}{_INSERT} {chosen} FROM {rollup.target} AS x WHERE {named}", parameters)

    def is_without(self, condition: str) -> str:
        """SQL: the rows of the target whose key counts no event of this condition."""
        return f"{self._key()} NOT IN (SELECT {self._key('v')} FROM ({self._rollup.over(condition)}) AS v)"

    async def rows(self) -> int:
        """How many keys are written down."""
        answer = await self._store.query(
            f"SELECT uniqExact(key) FROM erasure_keys WHERE id = '{self._id}' AND part = '{self._rollup.target}'",
            timeout_s=TIMEOUT_S,
        )
        return int(str(answer.rows[0][0]))

    async def remove(self) -> None:
        """Delete the rows of the keys. Raises a store error."""
        await delete_rows(self._store, self._rollup.target, f"{self._key()} IN {self._chosen}", marker=self._id)

    async def restore(self) -> None:
        """Add what the rollup lacks of the keys. Raises a store error."""
        rollup = self._rollup
        for condition, days, parameters in await self._pieces():
            checks = ["has.rows_present = 0", *(f"x.{name} != has.{name}" for name in rollup.sums)]
            merged = [f"sum(t.{name}) AS {name}" for name in rollup.sums]
            for one in rollup.aggregates:
                merged.append(f"{one.merged} AS had__{one.name}")
                checks.append(f"cityHash64({one.finished}) != cityHash64(has.had__{one.name})")
            given = [f"x.{name} AS {name}" for name in rollup.keys]
            given += [f"x.{name} - has.{name} AS {name}" for name in rollup.sums]
            given += [f"x.{name} AS {name}" for name in rollup.others]
            await self._store.command(
                f"INSERT INTO {rollup.target} ({', '.join(rollup.columns)}) {_INSERT} SELECT {', '.join(given)} "
                f"FROM ({self._expected(condition, days)}) AS x LEFT JOIN (SELECT {_of('t', rollup.keys)}, "
                f"count() AS rows_present{''.join(f', {one}' for one in merged)} FROM {rollup.target} AS t "
                f"WHERE {self._key('t')} IN {self._chosen}{days.format('t')} "
                f"GROUP BY {', '.join(f't.{name}' for name in rollup.keys)}) AS has USING ({', '.join(rollup.keys)}) "
                f"WHERE {' OR '.join(checks)}",
                parameters,
            )

    async def is_right(self) -> bool:
        """Is the rollup what the events give, for all the keys? Compared while nothing is being inserted.

        Raises `StoreRetryable` when that never was so.
        """
        await self._store.catch_up(["events", self._rollup.target], timeout_s=TIMEOUT_S)
        pieces = await self._pieces()
        for _ in range(QUIET_ATTEMPTS):
            if not await self._watch.is_inserting(["events", self._rollup.target]):
                break
            await asyncio.sleep(QUIET_WAIT_S)
        else:
            raise StoreRetryable("The rollups can't be compared with events while other servers are inserting.")
        for condition, days, parameters in pieces:
            answer = await self._store.query(
                self._comparison(condition, days), parameters, settings=SETTINGS, timeout_s=TIMEOUT_S
            )
            if not answer.rows[0][0]:
                return False
        return True

    def _comparison(self, condition: str, days: str) -> str:
        rollup = self._rollup
        expected = [f"x.{name}" for name in rollup.sums] + [one.finished for one in rollup.aggregates]
        present = [f"sum(t.{name})" for name in rollup.sums] + [one.merged for one in rollup.aggregates]
        return (
            f"SELECT (SELECT (count(), sum(h)) FROM (SELECT cityHash64({', '.join([self._key('x'), *expected])}) AS h "
            f"FROM ({self._expected(condition, days)}) AS x)) = (SELECT (count(), sum(h)) FROM ("
            f"SELECT cityHash64({', '.join([self._key('t'), *present])}) AS h FROM {rollup.target} AS t "
            f"WHERE {self._key('t')} IN {self._chosen}{days.format('t')} "
            f"GROUP BY {', '.join(f't.{name}' for name in rollup.keys)}))"
        )

    def _expected(self, condition: str, days: str) -> str:
        """What the events that are left give for the keys."""
        return (
            f"SELECT {_of('v', self._rollup.columns)} FROM ({self._rollup.over(condition)}) AS v "
            f"WHERE {self._key('v')} IN {self._chosen}{days.format('v')}"
        )

    def _key(self, alias: str = "") -> str:
        """SQL: the hash of a row's key, whichever side it comes from."""
        of = f"{alias}." if alias else ""
        return f"cityHash64({', '.join(f'CAST({of}{name} AS {self._types[name]})' for name in self._rollup.keys)})"

    async def _pieces(self) -> list[tuple[str, str, dict[str, object]]]:
        """Some days each: the condition on events, that on rows with `{0}` for their alias, and the parameters.

        Where a session's opening is the time, its events may lie on other days: between the first and the last that
        there is now. Those that arrive later make the comparison fail, which reads the days anew.
        """
        of_keys = f"FROM erasure_keys WHERE id = '{self._id}' AND part = '{self._rollup.target}'"
        at_sites = f"site_id IN (SELECT DISTINCT site_id {of_keys})"
        time = self._rollup.time
        if not time:
            return [(at_sites, "", {})]
        answer = await self._store.query(f"SELECT DISTINCT day {of_keys} ORDER BY day", timeout_s=TIMEOUT_S)
        days: list[date] = [row[0] for row in answer.rows]  # type: ignore[misc]
        calendar = (await Calendar.read(self._store, [])).including(days)
        rows = f" AND toDate({{0}}.{time}) IN {{{{days:Array(Date)}}}}"
        found: list[tuple[str, str, dict[str, object]]] = []
        for piece in calendar.spans(days, most=EVENTS_AT_ONCE):
            condition, parameters = scope(piece)
            if re.search(rf"\be\.ts(?:, 'UTC')?\)*\s+AS\s+`?{time}`?(?!\w)", self._rollup.head):
                condition, parameters = _ON_OWN_DAYS, {"days": list(piece.days), **_bounds(piece.days)}
            found.append((f"{at_sites} AND {condition}", rows, parameters))
        return found


async def removals(store: Store, removal_id: str, watch: InsertWatch) -> list[EventRemoval]:
    """One for each rollup there is now. Raises a store error."""
    columns = await store.query("SELECT table, name, type FROM system.columns WHERE database = currentDatabase()")
    types: dict[str, dict[str, str]] = {}
    for table, name, kind in columns.rows:
        types.setdefault(str(table), {})[str(name)] = str(kind)
    return [
        EventRemoval(store, rollup, types[rollup.target], removal_id, watch)
        for rollup in (await read_views(store)).rollups
    ]


async def rework(found: Sequence[EventRemoval]) -> bool:
    """Remove the keys that are written down, from all rollups at once, and make them again; are all of them right?

    ClickHouse rewrites the parts of different tables side by side. Raises a store error.
    """
    concerned = [removal for removal in found if await _unless_gone(removal.rows())]
    removed = await asyncio.gather(*(_unless_gone(one.remove()) for one in concerned), return_exceptions=True)
    if failed := [error for error in removed if error is not None]:
        raise failed[0]
    right = True
    for removal in concerned:
        await _unless_gone(removal.restore())
        right = await _unless_gone(removal.is_right()) is not False and right
    return right


async def _unless_gone(work: Awaitable[T]) -> T | None:
    """None where a saved funnel was deleted meanwhile, and its table with it."""
    try:
        return await work
    except StoreError as error:
        if not is_gone(error):
            raise
        return None


def _bounds(days: Sequence[date]) -> dict[str, object]:
    return {"first": days[0], "end": days[-1] + timedelta(days=1)}


def _of(alias: str, names: Sequence[str]) -> str:
    return ", ".join(f"{alias}.{name} AS {name}" for name in names)

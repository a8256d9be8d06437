"""Makes a rollup equal to `events` again, for whole days.

Two ways. *Replace*: the month is put together in a table beside it (the sound days copied,
the others computed from `events`), compared with `events`, and takes the old one's place
in one step; nothing is ever half done, and dying on the way changes nothing. But what a
server inserts meanwhile would be lost, so it is used where nobody writes. *Add*: for a
month into which events are still coming, the missing or surplus amounts are written down
in a calm (see there), and one row each makes them up. That can't take back a surplus in
`min`, `max` or `uniq`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from typing import NamedTuple

from analytics_server.doctor.calm import Calm
from analytics_server.doctor.compare import TIMEOUT_S, Calendar, Difference, Piece, differences, scope
from analytics_server.doctor.report import Advance
from analytics_server.doctor.views import Rollup
from analytics_server.ingest.segment import new_batch_id
from analytics_server.store.protocol import Store

QUIET_S = 120.0
"""A month is quiet when its newest batch is older: nobody is inserting into it."""

_INSERT = (
    "SETTINGS async_insert = 0, insert_deduplicate = 0, join_use_nulls = 0, max_partitions_per_insert_block = 1000, "
    "max_threads = 2, max_bytes_before_external_group_by = 300000000"
)


class Rebuilt(NamedTuple):
    """What was done to a rollup."""

    days: int
    months: int
    left: int
    """Days that still differ: events are coming in."""


class Rebuilder:
    """Repairs rollups. `exclusive`: no server can be writing (the engine is in this process)."""

    def __init__(
        self, store: Store, calm: Calm, *, exclusive: bool, clock: Callable[[], float], advance: Advance
    ) -> None:
        self._store = store
        self._exclusive = exclusive
        self._clock = clock
        self._advance = advance
        self._calm = calm

    async def rebuild(self, rollup: Rollup, calendar: Calendar, damaged: Sequence[Difference]) -> Rebuilt:
        """Make the days of these differences right. Raises a store error; what was done until then stays."""
        months: dict[tuple[int, int], set[date]] = {}
        for difference in damaged:
            months.setdefault((difference.day.year, difference.day.month), set()).add(difference.day)
        left = 0
        for number, ((year, month), days) in enumerate(sorted(months.items())):
            self._advance(f"rebuilding {rollup.target} {year}-{month:02d}", number, len(months))
            if self._exclusive or await self._is_quiet(days, calendar):
                await self._replace(rollup, calendar, days, year * 100 + month)
            else:
                await self._add(rollup, calendar, days)
            left += await self._still_wrong(rollup, calendar, days)
        return Rebuilt(sum(map(len, months.values())), len(months), left)

    async def _still_wrong(self, rollup: Rollup, calendar: Calendar, days: set[date], table: str = "") -> int:
        wrong: set[date] = set()
        for piece in calendar.pieces(sorted(days)):
            look = partial(differences, self._store, rollup, piece, table=table)
            found = await look() if table else await self._calm.during(piece, look)
            wrong |= set(piece.days) & days if found is None else {one.day for one in found}
        return len(wrong)

    async def _is_quiet(self, days: set[date], calendar: Calendar) -> bool:
        since = new_batch_id(self._clock() - QUIET_S) >> 22 << 22
        whole = {day.replace(day=1) for day in days}
        answer = await self._store.query(
            "SELECT count() FROM events WHERE batch_id >= {since:UInt64} "
            "AND (toStartOfMonth(ts) IN {months:Array(Date)} OR toStartOfMonth(session_start) IN {months:Array(Date)})",
            {"since": since, "months": sorted(whole)},
            timeout_s=TIMEOUT_S,
        )
        return not int(str(answer.rows[0][0]))

    async def _replace(self, rollup: Rollup, calendar: Calendar, days: set[date], month: int) -> None:
        beside = await self._table_beside(rollup)
        columns = ", ".join(rollup.columns)
        month_days = [day for piece in calendar.pieces() if piece.month == month for day in piece.days]
        sound = [day for day in month_days if day not in days]
        for piece in calendar.pieces(sound) if sound else ():
            await self._store.command(
                f"INSERT INTO {beside} ({columns}) {_INSERT} SELECT {columns} FROM {rollup.target} AS t "
                f"WHERE toDate(t.{rollup.time}) IN {{days:Array(Date)}}",
                {"days": list(piece.days)},
            )
        for piece in calendar.pieces(sorted(days)):
            condition, parameters = scope(piece)
            await self._store.command(
                f"INSERT INTO {beside} ({columns}) {_INSERT} SELECT {columns} FROM ({rollup.over(condition)}) AS x "
                f"WHERE toDate(x.{rollup.time}) IN {{days:Array(Date)}}",
                parameters,
            )
        if not await self._still_wrong(rollup, calendar, days, beside):
            await self._store.command(f"ALTER TABLE {rollup.target} REPLACE PARTITION {month} FROM {beside}")
        await self._store.command(f"DROP TABLE IF EXISTS {beside}")

    async def _add(self, rollup: Rollup, calendar: Calendar, days: set[date]) -> None:
        beside = await self._table_beside(rollup)
        columns = ", ".join(rollup.columns)
        for piece in calendar.pieces(sorted(days)):
            if await self._calm.during(piece, partial(self._note, rollup, piece, beside)) is None:
                continue  # never calm: what still differs is told
            await self._store.command(
                f"INSERT INTO {rollup.target} ({columns}) {_INSERT} SELECT {columns} FROM {beside}"
            )
        await self._store.command(f"DROP TABLE IF EXISTS {beside}")

    async def _note(self, rollup: Rollup, piece: Piece, beside: str) -> bool:
        """Write down what the target lacks for these days."""
        condition, parameters = scope(piece)
        await self._store.command(f"TRUNCATE TABLE {beside}")
        await self._store.command(
            f"INSERT INTO {beside} ({', '.join(rollup.columns)}) {_INSERT} {_missing(rollup, condition)}", parameters
        )
        return True

    async def _table_beside(self, rollup: Rollup) -> str:
        """An empty table like the target, which nobody else knows; one of an earlier repair that died is dropped.

        Never with SYNC: that waits for the reading threads' handles, which keep hold of what they asked last.
        """
        name = f"doctor_{rollup.target}"
        await self._store.command(f"DROP TABLE IF EXISTS {name}")
        await self._store.command(
            f"CREATE TABLE {name} AS {rollup.target} ENGINE = {rollup.engine.removeprefix('Replicated')} "
            f"PARTITION BY {rollup.partition_key} ORDER BY ({rollup.sorting_key})"
        )
        return name


def _missing(rollup: Rollup, condition: str) -> str:
    """What the target lacks per key to equal `events`: sums as amounts (which wrap), all else as it should be."""
    keys = ", ".join(rollup.keys)
    others = [*(name for name, _ in rollup.aggregates), *(name for name, _ in rollup.anys)]
    checks = [f"x.{name} != has.{name}" for name in rollup.sums]
    merged = [f"sum(t.{name}) AS {name}" for name in rollup.sums]
    for name, expression in rollup.aggregates:
        # Under a name of its own: a state and its finished value must not be mixed up.
        merged.append(f"{expression} AS had__{name}")
        value = f"finalizeAggregation(x.{name})" if "Merge(" in expression else f"x.{name}"
        value = f"arraySort({value})" if expression.startswith("arraySort(") else value
        checks.append(f"cityHash64({value}) != cityHash64(has.had__{name})")
    chosen = [f"x.{name} AS {name}" for name in rollup.keys]
    chosen += [f"x.{name} - has.{name} AS {name}" for name in rollup.sums]
    chosen += [f"x.{name} AS {name}" for name in others]
    return (
        f"SELECT {', '.join(chosen)} FROM (SELECT {', '.join(rollup.columns)} FROM ({rollup.over(condition)}) AS v "
        f"WHERE toDate(v.{rollup.time}) IN {{days:Array(Date)}}) AS x "
        f"LEFT JOIN (SELECT {', '.join(f't.{name} AS {name}' for name in rollup.keys)}, {', '.join(merged)} "
        f"FROM {rollup.target} AS t WHERE toDate(t.{rollup.time}) IN {{days:Array(Date)}} "
        f"GROUP BY {', '.join(f't.{name}' for name in rollup.keys)}) AS has USING ({keys}) "
        f"WHERE {' OR '.join(checks)}"
    )

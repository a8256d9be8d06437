"""Makes a rollup equal to `events` again, for whole days.

Two ways. *Replace*: the month is put together in a table beside it (the sound days copied,
the others computed from `events`), compared with `events` on all its days, and takes the old
one's place in one step; nothing is ever half done, and dying on the way changes nothing.
But what a server inserts meanwhile would be lost, so it is used where no other process writes, and
where a server runs the month is compared once more afterwards, and what it lacks added.
*Add*: for a month into which events are still coming, the missing or surplus amounts are written down
at a moment without inserts (`between_inserts`), and one row each makes them up. That can't take back a surplus in
`min`, `max` or `uniq`: if one is left, the month is replaced all the same, by a table that lacked nothing
a moment before, without inserts; and what slipped in between is added. Only if doctor dies in that moment
does the rollup lack it, until doctor runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from typing import NamedTuple

from analytics_server.batch_ids import ARRIVED_SINCE, first_batch_id
from analytics_server.rollups.between_inserts import BetweenInserts
from analytics_server.rollups.comparison import TIMEOUT_S, Calendar, Difference, Piece, differences, scope
from analytics_server.rollups.materialized_views import Rollup
from analytics_server.store.protocol import Store

Advance = Callable[[str, int, int], None]
"""Told how far a long work is: what it looks at, steps done, steps in all."""

NO_INSERTS_S = 120.0
"""No inserts are going into a month whose newest batch is older."""

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
        self,
        store: Store,
        between_inserts: BetweenInserts,
        *,
        exclusive: bool,
        clock: Callable[[], float],
        advance: Advance,
    ) -> None:
        self._store = store
        self._exclusive = exclusive
        self._clock = clock
        self._advance = advance
        self._between_inserts = between_inserts

    async def rebuild(self, rollup: Rollup, calendar: Calendar, damaged: Sequence[Difference]) -> Rebuilt:
        """Make the days of these differences right. Raises a store error; what was done until then stays."""
        months: dict[tuple[int, int], set[date]] = {}
        for difference in damaged:
            months.setdefault((difference.day.year, difference.day.month), set()).add(difference.day)
        done = left = 0
        for number, ((year, month), days) in enumerate(sorted(months.items())):
            self._advance(f"rebuilding {rollup.target} {year}-{month:02d}", number, len(months))
            replaced = False
            if rollup.by_month and (self._exclusive or await self._has_no_inserts(days)):
                replaced = await self._replace(rollup, calendar, days, year * 100 + month)
            looked_at = days
            if not (self._exclusive and replaced):
                known = await self._known_now(rollup, calendar)
                if replaced:
                    looked_at = _days(known, year * 100 + month)
                await self._add(rollup, known, looked_at)
                wrong = await self._still_wrong(rollup, known, looked_at)
                if wrong and rollup.by_month and await self._exchange(rollup, wrong, year * 100 + month):
                    known = await self._known_now(rollup, calendar)
                    looked_at = _days(known, year * 100 + month)
                    await self._add(rollup, known, looked_at)
                    wrong = await self._still_wrong(rollup, known, looked_at)
            else:
                wrong = await self._still_wrong(rollup, calendar, days)
            done += len(days | wrong)
            left += len(wrong)
        return Rebuilt(done, len(months), left)

    async def give_up(self, rollup: Rollup) -> None:
        """The rollup is gone: so goes the table beside it."""
        await self._store.command(f"DROP TABLE IF EXISTS {_beside(rollup)}")

    async def _known_now(self, rollup: Rollup, calendar: Calendar) -> Calendar:
        """The days as they are now: a running server's events may lie on others than those read at first."""
        return calendar if self._exclusive else await Calendar.read(self._store, [rollup])

    async def _still_wrong(self, rollup: Rollup, calendar: Calendar, days: set[date], table: str = "") -> set[date]:
        wrong: set[date] = set()
        for piece in calendar.pieces(sorted(days)):
            look = partial(differences, self._store, rollup, piece, table=table)
            found = await self._between_inserts.run(piece, look)
            wrong |= set(piece.days) & days if found is None else {one.day for one in found}
        return wrong

    async def _has_no_inserts(self, days: set[date]) -> bool:
        since = first_batch_id(self._clock() - NO_INSERTS_S)
        whole = {day.replace(day=1) for day in days}
        answer = await self._store.query(
            f"SELECT count() FROM events WHERE {ARRIVED_SINCE} "
            "AND (toStartOfMonth(ts) IN {months:Array(Date)} OR toStartOfMonth(session_start) IN {months:Array(Date)})",
            {"arrived_since": since, "months": sorted(whole)},
            timeout_s=TIMEOUT_S,
        )
        return not int(str(answer.rows[0][0]))

    async def _replace(self, rollup: Rollup, calendar: Calendar, days: set[date], month: int) -> bool:
        """False when events came in meanwhile, and nothing was done."""
        beside = await self._put_together(rollup, calendar, days, month)
        known = await self._known_now(rollup, calendar)
        equal = not await self._still_wrong(rollup, known, _days(known, month), beside)
        replaced = equal and (self._exclusive or await self._has_no_inserts(days))
        if replaced:
            await self._put_in_place(rollup, month, beside)
        await self._store.command(f"DROP TABLE IF EXISTS {beside}")
        return replaced

    async def _put_in_place(self, rollup: Rollup, month: int, beside: str) -> None:
        """The table beside has the month. The engine in process leaves replaced parts on disk, and reads them again
        after a restart; parts of a partition that is dropped are gone at once. Only this process reads there."""
        if self._exclusive:
            await self._store.command(f"ALTER TABLE {rollup.target} DROP PARTITION {month}")
        await self._store.command(f"ALTER TABLE {rollup.target} REPLACE PARTITION {month} FROM {beside}")

    async def _exchange(self, rollup: Rollup, days: set[date], month: int) -> bool:
        """Replace a month although events are coming into it; what it then lacks has to be added. False if it can't."""
        calendar = await Calendar.read(self._store, [rollup])
        beside = await self._put_together(rollup, calendar, days, month)
        calendar = await Calendar.read(self._store, [rollup])
        complete = True
        for piece in calendar.pieces(sorted(_days(calendar, month))):
            fill = partial(self._fill, rollup, piece, beside)
            complete = complete and await self._between_inserts.run(piece, fill) is not None
        if complete:
            await self._put_in_place(rollup, month, beside)
        await self._store.command(f"DROP TABLE IF EXISTS {beside}")
        return complete

    async def _fill(self, rollup: Rollup, piece: Piece, beside: str) -> bool:
        """Add what a table beside lacks of these days."""
        condition, parameters = scope(piece)
        await self._store.command(
            f"INSERT INTO {beside} ({', '.join(rollup.columns)}) {_INSERT} {_missing(rollup, condition, beside)}",
            parameters,
        )
        return True

    async def _put_together(self, rollup: Rollup, calendar: Calendar, days: set[date], month: int) -> str:
        """A table beside with a month: these days computed from `events`, the others copied."""
        beside = await self._table_beside(rollup)
        columns = ", ".join(rollup.columns)
        sound = sorted(_days(calendar, month) - days)
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
        return beside

    async def _add(self, rollup: Rollup, calendar: Calendar, days: set[date]) -> None:
        beside = await self._table_beside(rollup)
        columns = ", ".join(rollup.columns)
        for piece in calendar.pieces(sorted(days)):
            if await self._between_inserts.run(piece, partial(self._note, rollup, piece, beside)) is None:
                continue  # never without inserts: what still differs is told
            await self._store.command(
                f"INSERT INTO {rollup.target} ({columns}) {_INSERT} SELECT {columns} FROM {beside}"
            )
        await self._store.command(f"DROP TABLE IF EXISTS {beside}")

    async def _note(self, rollup: Rollup, piece: Piece, beside: str) -> bool:
        """Write down what the target lacks for these days."""
        condition, parameters = scope(piece)
        await self._store.command(f"TRUNCATE TABLE {beside}")
        missing = _missing(rollup, condition, rollup.target)
        await self._store.command(f"INSERT INTO {beside} ({', '.join(rollup.columns)}) {_INSERT} {missing}", parameters)
        return True

    async def _table_beside(self, rollup: Rollup) -> str:
        """An empty table like the target, which no other code reads; one of an earlier repair that died is dropped.

        Never with SYNC: that waits for the reading threads' handles, which keep hold of what they asked last.
        """
        name = _beside(rollup)
        await self._store.command(f"DROP TABLE IF EXISTS {name}")
        await self._store.command(
            f"CREATE TABLE {name} AS {rollup.target} ENGINE = {rollup.engine.removeprefix('Replicated')} "
            f"PARTITION BY {rollup.partition_key} ORDER BY ({rollup.sorting_key})"
        )
        return name


def _beside(rollup: Rollup) -> str:
    return f"doctor_{rollup.target}"


def _days(calendar: Calendar, month: int) -> set[date]:
    return {day for piece in calendar.pieces() if piece.month == month for day in piece.days}


def _missing(rollup: Rollup, condition: str, table: str) -> str:
    """What the target, or another table like it, lacks per key to equal `events`.

    Sums as amounts (which wrap), all else as it should be.
    """
    keys = ", ".join(rollup.keys)
    checks = [f"x.{name} != has.{name}" for name in rollup.sums]
    merged = [f"sum(t.{name}) AS {name}" for name in rollup.sums]
    for one in rollup.aggregates:
        # Under a name of its own: a state and its finished value must not be mixed up.
        merged.append(f"{one.merged} AS had__{one.name}")
        checks.append(f"cityHash64({one.finished}) != cityHash64(has.had__{one.name})")
    chosen = [f"x.{name} AS {name}" for name in rollup.keys]
    chosen += [f"x.{name} - has.{name} AS {name}" for name in rollup.sums]
    chosen += [f"x.{name} AS {name}" for name in rollup.others]
    return (
        f"SELECT {', '.join(chosen)} FROM (SELECT {', '.join(rollup.columns)} FROM ({rollup.over(condition)}) AS v "
        f"WHERE toDate(v.{rollup.time}) IN {{days:Array(Date)}}) AS x "
        f"LEFT JOIN (SELECT {', '.join(f't.{name} AS {name}' for name in rollup.keys)}, {', '.join(merged)} "
        f"FROM {table} AS t WHERE toDate(t.{rollup.time}) IN {{days:Array(Date)}} "
        f"GROUP BY {', '.join(f't.{name}' for name in rollup.keys)}) AS has USING ({keys}) "
        f"WHERE {' OR '.join(checks)}"
    )

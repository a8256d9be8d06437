"""Compares rollups with a recomputation from `events`, day by day and site by site, in bounded pieces.

Per key both sides are reduced to a checksum of all their values (states finished, arrays
sorted), so nothing but the differing days comes back. Pieces are days of one month with a
bounded number of events; the engine spills what still is too much to disk. Rows under way
look like differences for a moment: the caller asks again before it believes them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from analytics_server.rollups.materialized_views import Rollup
from analytics_server.store.protocol import Settings, Store

PIECE_EVENTS = 1_000_000
DAY_US = 86_400_000_000
TIMEOUT_S = 900.0
SETTINGS: Settings = {
    "max_threads": 2,
    "max_bytes_before_external_group_by": 300_000_000,
    "max_bytes_ratio_before_external_group_by": 0,
    "join_use_nulls": 0,
}
"""Of every query here: bounded memory, and a core left for a server that runs."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Days, of one month but for `Calendar.spans`, and the range of `ts` (µs) in which their events lie.

    `events`: about how many those days have.
    """

    days: tuple[date, ...]
    since_us: int
    until_us: int
    events: int = 0

    @property
    def month(self) -> int:
        """As a number, such as 202611."""
        return self.days[0].year * 100 + self.days[0].month


@dataclass(frozen=True, slots=True)
class Difference:
    """A day of a site on which a rollup isn't what `events` give: how many keys, and the sums.

    `surplus`: of how many keys the rollup counts more events than there are, which may mean that `events` lost some.
    """

    site_id: str
    day: date
    keys: int
    expected: int
    present: int
    surplus: int


class Calendar:
    """The days that events or rollups speak of; read once, cut into pieces as often as needed."""

    def __init__(self, days: dict[date, tuple[int, int, int]]) -> None:
        self._days = days

    @classmethod
    async def read(cls, store: Store, rollups: Sequence[Rollup]) -> Calendar:
        """One pass over two columns of `events`, and over the targets' keys. Raises a store error."""
        parts = [
            f"SELECT toDate({column}) AS day, count() AS events, min(toUnixTimestamp64Micro(ts)) AS since, "
            "max(toUnixTimestamp64Micro(ts)) AS until FROM events GROUP BY day"
            for column in ("ts", "session_start")
        ]
        parts += [
            f"SELECT toDate(t.{rollup.time}) AS day, count() AS events, toInt64(9223372036854775807) AS since, "
            f"toInt64(-9223372036854775808) AS until FROM {rollup.target} AS t GROUP BY day"
            for rollup in rollups
        ]
        answer = await store.query(
            f"SELECT day, max(events), min(since), max(until) FROM ({' UNION ALL '.join(parts)}) "
            "GROUP BY day ORDER BY day",
            settings=SETTINGS,
            timeout_s=TIMEOUT_S,
        )
        return cls({day: tuple(int(str(value)) for value in rest) for day, *rest in answer.rows})  # type: ignore[misc]

    @property
    def days(self) -> frozenset[date]:
        """All of them."""
        return frozenset(self._days)

    def including(self, days: Sequence[date]) -> Calendar:
        """The same, with days of which nothing was known."""
        return Calendar({**{day: (0, _day_us(day), _day_us(day)) for day in days}, **self._days})

    def pieces(self, days: Collection[date] | None = None, *, most: int | None = None) -> list[Piece]:
        """All days, or those given, in pieces of one month and about `most` events, `PIECE_EVENTS` if left out."""
        most = PIECE_EVENTS if most is None else most
        found: list[Piece] = []
        chosen: list[date] = []
        held = 0
        for day in sorted(self._days if days is None else set(days) & set(self._days)):
            events = self._days[day][0]
            if chosen and (held + events > most or (day.year, day.month) != (chosen[0].year, chosen[0].month)):
                found.append(self._piece(chosen))
                chosen, held = [], 0
            chosen.append(day)
            held += events
        if chosen:
            found.append(self._piece(chosen))
        return found

    def spans(self, days: Sequence[date], *, most: int) -> list[Piece]:
        """Those days in pieces, over months if need be: from the first to the last of a piece are about `most` events.

        What lies between its days is read too.
        """
        found: list[Piece] = []
        chosen: list[date] = []
        held, wanted = 0, set(days)
        for day in sorted(self._days):
            held += self._days[day][0]
            if day in wanted:
                if chosen and held > most:
                    found.append(self._piece(chosen))
                    chosen = []
                held = held if chosen else self._days[day][0]
                chosen.append(day)
        if chosen:
            found.append(self._piece(chosen))
        return found

    def _piece(self, days: list[date]) -> Piece:
        """With a day around them: of events that a running server inserts since this was read, none is overlooked."""
        known = [self._days[day] for day in days]
        first_us, last_us = _day_us(days[0]), _day_us(days[-1])
        since_us = min(first_us - DAY_US, *(since for _, since, _ in known))
        until_us = max(last_us + 2 * DAY_US - 1, *(until for _, _, until in known))
        return Piece(tuple(days), since_us, until_us, sum(events for events, _, _ in known))


def _day_us(day: date) -> int:
    """When the day begins, UTC."""
    return (day - date(1970, 1, 1)).days * DAY_US


ON_DAYS = "(toDate(ts) IN {days:Array(Date)} OR toDate(session_start) IN {days:Array(Date)})"
"""SQL: the events that can concern days of a rollup, by their own time or that of their session."""


def scope(piece: Piece) -> tuple[str, dict[str, object]]:
    """The condition on `events` for all that can concern a piece, and its parameters."""
    return (
        "ts >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') AND ts <= fromUnixTimestamp64Micro({until:Int64}, 'UTC') "
        f"AND {ON_DAYS}",
        {"since": piece.since_us, "until": piece.until_us, "days": list(piece.days)},
    )


async def differences(store: Store, rollup: Rollup, piece: Piece, *, table: str = "") -> list[Difference]:
    """Where a rollup (or another table like it) isn't what `events` give. Raises a store error."""
    condition, parameters = scope(piece)
    answer = await store.query(
        _comparison(rollup, condition, table or rollup.target), parameters, settings=SETTINGS, timeout_s=TIMEOUT_S
    )
    return [
        Difference(str(site), day, *(int(str(number)) for number in numbers))  # type: ignore[arg-type]
        for site, day, *numbers in answer.rows
    ]


def _comparison(rollup: Rollup, condition: str, table: str) -> str:
    keys = ", ".join(rollup.keys)
    counted = rollup.counter or ("events" if "events" in rollup.sums else next(iter(rollup.sums), ""))
    groups = _groups(rollup)
    bounds = [
        f"{end}(cityHash64({', '.join(source for _, source in group)})) AS {end}__{number}"
        for number, group in enumerate(groups)
        for end in ("min", "max")
    ]
    expected_values = [f"x.{name}" for name in rollup.sums] + [one.finished for one in rollup.aggregates]
    present_values = [f"sum(t.{name})" for name in rollup.sums] + [one.merged for one in rollup.aggregates]
    lows = [f"x.min__{number}" for number in range(len(groups))]
    highs = [f"x.max__{number}" for number in range(len(groups))]
    chosen = [f"cityHash64({', '.join(f'any(t.{name})' for name, _ in group)})" for group in groups]
    n = len(groups)
    joint = _array([f"toUInt64({int(len(group) > 1)})" for group in groups])
    right = "v = low OR v = high OR (low != high AND (joint OR (v > low AND v < high)))"
    return f"""
SELECT site_id, day, countIf(differs), sum(was), sum(has), countIf(differs AND (has > was OR is_alone)) FROM (
    SELECT
        {keys}, toDate({rollup.time}) AS day, sumIf(counted, side = 1) AS was, sumIf(counted, side = 2) AS has,
        countIf(side = 1) = 0 AS is_alone,
        countIf(side = 1) != countIf(side = 2) OR anyIf(checksum, side = 1) != anyIf(checksum, side = 2)
            OR arrayExists(
                (joint, v, low, high) -> NOT ({right}),
                {joint},
                arrayResize(anyIf(lows, side = 2), {n}),
                arrayResize(anyIf(lows, side = 1), {n}),
                arrayResize(anyIf(highs, side = 1), {n})
            ) AS differs
    FROM (
        SELECT
            {_listed("x", rollup.keys)}, toUInt8(1) AS side, {_sum("x", counted, "x.{0}")} AS counted,
            cityHash64({", ".join(expected_values) or "1"}) AS checksum,
            {_array(lows)} AS lows, {_array(highs)} AS highs
        FROM ({rollup.over(condition, bounds)}) AS x
        WHERE toDate(x.{rollup.time}) IN {{days:Array(Date)}}
        UNION ALL
        SELECT
            {_listed("t", rollup.keys)}, toUInt8(2) AS side, {_sum("t", counted, "sum(t.{0})")} AS counted,
            cityHash64({", ".join(present_values) or "1"}) AS checksum,
            {_array(chosen)} AS lows, {_array([])} AS highs
        FROM {table} AS t
        WHERE toDate(t.{rollup.time}) IN {{days:Array(Date)}}
        GROUP BY {_listed("t", rollup.keys, named=False)}
    )
    GROUP BY {keys}
)
GROUP BY site_id, day HAVING countIf(differs) > 0 ORDER BY day, site_id
"""


def _groups(rollup: Rollup) -> list[list[tuple[str, str]]]:
    """The columns where any event's value is right, as they are compared: texts as one, the others each.

    One checksum for all texts is ten times faster. If they do differ within a key, there is nothing to hold it against.
    """
    texts = [one for one in rollup.anys if one[0] in rollup.texts]
    others = [[one] for one in rollup.anys if one[0] not in rollup.texts]
    return [texts, *others] if texts else others


def _listed(table: str, names: Sequence[str], *, named: bool = True) -> str:
    return ", ".join(f"{table}.{name} AS {name}" if named else f"{table}.{name}" for name in names)


def _sum(table: str, name: str, form: str) -> str:
    return f"toInt64({form.format(name)})" if name else "toInt64(0)"


def _array(values: Sequence[str]) -> str:
    return f"[{', '.join(values)}]" if values else "emptyArrayUInt64()"

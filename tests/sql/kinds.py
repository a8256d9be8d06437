"""Kinds of SQL that analysts know from ClickHouse or the standard, each with its answer or what to write instead."""

# ruff: noqa: E501 (a query, and a case, is one line)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.sql.useful import Rows, day
from tests.sql.world import Event, World


@dataclass(frozen=True, slots=True)
class Known:
    """A text and its rows: as they are, or as they follow from the world."""

    sql: str
    rows: Rows | Callable[[World], Rows]

    def expected(self, world: World) -> Rows:
        return self.rows if isinstance(self.rows, list) else self.rows(world)


@dataclass(frozen=True, slots=True)
class Instead:
    """A text that is refused, and words that the refusal must have."""

    sql: str
    words: str


def amount(event: Event) -> Decimal:
    value = event.values["revenue_amount"]
    assert isinstance(value, Decimal)
    return value


def total(world: World) -> Decimal:
    return sum((amount(event) for event in world.events), start=Decimal(0))


def cut(value: Decimal) -> float:
    """To four digits, as ClickHouse divides Decimals."""
    return float(int(value * 10_000)) / 10_000


def by_country(world: World, worked_out: Callable[[list[Event]], Any]) -> Rows:
    return [[country, worked_out(events)] for (country,), events in sorted(world.by("country").items())]


def spent(events: list[Event]) -> Decimal:
    return sum((amount(event) for event in events), start=Decimal(0))


def mean_by_day(world: World) -> Rows:
    days: dict[str, list[Event]] = {}
    for event in world.events:
        days.setdefault(day(event.ts), []).append(event)
    running, rows = Decimal(0), []
    for name, events in sorted(days.items()):
        running += spent(events)
        rows.append([name, cut(running / 2)])
    return rows


DECIMALS: list[Known | Instead] = [
    Known("SELECT sum(revenue_amount) / count() FROM events", lambda w: [[cut(total(w) / len(w.events))]]),
    Known("SELECT sum(revenue_amount) + 1 FROM events", lambda w: [[float(total(w) + 1)]]),
    Known("SELECT 1 - sum(revenue_amount) FROM events", lambda w: [[float(1 - total(w))]]),
    Known("SELECT sum(revenue_amount * 2) FROM events", lambda w: [[float(total(w) * 2)]]),
    Known("SELECT plus(sum(revenue_amount), 1), DIVIDE(sum(revenue_amount), 2) FROM events", lambda w: [[float(total(w) + 1), cut(total(w) / 2)]]),
    Known("SELECT sum(revenue_amount) - sum(revenue_amount) FROM events", [[0]]),
    Known("SELECT sum(revenue_amount), round(avg(revenue_amount), 6), count() FROM events", lambda w: [[float(total(w)), round(float(total(w)) / len(w.events), 6), len(w.events)]]),
    Known("SELECT sum(revenue_amount) AS t, t / 2, t * 3 FROM events", lambda w: [[float(total(w)), cut(total(w) / 2), float(total(w) * 3)]]),
    Known("SELECT sum(revenue_amount) AS revenue_amount, revenue_amount / 2 FROM events", lambda w: [[float(total(w)), cut(total(w) / 2)]]),
    Known("WITH sum(revenue_amount) AS s SELECT s / count() FROM events", lambda w: [[cut(total(w) / len(w.events))]]),
    Known("SELECT country, sum(revenue_amount) / uniqExact(visitor_id) FROM events GROUP BY country ORDER BY country", lambda w: by_country(w, lambda es: cut(spent(es) / len({e.number("visitor_id") for e in es})))),
    Known("SELECT country, sumIf(revenue_amount, device = 'Mobile') * 2 FROM events GROUP BY country ORDER BY country", lambda w: by_country(w, lambda es: float(2 * spent([e for e in es if e.text("device") == "Mobile"])))),
    Known("SELECT country FROM events GROUP BY country HAVING sum(revenue_amount) + 1 > 2 ORDER BY sum(revenue_amount) * -1", lambda w: [[c] for c, _ in sorted(by_country(w, spent), key=lambda row: -row[1])]),
    Known("WITH x AS (SELECT country, sum(revenue_amount) AS t FROM events GROUP BY country) SELECT country, t * 100 / (SELECT sum(revenue_amount) FROM events) FROM x ORDER BY country", lambda w: by_country(w, lambda es: cut(spent(es) * 100 / total(w)))),
    Known("WITH x AS (SELECT country, sum(revenue_amount) AS t FROM events GROUP BY country) SELECT x.country, x.t * 100 / sum(t) OVER () FROM x ORDER BY country", lambda w: by_country(w, lambda es: cut(spent(es) * 100 / total(w)))),
    Known("SELECT t / n FROM (SELECT * FROM (SELECT sum(revenue_amount) AS t, count() AS n FROM events))", lambda w: [[cut(total(w) / len(w.events))]]),
    Known("SELECT sum(a) / 2 FROM (SELECT revenue_amount AS a FROM events UNION ALL SELECT revenue_amount FROM events)", lambda w: [[float(total(w))]]),
    Known("SELECT toDate(ts) AS d, sum(sum(revenue_amount)) OVER (ORDER BY d) / 2 FROM events GROUP BY d ORDER BY d", mean_by_day),
    Known("SELECT greatest(sum(revenue_amount), 1), if(count() > 1, sum(revenue_amount), 0), coalesce(sum(revenue_amount), 0) + 1, ifNull(sumOrNull(revenue_amount), 0) FROM events", lambda w: [[float(total(w)), float(total(w)), float(total(w) + 1), float(total(w))]]),
    Known("SELECT CASE WHEN count() > 0 THEN sum(revenue_amount) ELSE 0 END, intDiv(sum(revenue_amount), 2), sum(revenue_amount) DIV 2 FROM events", lambda w: [[float(total(w)), total(w) // 2, total(w) // 2]]),
    Known("SELECT sumOrNull(revenue_amount) / 2 FROM events WHERE 0", [[None]]),
    Known("SELECT sum(revenue_amount * scroll_depth) / 2 FROM events", lambda w: [[cut(sum((amount(e) * e.number("scroll_depth") for e in w.events), start=Decimal(0)) / 2)]]),
    Known("SELECT sum(toDecimal64(1, 2)) / 4, sum(CAST('2.50' AS Decimal(9, 2))) + 1, sum(1) + 1 FROM (SELECT 1 AS one)", [[0.25, 3.5, 2]]),
    Known("SELECT length(revenue_amount) + 1 FROM (SELECT 'abc' AS revenue_amount)", [[4]]),
    Instead("SELECT sum(toDecimal64('99999999999999', 4)) * 2 FROM (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9 UNION ALL SELECT 10)", "overflow"),
    Instead("SELECT arraySum(groupArray(revenue_amount)) / 2 FROM events", "toFloat64"),
]  # fmt: skip

KINDS: dict[str, list[Known | Instead]] = {"decimals": DECIMALS}

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
]  # fmt: skip


def counts(world: World, *names: str) -> list[list[Any]]:
    return [[*key, len(events)] for key, events in sorted(world.by(*names).items())]


def busiest(world: World, most: int) -> Rows:
    return [[event.text("path")] for event in sorted(world.events, key=lambda event: event.ts)[:most]]


def scrolled(world: World) -> list[int]:
    return [event.number("scroll_depth") for event in world.events]


def visitors_so_far(world: World) -> Rows:
    days = sorted({day(event.ts) for event in world.events})
    return [[d, len({e.number("visitor_id") for e in world.events if day(e.ts) <= d})] for d in days]


SYNTAX: list[Known | Instead] = [
    Known("SELECT EXTRACT(HOUR FROM ts) AS h, count() FROM events GROUP BY h ORDER BY h", lambda w: [[h, sum(e.ts.hour == h for e in w.events)] for h in sorted({e.ts.hour for e in w.events})]),
    Known("SELECT extract(year FROM t), EXTRACT(MONTH FROM t), EXTRACT(DAY FROM t), EXTRACT(EPOCH FROM t), EXTRACT(WEEK FROM t), extract('ab1', '[0-9]') FROM (SELECT toDateTime('2026-02-03 04:05:06') AS t)", [[2026, 2, 3, 1770091506, 6, "1"]]),
    Known("SELECT TRIM(BOTH '/' FROM '/a/'), TRIM(LEADING '/' FROM '/a/'), trim(TRAILING 'x' FROM 'axx'), TRIM(BOTH FROM ' a '), trim(' a ')", [["a", "a/", "a", "a", "a"]]),
    Known("SELECT SUBSTRING('hello' FROM 2 FOR 3), SUBSTRING('hello' FROM 4), substring('hello', 1, 2), position('l' IN 'hello')", [["ell", "lo", "he", 3]]),
    Known("(SELECT 1 AS a) UNION ALL (SELECT 3) UNION ALL (SELECT 2) ORDER BY a DESC LIMIT 2", [[3], [2]]),
    Known("(SELECT 1 AS a UNION ALL SELECT 3) ORDER BY a DESC LIMIT 1 OFFSET 1", [[1]]),
    Known("SELECT a FROM (SELECT a FROM ((SELECT 1 AS a) UNION ALL (SELECT 3) ORDER BY a DESC LIMIT 1) UNION ALL SELECT 0 AS a) ORDER BY a", [[0], [3]]),
    Known("WITH x(p, n) AS (SELECT path, count() FROM events GROUP BY path) SELECT p, x.n FROM x ORDER BY p", lambda w: counts(w, "path")),
    Known("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 10) SELECT sum(n), count() FROM r", [[55, 10]]),
    Known("WITH RECURSIVE d(day) AS (SELECT toDate('2026-11-01') UNION ALL SELECT day + 1 FROM d WHERE day < '2026-11-03') SELECT day, count(e.path) FROM d LEFT JOIN (SELECT path, toDate(ts) AS day FROM events) AS e USING (day) GROUP BY day ORDER BY day", lambda w: [[d, sum(day(e.ts) == d for e in w.events)] for d in ("2026-11-01", "2026-11-02", "2026-11-03")]),
    Known("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 400) SELECT max(n) FROM r", [[400]]),
    Instead("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 401) SELECT max(n) FROM r", "a condition that ends it"),
    Instead("WITH RECURSIVE r AS (SELECT 'x' AS t, 1 AS n UNION ALL SELECT t || t, n + 1 FROM r WHERE n < 30) SELECT t FROM r", "behind it"),
    Instead("WITH RECURSIVE r AS (SELECT 'x' AS t UNION ALL SELECT (t, t)::String FROM r) SELECT t FROM r", "behind it"),
    Instead("WITH RECURSIVE concat(s, s) AS d, r AS (SELECT 'a' AS s, 1 AS n UNION ALL SELECT d, n + 1 FROM r WHERE n < 9) SELECT s FROM r", "does not use"),
    Instead("WITH RECURSIVE r AS (SELECT 'a' AS s, 1 AS n UNION ALL SELECT d, n + 1 FROM r WHERE n < 9) SELECT s || s AS d FROM r", "does not use"),
    Instead("WITH RECURSIVE r AS (SELECT [1] AS a UNION ALL SELECT groupArrayArray(a) FROM r) SELECT a FROM r", "behind it"),
    Instead("WITH RECURSIVE r AS (SELECT [1] AS a UNION ALL SELECT arrayConcat(a, a) FROM r) SELECT a FROM r", "behind it"),
    Known("SELECT country, count() FROM events GROUP BY GROUPING SETS ((country), ()) ORDER BY ALL", lambda w: [["", len(w.events)], *counts(w, "country")]),
    Known("SELECT country, device, count(), grouping(country, device) AS g FROM events GROUP BY GROUPING SETS ((country, device), device) ORDER BY g, country, device", lambda w: [*([*row, 0] for row in counts(w, "country", "device")), *(["", *row, 2] for row in counts(w, "device"))]),
    Instead("SELECT country FROM events GROUP BY country WITH TOTALS", "WITH ROLLUP"),
    Known("SELECT path FROM events ORDER BY ts FETCH FIRST 2 ROWS ONLY", lambda w: busiest(w, 2)),
    Known("SELECT path FROM events ORDER BY ts OFFSET 1 ROW FETCH NEXT ROW ONLY", lambda w: busiest(w, 2)[1:]),
    Known("SELECT country, count() FROM (SELECT country FROM events ORDER BY country FETCH FIRST 1 ROWS WITH TIES) GROUP BY country ORDER BY country", lambda w: counts(w, "country")[:1]),
    Known("SELECT COLUMNS('^scroll') FROM events ORDER BY scroll_depth DESC LIMIT 1", lambda w: [[max(scrolled(w))]]),
    Known("SELECT COLUMNS(country, device) FROM events ORDER BY ts LIMIT 1", lambda w: [[e.text("country"), e.text("device")] for e in sorted(w.events, key=lambda e: e.ts)[:1]]),
    Known("SELECT e.COLUMNS('^scroll_') APPLY(max), COLUMNS('^scroll_') APPLY(quantileExact(0.0)), COLUMNS('^scroll_') APPLY(x -> x * 2) APPLY(sum) FROM events AS e", lambda w: [[max(scrolled(w)), min(scrolled(w)), 2 * sum(scrolled(w))]]),
    Known("SELECT * EXCEPT (c) APPLY(toString) FROM (SELECT 1 AS a, 2 AS b, 3 AS c)", [["1", "2"]]),
    Known("SELECT * EXCEPT('^[bc]$') FROM (SELECT 1 AS a, 2 AS b, 3 AS c)", [[1]]),
    Instead("SELECT sum(COLUMNS('^scroll')) FROM events", "APPLY"),
    Instead("SELECT path APPLY(lower) FROM events", "a star or COLUMNS"),
    Instead("SELECT * APPLY(x -> repeat(x, 2)) APPLY(x -> x || 'b') FROM (SELECT 'a' AS a)", "name the columns one by one"),
    Instead("SELECT * APPLY(x -> x IN (SELECT 1)) FROM (SELECT 1 AS a)", "no parameters and no SELECT"),
    Instead("SELECT * APPLY(x -> x + {n:UInt8}) FROM (SELECT 1 AS a)", "no parameters and no SELECT"),
    Instead("SELECT * APPLY(repeat) FROM events", "APPLY(x -> repeat(x, …))"),
    Known("SELECT count() FROM (SELECT e.props.plan FROM events AS e FINAL)", lambda w: [[len(w.events)]]),
    Known("SELECT sum(events.revenue_amount) / 2 >= 0 FROM events FINAL", [[1]]),
    Known("SELECT sum(revenue_amount) / 2 FROM (SELECT toDecimal64(1, 2) AS a LIMIT 1) AS t ARRAY JOIN [3, 4] AS revenue_amount", [[3.5]]),
    Known("SELECT sum(revenue_amount) / 3 = 1 / 3 FROM (SELECT * FROM events LIMIT 1) AS t ARRAY JOIN [1] AS revenue_amount", [[1]]),
    Known("SELECT countMatches(string_agg('a', ''), 'a') FROM numbers(20)", [[20]]),
    Known("SELECT countMatches(string_agg('a', ''), 'a') FROM numbers(10001)", [[10_000]]),
    Known("SELECT count() FROM events FINAL", lambda w: [[len(w.events)]]),
    Known("SELECT count() FROM sessions AS s FINAL WHERE s.pageviews >= 0", lambda w: [[len(w.sessions)]]),
    Known("SELECT count() FROM events PREWHERE name = 'pageview' WHERE path = '/' OR 1", lambda w: [[sum(e.text("name") == "pageview" for e in w.events)]]),
    Known("SELECT count() FROM events PREWHERE name = 'pageview' OR 1", lambda w: [[len(w.events)]]),
    Instead("SELECT count() FROM events SAMPLE 0.1", "cityHash64(visitor_id) % 10 = 0"),
    Instead("SELECT 1 FORMAT JSON", "?format=csv"),
    Known("SELECT count() FROM events SETTINGS max_threads = 4, use_query_cache = 1", lambda w: [[len(w.events)]]),
    Known("SELECT s.a FROM (SELECT 1 AS b) AS f LEFT JOIN (SELECT 2 AS a) AS s ON s.a = f.b SETTINGS join_use_nulls = 1", [[None]]),
    Known("SELECT sum(a) FROM (SELECT 1 AS a WHERE 0) SETTINGS aggregate_functions_null_for_empty = 1", [[None]]),
    Known("SELECT 1 AS a UNION ALL SELECT 2 SETTINGS max_threads = 1", [[1], [2]]),
    Instead("SELECT 1 SETTINGS readonly = 0", "join_use_nulls"),
    Instead("SELECT 1 SETTINGS max_threads = 1, max_execution_time = 0", "max_execution_time"),
    Instead("SELECT 1 SETTINGS join_use_nulls = 2", "0 or 1"),
    Instead("SELECT (SELECT 1 SETTINGS max_threads = 1)", "at the end"),
    Known("SELECT number, a FROM numbers(2) ARRAY JOIN [10, 20] AS a ORDER BY ALL", [[0, 10], [0, 20], [1, 10], [1, 20]]),
    Known("SELECT n.number, a, b FROM numbers(5, 2) AS n ARRAY JOIN ['x'] AS a, [1] AS b ORDER BY ALL", [[5, "x", 1], [6, "x", 1]]),
    Instead("SELECT number FROM numbers(1) ARRAY JOIN 'x' AS a", "['a', 'b']"),
    Known("SELECT toDate('2026-11-01') + number AS d FROM numbers(3) ORDER BY d", [["2026-11-01"], ["2026-11-02"], ["2026-11-03"]]),
    Known("SELECT count() FROM numbers(1000000)", [[1_000_000]]),
    Instead("SELECT count() FROM numbers(1000001)", "1,000,000"),
]  # fmt: skip

FUNCTIONS: list[Known | Instead] = [
    Known("SELECT date_add(DAY, 1, d), dateAdd(d, INTERVAL 1 MONTH), DATE_ADD('week', 2, d), date_sub(YEAR, 1, d), dateSub(d, INTERVAL 1 DAY), timestamp_add(d, INTERVAL 1 DAY) FROM (SELECT toDate('2026-01-31') AS d)", [["2026-02-01", "2026-02-28", "2026-02-14", "2025-01-31", "2026-01-30", "2026-02-01"]]),
    Known("SELECT timestamp_diff(DAY, a, b), TIMESTAMPDIFF('day', a, b), dateDiff(week, a, b), datediff('hour', a, b) FROM (SELECT toDate('2026-01-05') AS a, toDate('2026-01-12') AS b)", [[7, 7, 1, 168]]),
    Instead("SELECT date_add(FORTNIGHT, 1, ts) FROM events", "SECOND, MINUTE"),
    Known("SELECT YEAR(d), QUARTER(d), MONTH(d), DAY(d), DAYOFMONTH(d), DAYOFYEAR(d), DAYOFWEEK(d), DATE(d), LAST_DAY(d), HOUR(t), MINUTE(t), SECOND(t) FROM (SELECT toDate('2026-03-01') AS d, toDateTime('2026-03-01 04:05:06') AS t)", [[2026, 1, 3, 1, 1, 60, 7, "2026-03-01", "2026-03-31", 4, 5, 6]]),
    Known("SELECT now64() >= now(), toTypeName(now64(6)), toTypeName(now64(3, 'Europe/Berlin'))", [[1, "DateTime64(6)", "DateTime64(3, 'Europe/Berlin')"]]),
    Instead("SELECT toTime(ts) FROM events", "formatDateTime(ts, '%H:%i:%S')"),
    Instead("SELECT timeSlots(now(), 600)", "timeSlot"),
    Instead("SELECT tumble(now(), INTERVAL 1 DAY)", "toStartOfInterval"),
    Known("SELECT uniqExactMerge(u) FROM (SELECT toDate(ts) AS d, uniqExactState(visitor_id) AS u FROM events GROUP BY d)", lambda w: [[len({e.number("visitor_id") for e in w.events})]]),
    Known("SELECT d, uniqExactMerge(u) OVER (ORDER BY d) FROM (SELECT toDate(ts) AS d, uniqExactState(visitor_id) AS u FROM events GROUP BY d) ORDER BY d", visitors_so_far),
    Known("SELECT finalizeAggregation(sumState(scroll_depth)), sumMerge(s) FROM (SELECT 1 AS scroll_depth, s FROM (SELECT sumState(2) AS s))", [[1, 2]]),
    Known("SELECT approx_count_distinct(country), round(STDDEV(scroll_depth), 6) = round(stddevSamp(scroll_depth), 6), STDDEV_POP(1), VAR_POP(1), COVAR_POP(scroll_depth, 1), COVAR_SAMP(scroll_depth, 1) FROM events", lambda w: [[len(w.by("country")), 1, 0, 0, 0, 0]]),
    Known("SELECT string_agg(country, ', '), string_agg(DISTINCT device, '|') FROM (SELECT country, 'x' AS device FROM events GROUP BY country ORDER BY country)", lambda w: [[", ".join(c for (c,) in sorted(w.by("country"))), "x"]]),
    Instead("SELECT string_agg(path, ',' ORDER BY ts) FROM events", "arraySort(groupArray"),
    Instead("SELECT string_agg(path, ',') FILTER (WHERE 1) FROM events", "groupArrayIf"),
    Instead("SELECT arrayFold((a, x) -> a + x, [1, 2], 0)", "arraySum"),
    Known("SELECT arrayWithConstant(3, 'a'), length(arrayWithConstant(1000, 1)), arrayWithConstant(number, 1), length(arrayWithConstant(number + 5000, 1)) FROM numbers(2, 1)", [[["a"] * 3, 1000, [1, 1], 1000]]),
    Instead("SELECT arrayWithConstant(1001, 'a')", "1,000 elements"),
    Instead("SELECT neighbor(path, 1) FROM events", "lagInFrame"),
    Instead("SELECT runningDifference(scroll_depth) FROM events", "lagInFrame"),
    Instead("SELECT runningAccumulate(scroll_depth) FROM events", "OVER (ORDER BY …)"),
    Known("SELECT JSON_VALUE(j, '$.a.b[0]'), JSON_VALUE(j, '$[\"c d\"]'), JSON_EXISTS(j, '$.x'), JSON_QUERY(j, '$.a.b') FROM (SELECT '{\"a\": {\"b\": [5]}, \"c d\": \"e\"}' AS j)", [["5", "e", 0, "[[5]]"]]),
    Instead("SELECT JSON_VALUE('[]', '$[0 to 1000000000]')", "'$.a.b[0]'"),
    Instead("SELECT JSON_QUERY(title, path) FROM events", "text in quotes"),
    Instead("SELECT printf('%d', 1)", "format("),
    Known("SELECT CHAR_LENGTH('für'), CHARACTER_LENGTH('für'), OCTET_LENGTH('für'), IIF(1, 2, 3)", [[3, 3, 4, 2]]),
    Known("SELECT toUInt32OrDefault('x'), toUInt32OrDefault('x', toUInt32(5)), toInt64OrDefault('-7'), toFloat64OrDefault('y')", [[0, 5, -7, 0]]),
    Known("SELECT levenshteinDistance('kitten', 'sitting'), editDistance('', 'ab'), levenshteinDistance(concat(repeat('a', 199), 'xy'), concat(repeat('a', 199), 'zw'))", [[3, 2, 1]]),
    Known("SELECT round(greatCircleDistance(0, 0, 1, 0) / 1000), geoDistance(1, 1, 1, 1)", [[111, 0]]),
    Known("SELECT rand() >= 0, rand64() >= 0, randCanonical() < 1, match(version(), '^[0-9]+[.][0-9]+')", [[1, 1, 1, 1]]),
    Known("SELECT maxMap(map('a', number)), minMap(map('a', number)), sumMap(map('a', number)) FROM numbers(3)", [[{"a": 2}, {"a": 0}, {"a": 3}]]),
]  # fmt: skip

LACKING: list[tuple[str, str, str]] = [
    ("SELECT retention(name = 'pageview', name = 'click') FROM events", "retention", "cohorts"),
    ("SELECT sequenceMatch('(?1)(?2)')(toDateTime(ts), name = 'pageview', name = 'click') FROM events", "sequenceMatch", "windowFunnel"),
    ("SELECT sequenceCount('(?1)(?2)')(toDateTime(ts), name = 'pageview', name = 'click') FROM events", "sequenceCount", "windowFunnel"),
    ("SELECT histogram(5)(scroll_depth) FROM events", "histogram", "bucket"),
    ("SELECT quantileTDigest(0.5)(scroll_depth) FROM events", "quantileTDigest", "quantileExact"),
    ("SELECT groupConcat(',')(path) FROM events", "groupConcat", "string_agg"),
    ("SELECT entropy(path) FROM events", "entropy", "log2"),
    ("SELECT studentTTest(scroll_depth, scroll_depth % 2) FROM events", "studentTTest", "varSamp"),
    ("SELECT mannWhitneyUTest(scroll_depth, scroll_depth % 2) FROM events", "mannWhitneyUTest", "varSamp"),
    ("SELECT exponentialMovingAverage(5)(scroll_depth, engagement_ms) FROM events", "exponentialMovingAverage", "PRECEDING"),
    ("SELECT groupBitmap(visitor_id) FROM events", "groupBitmap", "uniqExact"),
    ("SELECT base64Decode('YQ==')", "base64Decode", "a ClickHouse server has it"),
    ("SELECT maxMap([1], [2])", "maxMappedArrays", "mapFromArrays"),
    ("SELECT count() FROM events AS a ANTI JOIN sessions AS s ON a.session_id = s.session_id", "", "NOT IN"),
    ("SELECT count() FROM events AS a SEMI JOIN sessions AS s ON a.session_id = s.session_id", "", "IN (SELECT"),
    ("SELECT count() FROM events AS a ASOF JOIN sessions AS s ON a.session_id = s.session_id AND a.ts >= s.started_at", "", "argMax"),
]  # fmt: skip
"""What the smaller engine lacks: a text, the function it needs (none: a join), and words of the refusal."""

NARROW: list[Instead] = [
    Instead("SELECT sum(toDecimal64('99999999999999', 4)) * 2 FROM (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9 UNION ALL SELECT 10)", "overflow"),
    Instead("SELECT arraySum(groupArray(revenue_amount)) / 2 FROM events", "toFloat64"),
]  # fmt: skip
"""What only an engine can work out that has arithmetic on wide Decimals."""

KINDS: dict[str, list[Known | Instead]] = {"decimals": DECIMALS, "syntax": SYNTAX, "functions": FUNCTIONS}

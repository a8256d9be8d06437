"""A hundred queries that people write, and what most of them must answer, computed in plain Python.

Where nothing is expected, the query must answer without an error on every engine that has
its functions.
"""

# ruff: noqa: E501 (a query, and a case, is one line)
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import fmean
from typing import Any

from tests.sql.world import Event, Session, World

Rows = list[list[Any]]


@dataclass(frozen=True, slots=True)
class Useful:
    """A query, its parameters, and its rows."""

    sql: str
    expected: Callable[[World], Rows] | None = None
    params: dict[str, object] = field(default_factory=dict)
    server_only: bool = False
    """Needs functions that the engine in process may lack."""


def moment(value: datetime) -> str:
    return value.strftime("%Y-%m-%d %H:%M:%S.%f")


def day(value: datetime) -> str:
    return value.strftime("%Y-%m-%d")


def views(world: World) -> list[Event]:
    return [event for event in world.events if event.text("name") == "pageview"]


def counted(world: World, key: Callable[[Event], Any]) -> list[tuple[Any, int]]:
    return sorted(Counter(key(event) for event in world.events).items())


def sessions(world: World) -> list[Session]:
    return sorted(world.sessions, key=lambda session: session.session_id)


def per_source(world: World) -> dict[str, list[Session]]:
    groups: dict[str, list[Session]] = defaultdict(list)
    for session in world.sessions:
        groups[session.text("source")].append(session)
    return dict(sorted(groups.items()))


def ranked(world: World, most: int) -> Rows:
    groups = Counter(event.text("path") for event in views(world))
    return [[path, count] for path, count in sorted(groups.items(), key=lambda item: (-item[1], item[0]))[:most]]


def running(world: World) -> Rows:
    total, rows = 0, []
    for key, count in counted(world, lambda event: day(event.ts)):
        total += count
        rows.append([key, count, total])
    return rows


def before(world: World) -> Rows:
    """For each page view the page before it in the session."""
    rows = []
    for session in sessions(world):
        last = ""
        for event in session.views:
            rows.append([session.session_id, last, event.text("path")])
            last = event.text("path")
    return rows[:20]


def reached(world: World) -> Rows:
    """How many sessions viewed /pricing and clicked later."""
    done = 0
    for session in world.sessions:
        first = next((e for e in session.views if e.text("path") == "/pricing"), None)
        done += first is not None and any(e.text("name") == "click" and e.ts > first.ts for e in session.events)
    return [[done]]


def revenue(world: World) -> Rows:
    total = sum((event.values["revenue_amount"] for event in world.events), start=0)  # type: ignore[misc]
    return [[float(total)]]


QUERIES: list[Useful] = [
    # ---- counting
    Useful("SELECT count() FROM events", lambda w: [[len(w.events)]]),
    Useful("SELECT count(*) FROM events;", lambda w: [[len(w.events)]]),
    Useful("select COUNT(1) from events -- all of them", lambda w: [[len(w.events)]]),
    Useful("SELECT count() FROM sessions", lambda w: [[len(w.sessions)]]),
    Useful("SELECT countIf(name = 'pageview') FROM events", lambda w: [[len(views(w))]]),
    Useful(
        "SELECT count() FILTER (WHERE name = 'click') FROM events",
        lambda w: [[sum(e.text("name") == "click" for e in w.events)]],
    ),
    Useful("SELECT uniqExact(visitor_id) FROM events", lambda w: [[len({e.number("visitor_id") for e in w.events})]]),
    Useful(
        "SELECT COUNT(DISTINCT visitor_id) FROM events", lambda w: [[len({e.number("visitor_id") for e in w.events})]]
    ),
    Useful(
        "SELECT uniqExact(toDate(ts), visitor_id) FROM events",
        lambda w: [[len({(day(e.ts), e.number("visitor_id")) for e in w.events})]],
    ),
    Useful("SELECT uniq(session_id), uniqCombined(session_id), uniqHLL12(session_id) FROM events"),
    Useful(
        "SELECT min(ts), max(ts) FROM events",
        lambda w: [[moment(min(e.ts for e in w.events)), moment(max(e.ts for e in w.events))]],
    ),
    Useful(
        "SELECT uniqExactIf(session_id, country = 'DE') FROM events",
        lambda w: [[sum(s.text("country") == "DE" for s in w.sessions)]],
    ),
    # ---- groups
    Useful(
        "SELECT name, count() FROM events GROUP BY name ORDER BY name",
        lambda w: [[k, n] for k, n in counted(w, lambda e: e.text("name"))],
    ),
    Useful(
        "SELECT path, count() AS n FROM events WHERE name = 'pageview' GROUP BY path ORDER BY n DESC, path LIMIT 3",
        lambda w: ranked(w, 3),
    ),
    Useful(
        "FROM events SELECT path, count() AS n WHERE name = 'pageview' GROUP BY path ORDER BY n DESC, path ASC",
        lambda w: ranked(w, 99),
    ),
    Useful(
        "SELECT device, country, count() FROM events GROUP BY ALL ORDER BY ALL",
        lambda w: [[*k, n] for k, n in counted(w, lambda e: (e.text("device"), e.text("country")))],
    ),
    Useful(
        "SELECT country FROM events GROUP BY country HAVING count() > 10 ORDER BY country",
        lambda w: [[k] for k, n in counted(w, lambda e: e.text("country")) if n > 10],
    ),
    Useful(
        "SELECT DISTINCT country FROM events ORDER BY country",
        lambda w: [[k] for k, _ in counted(w, lambda e: e.text("country"))],
    ),
    Useful(
        "SELECT country, device, count() AS n FROM events GROUP BY country, device WITH ROLLUP ORDER BY n DESC LIMIT 1",
        lambda w: [["", "", len(w.events)]],
    ),
    Useful(
        "SELECT country, count() FROM events GROUP BY CUBE(country) ORDER BY 2 DESC LIMIT 1",
        lambda w: [["", len(w.events)]],
    ),
    Useful("SELECT 1, 2 FROM events GROUP BY 1, 2", lambda w: [[1, 2]]),
    Useful(
        "SELECT path, arraySort(groupUniqArray(country)) FROM events GROUP BY path ORDER BY path",
        lambda w: [[k, sorted({e.text("country") for e in es})] for (k,), es in sorted(w.by("path").items())],
    ),
    Useful("SELECT topK(2)(path), any(country), anyLast(country) FROM events"),
    Useful(
        "SELECT argMin(path, ts), argMax(path, ts) FROM events",
        lambda w: [[min(w.events, key=lambda e: e.ts).text("path"), max(w.events, key=lambda e: e.ts).text("path")]],
    ),
    Useful(
        "SELECT path, count() FROM events GROUP BY path ORDER BY path LIMIT 2 OFFSET 1",
        lambda w: [[k, n] for k, n in counted(w, lambda e: e.text("path"))][1:3],
    ),
    Useful(
        "SELECT path, count() FROM events GROUP BY path ORDER BY path LIMIT 1, 2",
        lambda w: [[k, n] for k, n in counted(w, lambda e: e.text("path"))][1:3],
    ),
    Useful(
        "SELECT country, path FROM events GROUP BY country, path ORDER BY country, path LIMIT 1 BY country",
        lambda w: [[c, min(e.text("path") for e in es)] for (c,), es in sorted(w.by("country").items())],
    ),
    Useful(
        "SELECT country, path FROM events GROUP BY country, path ORDER BY country, path LIMIT 1 BY country LIMIT 2",
        lambda w: [[c, min(e.text("path") for e in es)] for (c,), es in sorted(w.by("country").items())][:2],
    ),
    Useful(
        "SELECT DISTINCT ON (country) country, ts FROM events ORDER BY country, ts",
        lambda w: [[c, moment(min(e.ts for e in es))] for (c,), es in sorted(w.by("country").items())],
    ),
    # ---- time
    Useful(
        "SELECT toDate(ts) AS d, count() FROM events GROUP BY d ORDER BY d",
        lambda w: [[k, n] for k, n in counted(w, lambda e: day(e.ts))],
    ),
    Useful(
        "SELECT toStartOfHour(ts) AS h, count() FROM events GROUP BY h ORDER BY h",
        lambda w: [[k, n] for k, n in counted(w, lambda e: e.ts.strftime("%Y-%m-%d %H:00:00"))],
    ),
    Useful(
        "SELECT toDayOfWeek(ts) AS d, count() FROM events GROUP BY d ORDER BY d",
        lambda w: [[k, n] for k, n in counted(w, lambda e: e.ts.isoweekday())],
    ),
    Useful(
        "SELECT formatDateTime(ts, '%Y-%m') AS m, count() FROM events GROUP BY m ORDER BY m",
        lambda w: [[k, n] for k, n in counted(w, lambda e: e.ts.strftime("%Y-%m"))],
    ),
    Useful("SELECT dateTrunc('month', ts) AS m, count() FROM events GROUP BY m ORDER BY m"),
    Useful("SELECT toStartOfInterval(ts, INTERVAL 15 MINUTE) AS q, count() FROM events GROUP BY q ORDER BY q"),
    Useful("SELECT toDate(ts, 'Europe/Berlin') AS d, count() FROM events GROUP BY d ORDER BY d"),
    Useful("SELECT toStartOfWeek(ts, 1), toMonday(ts), toISOWeek(ts), toYearWeek(ts) FROM events LIMIT 1"),
    Useful(
        "SELECT count() FROM events WHERE ts >= '2026-11-01' AND ts < '2026-11-02 12:00:00'",
        lambda w: [[sum("2026-11-01" <= moment(e.ts) < "2026-11-02 12" for e in w.events)]],
    ),
    Useful(
        "SELECT count() FROM events WHERE ts BETWEEN toDateTime('2026-11-01 00:00:00') AND toDateTime('2026-11-02 00:00:00')"
    ),
    Useful(
        "SELECT count() FROM events WHERE toDate(ts) = DATE '2026-11-01'",
        lambda w: [[sum(day(e.ts) == "2026-11-01" for e in w.events)]],
    ),
    Useful("SELECT count() FROM events WHERE ts > now() - INTERVAL 100 YEAR", lambda w: [[len(w.events)]]),
    Useful(
        "SELECT count() FROM events WHERE ts < toDateTime('2026-11-01 00:00:00') + INTERVAL '2 days' - toIntervalHour(1)",
        lambda w: [[sum(moment(e.ts) < "2026-11-02 23" for e in w.events)]],
    ),
    Useful("SELECT dateDiff('day', min(ts), max(ts)), age('hour', min(ts), max(ts)) FROM events"),
    Useful("SELECT toUnixTimestamp(min(ts)) FROM events", lambda w: [[int(min(e.ts for e in w.events).timestamp())]]),
    Useful("SELECT toDate(ts) AS d, count() AS n, sum(n) OVER (ORDER BY d) FROM events GROUP BY d ORDER BY d", running),
    Useful(
        "SELECT toDate(ts) AS d, count() FROM events GROUP BY d ORDER BY d WITH FILL FROM toDate('2026-10-29') TO toDate('2026-11-07') STEP 1",
        lambda w: [
            [d, sum(day(e.ts) == d for e in w.events)]
            for d in (day(datetime(2026, 10, 29) + timedelta(days=n)) for n in range(9))
        ],
    ),
    Useful("SELECT toTimeZone(ts, 'America/New_York') FROM events ORDER BY ts LIMIT 1"),
    # ---- properties and maps
    Useful(
        "SELECT props.plan AS plan, count() FROM events GROUP BY plan ORDER BY plan",
        lambda w: [[k, n] for k, n in counted(w, lambda e: e.props.get("plan", ""))],
    ),
    Useful(
        "SELECT props['plan'], count() FROM events GROUP BY 1 ORDER BY 1",
        lambda w: [[k, n] for k, n in counted(w, lambda e: e.props.get("plan", ""))],
    ),
    Useful(
        "SELECT e.props.plan, count() FROM events AS e GROUP BY e.props.plan ORDER BY e.props.plan",
        lambda w: [[k, n] for k, n in counted(w, lambda e: e.props.get("plan", ""))],
    ),
    Useful(
        "SELECT events.props.`größe` FROM events ORDER BY ts LIMIT 3",
        lambda w: [[e.props.get("größe", "")] for e in sorted(w.events, key=lambda e: e.ts)[:3]],
    ),
    Useful(
        "SELECT count() FROM events WHERE mapContains(props, 'plan')",
        lambda w: [[sum("plan" in e.props for e in w.events)]],
    ),
    Useful(
        "SELECT arrayJoin(mapKeys(props)) AS k, count() FROM events GROUP BY k ORDER BY k",
        lambda w: [[k, n] for k, n in sorted(Counter(k for e in w.events for k in e.props).items())],
    ),
    Useful(
        "SELECT k, v, count() FROM events ARRAY JOIN mapKeys(props) AS k, mapValues(props) AS v WHERE k = 'plan' GROUP BY k, v ORDER BY v",
        lambda w: [["plan", k, n] for k, n in sorted(Counter(e.props["plan"] for e in w.events if e.props).items())],
    ),
    Useful("SELECT k FROM events LEFT ARRAY JOIN mapKeys(props) AS k ORDER BY ts, k LIMIT 5"),
    Useful("SELECT map('a', 1, 'b', 2)['b'], mapFromArrays(['x'], [1])", lambda w: [[2, {"x": 1}]]),
    # ---- text, URLs, JSON
    Useful(
        "SELECT count() FROM events WHERE path LIKE '/blog/%'",
        lambda w: [[sum(e.text("path").startswith("/blog/") for e in w.events)]],
    ),
    Useful(
        "SELECT count() FROM events WHERE path NOT ILIKE '%BLOG%'",
        lambda w: [[sum("blog" not in e.text("path") for e in w.events)]],
    ),
    Useful(
        "SELECT count() FROM events WHERE match(path, '^/b.*[?]page=\\\\d$')",
        lambda w: [[sum(e.text("path") == "/blog/b?page=2" for e in w.events)]],
    ),
    Useful(
        "SELECT count() FROM events WHERE path REGEXP '^/pri'",
        lambda w: [[sum(e.text("path") == "/pricing" for e in w.events)]],
    ),
    Useful(
        "SELECT count() FROM events WHERE startsWith(path, '/für') AND path != ''",
        lambda w: [[sum(e.text("path") == "/für-alle" for e in w.events)]],
    ),
    Useful(
        "SELECT DISTINCT upper(left(path, 2)), lengthUTF8(path), concat('a', path), path || '!' FROM events ORDER BY ALL"
    ),
    Useful(
        "SELECT splitByChar('/', '/a/b')[2], replaceAll('aXb', 'X', '-'), substring('hello', 2, 3), trim('  x ')",
        lambda w: [["a", "a-b", "ell", "x"]],
    ),
    Useful(
        "SELECT domain('https://www.example.com/p?q=1#f'), path('https://e.com/p?q=1'), extractURLParameter('https://e.com/?a=5', 'a'), domainWithoutWWW('https://www.e.com')",
        lambda w: [["www.example.com", "/p", "5", "e.com"]],
    ),
    Useful(
        "SELECT JSONExtractInt('{\"a\": {\"b\": 5}}', 'a', 'b'), JSONExtract('{\"a\": [1, 2]}', 'a', 'Array(UInt8)'), JSONHas('{}', 'x')",
        lambda w: [[5, [1, 2], 0]],
    ),
    Useful(
        "SELECT 'it''s', 'a\\\\b', 'tab\\there', '\\x41', 'ü–日本'",
        lambda w: [["it's", "a\\b", "tab\there", "A", "ü–日本"]],
    ),
    Useful(
        "SELECT format('{}-{}', 'a', 'b'), hex('a'), lower(hex(MD5('a')))",
        lambda w: [["a-b", "61", "0cc175b9c0f1b6a831c399e269772661"]],
    ),
    Useful("SELECT base64Encode('a')", lambda w: [["YQ=="]], server_only=True),
    # ---- numbers, conditions, types
    Useful(
        "SELECT 1 + 2 * 3, (1 + 2) * 3, 10 - 4 - 3, 7 % 4, -5, 2 - -2, 7 / 2, intDiv(7, 2), 7 DIV 2",
        lambda w: [[7, 9, 3, 3, -5, 4, 3.5, 3, 3]],
    ),
    Useful(
        "SELECT 1 = 1 AND NOT 1 = 2 OR 0, NOT (1 = 1 AND 0), 1 < 2 AND 2 <= 2 AND 3 <> 4 AND 5 != 6",
        lambda w: [[1, 1, 1]],
    ),
    Useful(
        "SELECT if(1, 'a', 'b'), multiIf(0, 1, 0, 2, 3), 1 ? 'x' : 'y', coalesce(NULL, 5), ifNull(NULL, 1), nullIf(1, 1)",
        lambda w: [["a", 3, "x", 5, 1, None]],
    ),
    Useful(
        "SELECT CASE path WHEN '/' THEN 'home' WHEN '/pricing' THEN 'money' ELSE 'other' END AS kind, count() FROM events GROUP BY kind ORDER BY kind",
        lambda w: [
            [k, n] for k, n in counted(w, lambda e: {"/": "home", "/pricing": "money"}.get(e.text("path"), "other"))
        ],
    ),
    Useful(
        "SELECT CASE WHEN user_id = '' THEN 0 ELSE 1 END AS known, count() FROM events GROUP BY known ORDER BY known",
        lambda w: [[k, n] for k, n in counted(w, lambda e: int(e.text("user_id") != ""))],
    ),
    Useful(
        "SELECT CAST('5' AS UInt8), CAST('5', 'Int32'), '2026-01-02'::Date, toString(7), toFloat64('1.5'), toInt64OrNull('x'), accurateCastOrNull(300, 'UInt8')",
        lambda w: [[5, 5, "2026-01-02", "7", 1.5, None, None]],
    ),
    Useful(
        "SELECT 0x10, 1e3, .5, 1_000, true, false, NULL, inf, nan",
        lambda w: [[16, 1000, 0.5, 1000, True, False, None, None, None]],
    ),
    Useful(
        "SELECT round(1.256, 2), floor(1.7), ceil(1.2), abs(-3), greatest(1, 5), least(1, 5), pow(2, 3), sqrt(9)",
        lambda w: [[1.26, 1, 2, 3, 5, 1, 8, 3]],
    ),
    Useful("SELECT sum(revenue_amount) FROM events", revenue),
    Useful("SELECT avg(scroll_depth) FROM events", lambda w: [[fmean(e.number("scroll_depth") for e in w.events)]]),
    Useful(
        "SELECT quantileExact(0.5)(engagement_ms), median(engagement_ms), quantiles(0.1, 0.9)(engagement_ms) FROM events"
    ),
    Useful(
        "SELECT stddevPop(scroll_depth), varSamp(scroll_depth), corr(scroll_depth, engagement_ms), skewPop(scroll_depth) FROM events"
    ),
    Useful(
        "SELECT avgIf(engagement_ms, name = 'pageview'), sumIf(1, name = 'click'), sumOrNull(scroll_depth), maxOrDefault(scroll_depth) FROM events"
    ),
    # ---- arrays and lambdas
    Useful(
        "SELECT [1, 2, 3][-1], arrayMap(x -> x * 2, [1, 2]), arrayFilter(x -> x > 1, [1, 2, 3]), arraySum([1, 2]), has([1, 2], 2)",
        lambda w: [[3, [2, 4], [2, 3], 3, 1]],
    ),
    Useful(
        "SELECT arrayMap((x, y) -> x + y, [1, 2], [10, 20]), arraySort(x -> -x, [1, 3, 2]), arrayCount(x -> x = 1, [1, 1])",
        lambda w: [[[11, 22], [3, 2, 1], 2]],
    ),
    Useful(
        "SELECT arrayJoin([1, 2]) AS a, arrayJoin(['x', 'y']) AS b ORDER BY a, b",
        lambda w: [[1, "x"], [1, "y"], [2, "x"], [2, "y"]],
    ),
    Useful("SELECT (1, 'a').1, tupleElement((1, 'a'), 2), tuple(1, 2)", lambda w: [[1, "a", [1, 2]]]),
    Useful(
        "SELECT t.1, t.2 FROM (SELECT (path, name) AS t FROM events ORDER BY ts LIMIT 1)",
        lambda w: [[min(w.events, key=lambda e: e.ts).text("path"), min(w.events, key=lambda e: e.ts).text("name")]],
    ),
    Useful(
        "SELECT session_id, arrayStringConcat(arrayMap(p -> p.2, arraySort(groupArray((ts, path)))), ' > ') FROM events GROUP BY session_id ORDER BY session_id",
        lambda w: [
            [s.session_id, " > ".join(e.text("path") for e in sorted(s.events, key=lambda e: e.ts))]
            for s in sessions(w)
        ],
    ),
    Useful(
        "SELECT range(3), arrayReduce('max', [1, 5]), arrayDistinct([1, 1, 2]), arrayConcat([1], [2])",
        lambda w: [[[0, 1, 2], 5, [1, 2], [1, 2]]],
    ),
    # ---- sessions
    Useful(
        "SELECT session_id, pageviews, events, is_bounce, entry_page, exit_page FROM sessions ORDER BY session_id",
        lambda w: [
            [s.session_id, len(s.views), len(s.events), s.is_bounce, s.entry_page, s.exit_page] for s in sessions(w)
        ],
    ),
    Useful(
        "SELECT session_id, duration_s, started_at FROM sessions ORDER BY session_id LIMIT 5",
        lambda w: [[s.session_id, s.duration_s, moment(s.started_at)] for s in sessions(w)[:5]],
    ),
    Useful(
        "SELECT source, count(), sum(pageviews), sum(is_bounce) FROM sessions GROUP BY source ORDER BY source",
        lambda w: [
            [k, len(ss), sum(len(s.views) for s in ss), sum(s.is_bounce for s in ss)] for k, ss in per_source(w).items()
        ],
    ),
    Useful(
        "SELECT entry_page, count() AS n FROM sessions WHERE pageviews > 0 GROUP BY entry_page HAVING n >= 2 ORDER BY n DESC, entry_page",
        lambda w: [
            [k, n]
            for k, n in sorted(
                Counter(s.entry_page for s in w.sessions if s.views).items(), key=lambda i: (-i[1], i[0])
            )
            if n >= 2
        ],
    ),
    Useful(
        "SELECT countIf(is_bounce IS TRUE), countIf(is_bounce IS FALSE), countIf(is_bounce IS NOT TRUE), countIf(pageviews > 0 IS TRUE) FROM sessions",
        lambda w: [
            [
                sum(s.is_bounce for s in w.sessions),
                *[sum(not s.is_bounce for s in w.sessions)] * 2,
                sum(bool(s.views) for s in w.sessions),
            ]
        ],
    ),
    Useful(
        "SELECT NULL IS TRUE, NULL IS FALSE, NULL IS NOT TRUE, NULL IS NOT FALSE, (1 = 1) IS TRUE, 2 IS TRUE, 0 IS FALSE, toNullable(0) IS NOT FALSE",
        lambda w: [[0, 0, 1, 1, 1, 1, 1, 0]],
    ),
    Useful(
        "SELECT count() FROM sessions s WHERE EXISTS (SELECT 1 FROM events e WHERE e.name = 'nothing')", lambda w: [[0]]
    ),
    # ---- joins, subqueries, WITH, unions
    Useful(
        "SELECT s.source, count() FROM events AS e JOIN sessions AS s ON e.session_id = s.session_id GROUP BY s.source ORDER BY s.source",
        lambda w: [[k, sum(len(s.events) for s in ss)] for k, ss in per_source(w).items()],
    ),
    Useful(
        "SELECT count() FROM events AS e ANY LEFT JOIN sessions AS s USING (session_id) WHERE s.is_bounce = 1",
        lambda w: [[sum(len(s.events) for s in w.sessions if s.is_bounce)]],
    ),
    Useful(
        "SELECT count() FROM sessions AS s LEFT ANTI JOIN (SELECT DISTINCT session_id FROM events WHERE name = 'click') AS c USING (session_id)",
        lambda w: [[sum(all(e.text("name") != "click" for e in s.events) for s in w.sessions)]],
        server_only=True,
    ),
    Useful(
        "SELECT count() FROM sessions WHERE session_id IN (SELECT session_id FROM events WHERE name = 'purchase')",
        lambda w: [[sum(any(e.text("name") == "purchase" for e in s.events) for s in w.sessions)]],
    ),
    Useful(
        "SELECT count() FROM events WHERE path IN ('/', '/pricing') AND (country, device) IN (('DE', 'Desktop'), ('FR', 'Mobile'))",
        lambda w: [
            [
                sum(
                    e.text("path") in ("/", "/pricing")
                    and (e.text("country"), e.text("device")) in (("DE", "Desktop"), ("FR", "Mobile"))
                    for e in w.events
                )
            ]
        ],
    ),
    Useful(
        "SELECT count() / (SELECT count() FROM events) FROM events WHERE name = 'click'",
        lambda w: [[sum(e.text("name") == "click" for e in w.events) / len(w.events)]],
    ),
    Useful(
        "WITH views AS (SELECT * FROM events WHERE name = 'pageview') SELECT count(), uniqExact(path) FROM views",
        lambda w: [[len(views(w)), len({e.text("path") for e in views(w)})]],
    ),
    Useful(
        "WITH events AS (SELECT session_id FROM events WHERE country = 'DE') SELECT count() FROM events",
        lambda w: [[sum(e.text("country") == "DE" for e in w.events)]],
    ),
    Useful(
        "WITH a AS (SELECT path, count() AS n FROM events GROUP BY path), b AS (SELECT max(n) AS top FROM a) SELECT path FROM a WHERE n = (SELECT top FROM b) ORDER BY path LIMIT 1"
    ),
    Useful(
        "WITH (SELECT max(ts) FROM events) AS last, 7 AS days SELECT count() FROM events WHERE ts > last - toIntervalDay(days)",
        lambda w: [[len(w.events)]],
    ),
    Useful("WITH x AS (SELECT path FROM events) SELECT count() FROM x WHERE path IN x", lambda w: [[len(w.events)]]),
    Useful(
        "SELECT 'events' AS what, count() AS n FROM events UNION ALL SELECT 'sessions', count() FROM sessions UNION DISTINCT SELECT 'x', 1 EXCEPT SELECT 'x', 1"
    ),
    Useful(
        "SELECT country FROM events UNION SELECT country FROM events",
        lambda w: sorted([[k] for k, _ in counted(w, lambda e: e.text("country"))]),
    ),
    Useful("SELECT n FROM (SELECT 3 AS n UNION ALL SELECT 1 UNION ALL SELECT 2) ORDER BY n", lambda w: [[1], [2], [3]]),
    Useful(
        "SELECT count() FROM (SELECT session_id, count() AS n FROM events GROUP BY session_id) WHERE n > 2",
        lambda w: [[sum(len(s.events) > 2 for s in w.sessions)]],
    ),
    Useful("SELECT a.n + b.n FROM (SELECT 1 AS n) AS a, (SELECT 2 AS n) AS b", lambda w: [[3]]),
    # ---- windows
    Useful(
        "SELECT session_id, lagInFrame(path) OVER (PARTITION BY session_id ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS earlier, path"
        " FROM events WHERE name = 'pageview' ORDER BY session_id, ts LIMIT 20",
        before,
    ),
    Useful(
        "SELECT country, path, row_number() OVER (PARTITION BY country ORDER BY ts) AS place FROM events QUALIFY place = 1 ORDER BY country",
        lambda w: [[c, min(es, key=lambda e: e.ts).text("path"), 1] for (c,), es in sorted(w.by("country").items())],
    ),
    Useful("SELECT rank() OVER w, dense_rank() OVER w FROM events WINDOW w AS (ORDER BY country) ORDER BY ts LIMIT 3"),
    Useful(
        "SELECT avg(scroll_depth) OVER (ORDER BY ts ROWS BETWEEN 2 PRECEDING AND 2 FOLLOWING), first_value(path) IGNORE NULLS OVER (ORDER BY ts) FROM events LIMIT 2"
    ),
    # ---- behaviour
    Useful(
        "SELECT countIf(level >= 2) FROM (SELECT windowFunnel(864000)(toDateTime(ts), name = 'pageview' AND path = '/pricing', name = 'click') AS level FROM events GROUP BY session_id)"
    ),
    Useful(
        "SELECT sum(hit) FROM (SELECT max(c.ts > p.first) AS hit FROM (SELECT session_id, min(ts) AS first FROM events WHERE name = 'pageview' AND path = '/pricing' GROUP BY session_id) AS p"
        " JOIN (SELECT session_id, ts FROM events WHERE name = 'click') AS c USING (session_id) GROUP BY session_id)",
        reached,
    ),
    Useful(
        "SELECT sum(r[1]), sum(r[2]) FROM (SELECT retention(path = '/', path = '/pricing') AS r FROM events GROUP BY session_id)",
        server_only=True,
    ),
    Useful(
        "SELECT sum(m) FROM (SELECT sequenceMatch('(?1).*(?2)')(toDateTime(ts), path = '/', path = '/pricing') AS m FROM events GROUP BY session_id)",
        server_only=True,
    ),
    # ---- parameters
    Useful(
        "SELECT count() FROM events WHERE path = {page:String}",
        lambda w: [[sum(e.text("path") == "/pricing" for e in w.events)]],
        {"page": "/pricing"},
    ),
    Useful(
        "SELECT count() FROM events WHERE path IN {pages:Array(String)}",
        lambda w: [[sum(e.text("path") in ("/", "") for e in w.events)]],
        {"pages": ["/", ""]},
    ),
    Useful(
        "SELECT count() FROM events WHERE ts >= {from:DateTime} AND toDate(ts) < {to:Date} AND scroll_depth >= {least:UInt8}",
        lambda w: [
            [
                sum(
                    moment(e.ts) >= "2026-11-01" and day(e.ts) < "2026-11-03" and e.number("scroll_depth") >= 50
                    for e in w.events
                )
            ]
        ],
        {"from": "2026-11-01 00:00:00", "to": "2026-11-03", "least": 50},
    ),
    Useful(
        "SELECT path FROM events ORDER BY ts, path LIMIT {n:UInt32} OFFSET {skip:UInt8}",
        lambda w: [[e.text("path")] for e in sorted(w.events, key=lambda e: e.ts)[1:4]],
        {"n": 3, "skip": 1},
    ),
    Useful(
        "SELECT {text:String}, {flag:Bool}, {real:Float64}, {maybe:Nullable(Int8)}, {ids:Array(UInt64)}, {id:UUID}",
        lambda w: [
            ["a'b\\c\n{x:String}%s", True, 0.5, None, [1, 18446744073709551615], "00000000-0000-0000-0000-000000000001"]
        ],
        {
            "text": "a'b\\c\n{x:String}%s",
            "flag": True,
            "real": 0.5,
            "maybe": None,
            "ids": [1, 18446744073709551615],
            "id": "00000000-0000-0000-0000-000000000001",
        },
    ),
    # ---- stars
    Useful("SELECT * EXCEPT (props, revenue_amount) FROM events LIMIT 1"),
    Useful("SELECT e.*, s.entry_page FROM events AS e JOIN sessions AS s USING session_id LIMIT 1"),
    Useful(
        "SELECT * REPLACE (lower(path) AS path) FROM sessions AS s JOIN (SELECT session_id, path FROM events) AS e USING session_id LIMIT 1"
    ),
    Useful("SELECT * FROM sessions ORDER BY started_at DESC LIMIT 3"),
]

"""The questions of the year benchmark: the request, the same as SQL on the raw table, and its target.

The SQL is what someone who knows ClickHouse would write for `events` alone; its first value is the
number that both answers are compared by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from benchmarks.million import SITE

HOME = "/"
SAVED = "bench"
STEPS: list[dict[str, object]] = [
    {"name": "pageview", "filters": [["is", "event:page", [HOME]]]},
    {"name": "click"},
    {"name": "signup"},
]
HEADLINE = ["visitors", "sessions", "pageviews", "views_per_session", "bounce_rate", "session_duration"]
MONTH_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`number`: reads from the answer what the SQL's first value is. `raw_as`: another question's SQL is the same."""

    name: str
    path: str
    body: dict[str, object]
    number: Callable[[dict[str, Any]], float]
    sql: str = ""
    raw_as: str = ""
    limit_ms: float | None = None
    fewer_bytes: bool = False
    tolerance_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class _Range:
    first: date
    last: date
    dates: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dates", [str(self.first), str(self.last)])

    @property
    def sql(self) -> str:
        after = self.last + timedelta(days=1)
        return f"site_id = '{SITE}' AND ts >= '{self.first} 00:00:00' AND ts < '{after} 00:00:00'"


def questions(first: date, last: date) -> list[Question]:
    """All questions, over the days from `first` to `last` in UTC and the last thirty of them."""
    year, month = _Range(first, last), _Range(max(first, last - timedelta(days=MONTH_DAYS - 1)), last)
    return [*_queries(year, month), *_analyses(year, month)]


def _query(range_: _Range, metrics: list[str], **more: object) -> dict[str, object]:
    return {"site_id": SITE, "metrics": metrics, "date_range": range_.dates, **more}


def _first_metric(answer: dict[str, Any]) -> float:
    return float(answer["results"][0]["metrics"][0])


def _sum_of_metric(answer: dict[str, Any]) -> float:
    return float(sum(row["metrics"][0] for row in answer["results"]))


def _queries(year: _Range, month: _Range) -> list[Question]:
    by_session = (
        "SELECT session_key, any(visitor_id) AS visitor, countIf(name = 'pageview') AS views, "
        "countIf(name NOT IN ('pageview', 'scroll', 'engagement', 'web_vital', 'exposure', 'not_found')) AS acts, "
        f"dateDiff('second', min(ts), max(ts)) AS seconds FROM events WHERE {year.sql} GROUP BY session_key"
    )
    return [
        Question(
            name="headline, 12 months",
            path="/api/v1/query",
            body=_query(year, HEADLINE),
            number=_first_metric,
            sql="SELECT uniq(visitor), count(), sum(views), sum(views) / count(), "
            "countIf(views = 1 AND acts = 0) / countIf(views > 0), avg(seconds) "
            f"FROM ({by_session})",
            limit_ms=100,
            fewer_bytes=True,
            tolerance_percent=3,
        ),
        Question(
            name="daily chart, 12 months",
            path="/api/v1/query",
            body=_query(year, ["visitors"], dimensions=["time:day"], pagination={"limit": 1_000}),
            number=_sum_of_metric,
            sql="SELECT sum(visitors) FROM (SELECT toDate(ts) AS day, uniq(visitor_id) AS visitors "
            f"FROM events WHERE {year.sql} GROUP BY day)",
            limit_ms=250,
            fewer_bytes=True,
            tolerance_percent=3,
        ),
        Question(
            name="pages, 30 days",
            path="/api/v1/query",
            body=_query(month, ["visitors", "pageviews", "bounce_rate"], dimensions=["event:page"]),
            number=_first_metric,
            sql="SELECT uniq(visitor_id) AS visitors, path, countIf(name = 'pageview') "
            f"FROM events WHERE {month.sql} GROUP BY path ORDER BY visitors DESC LIMIT 100",
            limit_ms=300,
            fewer_bytes=True,
            tolerance_percent=3,
        ),
        Question(
            name="sources, 12 months",
            path="/api/v1/query",
            body=_query(year, ["visitors"], dimensions=["visit:source"]),
            number=_first_metric,
            sql=f"SELECT uniq(visitor_id) AS visitors, source FROM events WHERE {year.sql} "
            "GROUP BY source ORDER BY visitors DESC LIMIT 100",
            fewer_bytes=True,
            tolerance_percent=3,
        ),
        Question(
            name="headline of one country, 30 days",
            path="/api/v1/query",
            body=_query(month, HEADLINE, filters=[["is", "visit:country", ["BA"]]]),
            number=_first_metric,
            sql=f"SELECT uniq(visitor_id) FROM events WHERE {month.sql} AND country = 'BA'",
            tolerance_percent=3,
        ),
        Question(
            name="signups by plan, 30 days",
            path="/api/v1/query",
            body=_query(month, ["events"], dimensions=["event:props:plan"], filters=[["is", "event:name", ["signup"]]]),
            number=_first_metric,
            sql=f"SELECT count() AS events, props['plan'] AS plan FROM events WHERE {month.sql} AND name = 'signup' "
            "GROUP BY plan ORDER BY events DESC",
        ),
        Question(
            name="SQL: purchases by country, 30 days",
            path="/api/v1/sql",
            body={
                "site_id": SITE,
                "query": "SELECT sum(revenue_amount) AS total, country FROM events WHERE name = 'purchase' AND "
                f"ts >= '{month.first} 00:00:00' AND ts < '{month.last + timedelta(days=1)} 00:00:00' "
                "GROUP BY country ORDER BY total DESC LIMIT 10",
            },
            number=lambda answer: float(answer["rows"][0][0]),
            sql=f"SELECT sum(revenue_amount) AS total, country FROM events WHERE {month.sql} AND name = 'purchase' "
            "GROUP BY country ORDER BY total DESC LIMIT 10",
        ),
    ]


def _analyses(year: _Range, month: _Range) -> list[Question]:
    funnel: dict[str, object] = {
        "site_id": SITE,
        "date_range": month.dates,
        "steps": STEPS,
        "window": "1h",
        "by": "session",
    }
    conditions = f"name = 'pageview' AND path = '{HOME}', name = 'click', name = 'signup'"
    by_hand = (
        "SELECT countIf(level >= 3), countIf(level >= 2), countIf(level >= 1) FROM (SELECT session_key, "
        f"windowFunnel(3600)(toDateTime(ts), {conditions}) AS level FROM events "
        f"WHERE {month.sql} AND (name IN ('click', 'signup') OR name = 'pageview' AND path = '{HOME}') "
        "GROUP BY session_key)"
    )
    return [
        Question(
            name="three-step funnel, 30 days",
            path="/api/v1/funnels",
            body=funnel,
            number=lambda answer: float(answer["steps"][2]["count"]),
            sql=by_hand,
            limit_ms=700,
            tolerance_percent=3,
        ),
        Question(
            name="three-step funnel, 30 days, saved",
            path="/api/v1/funnels",
            body={"site_id": SITE, "date_range": month.dates, "funnel": SAVED},
            number=lambda answer: float(answer["steps"][2]["count"]),
            raw_as="three-step funnel, 30 days",
            limit_ms=100,
            fewer_bytes=True,
            tolerance_percent=3,
        ),
        Question(
            name="weekly cohorts, 12 months",
            path="/api/v1/cohorts",
            body={"site_id": SITE, "date_range": year.dates, "period": "week", "by": "user"},
            number=lambda answer: float(sum(cohort["size"] for cohort in answer["cohorts"])),
            sql="SELECT uniqExact(user_id), count(), sum(length(weeks)) FROM (SELECT user_id, min(ts) AS first, "
            "groupUniqArray(toMonday(ts)) AS weeks FROM events "
            f"WHERE {year.sql} AND user_id != '' GROUP BY user_id)",
            limit_ms=500,
            fewer_bytes=True,
            tolerance_percent=1,
        ),
        Question(
            name="paths from the home page, 30 days",
            path="/api/v1/paths",
            body={"site_id": SITE, "date_range": month.dates, "start": HOME, "steps": 4, "limit": 10},
            number=lambda answer: float(max(node["count"] for node in answer["nodes"])),
        ),
        Question(
            name="newest sessions",
            path="/api/v1/sessions",
            body={"site_id": SITE, "date_range": month.dates, "filters": [["is", "visit:country", ["BA"]]]},
            number=lambda answer: float(len(answer["sessions"])),
        ),
    ]

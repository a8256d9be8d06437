"""A share link's threshold against a second implementation in plain Python: nothing of few visitors is shown."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from analytics_server.config import LimitsSection
from analytics_server.errors import RequestError
from analytics_server.model import SESSION_ATTRIBUTES, Site
from analytics_server.query.answer import Answer
from analytics_server.query.day_totals import DayTotals
from analytics_server.query.engine import QueryService
from analytics_server.query.share_links.threshold import run_with_threshold
from analytics_server.query.trends import parse_trends, run_trends
from analytics_server.store import Store
from tests.query.conftest import insert_events
from tests.query.questions import NOW, request
from tests.query.world import Event, micros

SITE, ZONE = "threshold.example", ZoneInfo("Europe/Berlin")
FIRST = datetime(2025, 11, 3, 18, tzinfo=UTC)
DAYS = ["2025-11-03", "2025-11-05"]
BEFORE = ["2025-11-02", "2025-11-03"]
LABELS: dict[str, Callable[[datetime], str]] = {
    "time:hour": lambda at: at.replace(minute=0, second=0, microsecond=0).isoformat(timespec="minutes"),
    "time:day": lambda at: at.date().isoformat(),
}
METRICS = ["visitors", "pageviews", "sessions"]


@dataclass(frozen=True, slots=True)
class View:
    """A session of one page view: sessions are of one event, so that all metrics are plain to count."""

    at: datetime
    visitor: int
    page: str
    country: str

    def value(self, dimension: str) -> str:
        if dimension in LABELS:
            return LABELS[dimension](self.at)
        return self.page if dimension == "event:page" else self.country


def made_views() -> list[View]:
    """A few pages and countries of many visitors and many of few; visitors come back, also over midnight in Berlin."""
    random_ = random.Random(7)
    found = []
    for _ in range(260):
        minutes = min(random_.expovariate(1 / 500), 44 * 60)
        page = f"/{min(int(random_.expovariate(0.4)), 14)}"
        country = random_.choice(["DE", "DE", "DE", "US", "US", "SE", "", "FI"])
        at = (FIRST + timedelta(minutes=int(minutes))).astimezone(ZONE)
        found.append(View(at, random_.randint(1, 40), page, country))
    return found


VIEWS = made_views()


class Sites:
    """The one site."""

    def get(self, site_id: str) -> Site | None:
        return Site(site_id=SITE, timezone=ZONE.key) if site_id == SITE else None

    def all(self) -> list[Site]:
        return [Site(site_id=SITE, timezone=ZONE.key)]


@pytest.fixture(scope="module")
def service(store: Store) -> QueryService:
    unused: dict[str, Any] = dict.fromkeys(("hostname", "title", "element_id", "experiment", "variant"), "")
    events = [
        Event(
            site_id=SITE,
            session_id=f"s{number}",
            opened_at=micros(view.at),
            at=micros(view.at),
            name="pageview",
            visitor_id=view.visitor,
            path=view.page,
            props={},
            attributes=dict.fromkeys(SESSION_ATTRIBUTES, "x") | {"country": view.country},
            **unused,
        )
        for number, view in enumerate(VIEWS)
    ]
    sites = Sites()

    async def fill() -> None:
        await insert_events(store, events, seed=1)
        await DayTotals(store, sites, lambda: NOW, settle_s=0.0).build_all()  # what questions by one dimension read

    asyncio.run(fill())
    return QueryService(store, sites, lambda: NOW, LimitsSection(), cache_s=0.0)


def measured(views: Sequence[View]) -> list[int]:
    """Visitors (per local day, added up), page views and sessions."""
    return [len({(view.at.date(), view.visitor) for view in views}), len(views), len(views)]


Row = tuple[tuple[str | None, ...], list[int | None]]


def expected(
    views: Sequence[View], dimensions: Sequence[str], threshold: int, order: Sequence[tuple[str, str]]
) -> list[Row]:
    """All rows in order, what is not shown by itself at the end: by the rule, one view after the other."""
    groups: dict[tuple[str, ...], list[View]] = {}
    for view in views:
        groups.setdefault(tuple(map(view.value, dimensions)), []).append(view)
    shown = {key: group for key, group in groups.items() if measured(group)[0] >= threshold}

    def rest() -> list[View]:
        return [view for key, group in groups.items() if key not in shown for view in group]

    def place(key: tuple[str, ...]) -> tuple[object, ...]:
        numbers = [measured(shown[key])[METRICS.index(metric)] for metric, _ in order]
        signed = [-number if way == "desc" else number for number, (_, way) in zip(numbers, order, strict=True)]
        return (*signed, *(part.encode() for part in key))

    ordered = sorted(shown, key=place)
    if rest() and measured(rest())[0] < threshold and shown:
        fewest = min(measured(group)[0] for group in shown.values())
        folded = [key for key in ordered if measured(shown[key])[0] == fewest][-1]
        del shown[folded]
        ordered.remove(folded)
    rows: list[Row] = [(key, [*measured(shown[key])]) for key in ordered]
    if rest() or not rows:
        numbers = measured(rest())
        rows.append(((None,) * len(dimensions), [None] * 3 if numbers[0] < threshold else [*numbers]))
    return rows


def ask(service: QueryService, threshold: int, **parts: Any) -> Answer:
    asked = request(**({"site_id": SITE, "metrics": METRICS, "date_range": DAYS} | parts))
    return asyncio.run(run_with_threshold(service, asked, threshold))


def rows_of(answer: Answer) -> list[Row]:
    return [(tuple(row.dimensions), list(row.metrics)) for row in answer.results]  # type: ignore[arg-type]


DIMENSIONS = st.lists(
    st.sampled_from(["event:page", "visit:country", "time:hour", "time:day"]), min_size=1, max_size=2, unique=True
).filter(lambda names: sum(name in LABELS for name in names) < 2)
ORDERS = st.lists(
    st.tuples(st.sampled_from(METRICS), st.sampled_from(["asc", "desc"])),
    min_size=1,
    max_size=2,
    unique_by=lambda one: one[0],
)
COUNTRIES = st.sampled_from([(), ("DE",), ("SE", "FI"), ("NO",)])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dimensions=DIMENSIONS,
    threshold=st.integers(2, 40),
    order=ORDERS,
    countries=COUNTRIES,
    limit=st.integers(1, 12),
    data=st.data(),
)
def test_no_row_of_few_visitors_is_shown_and_nothing_is_lost(
    service: QueryService,
    dimensions: list[str],
    threshold: int,
    order: list[tuple[str, str]],
    countries: tuple[str, ...],
    limit: int,
    data: st.DataObject,
) -> None:
    views = [view for view in VIEWS if not countries or view.country in countries]
    filters = [["is", "visit:country", list(countries)]] if countries else []
    rows = expected(views, dimensions, threshold, order)
    offset = data.draw(st.integers(0, len(rows)))
    answer = ask(
        service,
        threshold,
        dimensions=dimensions,
        filters=filters,
        order_by=order,
        include={"total_rows": True},
        pagination={"limit": limit, "offset": offset},
    )

    assert rows_of(answer) == rows[offset : offset + limit]
    assert (answer.meta.total_rows, answer.meta.threshold) == (len(rows), threshold)
    for row in answer.results:
        assert row.metrics[0] is None or int(row.metrics[0]) >= threshold
        assert (row.below_threshold is True) == (row.dimensions[0] is None)
    total = ask(service, threshold, filters=filters).results[0]
    if measured(views)[0] < threshold:
        assert (total.metrics, total.below_threshold) == ([None, None, None], True)
    else:
        assert total.metrics == measured(views)
        assert sum(row[1][1] or 0 for row in rows) == total.metrics[1]


@pytest.mark.parametrize("threshold", [3, 8, 400])
def test_a_chart_leaves_out_buckets_of_few_visitors(service: QueryService, threshold: int) -> None:
    asked = {"site_id": SITE, "metrics": ",".join(METRICS), "interval": "hour", "from": DAYS[0], "to": DAYS[1]}
    chart = asyncio.run(run_trends(service, parse_trends(asked), threshold=threshold))
    rows = expected(VIEWS, ["time:hour"], threshold, [])
    *shown, (_, rest) = rows

    drawn = {row["time"]: [row[name] for name in METRICS] for row in chart.rows}
    assert {(label,): values for label, values in drawn.items() if values[0] is not None} == dict(shown)
    assert all(values == [None] * 3 for label, values in drawn.items() if ((label,), values) not in shown)
    assert chart.rest == dict(zip(METRICS, rest, strict=True))

    by_country = asyncio.run(run_trends(service, parse_trends(asked | {"breakdown": "visit:country"}), threshold=8))
    pairs = {(str(row["time"]), str(row["breakdown"])): row["visitors"] for row in by_country.rows}
    for (label, country), visitors in pairs.items():
        own = [view for view in VIEWS if view.value("time:hour") == label and view.country == country]
        assert visitors == (measured(own)[0] if measured(own)[0] >= 8 else None)
    assert {country for _, country in pairs} == {
        country
        for country in ("DE", "US", "SE", "", "FI")
        if measured([view for view in VIEWS if view.country == country])[0] >= 8
    }


@pytest.mark.parametrize("dimension", ["", "event:page", "time:day"])
def test_a_comparison_tells_nothing_of_few_visitors(service: QueryService, dimension: str) -> None:
    k = 8
    answer = ask(
        service,
        k,
        dimensions=[dimension] if dimension else [],
        date_range=[DAYS[1], DAYS[1]],
        include={"comparison": [DAYS[0], DAYS[0]]},
    )
    then_day, now_day = (datetime.fromisoformat(text).date() for text in DAYS)
    for row in answer.results:
        compared = row.comparison
        assert compared is not UNSET
        for day, values, below, names in (
            (now_day, row.metrics, row.below_threshold, row.dimensions),
            (then_day, compared.metrics, compared.below_threshold, compared.dimensions),
        ):
            if dimension and names[0] is None:
                assert below is True
                continue
            views = [v for v in VIEWS if v.at.date() == day and (not dimension or v.value(dimension) == names[0])]
            is_few = measured(views)[0] < k
            assert (below is True, values) == (is_few, [None] * 3 if is_few else measured(views))
        assert compared.below_threshold is not True or compared.change == [None] * 3


def test_more_rows_than_a_query_may_have_are_refused(service: QueryService) -> None:
    few = QueryService(
        service.context.store,
        Sites(),
        lambda: NOW,
        LimitsSection(query_rows=3),
    )
    assert len(ask(service, 20, dimensions=["visit:country"]).results) > 1
    with pytest.raises(RequestError) as refused:
        ask(few, 2, dimensions=["visit:country"])
    assert refused.value.code == "too_many_groups"

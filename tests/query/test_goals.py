"""Goals: their revenue in their own currency, and scroll depths that are goals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from analytics_server.errors import RequestError
from analytics_server.saved.store import Saved
from analytics_server.store import Store
from tests.query.lab import MINUTE, Lab
from tests.query.plan.test_coverage import Listed, builder_of, fresh
from tests.query.world import micros


@pytest.fixture
async def lab(store: Store) -> AsyncIterator[Lab]:
    own = await fresh(store)
    yield Lab(own, Saved(own))
    await own.close()


# Money of goals.


def paid(name: str, amount: str, currency: str) -> dict[str, Any]:
    return {"name": name, "path": "/", "revenue": Decimal(amount), "currency": currency}


@pytest.fixture
async def till(lab: Lab) -> Lab:
    """Orders in euros and, by mistake, one in dollars; donations in yen, to a goal that names no currency."""
    await lab.session(paid("order", "10", "EUR"), paid("order", "30", "EUR"), paid("order", "5", "USD"))
    await lab.session(paid("donation", "700", "JPY"))
    await lab.session("/")
    await lab.goal("Order", event="order", currency="EUR")
    await lab.goal("Donation", event="donation")
    await lab.goal("Seen", page="/")
    return lab


async def test_each_goal_has_its_revenue_in_its_own_currency(till: Lab) -> None:
    answer = await till.ask("events", "total_revenue", "average_revenue", dimensions=["event:goal"])
    assert {row.dimensions[0]: row.metrics for row in answer.results} == {
        "Order": [3, 40.0, 20.0],
        "Donation": [1, 700.0, 700.0],
        "Seen": [1, 0.0, None],
    }
    assert answer.meta.currencies == {"Order": "EUR", "Donation": "JPY"}
    assert not answer.meta.currency
    ordered = await till.ask(
        "total_revenue",
        dimensions=["event:goal"],
        order_by=[["total_revenue", "desc"]],
        include={"comparison": "previous_period"},
    )
    assert [row.dimensions[0] for row in ordered.results] == ["Donation", "Order", "Seen"]
    by_source = await till.rows("total_revenue", dimensions=["visit:source", "event:goal"])
    assert by_source == {"Direct Order": [40.0], "Direct Donation": [700.0], "Direct Seen": [0.0]}


async def test_a_chosen_goal_is_counted_in_its_currency(till: Lab) -> None:
    for filters in ([["goal", "Order"]], [["and", [["is", "event:goal", ["Order"]]]]]):
        answer = await till.ask("events", "total_revenue", "average_revenue", filters=filters)
        assert (answer.results[0].metrics, answer.meta.currency) == ([3, 40.0, 20.0], "EUR")
    by_goal = await till.ask("total_revenue", filters=[["goal", "Order"]], dimensions=["event:goal"])
    assert (by_goal.meta.currency, by_goal.meta.currencies) == ("EUR", {"Order": "EUR"})
    nothing = await till.ask("total_revenue", filters=[["goal", "Order"], ["is", "visit:source", ["Bing"]]])
    assert (nothing.results[0].metrics, nothing.meta.currency) == ([0.0], "EUR")
    by_currency = await till.rows("total_revenue", dimensions=["event:currency"], filters=[["goal", "Order"]])
    assert by_currency == {"EUR": [40.0], "USD": [0.0]}


async def test_goals_of_several_currencies_are_not_added(till: Lab) -> None:
    both = [["is", "event:goal", ["Order", "Donation"]]]
    with pytest.raises(RequestError) as caught:
        await till.ask("total_revenue", filters=both)
    assert (caught.value.code, "EUR, JPY)" in caught.value.message) == ("several_currencies", True)
    assert await till.one("total_revenue", filters=[*both, ["is", "event:currency", ["JPY"]]]) == [700.0]
    assert await till.one("total_revenue", filters=[*both, ["is", "event:currency", ["USD"]]]) == [0.0]
    await till.goal("Any order", event="order")
    with pytest.raises(RequestError) as caught:
        await till.ask("total_revenue", dimensions=["event:goal"])
    assert caught.value.code == "several_currencies"
    assert all(text in caught.value.message for text in ("'Any order'", "EUR, USD", "give the goal a currency"))
    assert (await till.one("events", dimensions=[]))[0] == 5


# Scroll depths as goals.


def scrolled(path: str, depth: int, name: str = "engagement") -> dict[str, Any]:
    return {"name": name, "path": path, "scroll_depth": depth}


async def test_a_scroll_depth_on_pages_is_a_goal(lab: Lab) -> None:
    await lab.session("/blog/a", scrolled("/blog/a", 90))
    await lab.session("/blog/a", scrolled("/blog/a", 89))
    await lab.session("/blog/a/b", scrolled("/blog/a/b", 100, "scroll"))
    await lab.session("/", scrolled("/", 100))
    await lab.goal("Read", page="/blog/*", scroll_depth=90)
    await lab.goal("Read any", page="/blog/**", scroll_depth=90)
    await lab.goal("Seen", page="/blog/**")
    by_goal = await lab.rows("visitors", "conversion_rate", dimensions=["event:goal"])
    assert by_goal == {"Read": [1, 25.0], "Read any": [2, 50.0], "Seen": [3, 75.0]}
    chosen = [["goal", "Read any"]]
    assert await lab.one("visitors", "conversion_rate", "sessions", filters=chosen) == [2, 50.0, 2]
    by_page = await lab.rows("visitors", dimensions=["event:page"], filters=chosen)
    assert by_page == {"/blog/a": [1], "/blog/a/b": [1]}
    done = [["has_done", ["goal", "Read"]]]
    assert await lab.one("pageviews", filters=done) == [1]


async def test_passive_events_count_for_the_visitors_of_goals_about_them_alone(lab: Lab) -> None:
    """The page was viewed the day before: on the day itself there are passive events only, no visitors to convert."""
    midnight = micros(datetime(2025, 11, 3, 23, 59, 30, tzinfo=UTC))
    await lab.session("/read", scrolled("/read", 100), at=midnight)
    await lab.goal("Read", page="/read", scroll_depth=50)
    await lab.goal("Engaged", event="engagement")
    await lab.goal("On the page", filters=[["is", "event:page", ["/read"]]])
    day: dict[str, Any] = {"date_range": ["2025-11-04", "2025-11-04"]}
    for build in (False, True):
        if build:
            assert await builder_of(lab.store, Listed()).build_all() == 2
        assert await lab.one("visitors", "events", **day) == [0, 0]
        for goal in ("Read", "Engaged", "On the page"):
            chosen = [["goal", goal]]
            assert await lab.one("visitors", "events", "percentage", filters=chosen, **day) == [0, 0, None]
            assert await lab.one("visitors", "conversion_rate", filters=chosen, **day) == [0, None]
            assert await lab.one("visitors", "conversion_rate", filters=chosen) == [1, 100.0]
            assert await lab.one("visitors", filters=[["not", ["goal", goal]]], **day) == [0]
        by_goal = await lab.rows("visitors", "percentage", dimensions=["event:goal"], **day)
        assert by_goal == {"Engaged": [0, None], "Read": [0, None]}
        rates = ("visitors", "conversion_rate", "group_conversion_rate")
        for goal, days in (
            ("Read", {"2025-11-04": [1, 100.0, None]}),
            ("On the page", {"2025-11-03": [1, 100.0, 100.0]}),
        ):
            assert await lab.rows(*rates, dimensions=["time:day"], filters=[["goal", goal]]) == days


async def test_a_rate_is_of_those_who_could_have_converted(lab: Lab) -> None:
    """Of three who read on over midnight, one views a page on the day itself; so does a fourth, who reads nothing."""
    midnight = micros(datetime(2025, 11, 3, 23, 59, 30, tzinfo=UTC))
    for _ in range(3):
        await lab.session("/read", scrolled("/read", 100), at=midnight)
    await lab.session({"name": "pageview", "path": "/more", "visitor_id": 1}, at=midnight + 4 * MINUTE, source="Bing")
    await lab.session("/read", at=midnight + MINUTE)
    await lab.goal("Read", page="/read", scroll_depth=50)
    day: dict[str, Any] = {"date_range": ["2025-11-04", "2025-11-04"], "filters": [["goal", "Read"]]}
    for exact in (False, True):
        rates = ("visitors", "conversion_rate", "group_conversion_rate")
        assert await lab.one(*rates, **day, exact=exact) == [1, 50.0, 50.0]
        by_page = await lab.rows(*rates, dimensions=["event:page"], **day, exact=exact)
        assert by_page == {"/read": [1, 50.0, 0.0]}, "who viewed the page on the day did not read it"
        by_source = await lab.rows(*rates, dimensions=["visit:source", "event:goal"], **day, exact=exact)
        assert by_source == {"Direct Read": [1, 50.0, 0.0]}
        assert await lab.one("visitors", "conversion_rate", filters=day["filters"], exact=exact) == [3, 60.0]


ON_PAGE = ["is", "event:page", ["/read"]]
DEEP = ["gte", "event:scroll_depth", [50]]


@pytest.mark.parametrize(
    ("filters", "reached"),
    [
        ([ON_PAGE], False),
        ([["is_not", "event:name", ["pageview"]]], False),
        ([["not", ["is", "event:name", ["pageview"]]]], False),
        ([["has_done", DEEP]], False),
        ([["or", [ON_PAGE, ["is", "event:scroll_depth", ["0"]]]]], False),
        ([DEEP], True),
        ([["not", ["lt", "event:scroll_depth", [50]]]], True),
        ([["is", "event:name", ["click", "engagement"]], ON_PAGE], True),
        ([["not", ["is_not", "event:name", ["engagement"]]]], True),
        ([["matches_wildcard", "event:name", ["eng*"]]], True),
        ([ON_PAGE, ["or", [["is", "event:props:plan", ["pro"]], DEEP]]], True),
        ([ON_PAGE, ["not", ["and", [["is_not", "event:page", ["/read"]], ["lt", "event:scroll_depth", [50]]]]]], True),
    ],
    ids=str,
)
async def test_a_passive_event_reaches_a_goal_by_what_it_tells(lab: Lab, filters: list[Any], reached: bool) -> None:
    midnight = micros(datetime(2025, 11, 3, 23, 59, 30, tzinfo=UTC))
    await lab.session("/read", scrolled("/read", 100), at=midnight)
    await lab.session({**scrolled("/", 10, "pageview"), "visitor_id": 1}, at=midnight + 2 * MINUTE)
    await lab.goal("Goal", filters=filters)
    day: dict[str, Any] = {"date_range": ["2025-11-04", "2025-11-04"]}
    assert await lab.one("visitors", filters=[["goal", "Goal"]], **day) == [int(reached)]
    assert await lab.rows("visitors", dimensions=["event:goal"], **day) == ({"Goal": [1]} if reached else {})
    assert await lab.one("visitors", filters=filters, **day) == [0]

"""What the metrics mean where two readings are possible: bounces of a page, exits, conversions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from analytics_server.query.answer import Comparison
from analytics_server.saved.store import Kind, Saved
from analytics_server.store import Store
from tests.query.conftest import insert_events
from tests.query.lab import BEGIN, SITE, Lab, made
from tests.query.plan.test_coverage import Listed, builder_of, fresh
from tests.query.world import micros


@pytest.fixture
async def lab(store: Store) -> AsyncIterator[Lab]:
    own = await fresh(store)
    yield Lab(own, Saved(own))
    await own.close()


def click(path: str, **fields: Any) -> dict[str, Any]:
    return {"name": "click", "path": path, **fields}


# Bounces of a page.


@pytest.fixture
async def blog(lab: Lab) -> Lab:
    """One session enters at the front and goes on to the blog, one enters at the blog and leaves."""
    await lab.session("/", "/blog", source="Google")
    await lab.session("/blog")
    return lab


BLOG_FILTERS: list[list[Any]] = [
    [["is", "event:page", ["/blog"]]],
    [["is_not", "event:page", ["/"]]],
    [["contains", "event:page", ["blog"]]],
    [["contains", "event:page", ["BLOG"], {"case_sensitive": False}]],
    [["matches", "event:page", ["^/bl"]]],
    [["matches_wildcard", "event:page", ["/bl*"]]],
    [["not", ["is", "event:page", ["/"]]]],
    [["or", [["is", "event:page", ["/blog"]], ["is", "event:page", ["/elsewhere"]]]]],
    [["and", [["is", "event:page", ["/blog"]], ["is", "event:name", ["pageview"]]]]],
    [["is", "event:page", ["/blog"]], ["is", "event:name", ["pageview"]]],
    [["is", "event:page", ["/blog"]], ["is_not", "visit:entry_page", ["/elsewhere"]]],
    [["or", [["is", "event:page", ["/blog"]], ["is", "visit:source", ["Bing"]]]]],
    [["segment", "Blog"]],
    [["is", "event:page", ["/blog"]], ["has_done", ["is", "event:page", ["/blog"]]]],
]
"""All of them keep what happened on /blog."""


async def test_with_a_filter_on_pages_bounces_are_of_those_that_entered_there(blog: Lab) -> None:
    await blog.saved.put(Kind.SEGMENT, SITE, "Blog", {"filters": [["is", "event:page", ["/blog"]]]})
    for filters in BLOG_FILTERS:
        headline = await blog.one("bounce_rate", "sessions", "visitors", "views_per_session", filters=filters)
        assert headline == [100.0, 2, 2, 1.5]
        by_page = await blog.rows("bounce_rate", dimensions=["event:page"], filters=filters)
        assert by_page == {"/blog": [100.0]}
        by_source = await blog.rows("sessions", "bounce_rate", dimensions=["visit:source"], filters=filters)
        assert by_source == {"Direct": [1, 100.0], "Google": [1, None]}
        by_entry = await blog.rows("sessions", "bounce_rate", dimensions=["visit:entry_page"], filters=filters)
        assert by_entry == {"/": [1, None], "/blog": [1, 100.0]}
        by_day = await blog.rows("bounce_rate", dimensions=["time:day"], filters=filters)
        assert by_day == {"2025-11-03": [100.0]}


async def test_goals_and_has_done_choose_sessions_whatever_page_they_entered_on(blog: Lab) -> None:
    await blog.goal("Blog", page="/blog")
    for filters in ([["goal", "Blog"]], [["has_done", ["is", "event:page", ["/blog"]]]], []):
        assert await blog.one("bounce_rate", filters=filters) == [50.0], filters
    front = [["goal", "Blog"], ["is_not", "event:page", ["/"]]]
    assert await blog.one("bounce_rate", filters=front) == [100.0]


async def test_other_filters_on_events_must_hold_on_the_page_that_was_entered(lab: Lab) -> None:
    await lab.session("/", click("/"))
    await lab.session("/", "/blog", click("/blog"))
    await lab.session("/")
    filters = [["is", "event:page", ["/", "/blog"]]]
    assert await lab.one("bounce_rate", filters=filters) == [33.3]
    filters.append(["is", "event:name", ["click"]])
    assert await lab.one("sessions", "bounce_rate", filters=filters) == [2, 0.0]
    assert await lab.rows("bounce_rate", dimensions=["event:page"], filters=filters) == {"/": [0.0]}


async def test_the_bounce_rate_of_a_page_is_added_up_from_totals(blog: Lab) -> None:
    filters = [["is", "event:page", ["/blog"]]]
    midnight = micros(datetime(2025, 11, 5, 23, 59, 30, tzinfo=UTC))
    await blog.session(click("/blog"), "/blog", at=midnight)  # its first page view is after the range
    before = await blog.ask("visitors", "bounce_rate", filters=filters)
    assert await builder_of(blog.store, Listed()).build_all() == 3
    parts: list[dict[str, Any]] = [{}, {"dimensions": ["event:page"]}, {"dimensions": ["time:day"]}]
    for more in parts:
        held = await blog.ask("visitors", "bounce_rate", filters=filters, **more)
        assert held.meta.table == "day_totals+sessions", more
        assert held.results[0].metrics[1] == 100.0, more
    held = await blog.ask("visitors", "bounce_rate", filters=filters)
    assert (held.results, before.meta.table) == (before.results, "events+sessions")
    contained = await blog.rows(
        "visitors", "bounce_rate", dimensions=["event:page"], filters=[["contains", "event:page", ["blog"]]]
    )
    assert contained == {"/blog": [3, 100.0]}
    assert (await blog.one("bounce_rate", filters=filters)) == [100.0]


# Exits.


async def test_exits_are_the_last_page_views_of_sessions(lab: Lab) -> None:
    await lab.session("/", "/blog", {"name": "pageview", "path": "/end", "title": "The end"}, source="Google")
    await lab.session("/blog", click("/blog"))
    await lab.session("/", "/blog", "/")
    await lab.session(click("/"))
    assert await lab.one("exit_rate") == [42.9]
    assert await lab.one("exit_rate", "pageviews", "visitors") == [42.9, 7, 4]
    by_page = {"/": [33.3, 3], "/blog": [33.3, 3], "/end": [100.0, 1]}
    assert await lab.rows("exit_rate", "pageviews", dimensions=["event:page"]) == by_page
    for page, values in by_page.items():
        assert await lab.one("exit_rate", "pageviews", filters=[["is", "event:page", [page]]]) == values
    assert await lab.one("exit_rate", filters=[["is", "event:title", ["The end"]]]) == [100.0]
    assert await lab.rows("exit_rate", dimensions=["event:title"]) == {"": [33.3], "The end": [100.0]}
    assert await lab.rows("exit_rate", dimensions=["visit:source"]) == {"Direct": [50.0], "Google": [33.3]}
    assert await lab.rows("exit_rate", dimensions=["event:name"]) == {"click": [None], "pageview": [42.9]}
    assert await lab.one("exit_rate", filters=[["is", "event:name", ["click"]]]) == [None]
    assert await lab.one("exit_rate", filters=[["is", "event:page", ["/nowhere"]]]) == [None]
    assert await lab.rows("exit_rate", dimensions=["time:minute"]) == {
        "2025-11-03T10:00+00:00": [33.3],
        "2025-11-03T10:01+00:00": [0.0],
        "2025-11-03T10:02+00:00": [100.0],
    }
    ordered = await lab.ask("exit_rate", dimensions=["event:page"], order_by=[["exit_rate", "desc"]])
    assert [row.dimensions for row in ordered.results] == [["/end"], ["/"], ["/blog"]]
    await lab.goal("Front", page="/")
    assert await lab.rows("exit_rate", dimensions=["event:goal"]) == {"Front": [33.3]}


async def test_a_session_that_goes_on_after_the_range_has_no_exit_in_it(lab: Lab) -> None:
    night = micros(datetime(2025, 11, 3, 23, 59, tzinfo=UTC))
    await lab.session("/", "/next", at=night)
    first, second = ["2025-11-03", "2025-11-03"], ["2025-11-04", "2025-11-04"]
    assert await lab.rows("exit_rate", dimensions=["event:page"], date_range=first) == {"/": [0.0]}
    assert await lab.rows("exit_rate", dimensions=["event:page"], date_range=second) == {"/next": [100.0]}
    assert await lab.rows("exit_rate", dimensions=["time:day"]) == {"2025-11-03": [0.0], "2025-11-04": [100.0]}
    compared = await lab.ask("exit_rate", date_range=second, include={"comparison": "previous_period"})
    before = compared.results[0].comparison
    assert isinstance(before, Comparison)
    assert (before.metrics, before.change) == ([0.0], [100.0])


async def test_two_last_page_views_at_the_same_moment_are_one_exit(lab: Lab) -> None:
    lab.sessions += 1
    both = [made(1, BEGIN, BEGIN, "Direct", {"name": "pageview", "path": "/", "title": title}) for title in "ab"]
    await insert_events(lab.store, both, seed=1)
    assert await lab.one("exit_rate", "pageviews") == [50.0, 2]
    assert await lab.one("exit_rate", filters=[["is_not", "event:title", ["c"]]]) == [50.0]


async def test_exits_are_the_same_where_days_have_totals(blog: Lab) -> None:
    before = [await blog.rows("exit_rate", "visitors", dimensions=dims) for dims in ([], ["event:page"])]
    assert before == [{"": [66.7, 2]}, {"/": [0.0, 1], "/blog": [100.0, 2]}]
    assert await builder_of(blog.store, Listed()).build_all() == 1
    for dimensions, expected in zip(([], ["event:page"]), before, strict=True):
        answer = await blog.ask("exit_rate", "visitors", dimensions=dimensions)
        assert answer.meta.table == "day_totals+sessions"
        assert {" ".join(map(str, row.dimensions)): list(row.metrics) for row in answer.results} == expected


# Conversions.


@pytest.fixture
async def shop(lab: Lab) -> Lab:
    """Ten visitors, one of whom buys with a plan."""
    for number in range(10):
        bought = {"name": "purchase", "path": "/", "props": {"plan": "pro", "paid": "yes"}}
        await lab.session("/", *([] if number else [bought]), source="Google" if number < 5 else "Bing")
    await lab.goal("Purchase", event="purchase")
    return lab


PRO = ["is", "event:props:plan", ["pro"]]


PRO_FILTERS: list[list[Any]] = [
    [PRO],
    [["is_not", "event:props:plan", ["free", ""]]],
    [["and", [PRO, ["is", "event:props:paid", ["yes"]]]]],
    [["or", [PRO, ["is", "event:props:plan", ["free"]]]]],
    [["or", [PRO, ["is", "visit:source", ["Google"]]]]],
    [["not", ["or", [["is", "event:props:plan", ["free"]], ["is", "visit:source", ["Yahoo"]]]]], PRO],
    [["segment", "Pros"]],
]
"""All of them keep the purchase; what they say of properties is not to matter to those it is compared with."""


async def test_filters_on_properties_do_not_shrink_what_a_rate_is_of(shop: Lab) -> None:
    await shop.saved.put(Kind.SEGMENT, SITE, "Pros", {"filters": [PRO]})
    for filters in PRO_FILTERS:
        chosen = [["goal", "Purchase"], *filters]
        assert await shop.one("conversion_rate", "visitors", filters=chosen) == [10.0, 1]
        assert await shop.one("group_conversion_rate", filters=chosen) == [10.0]
        by_goal = await shop.rows("conversion_rate", dimensions=["event:goal"], filters=filters)
        assert by_goal == {"Purchase": [10.0]}
        both = await shop.rows("conversion_rate", "group_conversion_rate", dimensions=["visit:source"], filters=chosen)
        assert both == {"Google": [10.0, 20.0]}


async def test_other_filters_shrink_what_a_rate_is_of(shop: Lab) -> None:
    goal = ["goal", "Purchase"]
    google = ["is", "visit:source", ["Google"]]
    assert await shop.one("conversion_rate", filters=[goal, PRO, google]) == [20.0]
    assert await shop.one("conversion_rate", filters=[goal, ["has_done", PRO]]) == [100.0]
    nothing_of_bing = ["not", ["or", [["is", "event:props:plan", ["free"]], ["is", "visit:source", ["Bing"]]]]]
    assert await shop.one("conversion_rate", filters=[goal, nothing_of_bing]) == [20.0]


async def test_a_group_by_a_property_converts_like_a_filter_on_it(shop: Lab) -> None:
    filters = [["goal", "Purchase"]]
    by_plan = await shop.rows("group_conversion_rate", dimensions=["event:props:plan"], filters=filters)
    assert by_plan == {"pro": [10.0]}
    by_both = await shop.rows(
        "group_conversion_rate", "percentage", dimensions=["visit:source", "event:props:plan"], filters=filters
    )
    assert by_both == {"Google pro": [20.0, 100.0]}


@pytest.mark.parametrize("exact", [False, True])
async def test_no_share_is_above_a_hundred(lab: Lab, exact: bool) -> None:
    """As many visitors as `uniq` counts only nearly; every other one of the many in a second source."""
    for name, count in (("pageview", 65_650), ("signup", 65_500)):
        await lab.store.command(
            "INSERT INTO events (site_id, ts, name, session_id, session_start, visitor_id, path, source)"
            " SELECT {site:String}, toDateTime64('2025-11-03 10:00:00', 6, 'UTC'), {name:String}, toString(number),"
            " toDateTime64('2025-11-03 10:00:00', 6, 'UTC'), sipHash64(number), '/',"
            " if(number % 100 = 0, 'Bing', 'Google')"
            " FROM numbers({count:UInt64})",
            {"site": SITE, "name": name, "count": count},
        )
    await lab.goal("Signup", event="signup")
    goal = [["goal", "Signup"]]
    rate = 99.8
    parts: dict[str, Any] = {"exact": exact}
    assert await lab.one("conversion_rate", "group_conversion_rate", filters=goal, **parts) == [rate, rate]
    answer = await lab.ask("visitors", "conversion_rate", dimensions=["event:goal"], **parts)
    assert (answer.results[0].metrics, answer.meta.approximate) == ([65_500, rate], [])
    by_source = await lab.rows("percentage", "visitors", dimensions=["visit:source"], **parts)
    assert by_source == {"Google": [99.0, 64_993], "Bing": [1.0, 657]}
    assert await lab.one("percentage", **parts) == [100.0]
    groups = await lab.rows("group_conversion_rate", dimensions=["visit:source"], filters=goal, **parts)
    assert groups == {"Google": [99.8], "Bing": [99.7]}
    assert await builder_of(lab.store, Listed()).build_all() == 1
    assert await lab.one("conversion_rate", filters=goal, **parts) == [rate]
    assert await lab.rows("percentage", dimensions=["visit:source"], **parts) == {"Google": [99.0], "Bing": [1.0]}
    assert await lab.rows("percentage", dimensions=["event:page"], **parts) == {"/": [100.0]}

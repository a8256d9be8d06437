"""Filters over HTTP, on events that were sent as beacons: properties, wildcards, case, Direct, depth, order."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import pytest_asyncio

from tests.server import USER_AGENT, Client, RunningServer

SITE = "filters.example"
PAGES = ("/blog", "/blog/a", "/blog/a/b", "/ΣΊΣΥΦΟΣ", "/İstanbul", "/STRASSE")
PROPS: tuple[dict[str, str], ...] = ({"plan": "pro"}, {"plan": "free/jährlich"}, {"plan": ""}, {"other": "x"}, {})


def event(name: str, session: str, second: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "site": SITE,
        "name": name,
        "url": f"https://{SITE}/",
        "session_id": session,
        "timestamp": 1_760_000_000 + second,
        "user_agent": USER_AGENT,
        "ip": "192.0.2.1",
        **more,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked(server: RunningServer) -> Client:
    events = [event("pageview", f"page-{n}", url=f"https://{SITE}{path}") for n, path in enumerate(PAGES)]
    events += [event("order", f"order-{n}", props=props) for n, props in enumerate(PROPS)]
    events += [event("pageview", "google", url=f"https://{SITE}/from?utm_source=Google&utm_medium=cpc")]
    events += [event("exposure", "cta", experiment={"id": "cta", "variant": "big"})]
    events += [event("exposure", "nav", experiment={"id": "nav", "variant": "top"})]
    events += [event("scroll", "page-0", 1, scroll_depth=95), event("scroll", "page-1", 1, scroll_depth=42)]
    events += [event("scroll", "page-2", 1, scroll_depth=100)]
    events += [event("first", "in-order", 10), event("second", "in-order", 11), event("third", "in-order", 12)]
    events += [event("second", "turned-round", 10), event("first", "turned-round", 11)]
    events += [event("first", "at-once", 10), event("second", "at-once", 10)]
    async with Client(server) as client:
        reply = await client.send({"events": events}, trusted=True)
        assert reply.json["rejected"] == []
        await client.kept(SITE, sum(sent["name"] != "scroll" for sent in events))
    return Client(server)


async def sessions(client: Client, *filters: Any) -> set[str]:
    """The sessions that the filters keep."""
    async with client:
        question = {"site_id": SITE, "date_range": "all", "filters": filters, "pagination": {"limit": 100}}
        reply = await client.call("POST", "/api/v1/sessions", question)
    assert reply.status == 200, reply.body
    return {row["session_id"] for row in reply.json["sessions"]}


async def counted(client: Client, dimension: str, *filters: Any) -> dict[str, int]:
    """Sessions by a dimension."""
    async with client:
        question = {"site_id": SITE, "date_range": "all", "metrics": ["sessions"], "dimensions": [dimension]}
        reply = await client.call("POST", "/api/v1/query", question | {"filters": filters})
    assert reply.status == 200, reply.body
    return {row["dimensions"][0]: row["metrics"][0] for row in reply.json["results"]}


def orders(*numbers: int) -> set[str]:
    return {f"order-{number}" for number in numbers}


def pages(*numbers: int) -> set[str]:
    return {f"page-{number}" for number in numbers}


ORDER = ["is", "event:name", ["order"]]
PLAN = "event:props:plan"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (["is_not", PLAN, ["pro"]], orders(1, 2, 3, 4)),
        (["is_not", PLAN, [""]], orders(0, 1)),
        (["is", PLAN, [""]], orders(2, 3, 4)),
        (["contains_not", PLAN, ["pro"]], orders(1, 2)),
        (["contains_not", PLAN, ["PRO"], {"case_sensitive": False}], orders(1, 2)),
        (["matches_not", PLAN, ["^pro"]], orders(1, 2)),
        (["matches_wildcard_not", PLAN, ["pr*"]], orders(1, 2)),
        (["matches_wildcard", PLAN, ["free*"]], orders(1)),
        (["not", ["contains", PLAN, ["pro"]]], orders(1, 2, 3, 4)),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set | frozenset) else value),
)
async def test_negative_operators_on_a_property(asked: Client, item: Any, expected: set[str]) -> None:
    assert await sessions(asked, ORDER, item) == expected


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (["contains_not", "experiment:cta", ["small"]], {"cta"}),
        (["is_not", "experiment:cta", ["small"]], {"cta", "nav"}),
        (["matches_not", "experiment:nav", ["top"]], set()),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set | frozenset) else value),
)
async def test_negative_operators_on_an_experiment(asked: Client, item: Any, expected: set[str]) -> None:
    assert await sessions(asked, ["is", "event:name", ["exposure"]], item) == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/blog*", pages(0)),
        ("/blog**", pages(0, 1, 2)),
        ("/blog/*", pages(1)),
        ("/blog/**", pages(1, 2)),
        ("/*/b", set()),
        ("/**/b", pages(2)),
        ("log/a", set()),
    ],
)
async def test_a_star_stays_between_slashes_of_paths(asked: Client, pattern: str, expected: set[str]) -> None:
    for name in ("event:page", "visit:entry_page", "visit:exit_page"):
        assert await sessions(asked, ["matches_wildcard", name, [pattern]]) == expected, name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("σίσυφος", pages(3)),
        ("Σίσυφοσ", pages(3)),
        ("σι\u0301συφος", pages(3)),
        ("istanbul", pages(4)),
        ("ISTANBUL", pages(4)),
        ("straße", pages(5)),
        ("STRAẞE", pages(5)),
    ],
)
async def test_case_is_ignored_alike_by_all_operators(asked: Client, text: str, expected: set[str]) -> None:
    insensitive = {"case_sensitive": False}
    for item in (
        ["is", "event:page", [f"/{text}"], insensitive],
        ["contains", "event:page", [text], insensitive],
        ["contains", "event:page", [text[1:-1]], insensitive],
        ["matches_wildcard", "event:page", [f"/{text[:3]}*"], insensitive],
        ["contains", "visit:entry_page", [text], insensitive],
    ):
        assert await sessions(asked, item) == expected, item
        negative = [f"{item[0]}_not", *item[1:]]
        assert not expected & await sessions(asked, negative), negative


@pytest.mark.parametrize("name", ["visit:source", "visit:channel"])
async def test_nothing_is_direct(asked: Client, name: str) -> None:
    everything = await sessions(asked)
    for value in ("", "Direct"):
        assert await sessions(asked, ["is", name, [value]]) == everything - {"google"}
        assert await sessions(asked, ["is_not", name, [value]]) == {"google"}
        assert await sessions(asked, ["not", ["is", name, [value]]]) == {"google"}
        assert await sessions(asked, ["has_done", ["is", name, [value]]]) == everything - {"google"}
        assert set(await counted(asked, name, ["is", name, [value]])) == {"Direct"}
    assert await sessions(asked, ["is", "visit:utm_source", [""]]) == everything - {"google"}


async def test_a_saved_segment_and_goal_mean_the_same(asked: Client) -> None:
    async with asked as client:
        segment = {"site_id": SITE, "name": "Direct ones", "filters": [["is", "visit:source", [""]]]}
        assert (await client.call("POST", "/api/v1/segments", segment)).status == 201
        goal = {"site_id": SITE, "name": "Read", "page": "/blog**"}
        assert (await client.call("POST", "/api/v1/goals", goal)).status == 201
    assert "google" not in await sessions(asked, ["segment", "Direct ones"])
    assert await sessions(asked, ["goal", "Read"]) == pages(0, 1, 2)


async def test_a_scroll_depth_is_a_dimension_in_tens(asked: Client) -> None:
    assert await counted(asked, "event:scroll_depth", ["is", "event:name", ["scroll"]]) == {"90": 1, "40": 1, "100": 1}
    async with asked as client:
        deep = ["has_done", ["gte", "event:scroll_depth", [90]]]
        question = {"site_id": SITE, "date_range": "all", "metrics": ["visitors", "sessions", "pageviews"]}
        reply = await client.call("POST", "/api/v1/query", question | {"filters": [deep]})
    assert reply.json["results"][0]["metrics"] == [1, 2, 2]
    for item, expected in (
        (["gte", "event:scroll_depth", [95]], pages(0, 2)),
        (["gt", "event:scroll_depth", [95]], pages(2)),
        (["gt", "event:scroll_depth", [100]], set()),
        (["gt", "event:scroll_depth", [41.5]], pages(0, 1, 2)),
        (["is", "event:scroll_depth", [90]], pages(0)),
        (["and", [["lte", "event:scroll_depth", [42]], ["gt", "event:scroll_depth", [0]]]], pages(1)),
        (["and", [["lt", "event:scroll_depth", [42]], ["gt", "event:scroll_depth", [0]]]], set()),
    ):
        assert await sessions(asked, item) == expected, item


def named(*names: str) -> list[Any]:
    return ["sequence", [["is", "event:name", [name]] for name in names]]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("first", "second"), {"in-order", "at-once"}),
        (("second", "first"), {"turned-round"}),
        (("first", "second", "third"), {"in-order"}),
        (("first", "third", "second"), set()),
        (("first", "first"), set()),
    ],
)
async def test_a_sequence_is_one_event_after_the_other(asked: Client, names: Any, expected: set[str]) -> None:
    either = {"in-order", "turned-round", "at-once"}
    assert await sessions(asked, named(*names)) == expected
    assert either & await sessions(asked, ["not", named(*names)]) == either - expected


@pytest.mark.parametrize(
    ("item", "code", "said"),
    [
        (["is", "visit:country", ["Germny"]], "unknown_country", "Germany"),
        (["is", "visit:country_name", ["Germny"]], "unknown_country", "Germany"),
        (["gt", "event:page", [1]], "bad_filter", "event:scroll_depth"),
        (["gt", "event:scroll_depth", ["much"]], "bad_filter", "one number"),
        (["contains", "visit:source", [""]], "bad_filter", "is and"),
        (["sequence", [ORDER]], "bad_filter", "2 to 8"),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set | frozenset) else value),
)
async def test_what_can_not_be_meant_is_refused(asked: Client, item: Any, code: str, said: str) -> None:
    async with asked as client:
        question = {"site_id": SITE, "date_range": "all", "metrics": ["events"], "filters": [item]}
        reply = await client.call("POST", "/api/v1/query", question)
    assert (reply.status, reply.code) == (400, code)
    assert said in reply.json["error"]["message"]


async def test_countries_are_shown_as_they_were_understood(asked: Client) -> None:
    async with asked as client:
        for text in ("de", "germany", "Deutschland"):
            question = {
                "site_id": SITE,
                "date_range": "all",
                "metrics": ["visitors"],
                "dimensions": ["visit:country_name"],
                "filters": [["is_not", "visit:country", [text]], ["is_not", "visit:country_name", [text]]],
            }
            reply = await client.call("POST", "/api/v1/query", question)
            assert reply.status == 200, reply.body
            understood = [["is_not", "visit:country", ["DE"]], ["is_not", "visit:country_name", ["Germany"]]]
            assert reply.json["query"]["filters"] == understood
            assert [row["dimensions"] for row in reply.json["results"]] == [[""]]


async def test_every_analysis_takes_the_same_filters(asked: Client) -> None:
    order, without = named("first", "second"), ["contains_not", PLAN, ["pro"]]
    steps = [{"name": "first"}, {"name": "second"}]
    place = {"site_id": SITE, "date_range": "all"}

    async def ask(path: str, body: dict[str, Any], status: int = 200) -> Any:
        reply = await client.call("POST", f"/api/v1/{path}", body)
        assert reply.status == status, reply.body
        return reply.json

    async with asked as client:
        funnel = await ask("funnels", place | {"steps": steps, "filters": [order]})
        assert [step["count"] for step in funnel["steps"]] == [2, 2]
        funnel = await ask("funnels", place | {"steps": [{"name": "order", "filters": [without]}, {"name": "order"}]})
        assert [step["count"] for step in funnel["steps"]] == [2, 0]
        cohorts = place | {"period": "month", "by": "session"}
        found = await ask("cohorts", cohorts | {"first": {"filters": [order, ["is", "event:name", ["first"]]]}})
        assert [cohort["size"] for cohort in found["cohorts"] if cohort["size"]] == [2]
        paths = await ask("paths", place | {"start": "/", "filters": [["not", order]]})
        assert paths["meta"]["rows_read"]
        trends = f"/api/v1/trends?site_id={SITE}&date_range=all&interval=month&metrics=sessions"
        filters = quote(msgspec.json.encode([named("first", "third")]))
        reply = await client.call("GET", f"{trends}&breakdown=event:scroll_depth&filters={filters}")
        assert reply.status == 200, reply.body
        assert {row["breakdown"]: row["sessions"] for row in reply.json["rows"] if row["sessions"]} == {"0": 1}
        saved = {"site_id": SITE, "name": "In order", "steps": steps, "filters": [order]}
        refused = await ask("funnels/saved", saved, 400)
        assert refused["error"]["code"] == "bad_funnel"


async def test_depths_are_sorted_as_numbers(asked: Client) -> None:
    async with asked as client:
        question = {
            "site_id": SITE,
            "date_range": "all",
            "metrics": ["sessions"],
            "dimensions": ["event:scroll_depth"],
            "order_by": [["event:scroll_depth", "asc"]],
        }
        reply = await client.call("POST", "/api/v1/query", question)
    assert [row["dimensions"][0] for row in reply.json["results"]] == ["0", "40", "90", "100"]

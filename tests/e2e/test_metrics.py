"""What the metrics mean, over HTTP, on events that were sent as beacons."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.server import USER_AGENT, Client, RunningServer, wait_for

SHOP, BLOG = "shop.metrics.example", "blog.metrics.example"


def event(site: str, visitor: int, second: int, name: str = "pageview", path: str = "/", **more: Any) -> dict[str, Any]:
    return {
        "site": site,
        "name": name,
        "url": f"https://{site}{path}",
        "timestamp": 1_760_000_000 + second,
        "user_agent": USER_AGENT,
        "ip": f"192.0.2.{visitor}",
        **more,
    }


def order(visitor: int, second: int, amount: float, currency: str, plan: str = "") -> dict[str, Any]:
    revenue = {"amount": amount, "currency": currency}
    return event(SHOP, visitor, second, "order", revenue=revenue, props={"plan": plan} if plan else {})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked(server: RunningServer) -> Client:
    """Ten visitors of a shop, one of whom buys; two of a blog; their goals."""
    shop = [event(SHOP, visitor, 0) for visitor in range(10)]
    shop += [order(0, 5, 10, "EUR", plan="pro"), order(0, 6, 5, "USD"), event(SHOP, 1, 5, "gift")]
    shop[-1]["revenue"] = {"amount": 700, "currency": "JPY"}
    blog = [event(BLOG, 1, 0), event(BLOG, 1, 60, path="/blog"), event(BLOG, 2, 0, path="/blog")]
    blog += [event(BLOG, 1, 70, "scroll", "/blog", scroll_depth=95), event(BLOG, 2, 9, "engagement", "/blog")]
    blog[-1]["scroll_depth"] = 89
    async with Client(server) as client:
        for events in (shop, blog):
            reply = await client.send({"events": events}, trusted=True)
            assert (reply.json["rejected"], reply.json["dropped"]) == ([], {})
        goals: list[dict[str, Any]] = [
            {"site_id": SHOP, "name": "Order", "event": "order", "currency": "EUR"},
            {"site_id": SHOP, "name": "Gift", "event": "gift"},
            {"site_id": BLOG, "name": "Read", "page": "/blog**", "scroll_depth": 90},
        ]
        for goal in goals:
            reply = await client.call("POST", "/api/v1/goals", goal)
            assert (reply.status, reply.json.get("scroll_depth")) == (201, goal.get("scroll_depth"))
        await client.flushed()
    return Client(server)


async def ask(client: Client, site: str, *metrics: str, **parts: Any) -> Any:
    async with client:
        question = {"site_id": site, "date_range": "all", "metrics": metrics, **parts}
        reply = await client.call("POST", "/api/v1/query", question)
    assert reply.status == 200, reply.body
    return reply.json


async def one(client: Client, site: str, *metrics: str, **parts: Any) -> list[Any]:
    return list((await ask(client, site, *metrics, **parts))["results"][0]["metrics"])


async def rows(client: Client, site: str, *metrics: str, **parts: Any) -> dict[str, list[Any]]:
    results = (await ask(client, site, *metrics, **parts))["results"]
    return {" ".join(row["dimensions"]): row["metrics"] for row in results}


@pytest.mark.parametrize(
    "item",
    [
        ["is", "event:page", ["/blog"]],
        ["is_not", "event:page", ["/"]],
        ["or", [["contains", "event:page", ["log"]], ["matches_wildcard", "event:page", ["/bl*"]]]],
        ["and", [["is", "event:page", ["/blog"]], ["is", "event:name", ["pageview"]]]],
    ],
    ids=str,
)
async def test_bounces_of_a_page_are_those_that_entered_there(asked: Client, item: Any) -> None:
    assert await rows(asked, BLOG, "bounce_rate", dimensions=["event:page"]) == {"/": [0.0], "/blog": [100.0]}
    assert await one(asked, BLOG, "bounce_rate", "sessions", filters=[item]) == [100.0, 2]
    assert await rows(asked, BLOG, "bounce_rate", dimensions=["event:page"], filters=[item]) == {"/blog": [100.0]}


async def test_exit_rates(asked: Client) -> None:
    assert await rows(asked, BLOG, "exit_rate", dimensions=["event:page"]) == {"/": [0.0], "/blog": [100.0]}
    assert await one(asked, BLOG, "exit_rate") == [66.7]
    assert await one(asked, BLOG, "exit_rate", filters=[["is", "event:page", ["/blog"]]]) == [100.0]


async def test_a_property_of_the_goal_does_not_shrink_what_a_rate_is_of(asked: Client) -> None:
    goal, plan = ["goal", "Order"], ["is", "event:props:plan", ["pro"]]
    assert await one(asked, SHOP, "visitors", "conversion_rate", filters=[goal, plan]) == [1, 10.0]
    by_goal = await rows(asked, SHOP, "conversion_rate", dimensions=["event:goal"], filters=[plan])
    assert by_goal == {"Order": [10.0]}


async def test_each_goal_has_its_currency(asked: Client) -> None:
    answer = await ask(asked, SHOP, "events", "total_revenue", "average_revenue", dimensions=["event:goal"])
    amounts = {row["dimensions"][0]: row["metrics"] for row in answer["results"]}
    assert amounts == {"Order": [2, 10.0, 10.0], "Gift": [1, 700.0, 700.0]}
    assert answer["meta"]["currencies"] == {"Order": "EUR", "Gift": "JPY"}
    assert "currency" not in answer["meta"]
    chosen = await ask(asked, SHOP, "total_revenue", filters=[["goal", "Order"]])
    assert (chosen["results"][0]["metrics"], chosen["meta"]["currency"]) == ([10.0], "EUR")


async def test_a_scroll_depth_is_a_goal_everywhere(asked: Client) -> None:
    read = ["goal", "Read"]
    assert await one(asked, BLOG, "visitors", "events", "conversion_rate", filters=[read]) == [1, 0, 50.0]
    by_goal = await rows(asked, BLOG, "visitors", "conversion_rate", dimensions=["event:goal"])
    assert by_goal == {"Read": [1, 50.0]}
    steps = [{"name": "pageview"}, {"goal": "Read"}]
    funnel: dict[str, Any] = {"site_id": BLOG, "date_range": "all", "steps": steps}
    async with asked as client:
        reply = await client.call("POST", "/api/v1/funnels", funnel)
        assert [step["count"] for step in reply.json["steps"]] == [2, 1], reply.body
        made = await client.call("POST", "/api/v1/funnels/saved", {"site_id": BLOG, "name": "Reading", "steps": steps})
        assert made.status == 201, made.body

        async def ready() -> bool:
            found = await client.call("GET", f"/api/v1/funnels/saved/{made.json['id']}")
            return bool(found.json["status"] == "ready")

        await wait_for(ready, 60, "the funnel's tables")
        saved = await client.call(
            "POST", "/api/v1/funnels", {"site_id": BLOG, "date_range": "all", "funnel": "Reading"}
        )
        assert [step["count"] for step in saved.json["steps"]] == [2, 1], saved.body
        by_month = {"site_id": BLOG, "by": "session", "period": "month", "first": {"goal": "Read"}, "date_range": "all"}
        cohorts = await client.call("POST", "/api/v1/cohorts", by_month)
        assert [cohort["size"] for cohort in cohorts.json["cohorts"] if cohort["size"]] == [1], cohorts.body


@pytest.mark.parametrize(
    ("goal", "code"),
    [
        ({"page": "/blog**", "scroll_depth": 0}, "bad_request"),
        ({"page": "/blog**", "scroll_depth": 101}, "bad_request"),
        ({"scroll_depth": 50}, "bad_goal"),
        ({"event": "scroll", "page": "/", "scroll_depth": 50}, "bad_goal"),
    ],
)
async def test_a_scroll_depth_needs_a_page_and_a_depth(asked: Client, goal: dict[str, Any], code: str) -> None:
    async with asked as client:
        reply = await client.call("POST", "/api/v1/goals", {"site_id": BLOG, "name": "No", **goal})
    assert (reply.status, reply.code) == (400, code)

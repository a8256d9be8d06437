"""Every call that takes a date range takes the same ones, and refuses the same ones, on a real server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest_asyncio

from tests.server import Client

TAKEN = ("day", "yesterday", "24h", "30m", "week", "month", "year", "all", "realtime", "10d", "3mo", "5000d", "100mo")
LONG = ("all", "10d", "3mo", "5000d", "100mo")
REFUSED = ("0d", "-1d", "01d", "5001d", "101mo", "12h", "last week", "7D")
FUNNEL = {"steps": [{"event": "pageview"}, {"event": "signup"}]}
BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/query": {"metrics": ["visitors"]},
    "/api/v1/funnels": FUNNEL,
    "/api/v1/funnels/sessions": FUNNEL | {"drill": {"step": 1, "kind": "reached"}},
    "/api/v1/cohorts": {"period": "month"},
    "/api/v1/paths": {},
    "/api/v1/sessions": {},
    "/api/v1/experiments/cta/results": {"goal": "signup"},
}


@pytest_asyncio.fixture
async def counted(client: Client, site: str) -> str:
    """A site with one session a minute ago, with all that the analyses look at."""
    ago = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    events: list[dict[str, Any]] = [
        {"name": "pageview"},
        {"name": "exposure", "experiment": {"id": "cta", "variant": "a"}},
        {"name": "signup"},
    ]
    shared = {"site": site, "url": f"https://{site}/", "session_id": "s", "user_id": "u", "timestamp": ago}
    assert (await client.send([event | shared for event in events])).json["accepted"] == 3
    await client.flushed()
    return site


async def test_every_call_takes_the_same_ranges(client: Client, counted: str) -> None:
    for path, body in BODIES.items():
        for range_ in (*TAKEN, ["2026-01-01", "2026-01-31"]):
            reply = await client.call("POST", path, body | {"site_id": counted, "date_range": range_})
            # An experiment that is not saved is known by its exposures, of which a range may have none.
            known = reply.status == 200 or ("experiments" in path and reply.code == "unknown_experiment")
            assert known, (path, range_, reply.body)
        for range_ in (*REFUSED, ["2026-01-31", "2026-01-01"]):
            reply = await client.call("POST", path, body | {"site_id": counted, "date_range": range_})
            assert (reply.status, reply.code) == (400, "bad_date_range"), (path, range_)


async def test_trends_take_them_too(client: Client, counted: str) -> None:
    for range_ in TAKEN:
        reply = await client.call("GET", f"/api/v1/trends?{urlencode({'site_id': counted, 'date_range': range_})}")
        assert reply.status == 200, (range_, reply.body)
        visitors = sum(row["visitors"] for row in reply.json["rows"])
        assert visitors == 1 or range_ not in LONG, range_
    minutes = await client.call("GET", f"/api/v1/trends?site_id={counted}&date_range=30m")
    assert (minutes.json["interval"], len(minutes.json["rows"])) == ("minute", 30)
    for range_ in REFUSED:
        reply = await client.call("GET", f"/api/v1/trends?{urlencode({'site_id': counted, 'date_range': range_})}")
        assert (reply.status, reply.code) == (400, "bad_date_range"), range_


async def test_a_saved_query_may_use_them_and_a_comparison(client: Client, counted: str) -> None:
    request = {"site_id": counted, "metrics": ["visitors"], "dimensions": ["time:day"], "date_range": "10d"}
    include = {"comparison": ["2026-01-01", "2026-01-12"], "match_day_of_week": False}
    saved = {"site_id": counted, "name": "Ten days", "request": request | {"include": include}}
    made = await client.call("POST", "/api/v1/queries", saved)
    assert made.status == 201, made.body
    answer = await client.call("POST", "/api/v1/query", made.json["request"])
    assert len(answer.json["results"]) == 12
    assert answer.json["results"][-1]["dimensions"] == [None]
    for wrong in ({"date_range": "0d"}, {"include": {"comparison": ["2026-01-12", "2026-01-01"]}}):
        refused = await client.call("POST", "/api/v1/queries", saved | {"name": "Wrong", "request": request | wrong})
        assert (refused.status, refused.code) == (400, "bad_date_range")

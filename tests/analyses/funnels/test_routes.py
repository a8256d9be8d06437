"""Funnels over HTTP: the life of a saved one, who may what, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from analytics_server.access.actions import GateAuthorizer
from analytics_server.access.gate import Gate
from analytics_server.access.principals import Role
from analytics_server.analyses.funnels.definition import FunnelBody
from analytics_server.analyses.funnels.materialized.definitions import MAX_SAVED, SavedFunnels
from analytics_server.analyses.funnels.materialized.maintenance import FunnelMaintenance
from analytics_server.analyses.funnels.routes import endpoints as funnel_endpoints
from analytics_server.analyses.funnels.saved_funnels import funnel_type
from analytics_server.analyses.funnels.service import FunnelService
from analytics_server.config import LimitsSection
from analytics_server.http.metrics import HttpMetrics
from analytics_server.http.routing.routes import route_table
from analytics_server.http.serving import wrap
from analytics_server.query.context import QueryContext
from analytics_server.query.endpoint_parts import query_body
from analytics_server.query.language.saved_filters import GoalBody
from analytics_server.saved.routes import endpoints
from analytics_server.saved.store import Kind, Saved
from analytics_server.store import Store
from tests.analyses.funnels.conftest import NOW, Sites

SITE = "routes.example"
STEPS = [{"name": "pageview"}, {"name": "signup"}]
ASKED: dict[str, Any] = {"site_id": SITE, "date_range": "7d", "steps": STEPS}
SAVED: dict[str, Any] = {"site_id": SITE, "name": "Way", "steps": STEPS, "window": "1h"}


@dataclass(slots=True)
class Door:
    """One server's routes and its tokens."""

    client: TestClient[web.Request, web.Application]
    saved: Saved
    tokens: dict[str, str]

    async def __call__(self, method: str, path: str, value: object = None, *, token: str = "admin") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.tokens[token]}"} if token else {}
        async with self.client.request(method, f"/api/v1/funnels{path}", json=value, headers=headers) as response:
            return response.status, await response.json() if response.content_type == "application/json" else None

    async def refusal(self, method: str, path: str, value: object = None, *, token: str = "admin") -> tuple[int, str]:
        status, answer = await self(method, path, value, token=token)
        return status, answer["error"]["code"]


@pytest_asyncio.fixture
async def door(store: Store) -> AsyncIterator[Door]:
    saved, gate = Saved(store), Gate(store)
    await saved.load()
    tokens = {
        "admin": await gate.create(Role.ADMIN),
        "read": await gate.create(Role.READ),
        "collect": await gate.create(Role.COLLECT),
        "foreign": await gate.create(Role.ADMIN, sites=("elsewhere.example",)),
    }
    context, funnels = QueryContext(store, Sites(), lambda: NOW, LimitsSection(), saved), SavedFunnels(saved)
    maintenance = FunnelMaintenance(store, funnels, Sites(), lambda: NOW)
    app = web.Application()
    declared = [
        *funnel_endpoints(FunnelService(context, funnels, maintenance), context),
        *endpoints([funnel_type(context, funnels, maintenance)], saved, context.site, query_body(context.limits)),
    ]
    app.add_routes(wrap(route_table(declared, GateAuthorizer(gate)), HttpMetrics(CollectorRegistry())))
    async with TestClient(TestServer(app)) as client:
        yield Door(client, saved, tokens)
        for thing in saved.all(Kind.FUNNEL, SITE):
            await saved.delete(Kind.FUNNEL, SITE, thing.id)


async def test_the_life_of_a_saved_funnel(door: Door) -> None:
    status, made = await door("POST", "/saved", SAVED)
    assert (status, made["status"], made["progress"], made["window"]) == (201, "building", 0.0, "1h")
    assert await door("GET", f"/saved/{made['id']}", token="read") == (200, made)
    assert await door("GET", f"/saved?site_id={SITE.upper()}", token="read") == (200, {"funnels": [made]})
    assert await door.refusal("POST", "/saved", SAVED) == (409, "name_taken")
    status, changed = await door("PUT", f"/saved/{made['id']}", {"order": "strict"})
    assert (status, changed["order"], changed["steps"], changed["name"]) == (200, "strict", made["steps"], "Way")
    status, answer = await door("POST", "", {"site_id": SITE, "date_range": "7d", "funnel": "Way"}, token="read")
    assert (status, answer["query"]["order"], answer["query"]["window"]) == (200, "strict", 3_600)
    assert answer["meta"]["saved"] == {"id": made["id"], "name": "Way", "status": "building", "progress": 0.0}
    assert await door("DELETE", f"/saved/{made['id']}") == (204, None)
    assert await door.refusal("DELETE", f"/saved/{made['id']}") == (404, "unknown_funnel")
    assert await door.refusal("POST", "", {"site_id": SITE, "date_range": "7d", "funnel": "Way"}) == (
        404,
        "unknown_funnel",
    )


@pytest.mark.parametrize("body", [[], {"steps": 7}, {"invented": 1}])
async def test_a_funnel_that_can_not_be_read_is_left_out(door: Door, body: object) -> None:
    made = (await door("POST", "/saved", SAVED))[1]
    damaged = await door.saved.put(Kind.FUNNEL, SITE, "Damaged", body)
    assert await door("GET", f"/saved?site_id={SITE}", token="read") == (200, {"funnels": [made]})
    assert await door.refusal("GET", f"/saved/{damaged.id}") == (400, "bad_saved")
    assert await door("DELETE", f"/saved/{damaged.id}") == (204, None)


async def test_a_funnel_whose_goal_is_gone_has_failed(door: Door) -> None:
    goal = await door.saved.put(Kind.GOAL, SITE, "Paid", GoalBody(event="purchase"))
    made = (await door("POST", "/saved", SAVED | {"steps": [STEPS[0], {"goal": "Paid"}]}))[1]
    await door.saved.delete(Kind.GOAL, SITE, goal.id)
    status, shown = await door("GET", f"/saved/{made['id']}")
    assert (status, shown["status"]) == (200, "failed")
    assert "Paid" in shown["reason"]
    assert await door("DELETE", f"/saved/{made['id']}") == (204, None)


@pytest.mark.parametrize(
    ("token", "method", "path", "value", "expected"),
    [
        ("", "POST", "", ASKED, (401, "unauthorized")),
        ("collect", "POST", "", ASKED, (403, "forbidden")),
        ("foreign", "POST", "", ASKED, (403, "forbidden")),
        ("foreign", "POST", "/sessions", ASKED | {"drill": {"step": 2}}, (403, "forbidden")),
        ("read", "POST", "/saved", SAVED, (403, "forbidden")),
        ("foreign", "GET", f"/saved?site_id={SITE}", None, (403, "forbidden")),
        ("read", "GET", "/saved/0123456789ab", None, (404, "unknown_funnel")),
        ("admin", "POST", "", ASKED | {"site_id": "nowhere.example"}, (404, "unknown_site")),
        ("admin", "GET", "/saved", None, (400, "bad_request")),
        ("admin", "GET", f"/saved?site_id={SITE}&colour=1", None, (400, "unknown_key")),
        ("admin", "POST", "", ASKED | {"steps": STEPS[:1]}, (400, "bad_funnel")),
        ("admin", "POST", "", {"site_id": SITE, "date_range": "7d"}, (400, "bad_funnel")),
        ("admin", "POST", "", ASKED | {"date_range": "3 moons"}, (400, "bad_date_range")),
        ("admin", "POST", "", ASKED | {"filters": [["matches", "event:page", ["("]]]}, (400, "bad_pattern")),
        ("admin", "POST", "/saved", SAVED | {"filters": [["matches", "event:page", ["("]]]}, (400, "bad_pattern")),
        ("admin", "POST", "/saved", SAVED | {"name": " "}, (400, "bad_request")),
        ("admin", "POST", "/saved", SAVED | {"filters": [["is", "visit:entry_page", ["/"]]]}, (400, "bad_funnel")),
        ("admin", "POST", "/sessions", ASKED, (400, "bad_request")),
        ("admin", "POST", "/sessions", ASKED | {"drill": {"step": 1}}, (400, "bad_drill")),
        ("admin", "POST", "/sessions", ASKED | {"drill": {"step": 3}}, (400, "bad_drill")),
        ("admin", "POST", "/sessions", ASKED | {"drill": {"step": 2}, "breakdown": "visit:source"}, (400, "bad_drill")),
    ],
)  # fmt: skip
async def test_refusals(door: Door, token: str, method: str, path: str, value: Any, expected: tuple[int, str]) -> None:
    assert await door.refusal(method, path, value, token=token) == expected


async def test_a_foreign_funnel_is_as_if_it_were_not_there(door: Door) -> None:
    made = (await door("POST", "/saved", SAVED))[1]
    for method, value in (("GET", None), ("PUT", {"window": 5}), ("DELETE", None)):
        assert await door.refusal(method, f"/saved/{made['id']}", value, token="foreign") == (404, "unknown_funnel")
    assert await door.refusal("PUT", f"/saved/{made['id']}", {"window": 5}, token="read") == (403, "forbidden")
    assert await door.refusal("PUT", f"/saved/{made['id']}", {"site_id": "b.example"}) == (400, "bad_request")


async def test_a_site_has_so_many_saved_funnels(door: Door) -> None:
    body = msgspec.convert({"steps": STEPS}, FunnelBody)
    for number in range(MAX_SAVED - 1):
        await door.saved.put(Kind.FUNNEL, SITE, str(number), body)
    assert (await door("POST", "/saved", SAVED | {"name": "Two"}))[0] == 201
    assert await door.refusal("POST", "/saved", SAVED | {"name": "Three"}) == (400, "too_many")


async def test_texts_with_nul_and_beyond_ascii_are_just_texts(door: Door) -> None:
    nasty = "a\0b'\\{p:String}é😀"
    status, answer = await door("POST", "", ASKED | {"steps": [{"event": nasty}, {"name": nasty}]})
    assert (status, answer["steps"][1]["name"], answer["steps"][0]["count"]) == (200, nasty, 0)


async def test_another_server_s_funnel_is_found_and_changed_as_it_is_now(door: Door, store: Store) -> None:
    elsewhere = Saved(store)
    body = msgspec.convert({"steps": STEPS}, FunnelBody)
    thing = await elsewhere.put(Kind.FUNNEL, SITE, "way", body)
    assert (await door("GET", f"/saved/{thing.id}", token="read"))[1]["name"] == "way"
    await elsewhere.put(Kind.FUNNEL, SITE, "road", body, id_=thing.id)
    status, changed = await door("PUT", f"/saved/{thing.id}", {"window": "1h"})
    assert (status, changed["name"], changed["window"]) == (200, "road", "1h")


async def test_a_funnel_of_a_deleted_site_can_be_deleted(door: Door) -> None:
    gone = await door.saved.put(Kind.FUNNEL, "nowhere.example", "way", msgspec.convert({"steps": STEPS}, FunnelBody))
    assert await door.refusal("GET", f"/saved/{gone.id}") == (404, "unknown_site")
    assert await door("DELETE", f"/saved/{gone.id}") == (204, None)

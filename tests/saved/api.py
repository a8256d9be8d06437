"""Servers with the routes of saved things, and what tests save."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from analytics_server.access.actions import GateAuthorizer
from analytics_server.access.gate import Gate
from analytics_server.access.principals import Role
from analytics_server.config import LimitsSection, SqlSection
from analytics_server.http.metrics import HttpMetrics
from analytics_server.http.routing.routes import route_table
from analytics_server.http.serving import wrap
from analytics_server.model import Site
from analytics_server.query.endpoint_parts import query_body
from analytics_server.query.engine import QueryService
from analytics_server.query.saved_kinds.annotations import annotation_type
from analytics_server.query.saved_kinds.goals import goal_type
from analytics_server.query.saved_kinds.queries import query_type
from analytics_server.query.saved_kinds.segments import segment_type
from analytics_server.saved.routes import endpoints
from analytics_server.saved.store import Saved
from analytics_server.saved.types import SavedType
from analytics_server.sql.codes import CHECK_CODES
from analytics_server.sql.service import SqlService
from analytics_server.store import Store

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SITE, TOKYO = "a.example", "tokyo.example"
SITES = (Site(site_id=SITE, timezone="Europe/Berlin"), Site(site_id=TOKYO, timezone="Asia/Tokyo"))
QUESTION = {"site_id": SITE, "metrics": ["visitors"], "date_range": "7d"}
LIVES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "goals": (
        {"name": "Signed up", "event": "signup", "currency": "EUR", "about": "The form."},
        {"page": "/welcome*"},
        {"event": "", "page": "/welcome*", "filters": []},
    ),
    "segments": (
        {"name": "Phones", "filters": [["is", "visit:device", ["Mobile"]]]},
        {"filters": [["or", [["is", "visit:device", ["TV"]], ["has_done", ["is", "event:name", ["signup"]]]]]]},
        {},
    ),
    "annotations": (
        {"name": "Prices", "text": "New prices.", "date": "2026-11-01"},
        {"date_range": ["2026-11-01", "2026-11-03"]},
        {"start": "2026-11-01T00:00:00+01:00", "end": "2026-11-04T00:00:00+01:00"},
    ),
    "queries": (
        {"name": "Week", "request": QUESTION},
        {"request": {**QUESTION, "date_range": "30d"}},
        {},
    ),
}
"""What is made, what is changed, and what else is to be seen then."""
KINDS = list(LIVES)


def wanted(kind: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a thing of the kind, with changes; None leaves a key out."""
    every = {"site_id": SITE, **LIVES[kind][0], **changes}
    return {key: value for key, value in every.items() if value is not None}


@dataclass(slots=True)
class Directory:
    """Sites by their ids, those of every test so far."""

    sites: dict[str, Site] = field(default_factory=dict)

    def get(self, site_id: str) -> Site | None:
        return self.sites.get(site_id)


@dataclass(frozen=True, slots=True)
class Api:
    """One server's routes, and tokens of it. Every test has sites of its own, which it calls by the same names."""

    client: TestClient[web.Request, web.Application]
    tokens: dict[str, str]
    service: QueryService
    gate: Gate
    own: str = ""

    async def __call__(
        self, method: str, path: str, value: object = None, *, token: str = "admin", data: bytes | None = None
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.tokens[token]}"} if token else {}
        sent = self.renamed(msgspec.json.encode(value)) if value is not None else data
        path = self.renamed(f"/api/v1/{path}".encode()).decode()
        async with self.client.request(method, path, data=sent, headers=headers) as response:
            answer = (await response.read()).replace(self.own.encode(), b"")
            return response.status, msgspec.json.decode(answer) if answer else None

    def renamed(self, text: bytes) -> bytes:
        """The same with this test's sites."""
        return re.sub(rb"(?i)(a|tokyo)\.example", rb"\g<0>" + self.own.encode(), text)

    async def make(self, kind: str, **changes: Any) -> dict[str, Any]:
        status, made = await self("POST", kind, wanted(kind, changes))
        assert status == 201, made
        return dict(made)

    async def refusal(self, kind: str, **changes: Any) -> str:
        """The code of a refused POST."""
        status, answer = await self("POST", kind, wanted(kind, changes))
        assert status == 400, answer
        return str(answer["error"]["code"])


def saved_types(service: QueryService) -> tuple[SavedType, ...]:
    """The types that belong to questions."""
    sql = SqlService(service.context, SqlSection())
    return (
        goal_type(service.context),
        segment_type(service.context),
        annotation_type(),
        query_type(service, sql.check_text, CHECK_CODES),
    )


async def serve(store: Store, directory: Directory) -> Api:
    saved, gate = Saved(store), Gate(store)
    service = QueryService(store, directory, lambda: NOW, LimitsSection(), saved)
    app = web.Application()
    declared = endpoints(saved_types(service), saved, service.context.site, query_body(service.context.limits))
    app.add_routes(wrap(route_table(declared, GateAuthorizer(gate)), HttpMetrics(CollectorRegistry())))
    client = TestClient(TestServer(app))
    await client.start_server()
    tokens = {
        "admin": await gate.create(Role.ADMIN),
        "elsewhere": await gate.create(Role.ADMIN, sites=("elsewhere.example",)),
        "read": await gate.create(Role.READ),
        "collect": await gate.create(Role.COLLECT),
    }
    return Api(client, tokens, service, gate)

"""One server's routes for experiments, its tokens and its clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient

from analytics_server.model import Site
from analytics_server.saved.store import Saved

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SITE, FOREIGN, EMPTY = "lab.example", "foreign-lab.example", "empty-lab.example"
SITES = {name: Site(site_id=name, timezone="Europe/Berlin") for name in (SITE, FOREIGN, EMPTY)}
DEFINITION: dict[str, Any] = {
    "site_id": SITE,
    "name": "Call to action",
    "key": "cta",
    "variants": [{"name": "a"}, {"name": "b", "weight": 2}],
    "goals": ["signup", {"name": "pageview", "filters": [["is", "event:page", ["/welcome"]]]}],
    "window": "2h",
}


@dataclass(slots=True)
class Lab:
    """One server's routes, its tokens and its clock."""

    client: TestClient[web.Request, web.Application]
    saved: Saved
    tokens: dict[str, str]
    clock: list[datetime] = field(default_factory=lambda: [NOW])

    async def __call__(
        self, method: str, path: str, value: object = None, *, token: str = "admin", data: bytes | None = None
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.tokens[token]}"} if token else {}
        address = f"/api/v1/experiments{path}"
        async with self.client.request(method, address, json=value, data=data, headers=headers) as response:
            return response.status, await response.json() if response.content_type == "application/json" else None

    async def make(self, **changes: Any) -> dict[str, Any]:
        status, made = await self("POST", "", DEFINITION | changes)
        assert status == 201, made
        return dict(made)

    async def refusal(self, path: str, value: object, *, method: str = "POST") -> tuple[int, str]:
        status, answer = await self(method, path, value)
        return status, answer["error"]["code"]

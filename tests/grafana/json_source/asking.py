"""Events whose numbers are known, and requests as versions of the plugin send them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from tests.server import Client

PATH = "/api/grafana"
SITE, OTHER, ZONE = "shop.example", "other.example", ZoneInfo("Europe/Stockholm")
FROM, TO = "2025-03-03T00:00:00.000+01:00", "2025-03-06T00:00:00.000+01:00"
RANGE = {"from": FROM, "to": TO, "raw": {"from": FROM, "to": TO}}
DAY_MS = 86_400_000
EVENTS = (
    # day, hour, user agent, page, name, revenue
    (3, 9, "Firefox/140.0", "/", "pageview", None),
    (3, 9, "Firefox/140.0", "/buy", "purchase", 20.5),
    (3, 10, "Chrome/142.0.0.0 Safari/537.36", "/", "pageview", None),
    (4, 9, "Firefox/140.0", "/a", "pageview", None),
    (4, 9, "Firefox/140.0", "/", "pageview", None),
    (5, 23, "Chrome/142.0.0.0 Safari/537.36", "/buy", "purchase", 9.5),
)


def event(site: str, day: int, hour: int, agent: str, page: str, name: str, revenue: float | None) -> dict[str, Any]:
    at = datetime(2025, 3, day, hour, 30, tzinfo=ZONE)
    return {
        "site": site,
        "name": name,
        "url": f"https://{site}{page}",
        "timestamp": round(at.timestamp() * 1000),
        "ip": "198.51.100.7",
        "user_agent": f"Mozilla/5.0 (X11; Linux x86_64) {agent}",
        "revenue": None if revenue is None else {"amount": revenue, "currency": "EUR"},
        "props": {"plan": "pro"},
    }


async def ask(client: Client, path: str, body: object, *, token: str | None = None) -> Any:
    reply = await client.call("POST", f"{PATH}/{path}", body, token=token)
    assert reply.status == 200, reply.body
    return reply.json


def panel(*targets: Mapping[str, object], **more: object) -> dict[str, Any]:
    """A panel's request, with what the plugin sends besides."""
    return {
        "requestId": "Q101",
        "timezone": "browser",
        "panelId": 2,
        "dashboardUID": "x",
        "range": RANGE,
        "rangeRaw": RANGE["raw"],
        "interval": "1d",
        "intervalMs": DAY_MS,
        "maxDataPoints": 400,
        "scopedVars": {"__interval": {"text": "1d", "value": "1d"}},
        "startTime": 1,
        "app": "dashboard",
        "targets": [{"datasource": {"type": "simpod-json-datasource", "uid": "x"}, **target} for target in targets],
        **more,
    }


def target(name: str, ref_id: str = "A", **payload: object) -> dict[str, Any]:
    return {"refId": ref_id, "target": name, "editorMode": "builder", "payload": {"site": SITE, **payload}}


async def trends(client: Client, **asked: str) -> list[dict[str, Any]]:
    parameters = urlencode({"site_id": SITE, "from": FROM, "to": TO, "interval": "day", **asked})
    reply = await client.call("GET", f"/api/v1/trends?{parameters}")
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json["rows"]
    return found


async def query(client: Client, **asked: object) -> list[dict[str, Any]]:
    reply = await client.call("POST", "/api/v1/query", {"site_id": SITE, "date_range": [FROM, TO], **asked})
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json["results"]
    return found


def midnight_ms(day: str) -> int:
    return round(datetime.fromisoformat(day).replace(tzinfo=ZONE).timestamp() * 1000)

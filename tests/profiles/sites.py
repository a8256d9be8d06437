"""Sites with a profile each, and what is sent to them and asked of them."""

from __future__ import annotations

from typing import Any

from analytics_server.model import SESSION_ATTRIBUTES
from analytics_server.profiles.refusal import FORBIDDEN
from analytics_server.profiles.switches import SiteProfile
from analytics_server.profiles.tables import PROFILES
from tests.server import USER_AGENT, Client

RESTRICTED = [profile for profile in PROFILES.values() if profile.restricts]
NAMES = [profile.name for profile in RESTRICTED]
ADDRESS = "203.0.113.9"
WHOLE = "all"
ALLOWED_GOAL = "allowed"

OLD: dict[str, Any] = {
    "ip": ADDRESS,
    "user_agent": USER_AGENT,
    "user_id": "person-1",
    "session_id": "old",
    "referrer": "https://news.example/story",
    "screen": {"width": 1440, "height": 900},
    "scroll_depth": 80,
    "engagement_ms": 9_000,
    "language": "en",
}


def event(site: str, **fields: object) -> dict[str, Any]:
    url = f"https://{site}/?utm_source=letter&utm_medium=email&utm_campaign=may&utm_content=top&utm_term=shoes"
    return {**OLD, "site": site, "name": "pageview", "url": url, **fields}


def site_of(profile: str) -> str:
    return f"{profile}.example"


async def saved(client: Client, site: str, profile: SiteProfile) -> None:
    """A goal, a segment and a funnel that were saved before the profile was set, one of each forbidden dimension."""
    goal = {"site_id": site, "name": ALLOWED_GOAL, "filters": [["is", "event:name", ["signup"]]]}
    assert (await client.call("POST", "/api/v1/goals", goal)).status == 201
    for name in sorted(profile.forbidden_dimensions):
        text = name.replace(":", " ")
        filters = [["is", name, ["10"]]]
        for path in ("goals", "segments"):
            made = await client.call("POST", f"/api/v1/{path}", {"site_id": site, "name": text, "filters": filters})
            assert made.status == 201, made.body
        steps = [{"name": "pageview", "filters": filters}, {"name": "signup"}]
        body = {"site_id": site, "name": text, "steps": steps}
        assert (await client.call("POST", "/api/v1/funnels/saved", body)).status == 201


async def columns(client: Client, site: str, session: str, names: frozenset[str]) -> dict[str, list[Any]]:
    """What SQL says of columns of a session's events and of the session; those with a value only."""
    found: dict[str, list[Any]] = {}
    for table in ("events", "sessions"):
        for name in sorted(names if table == "events" else names & {*SESSION_ATTRIBUTES, "user_id"}):
            text = f"SELECT DISTINCT toString({name}) FROM {table} WHERE session_id = {{s:String}}"
            for query in (
                text,
                text.replace(f"toString({name})", f"toString(t.{name})").replace(table, f"{table} AS t"),
            ):
                body = {"site_id": site, "query": query, "params": {"s": session}}
                reply = await client.call("POST", "/api/v1/sql", body)
                assert reply.status == 200, reply.body
                if values := [row[0] for row in reply.json["rows"] if row[0] not in ("", "0")]:
                    found[f"{table}.{name}"] = values
    return found


async def refused(client: Client, method: str, path: str, body: dict[str, Any] | None, profile: str) -> None:
    reply = await client.call(method, path, body)
    assert (reply.status, reply.code) == (400, FORBIDDEN), reply.body
    assert repr(profile) in reply.json["error"]["message"]

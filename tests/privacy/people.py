"""Random traffic with and without a user, remembered as it was sent: what exports and erasures are held to."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tests.server import Client, Reply, wait_for

SITES = ("a.example", "b.example")
PEOPLE = ("user-marked-anna", "user-marked-ben", "", "user-marked-cleo")
ANNA = PEOPLE[0]
FIRST = datetime(2026, 9, 28, 20, tzinfo=UTC)
"""Near the end of a month, so that sessions and days lie on both sides."""


@dataclass
class Traffic:
    """What was sent."""

    seed: int
    events: list[dict[str, Any]] = field(default_factory=list)

    def make(self, count: int, *, first: datetime = FIRST, hours: int = 96, **fields: Any) -> list[dict[str, Any]]:
        """Events of several people in sessions that some of them share, and that begin without a user."""
        rng = random.Random(self.seed + len(self.events))
        made = []
        for _ in range(count):
            session = rng.randrange(12)
            person = rng.choice((PEOPLE[session % 4], "", ANNA if session == 3 else PEOPLE[session % 4]))
            site = rng.choice(SITES)
            event = {
                "site": site,
                "name": rng.choice(("pageview", "pageview", "signup", "scroll")),
                "url": f"https://{site}/page-{rng.randrange(5)}",
                "timestamp": (first + timedelta(minutes=rng.randrange(60 * hours))).isoformat(),
                "session_id": f"session-{session}",
                "event_id": str(UUID(int=rng.getrandbits(128), version=4)),
                **({"user_id": person} if person else {}),
                **fields,
            }
            made.append(event)
        made.sort(key=lambda event: str(event["timestamp"]))
        return made

    async def send(self, client: Client, count: int, **fields: Any) -> None:
        """Send and remember; scrolls without a session are dropped, and not remembered."""
        made = [event for event in self.make(count, **fields) if event["name"] != "scroll"]
        reply = await client.send(made, trusted=True)
        assert reply.json["accepted"] == len(made), reply.body
        self.events += made

    def of(self, person: str, *sites: str) -> set[str]:
        """The ids of a person's events."""
        return {e["event_id"] for e in self.events if e.get("user_id") == person and e["site"] in (sites or SITES)}

    def counts(self, without: str) -> Counter[str]:
        """Events by person, but for one."""
        return Counter(e.get("user_id", "") for e in self.events if e.get("user_id") != without)


async def erased(client: Client, person: str, **options: Any) -> dict[str, Any]:
    """Ask for an erasure and wait for its certificate."""
    begun = await client.call("POST", "/api/v1/privacy/erase", {"user_id": person, "confirm": True, **options})
    assert begun.status in (200, 202), begun.body
    return await certificate(client, begun.json["id"])


async def certificate(client: Client, erasure_id: str) -> dict[str, Any]:
    """Wait until an erasure is done."""

    async def done() -> Reply | None:
        reply = await client.call("GET", f"/api/v1/privacy/erasures/{erasure_id}")
        assert reply.status in (200, 202), reply.body
        return reply if reply.status == 200 else None

    reply = await wait_for(done, 300, "the end of the erasure")
    assert reply is not None
    found: dict[str, Any] = reply.json["certificate"]
    return found


async def exported(client: Client, person: str, *, token: str | None = None) -> list[bytes]:
    """The lines of an export."""
    reply = await client.call("POST", "/api/v1/privacy/export", {"user_id": person}, token=token)
    assert reply.status == 200, reply.body
    return reply.body.splitlines()


async def save_funnels(client: Client, site: str) -> None:
    """Two saved funnels, of users and of sessions, whose tables name people; waits until these are filled."""
    for by in ("user", "session"):
        steps = [{"event": "pageview"}, {"event": "signup"}]
        body = {"site_id": site, "name": f"by {by}", "steps": steps, "by": by}
        made = await client.call("POST", "/api/v1/funnels/saved", body)
        assert made.status == 201, made.body

    async def ready() -> bool:
        listed = await client.call("GET", f"/api/v1/funnels/saved?site_id={site}")
        return all(funnel["status"] == "ready" for funnel in next(iter(listed.json.values())))

    await wait_for(ready, 150, "the funnels' tables")

"""A site with a few sessions, asked in plain words, for tests of what the numbers mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from analytics_server.config import LimitsSection
from analytics_server.model import PASSIVE_EVENTS, SESSION_ATTRIBUTES
from analytics_server.query.answer import Answer
from analytics_server.query.engine import QueryService
from analytics_server.saved.store import Kind, Saved
from analytics_server.store import Store
from tests.query.conftest import Directory, insert_events
from tests.query.questions import NOW, body
from tests.query.world import Event, micros

SITE = "utc.example"
BEGIN = micros(datetime(2025, 11, 3, 10, tzinfo=UTC))
MINUTE = 60_000_000
RANGE = ["2025-11-02", "2025-11-05"]

SessionEvents = Sequence[str | dict[str, Any]]
"""The events of a session, a minute apart: a page's view by its path, or an event by its fields."""


@dataclass(slots=True)
class Lab:
    """A site with a few sessions, asked in plain words."""

    store: Store
    saved: Saved
    sessions: int = 0

    @property
    def service(self) -> QueryService:
        return QueryService(self.store, Directory(), lambda: NOW, LimitsSection(), self.saved, cache_s=0.0)

    async def session(self, *events: str | dict[str, Any], source: str = "Direct", at: int = BEGIN) -> None:
        """A session of a visitor of its own."""
        self.sessions += 1
        found = []
        for place, given in enumerate(events):
            fields = {"name": "pageview", "path": given} if isinstance(given, str) else given
            found.append(made(self.sessions, at, at + place * MINUTE, source, fields))
        await insert_events(self.store, found, seed=self.sessions)

    async def ask(self, *metrics: str, **parts: Any) -> Answer:
        return await self.service.run(body(site_id=SITE, metrics=metrics, **({"date_range": RANGE} | parts)))

    async def rows(self, *metrics: str, **parts: Any) -> dict[str, list[Any]]:
        """The values by the dimensions' values."""
        answer = await self.ask(*metrics, **parts)
        return {" ".join(map(str, row.dimensions)): list(row.metrics) for row in answer.results}

    async def one(self, *metrics: str, **parts: Any) -> list[Any]:
        """The values of a question without dimensions."""
        return (await self.rows(*metrics, **parts))[""]

    async def goal(self, name: str, **goal: Any) -> None:
        await self.saved.put(Kind.GOAL, SITE, name, goal)


def made(number: int, opened_at: int, at: int, source: str, fields: dict[str, Any]) -> Event:
    texts = dict.fromkeys(("hostname", "path", "title", "element_id", "experiment", "variant"), "")
    attributes = dict.fromkeys(SESSION_ATTRIBUTES, "x") | {"source": source}
    known: dict[str, Any] = {
        "site_id": SITE,
        "session_id": f"session {number}",
        "opened_at": opened_at,
        "at": at,
        "visitor_id": number,
        "props": {},
        "attributes": attributes,
        "passive": int(fields["name"] in PASSIVE_EVENTS),
    }
    return Event(**(texts | known | fields))

"""Parameters of synthetic traffic, and the sessions that they give.

Same order, same sessions: everything is drawn from the seed, given the end of the range.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, datetime
from zoneinfo import ZoneInfo

import msgspec

from analytics_server.demo.calendar import Span, session_times
from analytics_server.demo.profiles import load_profiles
from analytics_server.demo.sessions import PlannedSession, SessionPlanner
from analytics_server.demo.visitors import SyntheticVisitors


class TrafficOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to make: so many `sessions` over `days` days of the zone, up to `end` (a moment, or a whole day)."""

    site: str
    days: int
    sessions: int
    seed: int
    end: datetime | date
    timezone: str

    @property
    def span(self) -> Span:
        """The range that is filled, in seconds."""
        return Span(self.days, self.end, ZoneInfo(self.timezone))


def planned_sessions(order: TrafficOrder) -> Iterator[PlannedSession]:
    """All sessions in the order in which they begin; events after the end of the range are left out."""
    span = order.span
    rng = random.Random(order.seed)
    visitors = SyntheticVisitors(load_profiles(), rng, span.start, span.end)
    planner = SessionPlanner(visitors, rng)
    end_ms = int(span.end * 1000)
    for moment in session_times(span, order.sessions, rng):
        session = planner.session(moment)
        if session.start_ms + session.events[-1].at_ms >= end_ms:
            kept = [event for event in session.events if session.start_ms + event.at_ms < end_ms]
            session = session._replace(events=kept or session.events[:1])
        yield session

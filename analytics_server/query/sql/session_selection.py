"""Which sessions a range and filters choose: those that begin in the range and pass the filters.

The same sessions that the metric `sessions` counts: a filter on events keeps a session with at least one event
in the range that meets it. Pure. Parameters: `site`, `start`, `end`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics_server.query.dimensions import SESSION, Dimension
from analytics_server.query.language.conditions import Condition, is_about_events, matches
from analytics_server.query.parameters import Binder
from analytics_server.query.sql.range_edges import (
    BESIDE_EVENTS,
    END,
    START,
    WHOLE_SESSIONS,
    events_with_sessions,
    started_in_range,
)
from analytics_server.query.sql.render import event_column, render, with_key
from analytics_server.query.sql.scope import indent, is_settled, select


@dataclass(frozen=True, slots=True)
class Selection:
    """The conditions on a row `s` of `sessions FINAL`; `settled` ones may be applied before rows are merged."""

    settled: tuple[str, ...]
    merged: tuple[str, ...]

    def select(self, columns: Sequence[str]) -> str:
        """A SELECT of the chosen sessions."""
        return select(columns, "sessions AS s FINAL", self.merged, prewhere=self.settled)

    @property
    def table(self) -> str:
        """The tables it reads, for an answer's `meta`."""
        return "sessions+events" if any("events AS e" in text for text in (*self.settled, *self.merged)) else "sessions"


def choose_sessions(where: Sequence[Condition], binder: Binder) -> Selection:
    """The sessions of the range that pass the filters."""

    def on_session(dimension: Dimension) -> str:
        return with_key(dimension.sessions, dimension, binder)

    about_events = [condition for condition in where if is_about_events(condition)]
    others = [condition for condition in where if not is_about_events(condition)]
    settled = [render(c, on_session, binder, WHOLE_SESSIONS) for c in others if is_settled(c)]
    merged = [render(c, on_session, binder, WHOLE_SESSIONS) for c in others if not is_settled(c)]
    if about_events:
        settled.append(f"{SESSION.sessions} IN (\n{indent(_matching(about_events, binder))}\n)")
    return Selection(tuple(settled), (*started_in_range(), *merged))


def _matching(where: Sequence[Condition], binder: Binder) -> str:
    conditions = [render(c, lambda d: event_column(d, binder), binder, WHOLE_SESSIONS) for c in where]
    relation = "events AS e"
    if any(match.dimension.joined for match in matches(where)):
        beside = select(BESIDE_EVENTS, "sessions AS s FINAL", ["s.site_id = {site:String}", *WHOLE_SESSIONS.sessions])
        relation = events_with_sessions(beside)
    in_range = ["e.site_id = {site:String}", f"e.ts >= {START}", f"e.ts < {END}"]
    return select([SESSION.events], relation, [*in_range, *conditions])

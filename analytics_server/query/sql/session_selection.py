"""Which sessions a range and filters choose: those that begin in the range and pass the filters.

The same sessions that the metric `sessions` counts: a filter on events keeps a session with at least one event
in the range that meets it. Pure. Parameters: `site`, `start`, `end`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics_server.query.dimensions import SESSION, Dimension
from analytics_server.query.language.conditions import Condition, count_done
from analytics_server.query.language.filter_classes import classify, reads_pages
from analytics_server.query.parameters import Binder
from analytics_server.query.sql.from_tables import (
    BESIDE_EVENTS,
    EVENTS,
    SESSIONS,
    SITE_OF_SESSIONS,
    events_with_sessions,
)
from analytics_server.query.sql.range_edges import EDGES
from analytics_server.query.sql.render import render, render_on_events, with_key
from analytics_server.query.sql.select import Expression, Select, is_in, select


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The conditions on a row `s` of `sessions FINAL`; `settled` ones may be applied before rows are merged.

    `table`: the tables it reads, for an answer's `meta`.
    """

    settled: tuple[Expression, ...]
    merged: tuple[Expression, ...]
    table: str

    def select(self, columns: Sequence[str]) -> Select:
        """A SELECT of the chosen sessions."""
        return select(columns, SESSIONS, self.merged, prewhere=self.settled)


def choose_sessions(where: Sequence[Condition], binder: Binder) -> Selection:
    """The sessions of the range that pass the filters."""

    def on_session(dimension: Dimension) -> str:
        return with_key(dimension.sessions, dimension, binder)

    filters, reach = classify(where), EDGES.whole_sessions
    settled = [render(condition, on_session, binder, reach) for condition in filters.settled]
    merged = [render(condition, on_session, binder, reach) for condition in filters.unsettled]
    if filters.about_events:
        settled.append(is_in((SESSION.sessions,), _matching(filters.about_events, binder)))
    reads_events = bool(filters.about_events) or count_done(where) > 0
    return Selection(
        settled=tuple(settled),
        merged=(*EDGES.started_in_range(), *merged),
        table="sessions+events" if reads_events else "sessions",
    )


def _matching(where: Sequence[Condition], binder: Binder) -> Select:
    """The sessions with an event in the range that meets the conditions."""
    reach = EDGES.whole_sessions
    conditions = render_on_events(where, binder, reach)
    beside = select(BESIDE_EVENTS, SESSIONS, [SITE_OF_SESSIONS, *reach.sessions])
    source = events_with_sessions(beside) if reads_pages(where) else EVENTS
    return select([SESSION.events], source, [*EDGES.events, *conditions])

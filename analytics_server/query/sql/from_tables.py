"""What questions read: the tables of events and sessions, and events with their session's row beside them."""

from __future__ import annotations

from collections.abc import Sequence

from analytics_server.query.sql.select import Expression, Join, Query, Select, Subquery, Table

EVENTS = Table("events", "e")
SESSION_PARTS = Table("sessions", "s")
"""A session may have several rows that are not merged yet, each the sum of some of its events."""

SESSIONS = Table("sessions", "s", final=True)
"""One row per session."""

ACTIVE_EVENTS = "e.passive = 0"
"""Passive events tell more about a page view that was counted, and are not counted themselves."""

SITE_OF_EVENTS = "e.site_id = {site:String}"
SITE_OF_SESSIONS = "s.site_id = {site:String}"

BESIDE_EVENTS = (
    "s.opened_at AS opened_at",
    "s.session_id AS session_id",
    "s.started_at AS started_at",
    "tupleElement(s.entry, 'path') AS entry_page",
    "tupleElement(s.exit, 'path') AS exit_page",
    "tupleElement(s.entry_host, 'host') AS entry_page_hostname",
    "tupleElement(s.exit_host, 'host') AS exit_page_hostname",
)
"""What an event needs of its session's row."""


def events_with_sessions(sessions: Query) -> Join:
    """`events`, with the row of the given sessions beside each event."""
    return Join(
        EVENTS, "INNER", Subquery(sessions, "s"), "ON e.session_start = s.opened_at AND e.session_id = s.session_id"
    )


def session_pages(where: Sequence[Expression] = (), having: Sequence[Expression] = ()) -> Select:
    """Entry and exit page of a site's sessions, and their hosts, by grouping: what a session's parts say together."""
    return Select(
        columns=(
            "s.opened_at AS opened_at",
            "s.session_id AS session_id",
            "tupleElement(min(s.entry), 'path') AS entry_page",
            "tupleElement(max(s.exit), 'path') AS exit_page",
            "tupleElement(min(s.entry_host), 'host') AS entry_page_hostname",
            "tupleElement(max(s.exit_host), 'host') AS exit_page_hostname",
        ),
        source=SESSION_PARTS,
        where=(SITE_OF_SESSIONS, *where),
        group_by=("s.opened_at", "s.session_id"),
        having=tuple(having),
    )

"""The SQL of the list of sessions and of one session's events.

Pure: values are bound, column names come from `model` and the constants here. The list is read in two steps
within one statement: first the keys of the page, from the few columns that filter and sort, then their rows.
"""

from __future__ import annotations

from dataclasses import replace

from analytics_server.analyses.sessions.request import SessionsQuestion, TimelineQuestion
from analytics_server.model import SESSION_ATTRIBUTES
from analytics_server.query.parameters import COUNT, MOMENT, TEXT, Binder
from analytics_server.query.sql.from_tables import EVENTS, SESSION_PARTS, SESSIONS, SITE_OF_EVENTS, SITE_OF_SESSIONS
from analytics_server.query.sql.select import Select, is_in, select
from analytics_server.query.sql.session_selection import Selection, choose_sessions

MOST_OPENED = 100
"""So many sessions of one id are named."""

ROW = (
    "s.session_id",
    "s.opened_at",
    "arraySort(arrayFilter(id -> id != 0, s.visitor_ids)) AS visitors",
    "s.user_id",
    "s.started_at",
    "s.ended_at",
    "s.pageviews",
    "s.events",
    "s.pageviews = 1 AND s.interactions = 0 AS is_bounce",
    "tupleElement(s.entry, 'path') AS entry_page",
    "tupleElement(s.exit, 'path') AS exit_page",
    *(f"s.{name}" for name in SESSION_ATTRIBUTES),
)
"""What a session's row is made of, in the order of `run.show_session`."""

EVENT = (
    "ts",
    "name",
    "event_id",
    "visitor_id",
    "user_id",
    "hostname",
    "path",
    "title",
    "scroll_depth",
    "engagement_ms",
    "element_id",
    "element_tag",
    "element_text",
    "element_href",
    "revenue_amount",
    "revenue_currency",
    "experiment",
    "variant",
    "props",
)
"""Columns of `events` that a timeline shows: all but those of the session."""

_ORDER = {
    "started_at": "s.started_at",
    "ended_at": "s.ended_at",
    "duration_s": "toUnixTimestamp64Micro(s.ended_at) - toUnixTimestamp64Micro(s.started_at)",
    "pageviews": "s.pageviews",
    "events": "s.events",
}
_KEY = ("s.opened_at", "s.session_id")
_OPENED = f"{{opened_at:{MOMENT}}}"


def choose(question: SessionsQuestion, binder: Binder) -> Selection:
    """The sessions of the list."""
    chosen = choose_sessions(question.where, binder)
    if question.user_id is None:
        return chosen
    # After the merge: a user may become known in the middle of a session.
    mine = f"s.user_id = {binder.bind(question.user_id, TEXT)}"
    return replace(chosen, merged=(*chosen.merged, mine))


def select_page(question: SessionsQuestion, chosen: Selection, binder: Binder) -> Select:
    """One page of rows, each as `ROW`."""
    limit, offset = binder.name("limit", question.limit, COUNT), binder.name("offset", question.offset, COUNT)
    sorting = [f"{_ORDER[name]}{' DESC' if down else ''}" for name, down in question.order_by]
    # The key makes the order of sessions definite that are alike otherwise, so that pages don't overlap.
    last = " DESC" if question.order_by[0][1] else ""
    order = (*sorting, *(f"{name}{last}" for name in _KEY))
    keys = replace(chosen.select(_KEY), order_by=order, limit=limit, offset=offset)
    return replace(select(ROW, SESSIONS, [SITE_OF_SESSIONS, is_in(_KEY, keys)]), order_by=order)


def count_sessions(chosen: Selection) -> Select:
    """How many sessions the list has in all."""
    return chosen.select(["count()"])


def select_opened(question: TimelineQuestion, binder: Binder) -> Select:
    """When sessions of that id were opened, the newest first."""
    session = f"s.session_id = {binder.name('session', question.session_id, TEXT)}"
    return Select(
        columns=("DISTINCT s.opened_at",),
        source=SESSION_PARTS,
        where=(SITE_OF_SESSIONS, session),
        order_by=("s.opened_at DESC",),
        limit=str(MOST_OPENED),
    )


def select_session() -> Select:
    """The session's row; parameters `site`, `session`, `opened_at`."""
    return select(
        ROW,
        SESSIONS,
        [SITE_OF_SESSIONS, f"s.opened_at = {_OPENED}", "s.session_id = {session:String}"],
    )


def select_events() -> Select:
    """The session's events in order; besides, parameters `started_at`, `ended_at`, `limit`, `offset`."""
    return Select(
        columns=tuple(f"e.{name}" for name in EVENT),
        source=EVENTS,
        where=(
            SITE_OF_EVENTS,
            f"e.ts >= {{started_at:{MOMENT}}}",
            f"e.ts <= {{ended_at:{MOMENT}}}",
            "e.session_id = {session:String}",
            f"e.session_start = {_OPENED}",
        ),
        order_by=("e.ts", "e.path", "e.name", "e.event_id"),
        limit="{limit:UInt64}",
        offset="{offset:UInt64}",
    )

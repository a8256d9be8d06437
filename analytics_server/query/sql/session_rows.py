"""The rows of sessions that a question reads around the edges of its range: crossing, overlapping, or few of them."""

from __future__ import annotations

from collections.abc import Sequence

from analytics_server.query.sql.from_tables import (
    BESIDE_EVENTS,
    EVENTS,
    SESSION_PARTS,
    SESSIONS,
    events_with_sessions,
)
from analytics_server.query.sql.range_edges import crossing_edge
from analytics_server.query.sql.scope import Scoped
from analytics_server.query.sql.select import (
    Expression,
    Query,
    Relation,
    Select,
    Subquery,
    Union,
    and_,
    columns_read,
    compose,
    select,
)

_MERGED_BY = {
    "started_at": "min",
    "ended_at": "max",
    "kept_open_at": "max",
    "visitor_id": "max",
    "user_id": "max",
    "pageviews": "sum",
    "events": "sum",
    "active_events": "sum",
    "interactions": "sum",
    "entry": "min",
    "exit": "max",
    "entry_host": "min",
    "exit_host": "max",
    "visitor_ids": "groupUniqArrayArray",
}
"""How the columns of `sessions` merge (schema/0002 and 0010), where it isn't `any`."""


def few_sessions(scoped: Scoped, used: Sequence[Expression], conditions: Sequence[Expression]) -> Subquery:
    """`sessions` as `s` where conditions leave few rows: merged by grouping, which FINAL would do for all rows' keys.

    `conditions` hold for all parts of a session's row alike; `used` are the expressions that read `s`.
    """
    columns = [f"{_MERGED_BY.get(name, 'any')}(s.{name}) AS {name}" for name in columns_read("s", used)]
    near = scoped.edges.opened_near()
    return Subquery(select(columns, SESSION_PARTS, near, scoped.session_key, conditions), "s")


def crossing(scoped: Scoped, columns: Sequence[Expression], *edges: str) -> Query:
    """The sessions that begin before an edge of the range and end at or after it, each once."""
    found = tuple(crossing_edge(columns, edge, scoped.settled) for edge in edges)
    return found[0] if len(found) == 1 else Union(found, distinct=True)


def not_whole(scoped: Scoped, columns: Sequence[Expression], inside: Sequence[Expression], *, final: bool) -> Select:
    """The sessions with events in the range that don't lie wholly inside one unit of it.

    Without `final`, the parts of sessions that don't: parts that are not merged may each be whole.
    """
    return overlapping(scoped, columns, [compose("NOT ", and_(inside))], final=final)


def overlapping(
    scoped: Scoped, columns: Sequence[Expression], where: Sequence[Expression], *, final: bool = False
) -> Select:
    """The sessions, or parts of them, with events in the range."""
    return select(
        columns,
        SESSIONS if final else SESSION_PARTS,
        [*scoped.edges.overlapping(), *where],
        prewhere=scoped.settled,
    )


def events_source(scoped: Scoped, *, join: bool) -> Relation:
    """`events`, with the session's row beside each event where that is needed."""
    return events_with_sessions(overlapping(scoped, BESIDE_EVENTS, [], final=True)) if join else EVENTS

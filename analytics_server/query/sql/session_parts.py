"""Event metrics by session attributes: whole sessions from `sessions`, the others from `events`.

A session is whole when all its events lie in the range and in one unit: the time bucket and,
for visitors, the local day. Then its row says everything that its events would.

A session's row may lie in several parts that are not merged yet, each the sum of some of its events. FINAL
would merge them, and costs most of the time, so it is used only where the merged row is needed (entry and exit
page). Otherwise the parts are taken as they are: one that is whole by itself counts as its events would. Only
sessions with a part that is not whole need their events; for sums, which unlike distinct visitors must
not count anything twice, all parts of such a session are left out.
Where only the edges of the range matter, the sessions well inside need no look at their times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics_server.query.language.filter_classes import reads_pages
from analytics_server.query.language.request import Question
from analytics_server.query.metrics import Metric
from analytics_server.query.sql.from_tables import (
    ACTIVE_EVENTS,
    BESIDE_EVENTS,
    EVENTS,
    SESSION_PARTS,
    SESSIONS,
    SITE_OF_SESSIONS,
    events_with_sessions,
)
from analytics_server.query.sql.range_edges import open_since
from analytics_server.query.sql.scope import Scoped, named, names_of
from analytics_server.query.sql.select import (
    Query,
    Select,
    Subquery,
    Union,
    and_,
    compose,
    is_in,
    select,
)
from analytics_server.query.sql.session_rows import crossing, not_whole, overlapping
from analytics_server.query.sql.templates import fill

_UNIT_OF = {
    "day": "toDate({}, {{tz:String}})",
    "week": "toMonday({}, {{tz:String}})",
    "month": "toStartOfMonth({}, {{tz:String}})",
}


_DAILY = "bitXor({0}, intHash64(toDate({1}, {{tz:String}})))"


def select_session_parts(metrics: Sequence[Metric], scoped: Scoped) -> Select:
    """The SELECT, grouped by the question's dimensions."""
    question = scoped.question
    units = [_UNIT_OF[unit] for unit in _units(metrics, question)]
    inside = [
        f"s.started_at >= {scoped.edges.start}",
        f"s.ended_at < {scoped.edges.end}",
        *(f"{unit.format('s.started_at')} = {unit.format('s.ended_at')}" for unit in units),
    ]
    joined = reads_pages(question.where) or any(dimension.joined for dimension in question.dimensions)
    uniq = "uniqExact" if question.exact_visitors else "uniq"
    visitors = _listed_visitors(uniq)
    if units and not joined:
        visitors = _one_visitor(uniq)
        if any(metric.name == "visitors" for metric in metrics):
            # Few have two, and to read one number is far cheaper than to read a list.
            inside.append("s.visitor_ids.size0 <= 1")
    edges = _edges_of(metrics, scoped, inside if units else [], joined=joined)
    branches = _whole_sessions(scoped, inside, visitors, edges, joined=joined, everywhere=bool(units))
    branches.append(_events_of_others(scoped, visitors, edges))
    names = names_of(len(question.dimensions))
    columns = [
        *(f"v.{name} AS {name}" for name in names),
        *(f"{fill(m.session_parts, visitors=visitors.counted)} AS m_{m.name}" for m in metrics),
    ]
    return select(columns, Subquery(Union(tuple(branches)), "v"), [], names)


def _whole_sessions(
    scoped: Scoped, inside: Sequence[str], visitors: _Visitors, edges: _Edges, *, joined: bool, everywhere: bool
) -> list[Select]:
    """The rows of sessions that are whole. `everywhere`: also well inside the range it depends on their times."""
    groups = scoped.expressions("sessions", "s.started_at")
    values = [*named(groups), visitors.of_session, "s.pageviews AS pageviews", "s.active_events AS events"]
    settled = scoped.settled
    wanted = ["s.active_events > 0", *scoped.wanted(groups)]
    # Part of a session that began long before the range may be whole, and nothing says that another part is not.
    near = scoped.edges.opened_near(open_since(scoped.edges.start)) if everywhere else scoped.edges.opened_near()
    if joined:
        unsettled = scoped.on_sessions(scoped.question.filters.unsettled)
        return [select(values, SESSIONS, [*near, *inside, *unsettled, *wanted], prewhere=settled)]
    branches = []
    if not everywhere:
        well_inside = scoped.edges.opened_well_inside()
        branches.append(select(values, SESSION_PARTS, [SITE_OF_SESSIONS, *well_inside, *settled, *wanted]))
        near.append(compose("NOT ", and_(well_inside)))
    apart = [is_in(scoped.session_key, edges.keys, negated=True)] if edges.keys is not None else []
    branches.append(select(values, SESSION_PARTS, [*near, *inside, *apart, *wanted], prewhere=settled))
    return branches


def _events_of_others(scoped: Scoped, visitors: _Visitors, edges: _Edges) -> Select:
    """The events of the sessions that are not whole."""
    groups = scoped.expressions("events", "e.ts")
    return select(
        [*named(groups), visitors.of_event, "toUInt64(e.name = 'pageview') AS pageviews", "toUInt64(1) AS events"],
        EVENTS if edges.sessions is None else events_with_sessions(edges.sessions),
        [
            *scoped.edges.events,
            *scoped.on_events(scoped.question.where),
            # The table's key begins with site and hour: with them the few sessions are found by index.
            is_in(("toStartOfHour(e.ts)", *scoped.event_key), edges.hours),
            ACTIVE_EVENTS,
            *scoped.wanted(groups),
        ],
    )


@dataclass(frozen=True, slots=True)
class _Visitors:
    """How a row's visitors are named and counted; each stands for one local day."""

    counted: str
    of_session: str
    of_event: str


def _listed_visitors(uniq: str) -> _Visitors:
    """Any number of visitors a row."""
    of_session = _DAILY.format("id", "s.started_at")
    of_event = _DAILY.format("e.visitor_id", "e.ts")
    return _Visitors(
        f"{uniq}Array(v.visitors)",
        f"arrayMap(id -> {of_session}, arrayFilter(id -> id != 0, s.visitor_ids)) AS visitors",
        f"if(e.visitor_id = 0, [], [{of_event}]) AS visitors",
    )


def _one_visitor(uniq: str) -> _Visitors:
    """One visitor a row, 0 if none is kept."""
    of_session = _DAILY.format("s.visitor_id", "s.started_at")
    of_event = _DAILY.format("e.visitor_id", "e.ts")
    return _Visitors(
        f"{uniq}If(v.visitor, v.visitor != 0)",
        f"if(s.visitor_id = 0, 0, {of_session}) AS visitor",
        f"if(e.visitor_id = 0, 0, {of_event}) AS visitor",
    )


@dataclass(frozen=True, slots=True)
class _Edges:
    """The sessions that are not whole: their hours; their rows, if needed; their keys, if they must be left out."""

    hours: Query
    sessions: Query | None
    keys: Query | None


def _edges_of(metrics: Sequence[Metric], scoped: Scoped, inside: Sequence[str], *, joined: bool) -> _Edges:
    """`inside`: what must hold of a row that is whole; nothing if only the edges of the range matter."""
    key = scoped.session_key
    merged = joined or not inside

    def rows(columns: Sequence[str]) -> Query:
        if inside:
            return not_whole(scoped, columns, inside, final=merged)
        return crossing(scoped, columns, scoped.edges.start, scoped.edges.end)

    keys = None if joined or all(metric.name == "visitors" for metric in metrics) else rows(key)
    # Where parts are left out with the one that is not whole, their hours are needed too.
    columns = [scoped.edges.hours, *key]
    hours = rows(columns) if merged or keys is None else overlapping(scoped, columns, [is_in(key, keys)])
    return _Edges(hours, rows(BESIDE_EVENTS) if joined else None, keys)


def _units(metrics: Sequence[Metric], question: Question) -> list[str]:
    """The calendar units one session must not leave to be read as a whole."""
    daily = question.interval == "day" or any(metric.name == "visitors" for metric in metrics)
    if daily:
        return ["day"]
    return [] if question.interval is None else [question.interval]

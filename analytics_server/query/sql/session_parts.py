"""Event metrics by session attributes: whole sessions from `sessions`, the others from `events`.

A session is whole when all its events lie in the range and in one unit: the time bucket and,
for visitors outside UTC, the local day. Then its row says everything that its events would.

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

from analytics_server.query.language.conditions import matches
from analytics_server.query.language.request import Question
from analytics_server.query.metrics import Metric
from analytics_server.query.plan.plan import is_utc
from analytics_server.query.sql.range_edges import (
    BESIDE_EVENTS,
    END,
    HOURS,
    START,
    crossing,
    events_with_sessions,
    not_whole,
    open_since,
    opened_near_range,
    opened_well_inside,
    overlapping,
)
from analytics_server.query.sql.scope import Scoped, indent, is_settled, key_of_event, key_of_session, named, select

_UNIT_OF = {
    "day": "toDate({}, {{tz:String}})",
    "week": "toMonday({}, {{tz:String}})",
    "month": "toStartOfMonth({}, {{tz:String}})",
}


_DAILY = "bitXor({0}, intHash64(toDate({1}, {{tz:String}})))"


def select_visits(metrics: Sequence[Metric], scoped: Scoped) -> str:
    """The SELECT, grouped by the question's dimensions."""
    question = scoped.question
    utc = is_utc(scoped.range_)
    units = [_UNIT_OF[unit] for unit in _units(metrics, question, utc=utc)]
    inside = [
        f"s.started_at >= {START}",
        f"s.ended_at < {END}",
        *(f"{unit.format('s.started_at')} = {unit.format('s.ended_at')}" for unit in units),
    ]
    joined = any(d.joined for d in (*question.dimensions, *(match.dimension for match in matches(question.where))))
    visitors = _listed_visitors(utc=utc)
    if units and not joined:
        visitors = _one_visitor(utc=utc)
        if any(metric.name == "visitors" for metric in metrics):
            # Few have two, and to read one number is far cheaper than to read a list.
            inside.append("s.visitor_ids.size0 = 1")
    edges = _edges_of(metrics, scoped, inside if units else [], joined=joined)
    branches = _whole_sessions(scoped, inside, visitors, edges, joined=joined, everywhere=bool(units))
    branches.append(_events_of_others(scoped, visitors, edges, joined=joined))
    names = [f"d_{index}" for index in range(len(question.dimensions))]
    columns = [
        *(f"v.{name} AS {name}" for name in names),
        *(f"{m.visits} AS m_{m.name}".replace("@visitors", visitors.counted) for m in metrics),
    ]
    stacked = "\n    UNION ALL\n".join(map(indent, branches))
    return select(columns, f"(\n{stacked}\n) AS v", [], names)


def _whole_sessions(
    scoped: Scoped, inside: Sequence[str], visitors: _Visitors, edges: _Edges, *, joined: bool, everywhere: bool
) -> list[str]:
    """The rows of sessions that are whole. `everywhere`: also well inside the range it depends on their times."""
    where = scoped.question.where
    groups = scoped.expressions("sessions", "s.started_at")
    values = [*named(groups), visitors.of_session, "s.pageviews AS pageviews", "s.events AS events"]
    settled = scoped.on_sessions([condition for condition in where if is_settled(condition)])
    wanted = scoped.wanted(groups)
    # Part of a session that began long before the range may be whole, and nothing says that another part is not.
    near = opened_near_range(open_since(START)) if everywhere else opened_near_range()
    if joined:
        unsettled = scoped.on_sessions([condition for condition in where if not is_settled(condition)])
        return [select(values, "sessions AS s FINAL", [*near, *inside, *unsettled, *wanted], prewhere=settled)]
    branches = []
    if not everywhere:
        branches.append(select(values, "sessions AS s", [*opened_well_inside(), *settled, *wanted]))
        near.append(f"NOT ({' AND '.join(opened_well_inside()[1:])})")
    apart = [f"({edges.key}) NOT IN (\n{indent(edges.keys)}\n)"] if edges.keys else []
    branches.append(select(values, "sessions AS s", [*near, *inside, *apart, *wanted], prewhere=settled))
    return branches


def _events_of_others(scoped: Scoped, visitors: _Visitors, edges: _Edges, *, joined: bool) -> str:
    """The events of the sessions that are not whole."""
    groups = scoped.expressions("events", "e.ts")
    return select(
        [*named(groups), visitors.of_event, "toUInt64(e.name = 'pageview') AS pageviews", "toUInt64(1) AS events"],
        events_with_sessions(edges.sessions) if joined else "events AS e",
        [
            "e.site_id = {site:String}",
            f"e.ts >= {START}",
            f"e.ts < {END}",
            *scoped.on_events(scoped.question.where),
            # The table's key begins with site and hour: with them the few sessions are found by index.
            f"(toStartOfHour(e.ts), {key_of_event(exact=scoped.question.exact)}) IN (\n{indent(edges.hours)}\n)",
            *scoped.wanted(groups),
        ],
    )


@dataclass(frozen=True, slots=True)
class _Visitors:
    """How a row's visitors are named and counted; each stands for one local day, as in UTC they do by themselves."""

    counted: str
    of_session: str
    of_event: str


def _listed_visitors(*, utc: bool) -> _Visitors:
    """Any number of visitors a row."""
    of_session = "id" if utc else _DAILY.format("id", "s.started_at")
    of_event = "e.visitor_id" if utc else _DAILY.format("e.visitor_id", "e.ts")
    return _Visitors(
        "uniqArray(v.visitors)",
        f"arrayMap(id -> {of_session}, arrayFilter(id -> id != 0, s.visitor_ids)) AS visitors",
        f"if(e.visitor_id = 0, [], [{of_event}]) AS visitors",
    )


def _one_visitor(*, utc: bool) -> _Visitors:
    """One visitor a row, 0 if none is kept."""
    of_session = "s.visitor_id" if utc else _DAILY.format("s.visitor_id", "s.started_at")
    of_event = "e.visitor_id" if utc else _DAILY.format("e.visitor_id", "e.ts")
    return _Visitors(
        "uniqIf(v.visitor, v.visitor != 0)",
        f"if(s.visitor_id = 0, 0, {of_session}) AS visitor",
        f"if(e.visitor_id = 0, 0, {of_event}) AS visitor",
    )


@dataclass(frozen=True, slots=True)
class _Edges:
    """The sessions that are not whole, as subqueries: their hours; their rows, if needed; their keys, to leave out."""

    hours: str
    sessions: str
    key: str
    keys: str


def _edges_of(metrics: Sequence[Metric], scoped: Scoped, inside: Sequence[str], *, joined: bool) -> _Edges:
    """`inside`: what must hold of a row that is whole; nothing if only the edges of the range matter."""
    key = key_of_session(exact=scoped.question.exact)
    merged = joined or not inside

    def rows(columns: Sequence[str]) -> str:
        return not_whole(scoped, columns, inside, final=merged) if inside else crossing(scoped, columns, START, END)

    keys = "" if joined or all(metric.name == "visitors" for metric in metrics) else rows([key])
    # Where parts are left out with the one that is not whole, their hours are needed too.
    columns = [HOURS, *key.split(", ")]
    hours = rows(columns) if merged or not keys else overlapping(scoped, columns, [f"({key}) IN (\n{indent(keys)}\n)"])
    return _Edges(hours, rows(BESIDE_EVENTS) if joined else "", key, keys)


def _units(metrics: Sequence[Metric], question: Question, *, utc: bool) -> list[str]:
    """The calendar units one session must not leave to be read as a whole."""
    daily = question.interval == "day" or (not utc and any(metric.name == "visitors" for metric in metrics))
    if daily:
        return ["day"]
    return [] if question.interval is None else [question.interval]

"""Event metrics by session attributes: whole sessions from `sessions`, the others from `events`.

A session is whole when all its events lie in the range and in one unit: the time bucket and,
for visitors outside UTC, the local day. Then its row says everything that its events would.

Rows of one session that are not merged yet count twice in sums, never in distinct visitors:
a part of a row that is whole by itself says what its own events would, and the sessions that
cross (merged, so that all their parts are known) are read from `events` in any case. So
visitors by attributes of the first touch are read without FINAL, which costs most of the time.
Where only the edges of the range matter, the sessions well inside need neither FINAL nor a look
at their times: every part of their rows counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from analytics_server.query.edges import (
    BESIDE_EVENTS,
    END,
    HOURS,
    START,
    crossing,
    events_with_sessions,
    not_whole,
    opened_near_range,
    opened_well_inside,
)
from analytics_server.query.filters import matches
from analytics_server.query.metrics import Metric
from analytics_server.query.plan import is_utc
from analytics_server.query.request import Question
from analytics_server.query.scoped import Scoped, indent, is_settled, named, select

_UNIT_OF = {
    "day": "toDate({}, {{tz:String}})",
    "week": "toMonday({}, {{tz:String}})",
    "month": "toStartOfMonth({}, {{tz:String}})",
}


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
    visitor_of = "{0}" if utc else "bitXor({0}, intHash64(toDate({1}, {{tz:String}})))"
    joined = any(d.joined for d in (*question.dimensions, *(match.dimension for match in matches(question.where))))
    whole_groups = scoped.expressions("sessions", "s.started_at")
    values = [
        *named(whole_groups),
        f"arrayMap(id -> {visitor_of.format('id', 's.started_at')},"
        " arrayFilter(id -> id != 0, s.visitor_ids)) AS visitors",
        "s.pageviews AS pageviews",
        "s.events AS events",
    ]
    settled = scoped.on_sessions([condition for condition in question.where if is_settled(condition)])
    unsettled = scoped.on_sessions([condition for condition in question.where if not is_settled(condition)])
    wanted = scoped.wanted(whole_groups)
    branches = []
    near = opened_near_range()
    if not units and not joined:
        branches.append(select(values, "sessions AS s", [*opened_well_inside(), *settled, *wanted]))
        near.append(f"NOT ({' AND '.join(opened_well_inside()[1:])})")
    if joined or any(metric.name != "visitors" for metric in metrics):
        branches.append(select(values, "sessions AS s FINAL", [*near, *inside, *unsettled, *wanted], prewhere=settled))
    else:
        branches.append(select(values, "sessions AS s", [*near, *inside, *settled, *wanted]))

    def others(columns: Sequence[str]) -> str:
        return not_whole(scoped, columns, inside) if units else crossing(scoped, columns, START, END)

    edge_groups = scoped.expressions("events", "e.ts")
    edges = select(
        [
            *named(edge_groups),
            f"if(e.visitor_id = 0, [], [{visitor_of.format('e.visitor_id', 'e.ts')}]) AS visitors",
            "toUInt64(e.name = 'pageview') AS pageviews",
            "toUInt64(1) AS events",
        ],
        events_with_sessions(others(BESIDE_EVENTS)) if joined else "events AS e",
        [
            "e.site_id = {site:String}",
            f"e.ts >= {START}",
            f"e.ts < {END}",
            *scoped.on_events(question.where),
            # The table's key begins with site, hour and session: with them the few sessions are found by index.
            f"(toStartOfHour(e.ts), e.session_id, e.session_start) IN (\n{indent(others(HOURS))}\n)",
            *scoped.wanted(edge_groups),
        ],
    )
    names = [f"d_{index}" for index in range(len(whole_groups))]
    columns = [*(f"v.{name} AS {name}" for name in names), *(f"{m.visits} AS m_{m.name}" for m in metrics)]
    stacked = "\n    UNION ALL\n".join(map(indent, [*branches, edges]))
    return select(columns, f"(\n{stacked}\n) AS v", [], names)


def _units(metrics: Sequence[Metric], question: Question, *, utc: bool) -> list[str]:
    """The calendar units one session must not leave to be read as a whole."""
    daily = question.interval == "day" or (not utc and any(metric.name == "visitors" for metric in metrics))
    if daily:
        return ["day"]
    return [] if question.interval is None else [question.interval]

"""The SELECT of one part: how each source is read, scoped and grouped.

Pure. Every source yields the columns `d_0 …` (dimensions) and one column per metric,
`m_<name>`, for one site and one range. Two facts shape the SQL: a session's row has the
key (site_id, opened_at, session_id), which its events carry as (session_start,
session_id); and `opened_at` is close to the true start, `started_at`, but not equal to
it when events arrive late, hence `SESSION_MARGIN_S`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from analytics_server.query.binding import COUNTS, DAY, TEXT, TEXTS, Binder
from analytics_server.query.fields import Dimension, Metric, Scope
from analytics_server.query.filters import Condition, is_about_events, matches, render
from analytics_server.query.plan import Part, Source, is_utc
from analytics_server.query.request import Question
from analytics_server.query.timerange import TimeRange
from analytics_server.query.totals import ENTRY_PAGE, totals_column

SESSION_MARGIN_S = 86_400
"""How far a session's first event may lie from the time the session was opened, in seconds.

Public beacons lie at most a day behind. A trusted import that sends a session's events out
of order by more than this is missing from answers whose range ends in between."""

_UNIT_OF = {
    "day": "toDate({}, {{tz:String}})",
    "week": "toMonday({}, {{tz:String}})",
    "month": "toStartOfMonth({}, {{tz:String}})",
}

_HOURS = (
    "arrayJoin(arrayMap("
    "step -> toStartOfHour(greatest(s.started_at, {start:DateTime64(6, 'UTC')})) + INTERVAL step HOUR, "
    "range(toUInt32(dateDiff('hour', greatest(s.started_at, {start:DateTime64(6, 'UTC')}),"
    " least(s.ended_at, {end:DateTime64(6, 'UTC')})) + 1)))) AS hour",
    "s.session_id",
    "s.opened_at",
)
"""Each hour of the range in which a session may have events, with the session's key."""

_Column = Callable[[Dimension], str]


@dataclass(frozen=True, slots=True)
class Scoped:
    """What all parts share: the question, the range, the parameters, and the wanted groups.

    `only`: per place of a dimension the values to keep; none = all groups. `until`: the end of the
    question's range, of which `range_` may be a part.
    """

    question: Question
    range_: TimeRange
    until: datetime
    binder: Binder
    only: Mapping[int, Sequence[str]]


def select_part(part: Part, scoped: Scoped) -> str:
    """The SELECT of a part, grouped by the question's dimensions."""
    match part.source:
        case Source.TOTALS:
            return _select_totals(part, scoped)
        case Source.TRAFFIC:
            return _select_traffic(part.metrics, scoped)
        case Source.SESSIONS:
            return _select_sessions(part.metrics, scoped)
        case Source.ENTRIES:
            return _select_entries(part.metrics, scoped)
        case Source.EVENTS:
            return _select_events(part.metrics, scoped)
        case Source.VIEWS:
            return _select_views(part.metrics, scoped)
        case Source.VISITS:
            return _select_visits(part.metrics, scoped)


def _select_totals(part: Part, scoped: Scoped) -> str:
    """Sums of the builds that hold, of the one dimension that the question is about."""
    coverage, question = part.coverage, scoped.question
    assert coverage is not None, "a part that reads totals says which"
    binder = scoped.binder
    groups = [totals_column(dimension) for dimension in question.dimensions]
    # A row stands for events and for sessions; a group exists only if what is asked for happened in it.
    counted = {"events" if metric.scope is Scope.EVENT else "sessions" for metric in part.metrics}
    if part.dimension == ENTRY_PAGE and any(dimension.name == "event:page" for dimension in question.dimensions):
        counted = {"viewed_sessions"}
    where = [
        "t.site_id = {site:String}",
        f"t.dimension = {binder.bind(part.dimension, TEXT)}",
        f"t.day >= {binder.name('first_day', coverage.first.isoformat(), DAY)}",
        f"t.day <= {binder.name('last_day', coverage.last.isoformat(), DAY)}",
        f"t.build_id IN {binder.name('builds', list(coverage.builds), COUNTS)}",
        f"({' OR '.join(f't.{name} > 0' for name in sorted(counted))})",
        *_conditions(question.where, lambda _: "t.value", scoped),
        *_wanted(groups, scoped),
    ]
    return _grouped(groups, [f"sum(t.{m.name}) AS m_{m.name}" for m in part.metrics], "day_totals AS t", where)


def _select_traffic(metrics: Sequence[Metric], scoped: Scoped) -> str:
    """Visitors are counted per local day and then added up: (day, visitor) pairs."""
    groups = _expressions(scoped, "traffic", "b.bucket")
    where = [
        "b.site_id = {site:String}",
        "b.bucket >= {start:DateTime64(6, 'UTC')}",
        "b.bucket < {end:DateTime64(6, 'UTC')}",
        *_conditions(scoped.question.where, lambda _: "b.name", scoped),
        *_wanted(groups, scoped),
    ]
    names = [f"d_{index}" for index in range(len(groups))]
    inner = _select(
        [
            *_named(groups),
            "uniqIfMerge(b.visitors) AS visitors",
            "sumIf(b.events, b.name = 'pageview') AS pageviews",
            "sum(b.events) AS events",
        ],
        "traffic AS b",
        where,
        [*names, "toDate(b.bucket, {tz:String})"],
    )
    columns = [*(f"t.{name} AS {name}" for name in names), *(f"{m.traffic} AS m_{m.name}" for m in metrics)]
    return _select(columns, f"(\n{_indent(inner)}\n) AS t", [], names)


def _select_sessions(metrics: Sequence[Metric], scoped: Scoped) -> str:
    groups = _expressions(scoped, "sessions", "s.started_at")
    where = [*_started_in_range(), *_session_filters(scoped, ("s.opened_at", "s.session_id")), *_wanted(groups, scoped)]
    return _grouped(groups, [f"{m.sessions} AS m_{m.name}" for m in metrics], "sessions AS s FINAL", where)


def _select_entries(metrics: Sequence[Metric], scoped: Scoped) -> str:
    """Sessions by entry page; the entering page view lies in the range and passes the filters."""
    groups = _expressions(scoped, "sessions", "s.started_at")
    where = [
        *_started_in_range(),
        f"tupleElement(s.entry, 'at') < {scoped.binder.moment('until', scoped.until)}",
        *_session_filters(scoped, ("s.opened_at", "s.session_id", "tupleElement(s.entry, 'path')")),
        *_wanted(groups, scoped),
    ]
    return _grouped(groups, [f"{m.sessions} AS m_{m.name}" for m in metrics], "sessions AS s FINAL", where)


def _select_events(metrics: Sequence[Metric], scoped: Scoped) -> str:
    groups = _expressions(scoped, "events", "e.ts")
    where = [*_events_in_range(scoped, scoped.question.where), *_wanted(groups, scoped)]
    relation = _events_relation(scoped, _needs_join(scoped.question, scoped.question.dimensions))
    return _grouped(groups, [f"{_event_metric(m, scoped)} AS m_{m.name}" for m in metrics], relation, where)


def _select_views(metrics: Sequence[Metric], scoped: Scoped) -> str:
    """Sessions that start in the range, by the values on their events in the range."""
    question = scoped.question
    where = _events_in_range(scoped, question.where)
    if question.time_index is None:
        groups = _expressions(scoped, "events", "e.ts")
        relation = _events_relation(scoped, _needs_join(question, question.dimensions))
        earlier = _crossing(["s.opened_at", "s.session_id"], "start")
        where.append(f"(e.session_start, e.session_id) NOT IN (\n{_indent(earlier)}\n)")
    else:
        groups = _expressions(scoped, "events", "s.started_at")
        relation = _events_relation(scoped, join=True)
        where.append("s.started_at >= {start:DateTime64(6, 'UTC')}")
    where += _wanted(groups, scoped)
    return _grouped(groups, [f"{_event_metric(m, scoped)} AS m_{m.name}" for m in metrics], relation, where)


def _select_visits(metrics: Sequence[Metric], scoped: Scoped) -> str:
    """Event metrics by session attributes: whole sessions from `sessions`, the others from `events`.

    A session is whole when all its events lie in the range and in one unit: the time bucket and,
    for visitors outside UTC, the local day. Then its row says everything that its events would.
    """
    question = scoped.question
    utc = is_utc(scoped.range_)
    units = [_UNIT_OF[unit] for unit in _units(metrics, question, utc=utc)]
    inside = [
        "s.started_at >= {start:DateTime64(6, 'UTC')}",
        "s.ended_at < {end:DateTime64(6, 'UTC')}",
        *(f"{unit.format('s.started_at')} = {unit.format('s.ended_at')}" for unit in units),
    ]
    visitor_of = "{0}" if utc else "bitXor({0}, intHash64(toDate({1}, {{tz:String}})))"
    whole_groups = _expressions(scoped, "sessions", "s.started_at")
    whole = _select(
        [
            *_named(whole_groups),
            f"arrayMap(id -> {visitor_of.format('id', 's.started_at')},"
            " arrayFilter(id -> id != 0, s.visitor_ids)) AS visitors",
            "s.pageviews AS pageviews",
            "s.events AS events",
        ],
        "sessions AS s FINAL",
        [
            *_opened_near_range("{start:DateTime64(6, 'UTC')}"),
            *inside,
            *_conditions(question.where, _session_column(scoped), scoped),
            *_wanted(whole_groups, scoped),
        ],
        [],
    )
    edge_groups = _expressions(scoped, "events", "e.ts")
    crossing = _not_whole(inside) if units else _crossing(_HOURS, "start", "end")
    edges = _select(
        [
            *_named(edge_groups),
            f"if(e.visitor_id = 0, [], [{visitor_of.format('e.visitor_id', 'e.ts')}]) AS visitors",
            "toUInt64(e.name = 'pageview') AS pageviews",
            "toUInt64(1) AS events",
        ],
        _events_relation(scoped, _needs_join(question, question.dimensions)),
        [
            *_events_in_range(scoped, question.where),
            # The table's key begins with site, hour and session: with them the few sessions are found by index.
            f"(toStartOfHour(e.ts), e.session_id, e.session_start) IN (\n{_indent(crossing)}\n)",
            *_wanted(edge_groups, scoped),
        ],
        [],
    )
    names = [f"d_{index}" for index in range(len(whole_groups))]
    columns = [*(f"v.{name} AS {name}" for name in names), *(f"{m.visits} AS m_{m.name}" for m in metrics)]
    return _select(columns, f"(\n{_indent(whole)}\n    UNION ALL\n{_indent(edges)}\n) AS v", [], names)


def _units(metrics: Sequence[Metric], question: Question, *, utc: bool) -> list[str]:
    """The calendar units one session must not leave to be read as a whole."""
    daily = question.interval == "day" or (not utc and any(metric.name == "visitors" for metric in metrics))
    if daily:
        return ["day"]
    return [] if question.interval is None else [question.interval]


def _event_metric(metric: Metric, scoped: Scoped) -> str:
    question = scoped.question
    day = "toDate(e.ts, {tz:String})"
    if is_utc(scoped.range_) or question.interval in ("minute", "hour", "day"):
        visitor = "e.visitor_id"
    elif question.exact:
        visitor = f"{day}, e.visitor_id"
    else:
        # One 64-bit number per (day, visitor): far cheaper to count than a pair.
        visitor = f"bitXor(e.visitor_id, intHash64({day}))"
    session = "e.session_start, e.session_id" if question.exact else "cityHash64(e.session_start, e.session_id)"
    uniq = "uniqExact" if question.exact else "uniq"
    return metric.events.replace("@uniq", uniq).replace("@visitor", visitor).replace("@session", session)


def _events_in_range(scoped: Scoped, where: Sequence[Condition]) -> list[str]:
    return [
        "e.site_id = {site:String}",
        "e.ts >= {start:DateTime64(6, 'UTC')}",
        "e.ts < {end:DateTime64(6, 'UTC')}",
        *_conditions(where, _event_column(scoped), scoped),
    ]


def _opened_near_range(since: str) -> list[str]:
    return [
        "s.site_id = {site:String}",
        f"s.opened_at >= {since} - INTERVAL {SESSION_MARGIN_S} SECOND",
        f"s.opened_at < {{end:DateTime64(6, 'UTC')}} + INTERVAL {SESSION_MARGIN_S} SECOND",
    ]


def _started_in_range() -> list[str]:
    return [
        *_opened_near_range("{start:DateTime64(6, 'UTC')}"),
        "s.started_at >= {start:DateTime64(6, 'UTC')}",
        "s.started_at < {end:DateTime64(6, 'UTC')}",
    ]


def _session_filters(scoped: Scoped, key: tuple[str, ...]) -> list[str]:
    """Conditions on the session itself, and a semi-join for those on its events."""
    where = scoped.question.where
    about_sessions = [condition for condition in where if not is_about_events(condition)]
    about_events = [condition for condition in where if is_about_events(condition)]
    filters = _conditions(about_sessions, _session_column(scoped), scoped)
    if about_events:
        columns = ["e.session_start", "e.session_id", "e.path"][: len(key)]
        matching = _select(
            columns,
            _events_relation(scoped, any(m.dimension.joined for m in matches(about_events))),
            _events_in_range(scoped, about_events),
            [],
        )
        filters.append(f"({', '.join(key)}) IN (\n{_indent(matching)}\n)")
    return filters


def _open_since(edge: str) -> str:
    """When the longest-running session that is still active at an edge of the range was opened.

    Read without FINAL: a part of a session's row has `ended_at` past the edge exactly if the
    merged row has.
    """
    moment = f"{{{edge}:DateTime64(6, 'UTC')}}"
    return (
        f"(SELECT if(count() = 0, {moment}, min(o.opened_at)) FROM sessions AS o"
        f" WHERE o.site_id = {{site:String}} AND o.opened_at < {moment} AND o.ended_at >= {moment})"
    )


def _crossing(columns: Sequence[str], *edges: str) -> str:
    """The sessions that begin before an edge of the range and end at or after it."""
    return "\nUNION ALL\n".join(
        _select(
            columns,
            "sessions AS s FINAL",
            [
                "s.site_id = {site:String}",
                f"s.opened_at >= {_open_since(edge)}",
                f"s.opened_at < {{{edge}:DateTime64(6, 'UTC')}} + INTERVAL {SESSION_MARGIN_S} SECOND",
                f"s.started_at < {{{edge}:DateTime64(6, 'UTC')}}",
                f"s.ended_at >= {{{edge}:DateTime64(6, 'UTC')}}",
            ],
            [],
        )
        for edge in edges
    )


def _not_whole(inside: Sequence[str]) -> str:
    """The hours of the sessions with events in the range that don't lie wholly inside one unit of it."""
    return _select(
        _HOURS,
        "sessions AS s FINAL",
        [
            *_opened_near_range(_open_since("start")),
            "s.started_at < {end:DateTime64(6, 'UTC')}",
            "s.ended_at >= {start:DateTime64(6, 'UTC')}",
            f"NOT ({' AND '.join(inside)})",
        ],
        [],
    )


def _needs_join(question: Question, dimensions: Sequence[Dimension]) -> bool:
    return any(d.joined for d in (*dimensions, *(match.dimension for match in matches(question.where))))


def _events_relation(scoped: Scoped, join: bool) -> str:
    """`events`, with the session's row beside each event where that is needed."""
    if not join:
        return "events AS e"
    rows = _select(
        [
            "s.opened_at AS opened_at",
            "s.session_id AS session_id",
            "s.started_at AS started_at",
            "tupleElement(s.entry, 'path') AS entry_page",
            "tupleElement(s.exit, 'path') AS exit_page",
        ],
        "sessions AS s FINAL",
        [
            *_opened_near_range(_open_since("start")),
            "s.started_at < {end:DateTime64(6, 'UTC')}",
            "s.ended_at >= {start:DateTime64(6, 'UTC')}",
        ],
        [],
    )
    return (
        f"events AS e\nINNER JOIN (\n{_indent(rows)}\n) AS s"
        " ON e.session_start = s.opened_at AND e.session_id = s.session_id"
    )


def _event_column(scoped: Scoped) -> _Column:
    return lambda dimension: _keyed(dimension.events, dimension, scoped)


def _session_column(scoped: Scoped) -> _Column:
    return lambda dimension: _keyed(dimension.sessions, dimension, scoped)


def _keyed(sql: str, dimension: Dimension, scoped: Scoped) -> str:
    return sql.replace("@key", scoped.binder.bind(dimension.key, TEXT)) if dimension.key else sql


def _expressions(scoped: Scoped, source: Literal["traffic", "events", "sessions"], at: str) -> list[str]:
    """The question's dimensions as expressions over a source whose rows are dated by `at`."""
    return [
        _keyed(getattr(dimension, source), dimension, scoped).replace("@at", at)
        for dimension in scoped.question.dimensions
    ]


def _conditions(where: Sequence[Condition], column: _Column, scoped: Scoped) -> list[str]:
    return [render(condition, column, scoped.binder) for condition in where]


def _wanted(groups: Sequence[str], scoped: Scoped) -> list[str]:
    """Keep only the groups that were asked for by value."""
    return [
        f"{groups[index]} IN {scoped.binder.bind(values, TEXTS)}"
        for index, values in scoped.only.items()
        if scoped.question.dimensions[index].scope is not Scope.TIME
    ]


def _named(groups: Sequence[str]) -> list[str]:
    return [f"{sql} AS d_{index}" for index, sql in enumerate(groups)]


def _grouped(groups: Sequence[str], metrics: Sequence[str], relation: str, where: Sequence[str]) -> str:
    names = [f"d_{index}" for index in range(len(groups))]
    return _select([*_named(groups), *metrics], relation, where, names)


def _select(columns: Sequence[str], relation: str, where: Sequence[str], group_by: Sequence[str]) -> str:
    lines = ["SELECT", _indent(",\n".join(columns)), f"FROM {relation}"]
    if where:
        lines += ["WHERE", _indent("\nAND ".join(where))]
    if group_by:
        lines.append(f"GROUP BY {', '.join(group_by)}")
    return "\n".join(lines)


def _indent(sql: str) -> str:
    return "\n".join(f"    {line}" for line in sql.split("\n"))

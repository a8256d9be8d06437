"""The SELECT of one part: how each source is read, scoped and grouped.

Pure. Every source yields the columns `d_0 …` (dimensions) and one column per metric,
`m_<name>`, for one site and one range.
"""

from __future__ import annotations

from collections.abc import Sequence

from analytics_server.query.dimensions import Dimension, Scope
from analytics_server.query.language.conditions import Condition, is_about_events, matches
from analytics_server.query.language.request import Question
from analytics_server.query.language.shares import goal_fields
from analytics_server.query.metrics import Metric
from analytics_server.query.parameters import COUNTS, DAY, DAYS, TEXT
from analytics_server.query.plan.coverage import totals_column
from analytics_server.query.plan.plan import Part, Source, is_utc
from analytics_server.query.sql.range_edges import (
    END,
    START,
    STARTED,
    crossing,
    events_relation,
    few_sessions,
    overlapping,
    started_in_range,
)
from analytics_server.query.sql.scope import (
    Scoped,
    grouped,
    indent,
    is_settled,
    key_of_event,
    key_of_session,
    named,
    select,
)
from analytics_server.query.sql.session_parts import select_visits


def select_part(part: Part, scoped: Scoped) -> str:
    """The SELECT of a part, grouped by the question's dimensions."""
    match part.source:
        case Source.TOTALS:
            return _select_totals(part, scoped)
        case Source.ENTRY_TOTALS:
            return _select_entry_totals(part, scoped)
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
            return select_visits(part.metrics, scoped)
        case Source.SCROLLS:
            return _select_scrolls(part.metrics, scoped)


def _select_totals(part: Part, scoped: Scoped) -> str:
    """Sums of the builds that hold, of the one dimension that the question is about."""
    coverage, question = part.coverage, scoped.question
    assert coverage is not None, "a part that reads totals says which"
    binder = scoped.binder
    groups = [totals_column(dimension) for dimension in question.dimensions]
    # A row stands for events and for sessions; a group exists only if what is asked for happened in it.
    counted = {"events" if metric.scope is Scope.EVENT else "sessions" for metric in part.metrics}
    if part.source is Source.ENTRY_TOTALS:
        counted = {"viewed_sessions"}
    where = [
        "t.site_id = {site:String}",
        f"t.dimension = {binder.bind(part.dimension, TEXT)}",
        f"t.day >= {binder.name('first_day', coverage.days[0].isoformat(), DAY)}",
        f"t.day <= {binder.name('last_day', coverage.days[-1].isoformat(), DAY)}",
        f"t.build_id IN {binder.name('builds', list(coverage.builds), COUNTS)}",
        f"({' OR '.join(f't.{name} > 0' for name in sorted(counted))})",
        *scoped.conditions(question.where, lambda _: "t.value"),
        *scoped.wanted(groups),
    ]
    return grouped(groups, [f"sum(t.{m.name}) AS m_{m.name}" for m in part.metrics], "day_totals AS t", where)


def _select_entry_totals(part: Part, scoped: Scoped) -> str:
    """Totals by entry page, less the few sessions of these days whose first page view lies after the range."""
    metrics, coverage = part.metrics, part.coverage
    assert coverage is not None, "a part that reads totals says which"
    groups = scoped.expressions("sessions", "s.started_at")
    names = [f"d_{index}" for index in range(len(groups))]
    columns = [
        *named(groups),
        "s.started_at AS started_at",
        "tupleElement(s.entry, 'at') AS entered_at",
        "s.pageviews AS pageviews",
        "s.interactions AS interactions",
    ]
    days = scoped.binder.name("held_days", [day.isoformat() for day in coverage.days], DAYS)
    where = [
        f"s.started_at >= {START}",
        f"toDate(s.started_at, {{tz:String}}) IN {days}",
        f"s.entered_at >= {scoped.binder.moment('until', scoped.until)}",
        "s.pageviews > 0",
    ]
    relation = f"(\n{indent(crossing(scoped, columns, END))}\n) AS s"
    kept = [f"s.{name} AS {name}" for name in names]
    late = select([*kept, *(f"{m.sessions} AS m_{m.name}" for m in metrics)], relation, where, names)
    left = [
        *(f"t.{name} AS {name}" for name in names),
        *(f"toUInt64(t.m_{m.name} - l.m_{m.name}) AS m_{m.name}" for m in metrics),
    ]
    totals = _select_totals(part, scoped)
    joined = f"(\n{indent(totals)}\n) AS t\nLEFT JOIN (\n{indent(late)}\n) AS l USING ({', '.join(names)})"
    return select(left, joined, ["t.m_viewed_sessions > l.m_viewed_sessions"])


def _select_traffic(metrics: Sequence[Metric], scoped: Scoped) -> str:
    """Visitors are counted per local day and then added up: (day, visitor) pairs."""
    groups = scoped.expressions("traffic", "b.bucket")
    where = [
        "b.site_id = {site:String}",
        f"b.bucket >= {START}",
        f"b.bucket < {END}",
        *scoped.conditions(scoped.question.where, lambda _: "b.name"),
        *scoped.wanted(groups),
    ]
    names = [f"d_{index}" for index in range(len(groups))]
    inner = select(
        [
            *named(groups),
            "uniqIfMerge(b.visitors) AS visitors",
            "sumIf(b.events, b.name = 'pageview') AS pageviews",
            "sum(b.events) AS events",
        ],
        "traffic AS b",
        where,
        [*names, "toDate(b.bucket, {tz:String})"],
    )
    columns = [*(f"t.{name} AS {name}" for name in names), *(f"{m.traffic} AS m_{m.name}" for m in metrics)]
    return select(columns, f"(\n{indent(inner)}\n) AS t", [], names)


def _select_sessions(metrics: Sequence[Metric], scoped: Scoped) -> str:
    groups = scoped.expressions("sessions", "s.started_at")
    settled, others = _session_filters(scoped)
    values = [f"{m.sessions} AS m_{m.name}" for m in metrics]
    where = [*others, *scoped.wanted(groups)]
    exact = scoped.question.exact
    about_events = _matching_events(scoped, key_of_event(exact=exact))
    if not about_events:
        return grouped(groups, values, "sessions AS s FINAL", [*started_in_range(), *where], settled)
    settled.append(f"({key_of_session(exact=exact)}) IN (\n{indent(about_events)}\n)")
    where = [*STARTED, *where]
    return grouped(groups, values, few_sessions([*groups, *values, *where], settled, exact=exact), where)


def _select_entries(metrics: Sequence[Metric], scoped: Scoped) -> str:
    """Sessions by entry page; the entering page view lies in the range and passes the filters."""
    exact = scoped.question.exact
    groups = scoped.expressions("sessions", "s.started_at")
    settled, others = _session_filters(scoped)
    about_events = _matching_events(scoped, f"{key_of_event(exact=exact)}, e.path")
    if about_events:
        # After the merge: which page a session entered on is not known before.
        others.append(f"({key_of_session(exact=exact)}, tupleElement(s.entry, 'path')) IN (\n{indent(about_events)}\n)")
    where = [
        *started_in_range(),
        f"tupleElement(s.entry, 'at') < {scoped.binder.moment('until', scoped.until)}",
        *others,
        *scoped.wanted(groups),
    ]
    return grouped(groups, [f"{m.sessions} AS m_{m.name}" for m in metrics], "sessions AS s FINAL", where, settled)


def _select_events(metrics: Sequence[Metric], scoped: Scoped) -> str:
    groups = scoped.expressions("events", "e.ts")
    where = [*_events_in_range(scoped, scoped.question.where), *scoped.wanted(groups)]
    relation = events_relation(scoped, join=_needs_join(scoped.question, scoped.question.dimensions))
    return grouped(groups, [f"{_event_metric(m, scoped)} AS m_{m.name}" for m in metrics], relation, where)


def _select_views(metrics: Sequence[Metric], scoped: Scoped) -> str:
    """Sessions that start in the range, by the values on their events in the range."""
    question = scoped.question
    where = _events_in_range(scoped, question.where)
    if question.time_index is None:
        groups = scoped.expressions("events", "e.ts")
        relation = events_relation(scoped, join=_needs_join(question, question.dimensions))
        earlier = crossing(scoped, [key_of_session(exact=question.exact)], START)
        where.append(f"({key_of_event(exact=question.exact)}) NOT IN (\n{indent(earlier)}\n)")
    else:
        groups = scoped.expressions("events", "s.started_at")
        relation = events_relation(scoped, join=True)
        where.append(f"s.started_at >= {START}")
    where += scoped.wanted(groups)
    return grouped(groups, [f"{_event_metric(m, scoped)} AS m_{m.name}" for m in metrics], relation, where)


def _select_scrolls(metrics: Sequence[Metric], scoped: Scoped) -> str:
    """The deepest scroll per session and page, then the mean of them; what nobody scrolled has none."""
    groups = scoped.expressions("events", "e.ts")
    names = [f"d_{index}" for index in range(len(groups))]
    where = [*_events_in_range(scoped, scoped.question.where), "e.scroll_depth > 0", *scoped.wanted(groups)]
    relation = events_relation(scoped, join=_needs_join(scoped.question, scoped.question.dimensions))
    if scoped.question.exact:
        key = [key_of_event(exact=True), "e.path"]
    else:
        # One number for session and page: far cheaper to group by than both.
        key = [f"cityHash64({key_of_event(exact=False)}, e.path)"]
    inner = select([*named(groups), "max(e.scroll_depth) AS depth"], relation, where, [*names, *key])
    columns = [*(f"v.{name} AS {name}" for name in names), *(f"{m.scrolls} AS m_{m.name}" for m in metrics)]
    return select(columns, f"(\n{indent(inner)}\n) AS v", [], names)


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
    uniq = "uniqExact" if question.exact else "uniq"
    session = key_of_event(exact=question.exact)
    return metric.events.replace("@uniq", uniq).replace("@visitor", visitor).replace("@session", session)


def _events_in_range(scoped: Scoped, where: Sequence[Condition]) -> list[str]:
    """The events that meet the conditions; what only merged sessions tell is asked of them, which spares a join."""
    of_sessions = [condition for condition in where if _is_of_merged_session(condition)]
    found = ["e.site_id = {site:String}", f"e.ts >= {START}", f"e.ts < {END}"]
    found += scoped.on_events([condition for condition in where if condition not in of_sessions])
    if of_sessions:
        exact = scoped.question.exact
        keys = overlapping(scoped, [key_of_session(exact=exact)], scoped.on_sessions(of_sessions), final=True)
        found.append(f"({key_of_event(exact=exact)}) IN (\n{indent(keys)}\n)")
    return found


def _is_of_merged_session(condition: Condition) -> bool:
    """Is the condition about the session alone, and about what no event of it tells?"""
    return not is_about_events(condition) and any(match.dimension.joined for match in matches((condition,)))


def _session_filters(scoped: Scoped) -> tuple[list[str], list[str]]:
    """Conditions on the session itself: those that hold for every part of its row, and the others."""
    where = [condition for condition in scoped.question.where if not is_about_events(condition)]
    return (
        scoped.on_sessions([condition for condition in where if is_settled(condition)]),
        scoped.on_sessions([condition for condition in where if not is_settled(condition)]),
    )


def _matching_events(scoped: Scoped, columns: str) -> str:
    """The events in the range that meet the conditions on events; empty if there are none such."""
    where = [condition for condition in scoped.question.where if is_about_events(condition)]
    if not where:
        return ""
    relation = events_relation(scoped, join=any(match.dimension.joined for match in matches(where)))
    return select([columns], relation, _events_in_range(scoped, where))


def _needs_join(question: Question, dimensions: Sequence[Dimension]) -> bool:
    beside = [condition for condition in question.where if not _is_of_merged_session(condition)]
    filtered = (match.dimension for match in matches(beside))
    return any(d.joined for d in (*dimensions, *filtered, *goal_fields(question)))

"""The SELECT of one part: how each source is read, scoped and grouped.

Pure. Every source yields the columns `d_0 …` (dimensions) and one column per metric,
`m_<name>`, for one site and one range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analytics_server.query.dimensions import Scope
from analytics_server.query.language.conditions import Condition
from analytics_server.query.language.filter_classes import of_pages_only, reads_pages
from analytics_server.query.metrics import AMOUNTS, OF_GOALS, VISITORS, Metric
from analytics_server.query.parameters import COUNTS, DAY, DAYS, TEXT
from analytics_server.query.plan.plan import PlanPart, PlanTable
from analytics_server.query.sql.from_tables import ACTIVE_EVENTS, SESSION_PARTS, SESSIONS
from analytics_server.query.sql.scope import Scoped, grouped, local_day, named, names_of
from analytics_server.query.sql.select import (
    Expression,
    Join,
    Scalar,
    Select,
    Subquery,
    Table,
    compose,
    is_in,
    select,
)
from analytics_server.query.sql.session_parts import select_session_parts
from analytics_server.query.sql.session_rows import crossing, events_source, few_sessions, overlapping
from analytics_server.query.sql.templates import fill


def select_part(part: PlanPart, scoped: Scoped) -> Select:
    """The SELECT of a part, grouped by the question's dimensions."""
    match part.table:
        case PlanTable.TOTALS:
            return _select_totals(part, scoped)
        case PlanTable.ENTRY_TOTALS:
            return _select_entry_totals(part, scoped)
        case PlanTable.TRAFFIC:
            return _select_traffic(part.metrics, scoped)
        case PlanTable.SESSIONS:
            return _select_sessions(part.metrics, scoped)
        case PlanTable.ENTRIES:
            return _select_entries(part.metrics, scoped)
        case PlanTable.EXITS:
            return _select_exits(part.metrics, scoped)
        case PlanTable.EXIT_EVENTS:
            return _select_exit_events(part.metrics, scoped)
        case PlanTable.EVENTS:
            return _select_events(part.metrics, scoped)
        case PlanTable.VIEWS:
            return _select_views(part.metrics, scoped)
        case PlanTable.SESSION_PARTS:
            return select_session_parts(part.metrics, scoped)
        case PlanTable.SCROLLS:
            return _select_scrolls(part.metrics, scoped)


def _select_totals(part: PlanPart, scoped: Scoped) -> Select:
    """Sums of the builds that hold, of the one dimension that the question is about."""
    coverage, question = part.coverage, scoped.question
    assert coverage is not None, "a part that reads totals says which"
    binder = scoped.binder
    groups: list[Expression] = [scoped.totals_column(dimension) for dimension in question.dimensions]
    # A row stands for events and for sessions; a group exists only if what is asked for happened in it.
    counted = {"events" if metric.scope is Scope.EVENT else "sessions" for metric in part.metrics}
    if part.table is PlanTable.ENTRY_TOTALS:
        counted = {"viewed_sessions"}
    where = [
        "t.site_id = {site:String}",
        f"t.dimension = {binder.bind(part.dimension, TEXT)}",
        f"t.day >= {binder.name('first_day', coverage.days[0].isoformat(), DAY)}",
        f"t.day <= {binder.name('last_day', coverage.days[-1].isoformat(), DAY)}",
        f"t.build_id IN {binder.name('builds', list(coverage.builds), COUNTS)}",
        f"({' OR '.join(f't.{name} > 0' for name in sorted(counted))})",
        *scoped.conditions(question.where, scoped.totals_column),
        *scoped.wanted(groups),
    ]
    return grouped(groups, [f"sum(t.{m.name}) AS m_{m.name}" for m in part.metrics], Table("day_totals", "t"), where)


def _select_entry_totals(part: PlanPart, scoped: Scoped) -> Select:
    """Totals by entry page, less the few sessions of these days whose first page view lies after the range."""
    metrics, coverage = part.metrics, part.coverage
    assert coverage is not None, "a part that reads totals says which"
    groups = scoped.expressions("sessions", "s.started_at")
    names = names_of(len(groups))
    columns: list[Expression] = [
        *named(groups),
        "s.started_at AS started_at",
        "tupleElement(s.entry, 'at') AS entered_at",
        "s.pageviews AS pageviews",
        "s.interactions AS interactions",
    ]
    days = scoped.binder.name("held_days", [day.isoformat() for day in coverage.days], DAYS)
    where: list[Expression] = [
        f"s.started_at >= {scoped.edges.start}",
        f"toDate(s.started_at, {{tz:String}}) IN {days}",
        f"s.entered_at >= {scoped.binder.moment('until', scoped.until)}",
        "s.pageviews > 0",
    ]
    page = "tupleElement(s.entry, 'path')"
    columns.append(f"{page} AS page")
    where += scoped.conditions(scoped.question.where, lambda _: "s.page")
    source = Subquery(crossing(scoped, columns, scoped.edges.end), "s")
    if not names:
        less = [Scalar(select([m.sessions], source, where)) for m in metrics]
        values = [
            compose(f"toUInt64(t.m_{m.name} - ", one, f") AS m_{m.name}") for m, one in zip(metrics, less, strict=True)
        ]
        return select(values, Subquery(_select_totals(part, scoped), "t"))
    kept = [f"s.{name} AS {name}" for name in names]
    late = select([*kept, *(f"{m.sessions} AS m_{m.name}" for m in metrics)], source, where, names)
    left = [
        *(f"t.{name} AS {name}" for name in names),
        *(f"toUInt64(t.m_{m.name} - l.m_{m.name}) AS m_{m.name}" for m in metrics),
    ]
    totals = Subquery(_select_totals(part, scoped), "t")
    joined = Join(totals, "LEFT", Subquery(late, "l"), f"USING ({', '.join(names)})")
    return select(left, joined, ["t.m_viewed_sessions > l.m_viewed_sessions"])


def _select_traffic(metrics: Sequence[Metric], scoped: Scoped) -> Select:
    """Visitors are counted per local day and then added up: (day, visitor) pairs."""
    groups = scoped.expressions("traffic", "b.bucket")
    where = [
        "b.site_id = {site:String}",
        f"b.bucket >= {scoped.edges.start}",
        f"b.bucket < {scoped.edges.end}",
        "b.active > 0",
        *scoped.conditions(scoped.question.where, lambda _: "b.name"),
        *scoped.wanted(groups),
    ]
    names = names_of(len(groups))
    inner = select(
        [
            *named(groups),
            "uniqIfMerge(b.visitors) AS visitors",
            "sumIf(b.events, b.name = 'pageview') AS pageviews",
            "sum(b.active) AS events",
        ],
        Table("traffic", "b"),
        where,
        [*names, "toDate(b.bucket, {tz:String})"],
    )
    columns = [*(f"t.{name} AS {name}" for name in names), *(f"{m.traffic} AS m_{m.name}" for m in metrics)]
    return select(columns, Subquery(inner, "t"), [], names)


def _select_sessions(metrics: Sequence[Metric], scoped: Scoped) -> Select:
    groups = scoped.expressions("sessions", "s.started_at")
    settled, others = scoped.settled, scoped.on_sessions(scoped.question.filters.unsettled)
    values = [f"{m.sessions} AS m_{m.name}" for m in metrics]
    where = [*others, *scoped.wanted(groups)]
    if not scoped.question.filters.about_events:
        return grouped(groups, values, SESSIONS, [*scoped.edges.started_in_range(), *where], settled)
    settled.append(is_in(scoped.session_key, _matching_events(scoped, scoped.event_key)))
    where = [*scoped.edges.started, *where]
    return grouped(groups, values, few_sessions(scoped, [*groups, *values, *where], settled), where)


def _select_entries(metrics: Sequence[Metric], scoped: Scoped) -> Select:
    """Sessions by entry page; the entering page view lies in the range and passes the filters.

    Which page a session entered on is known after the merge only, but one of its parts says the same before, so that
    with conditions few sessions need merging.
    """
    groups = scoped.expressions("sessions", "s.started_at")
    settled, others = scoped.settled, scoped.on_sessions(scoped.question.filters.unsettled)
    values = [f"{m.sessions} AS m_{m.name}" for m in metrics]
    where = [
        f"tupleElement(s.entry, 'at') < {scoped.binder.moment('until', scoped.until)}",
        *others,
        *scoped.wanted(groups),
    ]
    about_events = scoped.question.filters.about_events
    if not about_events:
        return grouped(groups, values, SESSIONS, [*scoped.edges.started_in_range(), *where], settled)
    if of_pages_only(about_events):
        entered = scoped.on_sessions(about_events)
        where += entered
        if reads_pages(about_events):
            return grouped(groups, values, SESSIONS, [*scoped.edges.started_in_range(), *where], settled)
        some = select(scoped.session_key, SESSION_PARTS, [*scoped.edges.opened_near(), *entered])
    else:
        some = _matching_events(scoped, scoped.event_key)
        where.append(
            is_in(
                (*scoped.session_key, "tupleElement(s.entry, 'path')"),
                _matching_events(scoped, (*scoped.event_key, "e.path")),
            )
        )
    settled.append(is_in(scoped.session_key, some))
    where = [*scoped.edges.started, *where]
    return grouped(groups, values, few_sessions(scoped, [*groups, *values, *where], settled), where)


def _select_exits(metrics: Sequence[Metric], scoped: Scoped) -> Select:
    """Sessions whose last page view lies in the range and passes the filters, by what their row tells of it."""
    at = "tupleElement(s.exit, 'at')"
    groups = scoped.expressions("exits", at)
    filters = scoped.question.filters
    where = [
        *scoped.edges.overlapping(),
        f"{at} >= {scoped.edges.start}",
        f"{at} < {scoped.edges.end}",
        *scoped.on_exits([*filters.about_events, *filters.unsettled]),
        *scoped.wanted(groups),
    ]
    return grouped(groups, [f"{m.exits} AS m_{m.name}" for m in metrics], SESSIONS, where, scoped.settled)


def _select_exit_events(metrics: Sequence[Metric], scoped: Scoped) -> Select:
    """The same by the events that are these page views; of two at the same moment the session counts once."""
    groups = scoped.expressions("events", "e.ts")
    at, page = "tupleElement(s.exit, 'at')", "tupleElement(s.exit, 'path')"
    last = overlapping(
        scoped,
        (*scoped.session_key, at, page),
        [f"{at} >= {scoped.edges.start}", f"{at} < {scoped.edges.end}"],
        final=True,
    )
    where = [
        *_events_in_range(scoped, scoped.question.where),
        "e.name = 'pageview'",
        is_in((*scoped.event_key, "e.ts", "e.path"), last),
        *scoped.wanted(groups),
    ]
    source = events_source(scoped, join=_needs_join(scoped))
    return grouped(groups, _event_columns(metrics, scoped), source, where)


def _select_events(metrics: Sequence[Metric], scoped: Scoped) -> Select:
    groups = scoped.expressions("events", "e.ts")
    where = [*_events_in_range(scoped, scoped.question.where), *scoped.wanted(groups)]
    of_goals = scoped.question.counts_passive and any(metric in OF_GOALS for metric in metrics)
    if all(metric.active for metric in metrics) and not of_goals:
        where.append(ACTIVE_EVENTS)  # no group for what counts nowhere
    join = _needs_join(scoped)
    if not join and any(metric.kind in AMOUNTS for metric in metrics):
        join = reads_pages(scoped.question.paying)
    return grouped(groups, _event_columns(metrics, scoped), events_source(scoped, join=join), where)


def _select_views(metrics: Sequence[Metric], scoped: Scoped) -> Select:
    """Sessions that start in the range, by the values on their events in the range."""
    question = scoped.question
    where = _events_in_range(scoped, question.where)
    if question.time_index is None:
        groups = scoped.expressions("events", "e.ts")
        source = events_source(scoped, join=_needs_join(scoped))
        earlier = crossing(scoped, scoped.session_key, scoped.edges.start)
        where.append(is_in(scoped.event_key, earlier, negated=True))
    else:
        groups = scoped.expressions("events", "s.started_at")
        source = events_source(scoped, join=True)
        where.append(f"s.started_at >= {scoped.edges.start}")
    where += scoped.wanted(groups)
    return grouped(groups, _event_columns(metrics, scoped), source, where)


def _select_scrolls(metrics: Sequence[Metric], scoped: Scoped) -> Select:
    """The deepest scroll per session and page, then the mean of them; pages that were not scrolled have none."""
    groups = scoped.expressions("events", "e.ts")
    names = names_of(len(groups))
    where = [*_events_in_range(scoped, scoped.question.where), "e.scroll_depth > 0", *scoped.wanted(groups)]
    source = events_source(scoped, join=_needs_join(scoped))
    if scoped.question.exact:
        key = [*scoped.event_key, "e.path"]
    else:
        # One number for session and page: far cheaper to group by than both.
        key = [f"cityHash64({', '.join(scoped.event_key)}, e.path)"]
    inner = select([*named(groups), "max(e.scroll_depth) AS depth"], source, where, [*names, *key])
    columns = [*(f"v.{name} AS {name}" for name in names), *(f"{m.scrolls} AS m_{m.name}" for m in metrics)]
    return select(columns, Subquery(inner, "v"), [], names)


def _event_columns(metrics: Sequence[Metric], scoped: Scoped) -> list[Expression]:
    """The metrics' columns over a row `e` of `events`."""
    return [compose(_event_metric(metric, scoped), f" AS m_{metric.name}") for metric in metrics]


def _event_metric(metric: Metric, scoped: Scoped) -> Expression:
    question = scoped.question
    if question.counts_passive and metric in OF_GOALS:
        return _goal_visitors(scoped, by_group=metric is not VISITORS)
    day = local_day("e.ts")
    within_day = question.interval in ("minute", "hour", "day") and scoped.rest_of is None
    if within_day:
        visitor = "e.visitor_id"
    elif question.exact:
        visitor = f"{day}, e.visitor_id"
    else:
        # One 64-bit number per (day, visitor): far cheaper to count than a pair.
        visitor = f"bitXor(e.visitor_id, intHash64({day}))"
    uniq = "uniqExact" if question.exact or (metric is VISITORS and question.exact_visitors) else "uniq"
    blanks = {
        "uniq": uniq,
        "uniqIf": f"{uniq}If",
        "visitor": visitor,
        "counts": ACTIVE_EVENTS,
        "session": ", ".join(scoped.event_key),
    }
    pieces = [fill(piece, **blanks) for piece in metric.events.split("@paid")]
    if len(pieces) == 1:
        return pieces[0]
    paid = scoped.paid()
    return compose(pieces[0], *(part for piece in pieces[1:] for part in (paid, piece)))


def _goal_visitors(scoped: Scoped, *, by_group: bool) -> Expression:
    """Visitors with an event of the goal, of those with an active event that passes the other filters.

    A passive event counts for its own day's visitor, or else for that of the day on which its session began.
    """
    base = replace(scoped, question=scoped.question.converting(by_group=by_group), only={})
    groups = base.expressions("events", "e.ts")
    own, opened = local_day("e.ts"), local_day("e.session_start")
    visitors = select(
        [*groups, own, "e.visitor_id"],
        events_source(base, join=_needs_join(base)),
        [*_events_in_range(base, base.question.where), ACTIVE_EVENTS, "e.visitor_id != 0"],
    )
    keys = [f"d_{scoped.question.dimensions.index(dimension)}" for dimension in base.question.dimensions]
    known, known_before = (is_in((*keys, day, "e.visitor_id"), visitors) for day in (own, opened))
    day = compose(f"if({ACTIVE_EVENTS} OR ", known, f", {own}, {opened})")
    counts = compose(f"({ACTIVE_EVENTS} OR ", known, " OR ", known_before, ")")
    if scoped.question.exact:
        visitor = compose(day, ", e.visitor_id")
    else:
        visitor = compose("bitXor(e.visitor_id, intHash64(", day, "))")
    uniq = "uniqExactIf" if scoped.question.exact_visitors else "uniqIf"
    return compose(f"{uniq}(", visitor, ", e.visitor_id != 0 AND ", counts, ")")


def _events_in_range(scoped: Scoped, where: Sequence[Condition]) -> list[Expression]:
    """The events that meet the conditions; what only merged sessions tell is asked of them, which spares a join."""
    merged = scoped.question.filters.of_merged_sessions
    found: list[Expression] = [*scoped.edges.events]
    found += scoped.on_events([condition for condition in where if condition not in merged])
    of_sessions = [condition for condition in where if condition in merged]
    if of_sessions:
        keys = overlapping(scoped, scoped.session_key, scoped.on_sessions(of_sessions), final=True)
        found.append(is_in(scoped.event_key, keys))
    return found


def _matching_events(scoped: Scoped, columns: Sequence[str]) -> Select:
    """The events in the range that meet the conditions on events."""
    where = scoped.question.filters.about_events
    source = events_source(scoped, join=reads_pages(where))
    return select(columns, source, _events_in_range(scoped, where))


def _needs_join(scoped: Scoped) -> bool:
    """Do the question's groups, filters or goals ask events for what only the session's row knows?"""
    question = scoped.question
    return reads_pages(question.filters.beside_events) or any(
        dimension.joined for dimension in (*question.dimensions, *question.goal_dimensions)
    )

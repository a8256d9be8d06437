"""Which table answers which metric: the cheapest one that is exact for the question.

Pure. A plan is a list of parts; each part reads one table and yields some of the
metrics for the same dimensions, and `sql/statement` puts the parts together. Combinations
that have no meaning are refused here, with the reason.

Tables, and ways to read them, cheapest first:
- `totals`: numbers of days that are over, per value of one dimension; with them the other
  tables read only the rest of the range.
- `traffic`: quarter-hour totals; knows times and event names only.
- `sessions`: one row per session, for metrics of session scope.
- `session_parts`: event metrics read from `sessions` where a session lies wholly inside one
  bucket of the question, and from `events` for the few that cross an edge.
- `entries`: sessions by the page they entered on, for `bounce_rate` by `event:page` and with filters on it.
- `events`: the raw rows; the session's attributes stand on each of them.
- `exits`: sessions by the page of their last page view, for `exit_rate`; `exit_events`: the same read from `events`,
  where a field of the page view is asked for that the session's row does not have.
- `views`: sessions counted over `events`, for `sessions` by an event dimension.
- `scrolls`: `events`, first by session and page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from analytics_server.errors import RequestError
from analytics_server.query.clock_changes import HOUR_S, QUARTER_S, clock_periods
from analytics_server.query.dimensions import SESSION, Dimension, Scope, of_exits
from analytics_server.query.language.conditions import matches
from analytics_server.query.language.request import Question
from analytics_server.query.language.time_range import TimeRange, on_quarter_hours
from analytics_server.query.metrics import (
    OF_GOALS,
    VISITORS,
    Metric,
    MetricKind,
    Share,
    find_metric,
    pieces_of,
    read_for,
)
from analytics_server.query.plan.coverage import (
    ENTRY_PAGE,
    WHOLE_DAY,
    Coverage,
    entries_are_kept,
    is_kept,
    kept_dimension,
)


class PlanTable(StrEnum):
    """What a part of the answer is read from: a table, or a way to read it."""

    TOTALS = "totals"
    ENTRY_TOTALS = "entry_totals"
    TRAFFIC = "traffic"
    SESSIONS = "sessions"
    SESSION_PARTS = "session_parts"
    ENTRIES = "entries"
    EXITS = "exits"
    EXIT_EVENTS = "exit_events"
    EVENTS = "events"
    VIEWS = "views"
    SCROLLS = "scrolls"


_TABLES: dict[PlanTable, tuple[str, ...]] = {
    PlanTable.TOTALS: ("day_totals",),
    PlanTable.ENTRY_TOTALS: ("day_totals", "sessions"),
    PlanTable.TRAFFIC: ("traffic",),
    PlanTable.SESSIONS: ("sessions",),
    PlanTable.SESSION_PARTS: ("sessions", "events"),
    PlanTable.ENTRIES: ("sessions",),
    PlanTable.EXITS: ("sessions",),
    PlanTable.EXIT_EVENTS: ("events", "sessions"),
    PlanTable.EVENTS: ("events",),
    PlanTable.VIEWS: ("events", "sessions"),
    PlanTable.SCROLLS: ("events",),
}


_EVENTS = find_metric("events")
_SCROLL_DEPTH = find_metric("scroll_depth")
_BOUNCE_RATE = find_metric("bounce_rate")
_OF_ENTRIES = (_BOUNCE_RATE, *pieces_of(_BOUNCE_RATE))
"""Where pages are chosen, by a dimension or a filter, these are of the sessions that entered there."""


@dataclass(frozen=True, slots=True)
class PlanPart:
    """Some metrics of the question, all read from one table for one range."""

    table: PlanTable
    metrics: tuple[Metric, ...]
    range_: TimeRange
    coverage: Coverage | None = None
    dimension: str = ""
    """Of `day_totals`: under which name the numbers stand there."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts that together hold everything that is counted for the question.

    `merged`: per counted metric, by name, the formula that makes one value of the parts' rows, which
    are stacked and grouped; empty if there is a single part, which needs none. `wider`: the questions
    whose visitors the question's shares are of.
    """

    parts: tuple[PlanPart, ...]
    merged: Mapping[str, str] = field(default_factory=dict)
    wider: Mapping[Share, Wider] = field(default_factory=dict)

    @property
    def all_parts(self) -> tuple[PlanPart, ...]:
        """The parts, and those of the wider questions."""
        return (*self.parts, *(part for wide in self.wider.values() for part in wide.plan.parts))

    @property
    def table(self) -> str:
        """The tables read, for the answer's `meta`."""
        return "+".join(dict.fromkeys(table for part in self.all_parts for table in _TABLES[part.table]))


@dataclass(frozen=True, slots=True)
class Wider:
    """Another question that is answered beside the first."""

    question: Question
    plan: Plan


Choose = Callable[[Metric, Sequence[PlanTable]], PlanTable]


def cheapest(_: Metric, tables: Sequence[PlanTable]) -> PlanTable:
    """The first of the tables that can answer."""
    return tables[0]


def make_plan(
    question: Question, range_: TimeRange, coverage: Coverage | None = None, choose: Choose = cheapest
) -> Plan:
    """Choose a table per metric. Raises `RequestError` (unsupported_combination).

    `coverage`: the days that `day_totals` holds; metrics that it knows are read from there. `choose`: which of
    the tables that can answer a metric, given cheapest first.
    """
    plans = {share: Wider(wide, make_plan(wide, range_, coverage, choose)) for share, wide in question.wider.items()}
    metrics = _with_groups(tuple(dict.fromkeys(map(question.counted_for, question.metrics))), question)
    read = read_for(metrics)
    held = None if coverage is None else kept_dimension(question)
    kept = [metric for metric in read if held is not None and is_kept(metric, held)]
    entered = [metric for metric in read if held is not None and entries_are_kept(metric, question)]
    parts: tuple[PlanPart, ...] = ()
    if coverage is None or not (kept or entered):
        parts = _read(question, read, range_, choose)
        return Plan(
            parts, {m.name: m.merged if m.apart else _whole(m) for m in metrics} if len(parts) > 1 else {}, plans
        )
    others = tuple(metric for metric in read if metric not in (*kept, *entered))
    for table, found, dimension in (
        (PlanTable.TOTALS, kept, held or WHOLE_DAY),
        (PlanTable.ENTRY_TOTALS, entered, ENTRY_PAGE),
    ):
        pieces = tuple(dict.fromkeys(piece for metric in found for piece in pieces_of(metric)))
        if pieces:
            parts += (PlanPart(table, pieces, range_, coverage, dimension),)
        for rest in coverage.rests:
            parts += _read(question, pieces, rest, choose)
    parts += _read(question, others, range_, choose)
    return Plan(parts, {m.name: _whole(m) if m in others else _summed(m) for m in metrics}, plans)


def approximate_metrics(question: Question, plan: Plan) -> list[str]:
    """The metrics of this answer that are counted with `uniq` and may be off by about 1 %."""
    if question.exact:
        return []
    counted_roughly = {m.name for part in plan.parts if part.table is PlanTable.VIEWS for m in part.metrics}
    if not question.exact_visitors and _counts_visitors(plan):
        counted_roughly.add(VISITORS.name)
    return [metric.name for metric in question.metrics if metric.name in counted_roughly]


def tables_of(metric: Metric, question: Question, range_: TimeRange) -> tuple[PlanTable, ...]:
    """The tables that answer the metric exactly, cheapest first, besides the totals of days that are over.

    Raises `RequestError` (unsupported_combination) if it has no meaning.
    """
    return _event_tables(metric, question, range_) if metric.scope is Scope.EVENT else _session_tables(metric, question)


def _with_groups(metrics: tuple[Metric, ...], question: Question) -> tuple[Metric, ...]:
    """Groups without any scroll are groups all the same, and are known by their events."""
    events = [metric for metric in metrics if metric.scope is Scope.EVENT]
    return (*metrics, _EVENTS) if question.dimensions and events == [_SCROLL_DEPTH] else metrics


def _counts_visitors(plan: Plan) -> bool:
    return any(m is VISITORS for part in plan.parts if part.table is not PlanTable.TOTALS for m in part.metrics)


def _read(question: Question, metrics: Iterable[Metric], range_: TimeRange, choose: Choose) -> tuple[PlanPart, ...]:
    chosen: dict[PlanTable, list[Metric]] = {}
    for metric in metrics:
        chosen.setdefault(choose(metric, tables_of(metric, question, range_)), []).append(metric)
    return tuple(PlanPart(table, tuple(found), range_) for table, found in chosen.items())


def _whole(metric: Metric) -> str:
    """A metric that one part holds alone: the others have nothing to add."""
    return f"{'sum' if metric.kind is MetricKind.COUNT else 'max'}(r.m_{metric.name})"


def _summed(metric: Metric) -> str:
    """A metric whose pieces are added up over all parts."""
    return metric.merged or f"sum(r.m_{metric.name})"


def _event_tables(metric: Metric, question: Question, range_: TimeRange) -> tuple[PlanTable, ...]:
    if metric.scrolls:
        return (PlanTable.SCROLLS,)
    filtered = [match.dimension for match in matches(question.where)]
    fields = [*question.dimensions, *filtered, *question.goal_dimensions]
    if metric in OF_GOALS and question.counts_passive:
        return (PlanTable.EVENTS,)
    if metric.exits:
        known = all(map(of_exits, fields))
        return (PlanTable.EXITS, PlanTable.EXIT_EVENTS) if known else (PlanTable.EXIT_EVENTS,)
    roughly = metric is VISITORS and question.exact
    found: list[PlanTable] = []
    states = metric is VISITORS and question.exact_visitors  # what traffic has of visitors is approximate
    if metric.traffic and not states and all(d.traffic for d in fields) and _on_quarters(question, range_):
        found.append(PlanTable.TRAFFIC)
    whole = question.interval in (None, "day", "week", "month") and all(d.scope is not Scope.EVENT for d in fields)
    parts = (PlanTable.SESSION_PARTS,) if metric.session_parts and not roughly and whole else ()
    # has_done reads events in any case, and would have to do so for each piece of sessions.
    if parts and SESSION not in fields and any(d.scope is Scope.SESSION for d in fields):
        return (*found, *parts, PlanTable.EVENTS)
    return (*found, PlanTable.EVENTS, *parts)


def _on_quarters(question: Question, range_: TimeRange) -> bool:
    """Do the range and its buckets begin on quarters of an hour, as those of `traffic` do?"""
    if question.interval != "hour" or not on_quarter_hours(range_):
        return on_quarter_hours(range_)
    start, end = (int(edge.timestamp()) for edge in (range_.start, range_.end))
    return all(period.start % QUARTER_S == 0 for period in clock_periods(start - HOUR_S, end, range_.zone))


def _session_tables(metric: Metric, question: Question) -> tuple[PlanTable, ...]:
    by_event = [dimension for dimension in question.dimensions if dimension.scope is Scope.EVENT]
    entering = question.filters.names_page and metric in _OF_ENTRIES
    if not by_event and not entering:
        return (PlanTable.SESSIONS, PlanTable.VIEWS) if metric.events else (PlanTable.SESSIONS,)
    if metric.events:
        return (PlanTable.VIEWS,)
    if metric in _OF_ENTRIES:
        if all(dimension.sessions for dimension in by_event):
            return (PlanTable.ENTRIES,)
        raise RequestError(
            "bounce_rate by an event dimension is known for event:page alone: it counts the sessions that entered"
            f" there. Leave out {_names(d for d in by_event if not d.sessions)} or bounce_rate.",
            code="unsupported_combination",
        )
    raise RequestError(
        f"{metric.name} belongs to a whole session, not to one of its events, so it can't be broken down by"
        f" {_names(by_event)}. Use a visit dimension such as visit:entry_page, or filter on the event instead.",
        code="unsupported_combination",
    )


def _names(dimensions: Iterable[Dimension]) -> str:
    return " and ".join(dimension.name for dimension in dimensions)

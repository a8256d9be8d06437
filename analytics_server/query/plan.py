"""Which table answers which metric: the cheapest one that is exact for the question.

Pure. A plan is a list of parts; each part reads one source and yields some of the
metrics for the same dimensions, and `compile` puts the parts together. Combinations
that have no meaning are refused here, with the reason.

Sources, cheapest first:
- `totals`: numbers of days that are over, per value of one dimension; with them the other
  sources read only the rest of the range.
- `traffic`: quarter-hour totals; knows times and event names only.
- `sessions`: one row per session, for metrics of session scope.
- `visits`: event metrics read from `sessions` where a session lies wholly inside one
  bucket of the question, and from `events` for the few that cross an edge.
- `entries`: sessions by the page they entered on, for `bounce_rate` by `event:page`.
- `events`: the raw rows; the session's attributes stand on each of them.
- `views`: sessions counted over `events`, for `sessions` by an event dimension.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from analytics_server.errors import RequestError
from analytics_server.query.fields import Dimension, Kind, Metric, Scope, find_metric, pieces_of
from analytics_server.query.filters import is_about_events, matches
from analytics_server.query.request import Question
from analytics_server.query.timerange import TimeRange, on_quarter_hours
from analytics_server.query.totals import ENTRY_PAGE, WHOLE_DAY, Coverage, entries_are_kept, is_kept, kept_dimension

UTC_NAMES = frozenset({"UTC", "Etc/UTC", "Etc/UCT", "Etc/Universal", "Etc/Zulu", "UCT", "Universal", "Zulu"})


class Source(StrEnum):
    """Where a part of the answer is read from."""

    TOTALS = "totals"
    TRAFFIC = "traffic"
    SESSIONS = "sessions"
    VISITS = "visits"
    ENTRIES = "entries"
    EVENTS = "events"
    VIEWS = "views"


_TABLES: dict[Source, tuple[str, ...]] = {
    Source.TOTALS: ("day_totals",),
    Source.TRAFFIC: ("traffic",),
    Source.SESSIONS: ("sessions",),
    Source.VISITS: ("sessions", "events"),
    Source.ENTRIES: ("sessions",),
    Source.EVENTS: ("events",),
    Source.VIEWS: ("events", "sessions"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """Some metrics of the question, all read from one source for one range."""

    source: Source
    metrics: tuple[Metric, ...]
    range_: TimeRange
    coverage: Coverage | None = None
    dimension: str = ""
    """Of `day_totals`: under which name the numbers stand there."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts that together hold every metric of the question.

    `merged`: per metric of the question the formula that makes one value of the parts' rows, which
    are stacked and grouped; empty if there is a single part, which needs none.
    """

    parts: tuple[Part, ...]
    merged: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        """The tables read, for the answer's `meta`."""
        return "+".join(dict.fromkeys(table for part in self.parts for table in _TABLES[part.source]))


def make_plan(question: Question, range_: TimeRange, coverage: Coverage | None = None) -> Plan:
    """Choose a source per metric. Raises `RequestError` (unsupported_combination).

    `coverage`: the days that `day_totals` holds; metrics that it knows are read from there.
    """
    kept = [metric for metric in question.metrics if coverage is not None and is_kept(metric, question)]
    parts: tuple[Part, ...] = ()
    if coverage is None or not kept:
        parts = _read(question, question.metrics, range_)
        return Plan(parts, tuple(_whole(metric) for metric in question.metrics) if len(parts) > 1 else ())
    entered = [metric for metric in question.metrics if entries_are_kept(metric, question, coverage)]
    others = tuple(metric for metric in question.metrics if metric not in (*kept, *entered))
    for metrics, dimension in ((kept, kept_dimension(question) or WHOLE_DAY), (entered, ENTRY_PAGE)):
        pieces = tuple(dict.fromkeys(piece for metric in metrics for piece in pieces_of(metric)))
        if pieces:
            parts += (Part(Source.TOTALS, pieces, range_, coverage, dimension),)
        for rest in coverage.rests:
            parts += _read(question, pieces, rest)
    parts += _read(question, others, range_)
    added = (*kept, *entered)
    return Plan(parts, tuple(_summed(m) if m in added else _whole(m) for m in question.metrics))


def approximate_metrics(question: Question, plan: Plan) -> list[str]:
    """The metrics of this answer that are counted with `uniq` and may be off by about 1 %."""
    if question.exact:
        return []
    counted = {m.name for part in plan.parts if part.source is Source.VIEWS for m in part.metrics}
    if any(m.name == "visitors" for part in plan.parts if part.source is not Source.TOTALS for m in part.metrics):
        counted.add("visitors")
    return [metric.name for metric in question.metrics if metric.name in counted]


def _read(question: Question, metrics: Iterable[Metric], range_: TimeRange) -> tuple[Part, ...]:
    chosen: dict[Source, list[Metric]] = {}
    for metric in metrics:
        source = _event_source(question, range_) if metric.scope is Scope.EVENT else _session_source(metric, question)
        chosen.setdefault(source, []).append(metric)
    return tuple(Part(source, tuple(found), range_) for source, found in chosen.items())


def _whole(metric: Metric) -> str:
    """A metric that one part holds alone: the others have nothing to add."""
    return f"{'sum' if metric.kind is Kind.COUNT else 'max'}(r.m_{metric.name})"


def _summed(metric: Metric) -> str:
    """A metric whose pieces are added up over all parts."""
    return metric.merged or f"sum(r.m_{metric.name})"


def is_utc(range_: TimeRange) -> bool:
    """In UTC a visitor's hash already belongs to one day of the site."""
    return range_.zone.key in UTC_NAMES


def _event_source(question: Question, range_: TimeRange) -> Source:
    filtered = [match.dimension for match in matches(question.where)]
    if question.exact:
        return Source.EVENTS
    if _all_in_traffic([*question.dimensions, *filtered]) and on_quarter_hours(range_):
        return Source.TRAFFIC
    visit_fields = [d for d in (*question.dimensions, *filtered) if d.scope is Scope.VISIT]
    whole = question.interval in (None, "day", "week", "month")
    about_events = any(d.scope is Scope.EVENT for d in (*question.dimensions, *filtered))
    if visit_fields and whole and not about_events:
        return Source.VISITS
    return Source.EVENTS


def _all_in_traffic(dimensions: Iterable[Dimension]) -> bool:
    return all(dimension.traffic for dimension in dimensions)


def _session_source(metric: Metric, question: Question) -> Source:
    by_event = [dimension for dimension in question.dimensions if dimension.scope is Scope.EVENT]
    if not by_event:
        return Source.SESSIONS
    if metric.name == "sessions":
        return Source.VIEWS
    if metric.name in ("bounce_rate", *(piece.name for piece in pieces_of(find_metric("bounce_rate")))):
        if all(dimension.sessions for dimension in by_event):
            return Source.ENTRIES
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


def has_event_filter(question: Question) -> bool:
    """Do the filters look at single events, so that sessions need a semi-join?"""
    return any(is_about_events(condition) for condition in question.where)

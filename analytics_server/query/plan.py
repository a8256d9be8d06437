"""Which table answers which metric: the cheapest one that is exact for the question.

Pure. A plan is a list of parts; each part reads one source and yields some of the
metrics for the same dimensions, and `compile` puts the parts together. Combinations
that have no meaning are refused here, with the reason.

Sources, cheapest first:
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
from analytics_server.query.fields import Dimension, Metric, Scope
from analytics_server.query.filters import is_about_events, matches
from analytics_server.query.request import Question
from analytics_server.query.timerange import TimeRange, on_quarter_hours

UTC_NAMES = frozenset({"UTC", "Etc/UTC", "Etc/UCT", "Etc/Universal", "Etc/Zulu", "UCT", "Universal", "Zulu"})


class Source(StrEnum):
    """Where a part of the answer is read from."""

    TRAFFIC = "traffic"
    SESSIONS = "sessions"
    VISITS = "visits"
    ENTRIES = "entries"
    EVENTS = "events"
    VIEWS = "views"


_TABLES: dict[Source, tuple[str, ...]] = {
    Source.TRAFFIC: ("traffic",),
    Source.SESSIONS: ("sessions",),
    Source.VISITS: ("sessions", "events"),
    Source.ENTRIES: ("sessions",),
    Source.EVENTS: ("events",),
    Source.VIEWS: ("events", "sessions"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """Some metrics of the question, all read from one source."""

    source: Source
    metrics: tuple[Metric, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts that together hold every metric of the question once."""

    parts: tuple[Part, ...]

    @property
    def table(self) -> str:
        """The tables read, for the answer's `meta`."""
        return "+".join(dict.fromkeys(table for part in self.parts for table in _TABLES[part.source]))


def make_plan(question: Question, range_: TimeRange) -> Plan:
    """Choose a source per metric. Raises `RequestError` (unsupported_combination)."""
    chosen: dict[Source, list[Metric]] = {}
    for metric in question.metrics:
        source = _event_source(question, range_) if metric.scope is Scope.EVENT else _session_source(metric, question)
        chosen.setdefault(source, []).append(metric)
    return Plan(tuple(Part(source, tuple(metrics)) for source, metrics in chosen.items()))


def approximate_metrics(question: Question, plan: Plan) -> list[str]:
    """The metrics of this answer that are counted with `uniq` and may be off by about 1 %."""
    if question.exact:
        return []
    counted = {"visitors"} | {m.name for part in plan.parts if part.source is Source.VIEWS for m in part.metrics}
    return [metric.name for metric in question.metrics if metric.name in counted]


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
    if metric.name == "bounce_rate":
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

"""The only registry of metrics: names, meaning and SQL.

An expression is written once per source it can be read from: `e.` is a row of `events`,
`s.` one of `sessions`, `t.` and `v.` the subqueries that `sql/tables` makes of `traffic`, of
whole sessions and of scrolled pages; `exits` is over the sessions whose last page view counts.
Placeholders that are filled in when SQL is made:
`@uniq` (how distinct things are counted), `@visitor` and `@session` (what makes them distinct), `@visitors`
(distinct visitors of whole sessions), `@paid` (whether an event's revenue counts),
`@counts` (whether an event makes its visitor count).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from analytics_server.errors import RequestError
from analytics_server.query.dimensions import Scope, nearest


class Share(StrEnum):
    """What a row's visitors are divided by: the visitors of the same query without dimensions or without the goal."""

    OF_ALL = "of_all"
    OF_ALL_WITHOUT_GOAL = "of_all_without_goal"
    OF_GROUP_WITHOUT_GOAL = "of_group_without_goal"


class MetricKind(StrEnum):
    """How a metric's value is shown. Amounts are money: added up, or a mean of them."""

    COUNT = "count"
    AMOUNT = "amount"
    MEAN_AMOUNT = "mean_amount"
    PERCENT = "percent"
    SECONDS = "seconds"
    MEAN = "mean"


AMOUNTS = frozenset({MetricKind.AMOUNT, MetricKind.MEAN_AMOUNT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number that can be asked for. `scope` says whether events or sessions are counted.

    `pieces`: the additive numbers it is made of, itself if none are named; `merged`: the formula over
    their sums, `r.m_<piece>`, by which the pieces of several days become one value. `apart`: no source has all pieces,
    so each is read by itself. `share`: per cent that the row's visitors are of the visitors of a wider question, see
    `Share`. `active`: passive events count for nothing, but those of a goal for its visitors.
    """

    name: str
    about: str
    scope: Scope
    kind: MetricKind = MetricKind.COUNT
    aliases: tuple[str, ...] = ()
    events: str = ""
    sessions: str = ""
    traffic: str = ""
    session_parts: str = ""
    scrolls: str = ""
    exits: str = ""
    active: bool = False
    pieces: tuple[str, ...] = ()
    merged: str = ""
    apart: bool = False
    share: Share | None = None


METRICS: tuple[Metric, ...] = (
    Metric(
        name="visitors",
        about="Distinct visitors with an active event per day of the site's time zone, added up over the days.",
        scope=Scope.EVENT,
        events="@uniqIf(@visitor, e.visitor_id != 0 AND @counts)",
        active=True,
        traffic="sum(t.visitors)",
        session_parts="@visitors",
    ),
    Metric(
        name="sessions",
        about="Sessions that start in the range.",
        scope=Scope.SESSION,
        aliases=("visits",),
        sessions="count()",
        events="@uniq(@session)",
    ),
    Metric(
        name="pageviews",
        about="Events named pageview.",
        scope=Scope.EVENT,
        events="countIf(e.name = 'pageview')",
        active=True,
        traffic="sum(t.pageviews)",
        session_parts="sum(v.pageviews)",
    ),
    Metric(
        name="events",
        about="All active events, page views included.",
        scope=Scope.EVENT,
        events="countIf(e.passive = 0)",
        active=True,
        traffic="sum(t.events)",
        session_parts="sum(v.events)",
    ),
    Metric(
        name="scroll_depth",
        about="Mean over sessions and pages of the deepest scroll that was reported, in per cent of the page.",
        scope=Scope.EVENT,
        kind=MetricKind.PERCENT,
        scrolls="if(count() = 0, NULL, avg(v.depth))",
    ),
    Metric(
        name="engagement_time",
        about="Mean engaged time per page view, in seconds.",
        scope=Scope.EVENT,
        kind=MetricKind.SECONDS,
        aliases=("time_on_page",),
        events="if(countIf(e.name = 'pageview') = 0, NULL, sum(e.engagement_ms) / countIf(e.name = 'pageview') / 1000)",
        pieces=("pageviews", "engagement_ms"),
        merged="if(sum(r.m_pageviews) = 0, NULL, sum(r.m_engagement_ms) / sum(r.m_pageviews) / 1000)",
    ),
    Metric(
        name="exit_rate",
        about="Sessions whose last page view is one of those counted, in per cent of the page views.",
        scope=Scope.EVENT,
        kind=MetricKind.PERCENT,
        pieces=("pageviews", "exits"),
        # Sessions and events are read one after the other, while new ones arrive.
        merged="if(sum(r.m_pageviews) = 0, NULL, least(100, 100 * sum(r.m_exits) / sum(r.m_pageviews)))",
        apart=True,
    ),
    Metric(
        name="conversion_rate",
        about="Visitors with an event of the goal, in per cent of the visitors of the whole query without the goal and"
        " without filters on properties.",
        scope=Scope.EVENT,
        kind=MetricKind.PERCENT,
        share=Share.OF_ALL_WITHOUT_GOAL,
    ),
    Metric(
        name="group_conversion_rate",
        about="Visitors with an event of the goal, in per cent of the group's visitors without the goal and without"
        " filters on properties.",
        scope=Scope.EVENT,
        kind=MetricKind.PERCENT,
        share=Share.OF_GROUP_WITHOUT_GOAL,
    ),
    Metric(
        name="total_revenue",
        about="Revenue added up, in one currency.",
        scope=Scope.EVENT,
        kind=MetricKind.AMOUNT,
        events="toFloat64(sumIf(e.revenue_amount, @paid))",
    ),
    Metric(
        name="average_revenue",
        about="Mean revenue of the events that have one, in one currency.",
        scope=Scope.EVENT,
        kind=MetricKind.MEAN_AMOUNT,
        events="if(countIf(@paid) = 0, NULL, toFloat64(sumIf(e.revenue_amount, @paid)) / countIf(@paid))",
    ),
    Metric(
        name="percentage",
        about="The row's visitors in per cent of the visitors of the query without its dimensions.",
        scope=Scope.EVENT,
        kind=MetricKind.PERCENT,
        share=Share.OF_ALL,
    ),
    Metric(
        name="bounce_rate",
        about="Per cent of the sessions with a pageview that have exactly one and no interaction.",
        scope=Scope.SESSION,
        kind=MetricKind.PERCENT,
        sessions="if(countIf(s.pageviews > 0) = 0, NULL, "
        "100 * countIf(s.pageviews = 1 AND s.interactions = 0) / countIf(s.pageviews > 0))",
        pieces=("viewed_sessions", "bounces"),
        merged="if(sum(r.m_viewed_sessions) = 0, NULL, 100 * sum(r.m_bounces) / sum(r.m_viewed_sessions))",
    ),
    Metric(
        name="session_duration",
        about="Mean time from a session's first to its last event, in seconds.",
        scope=Scope.SESSION,
        kind=MetricKind.SECONDS,
        aliases=("visit_duration",),
        sessions="if(count() = 0, NULL, "
        "avg(toUnixTimestamp64Micro(s.ended_at) - toUnixTimestamp64Micro(s.started_at)) / 1000000)",
        pieces=("sessions", "duration_us"),
        merged="if(sum(r.m_sessions) = 0, NULL, sum(r.m_duration_us) / sum(r.m_sessions) / 1000000)",
    ),
    Metric(
        name="views_per_session",
        about="Mean number of page views per session.",
        scope=Scope.SESSION,
        kind=MetricKind.MEAN,
        aliases=("views_per_visit",),
        sessions="if(count() = 0, NULL, sum(s.pageviews) / count())",
        pieces=("sessions", "session_views"),
        merged="if(sum(r.m_sessions) = 0, NULL, sum(r.m_session_views) / sum(r.m_sessions))",
    ),
)

PIECES: tuple[Metric, ...] = (
    Metric(
        name="engagement_ms",
        about="Engaged milliseconds, added up.",
        scope=Scope.EVENT,
        events="sum(e.engagement_ms)",
    ),
    Metric(
        name="group_visitors",
        about="Of the visitors of the group: those with an event of the goal in it.",
        scope=Scope.EVENT,
        active=True,
    ),
    Metric(
        name="exits",
        about="Sessions whose last page view is one of those counted.",
        scope=Scope.EVENT,
        events="uniqExact(@session)",
        exits="count()",
    ),
    Metric(
        name="viewed_sessions",
        about="Sessions with a page view.",
        scope=Scope.SESSION,
        sessions="countIf(s.pageviews > 0)",
    ),
    Metric(
        name="bounces",
        about="Sessions with exactly one page view and no interaction.",
        scope=Scope.SESSION,
        sessions="countIf(s.pageviews = 1 AND s.interactions = 0)",
    ),
    Metric(
        name="duration_us",
        about="Microseconds from the first to the last event, over all sessions.",
        scope=Scope.SESSION,
        sessions="toUInt64(sum(toUnixTimestamp64Micro(s.ended_at) - toUnixTimestamp64Micro(s.started_at)))",
    ),
    Metric(
        name="session_views",
        about="Page views of the sessions, whenever they happened.",
        scope=Scope.SESSION,
        sessions="toUInt64(sum(s.pageviews))",
    ),
)
"""Numbers that add up over days and groups, for the metrics that don't; no client can name them."""


_METRICS = {name: metric for metric in METRICS for name in (metric.name, *metric.aliases)}
_PIECES = {metric.name: metric for metric in (*METRICS, *PIECES)}


def find_metric(name: str) -> Metric:
    """The metric of that name or alias; raises `RequestError` naming the nearest one."""
    metric = _METRICS.get(name)
    if metric is None:
        raise RequestError(f"There is no metric {name!r}.{nearest(name, _METRICS)}", code="unknown_metric")
    return metric


VISITORS = find_metric("visitors")
"""What shares are of."""
GROUP_VISITORS = _PIECES["group_visitors"]
OF_GOALS = (VISITORS, GROUP_VISITORS)
"""Where passive events reach a goal: of the visitors of the question, or of the row's group."""


def read_for(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """The counted metrics as they are read: those whose pieces are read apart by their pieces."""
    found: list[Metric] = []
    for metric in metrics:
        found += pieces_of(metric) if metric.apart else (metric,)
    return tuple(dict.fromkeys(found))


def pieces_of(metric: Metric) -> tuple[Metric, ...]:
    """The additive numbers a metric is computed from; a count is its own only piece."""
    return tuple(_PIECES[name] for name in metric.pieces) or (metric,)

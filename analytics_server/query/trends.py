"""`GET /api/v1/trends`: flat rows for charts, one per bucket, with empty buckets filled.

Rests on `QueryService`: the chart is a question by time, and with a breakdown a first
question finds the values that count most. Buckets that have not begun are left out, so
that a running month does not look like a fall to zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time

import msgspec
from msgspec import UNSET, UnsetType

from analytics_server.errors import RequestError
from analytics_server.http.parameters import is_number_within
from analytics_server.query.answer import Trends, Value, absent, show_metric
from analytics_server.query.context import Cost
from analytics_server.query.dimensions import Interval, nearest
from analytics_server.query.engine import Groups, PreparedQuestion, QueryService
from analytics_server.query.language.buckets import Bucket, buckets, with_found
from analytics_server.query.language.request import Include, Pagination, QueryRequest
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.share_links.threshold import show_rest, shown_groups, with_exact_visitors
from analytics_server.query.sql.statement import ResultPage

DEFAULT_RANGE = "30d"
DEFAULT_VALUES = 10
MAX_VALUES = 100
INTERVALS: tuple[Interval, ...] = ("minute", "hour", "day", "week", "month")
PARAMETERS = ("site_id", "metrics", "interval", "from", "to", "date_range", "breakdown", "filters", "limit")


class TrendsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A chart: a query without its time dimension, and how many values of the breakdown to show."""

    query: QueryRequest
    breakdown: str | None
    limit: int

    @property
    def site_id(self) -> str:
        """The site that the chart is about."""
        return self.query.site_id


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTrends:
    """A chart's answer. `begins`: label of a bucket → when it begins, in epoch seconds."""

    trends: Trends
    begins: Mapping[str, float]


def parse_trends(parameters: Mapping[str, str]) -> TrendsRequest:
    """The URL's parameters, checked. Raises `RequestError`."""
    for name in parameters:
        if name not in PARAMETERS:
            raise RequestError(f"There is no parameter {name!r}.{nearest(name, PARAMETERS)}", code="unknown_key")
    site_id = parameters.get("site_id", "")
    if not site_id:
        raise RequestError("site_id is missing: name the site.", code="bad_request")
    interval = parameters.get("interval", "")
    if interval and interval not in INTERVALS:
        raise RequestError(f"interval={interval!r} is unknown.{nearest(interval, INTERVALS)}", code="bad_request")
    breakdown = parameters.get("breakdown") or None
    if breakdown and breakdown.split(":")[0] == "time":
        raise RequestError("breakdown can't be a time: choose the buckets by interval.", code="bad_request")
    metrics = tuple(part.strip() for part in (parameters.get("metrics") or "visitors").split(",") if part.strip())
    query = QueryRequest(
        site_id=site_id,
        metrics=metrics,
        date_range=date_range_of(parameters),
        dimensions=(f"time:{interval}" if interval else "time", *((breakdown,) if breakdown else ())),
        filters=filters_of(parameters.get("filters", "")),
        pagination=Pagination(),
        include=Include(),
    )
    return TrendsRequest(
        query=query,
        breakdown=breakdown,
        limit=_limit(parameters.get("limit", "")),
    )


async def run_trends(service: QueryService, request: TrendsRequest, *, threshold: int = 0) -> Trends:
    """Answer a chart; rows of fewer visitors than the threshold are null. Raises what `QueryService.run` raises."""
    if threshold:
        return await _with_threshold(service, request, threshold)
    return (await find_trends(service, request)).trends


async def find_trends(service: QueryService, request: TrendsRequest) -> FoundTrends:
    """Answer a chart, with the moment at which each bucket begins. Raises what `QueryService.run` raises."""
    asked = await service.prepare(request.query)
    question, range_ = asked.question, asked.range_
    interval = question.interval
    assert interval is not None, "a chart always has a time dimension"
    currency = await service.currency(question, range_)
    values: list[str] | None = None
    cost = Cost()
    if request.breakdown is not None:
        top = replace(question, dimensions=question.dimensions[1:], metrics=question.metrics[:1])
        groups = await service.fetch(top.by_first_metric(), range_, page=ResultPage(request.limit))
        values = [str(key[0]) for key in groups.rows]
        cost = groups.cost
    wanted = buckets(range_, interval, limit=service.limits.query_rows // max(1, len(values or ())))
    found = await service.fetch(question, range_, only=None if values is None else {1: values})
    wanted = with_found(wanted, (key[0] for key in found.rows), interval, range_.zone)
    trends = Trends(
        interval=interval,
        metrics=[metric.name for metric in question.metrics],
        breakdown=None if request.breakdown is None else question.dimensions[1].name,
        rows=_fill(asked, found, wanted, values, [absent(metric) for metric in question.metrics]),
        meta=service.meta(asked, found, cost.plus(found.cost), currency=currency),
    )
    return FoundTrends(trends=trends, begins={bucket.label: _epoch_s(bucket, range_) for bucket in wanted})


def _epoch_s(bucket: Bucket, range_: TimeRange) -> float:
    """When a bucket begins: a label tells the hour, of which a change of the clock may have cut off a part."""
    if isinstance(bucket.key, int):
        return bucket.key
    return datetime.combine(bucket.key, time(), range_.zone).timestamp()


async def _with_threshold(service: QueryService, request: TrendsRequest, threshold: int) -> Trends:
    asked = with_exact_visitors(await service.prepare(request.query))
    question, range_ = asked.question, asked.range_
    interval = question.interval
    assert interval is not None, "a chart always has a time dimension"
    names = [metric.name for metric in question.metrics]
    values: list[str] | None = None
    rest: dict[str, Value] | UnsetType = UNSET
    cost = Cost()
    if request.breakdown is None:
        found = await shown_groups(service, question, range_, threshold)
        if found.rest is not None or not found.groups.rows:
            rest = dict(zip(names, show_rest(question, found), strict=True))
    else:
        top = replace(question, dimensions=question.dimensions[1:], metrics=question.metrics[:1]).by_first_metric()
        first = await shown_groups(service, top, range_, threshold, with_rest=False)
        values = [str(key[0]) for key in first.groups.rows][: request.limit]
        cost = first.groups.cost
        found = await shown_groups(service, question, range_, threshold, only={1: values}, with_rest=False)
    wanted = buckets(range_, interval, limit=service.limits.query_rows // max(1, len(values or ())))
    wanted = with_found(wanted, (key[0] for key in found.groups.rows), interval, range_.zone)
    meta = service.meta(asked, found.groups, cost.plus(found.groups.cost))
    return Trends(
        interval=interval,
        metrics=names,
        breakdown=None if request.breakdown is None else question.dimensions[1].name,
        rows=_fill(asked, found.groups, wanted, values, [None] * len(names)),
        meta=msgspec.structs.replace(meta, threshold=threshold),
        rest=rest,
    )


def _fill(
    asked: PreparedQuestion,
    found: Groups,
    wanted: Sequence[Bucket],
    values: Sequence[str] | None,
    nothing: Sequence[Value],
) -> list[dict[str, str | Value]]:
    """A row per bucket (and value), whether anything happened in it or not."""
    metrics = asked.question.metrics
    rows: list[dict[str, str | Value]] = []
    for bucket in wanted:
        for value in [None] if values is None else values:
            key = (bucket.key,) if value is None else (bucket.key, value)
            cells = found.rows.get(key)
            if cells is None and _is_future(bucket, asked.now, asked.range_):
                continue
            shown = nothing if cells is None else [show_metric(m, cell) for m, cell in zip(metrics, cells, strict=True)]
            row: dict[str, str | Value] = {"time": bucket.label}
            if value is not None:
                row["breakdown"] = value
            rows.append(row | {metric.name: cell for metric, cell in zip(metrics, shown, strict=True)})
    return rows


def _is_future(bucket: Bucket, now: datetime, range_: TimeRange) -> bool:
    if isinstance(bucket.key, int):
        return bucket.key > now.timestamp()
    return bucket.key > now.astimezone(range_.zone).date()


def date_range_of(parameters: Mapping[str, str]) -> str | tuple[str | int, str | int]:
    """The range that `date_range`, or `from` and `to`, of a query string name. Raises `RequestError`."""
    named, first, last = (parameters.get(name, "") for name in ("date_range", "from", "to"))
    if named and (first or last):
        raise RequestError("Give either date_range or from and to, not both.", code="bad_date_range")
    if bool(first) != bool(last):
        raise RequestError("from and to belong together: give both.", code="bad_date_range")
    return (_moment(first), _moment(last)) if first else named or DEFAULT_RANGE


def _moment(text: str) -> str | int:
    # A "+" of an offset that was not percent-encoded arrives as a space.
    return int(text) if re.fullmatch(r"-?[0-9]{9,15}", text) else text.replace(" ", "+") if "T" in text else text


def filters_of(text: str) -> tuple[object, ...]:
    """The filters of a query string, a JSON list. Raises `RequestError`."""
    if not text:
        return ()
    try:
        return tuple(msgspec.json.decode(text, type=list[object]))
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestError(f"filters must be a JSON list of filters: {error}.", code="bad_filter") from error


def _limit(text: str) -> int:
    if not text:
        return DEFAULT_VALUES
    if not is_number_within(text, MAX_VALUES):
        raise RequestError(f"limit must be a number from 1 to {MAX_VALUES}.", code="bad_request")
    return int(text)

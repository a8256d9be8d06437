"""What a panel's query asks of the query engine and of the analyses.

A target names metrics, or one of `REPORTS`. Metrics are a trend; in the format `table` without an interval they are the
numbers of the whole range, by the dimension if there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import msgspec

from analytics_server.analyses.funnels.definition import FunnelRequest
from analytics_server.analyses.funnels.service import FunnelService
from analytics_server.errors import RequestError
from analytics_server.grafana.annotations import annotations_within
from analytics_server.grafana.bodies import PanelQuestion, PanelTarget
from analytics_server.grafana.columns import (
    columns_of_annotations,
    columns_of_answer,
    columns_of_funnel,
    columns_of_trends,
)
from analytics_server.grafana.frames import ReportColumns
from analytics_server.grafana.payload import Payload, filters_from, format_of, interval_for, names_in, range_spec
from analytics_server.query.engine import QueryService
from analytics_server.query.language.request import Pagination, QueryRequest
from analytics_server.query.language.time_range import RangeSpec
from analytics_server.query.metrics import find_metric
from analytics_server.query.trends import DEFAULT_RANGE, DEFAULT_VALUES, MAX_VALUES, TrendsRequest, find_trends

ANNOTATIONS, FUNNEL, LIVE = REPORTS = ("annotations", "funnel", "live")
ANNOTATION_QUERY = "Anno"
"""The `refId` of a dashboard's annotation query."""

LIVE_METRICS = ("visitors", "pageviews")
LIVE_RANGE = "realtime"
DEFAULT_ROWS = 20
MAX_ROWS = 1_000
R = TypeVar("R", bound=msgspec.Struct)


class PanelReports:
    """Answers the queries of panels. Raises `RequestError`, `NotFound` or a store error."""

    def __init__(self, queries: QueryService, funnels: FunnelService) -> None:
        self.context = queries.context
        self._queries = queries
        self._funnels = funnels

    async def report(self, asked: PanelQuestion, target: PanelTarget, payload: Payload, site_id: str) -> ReportColumns:
        """The answer to one query, about a site that the caller may ask about."""
        name = report_name(target)
        if name == LIVE:
            payload = live_payload(payload)
        spec = range_spec(asked.range, payload.range, DEFAULT_RANGE)
        if name == ANNOTATIONS:
            site = self.context.site(site_id)
            range_, _ = await self.context.range_of(site, spec)
            return columns_of_annotations(annotations_within(self.context, site, range_))
        filters = (*payload.filters, *filters_from((*(asked.filters or ()), *(asked.adhoc_filters or ()))))
        if name == FUNNEL:
            return await self._funnel(payload, site_id, spec, filters)
        metrics = LIVE_METRICS if name == LIVE else names_in(name)
        if not metrics:
            raise RequestError(
                f"The query names no metric: choose one, such as visitors, or one of {', '.join(REPORTS)}.",
                code="bad_request",
            )
        metrics = tuple(find_metric(metric).name for metric in metrics)
        request = _checked(site_id, spec, metrics=list(metrics), filters=list(filters))
        if format_of(payload, target.type) == "table" and payload.interval is None:
            return await self._whole(request, payload)
        return await self._over_time(asked, request, payload)

    async def values(self, payload: Payload, site_id: str, spec: RangeSpec, limit: int) -> list[str]:
        """The values of the payload's dimension, those with most visitors first; without the empty one."""
        request = _checked(
            site_id,
            spec,
            metrics=["visitors"],
            dimensions=[_no_time(payload.dimension)],
            filters=list(payload.filters),
            pagination={"limit": payload.limit or min(limit, self._queries.limits.query_rows)},
        )
        answer = await self._queries.run(request)
        return [row.dimensions[0] for row in answer.results if row.dimensions[0]]

    async def _over_time(self, asked: PanelQuestion, request: QueryRequest, payload: Payload) -> ReportColumns:
        limit = payload.limit or DEFAULT_VALUES
        if limit > MAX_VALUES:
            raise RequestError(f"limit must be a number from 1 to {MAX_VALUES} over time.", code="bad_request")
        breakdown = _no_time(payload.dimension) if payload.dimension else None
        time = f"time:{payload.interval}"
        if payload.interval is None:
            range_, _ = await self.context.range_of(self.context.site(request.site_id), request.date_range)
            most = self._queries.limits.query_rows // (limit if breakdown else 1)
            time = interval_for(range_, asked.interval_ms, asked.max_data_points, most_buckets=most)
        query = msgspec.structs.replace(request, dimensions=(time, *((breakdown,) if breakdown else ())))
        found = await find_trends(self._queries, TrendsRequest(query=query, breakdown=breakdown, limit=limit))
        return columns_of_trends(found.trends, found.begins, ",".join(request.metrics))

    async def _whole(self, request: QueryRequest, payload: Payload) -> ReportColumns:
        if payload.dimension:
            request = msgspec.structs.replace(
                request,
                dimensions=(_no_time(payload.dimension),),
                pagination=Pagination(limit=payload.limit or min(DEFAULT_ROWS, self._queries.limits.query_rows)),
            )
        answer = await self._queries.run(request)
        return columns_of_answer(answer, payload.dimension, request.metrics, ",".join(request.metrics))

    async def _funnel(
        self, payload: Payload, site_id: str, spec: RangeSpec, filters: tuple[object, ...]
    ) -> ReportColumns:
        if not payload.funnel:
            raise RequestError('Name a saved funnel in the payload: {"funnel": "NAME"}.', code="bad_request")
        body: dict[str, object] = {"site_id": site_id, "date_range": spec, "funnel": payload.funnel}
        if filters:  # beside a saved funnel's own there may be none, and that is said
            body["filters"] = filters
        if payload.dimension:
            body["breakdown"] = payload.dimension
        if payload.limit:
            body["limit"] = payload.limit
        return columns_of_funnel(await self._funnels.run(_made(FunnelRequest, body)), payload.dimension)


def report_name(target: PanelTarget) -> str:
    """What a query names: metrics, or one of `REPORTS`. A dashboard's annotation query may leave it out."""
    name = (target.target or "").strip()
    return ANNOTATIONS if not name and target.ref_id == ANNOTATION_QUERY else name


def live_payload(payload: Payload) -> Payload:
    """What `live` stands for: the last half hour by minute, whatever the panel's range is."""
    return replace(payload, range=payload.range or LIVE_RANGE, interval=payload.interval or "minute")


def _no_time(dimension: str) -> str:
    if dimension.partition(":")[0] == "time":
        raise RequestError(
            "dimension can't be a time: the panel's range and interval say which buckets there are.", code="bad_request"
        )
    return dimension


def _checked(site_id: str, spec: RangeSpec, **more: object) -> QueryRequest:
    return _made(QueryRequest, {"site_id": site_id, "date_range": spec, "metrics": ["visitors"], **more})


def _made(kind: type[R], body: Mapping[str, object]) -> R:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise RequestError(f"{error}.", code="bad_request") from error

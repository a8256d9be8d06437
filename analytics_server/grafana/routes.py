"""The data source's addresses, `/api/grafana/…`: the protocol of Grafana's plugin simpod-json-datasource.

The paths, the shapes and the keys are the plugin's; errors, rights, limits and audit entries are those of any report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from analytics_server.access.actions import LIST_SITES, QUERY_SITE, VIEW_SAVED
from analytics_server.analyses.funnels.routes import FUNNEL_CODES
from analytics_server.grafana.annotations import AnnotationEvent
from analytics_server.grafana.bodies import (
    AnnotationsQuestion,
    PanelQuestion,
    PayloadOptionsQuestion,
    SearchQuestion,
    TagValuesQuestion,
    VariableQuestion,
)
from analytics_server.grafana.choices import (
    FoundName,
    MetricChoice,
    OptionAnswer,
    TagKey,
    TagValue,
    VariableValue,
    metric_choices,
    options_of,
    tag_keys,
)
from analytics_server.grafana.frames import PanelAnswer
from analytics_server.grafana.service import GrafanaService
from analytics_server.http.declaration import Body, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom
from analytics_server.query.endpoint_parts import NO_SITE, QUESTION_CODES, REQUEST_CODES, query_body

PATH = "/api/grafana"
_RANGE = {"from": "2026-11-01T00:00:00.000Z", "to": "2026-11-30T00:00:00.000Z"}
_PANEL = {
    "range": _RANGE,
    "intervalMs": 3_600_000,
    "maxDataPoints": 800,
    "filters": [{"key": "visit:country", "operator": "=", "value": "SE"}],
}


class GrafanaStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What *Save & test* is told."""

    status: Literal["ok"] = "ok"


def endpoints(service: GrafanaService) -> list[Endpoint]:
    """What the plugin asks. Links that show a part of a site can't ask it."""
    reading = query_body(service.limits)

    async def status(call: Call[None]) -> GrafanaStatus:
        return GrafanaStatus()

    async def metrics(call: Call[None]) -> list[MetricChoice]:
        return metric_choices()

    async def options(call: Call[PayloadOptionsQuestion]) -> list[OptionAnswer]:
        return options_of(service.options(call))

    async def variable(call: Call[VariableQuestion]) -> list[VariableValue]:
        return [VariableValue(text=one, value=one) for one in await service.variable(call)]

    async def keys(call: Call[None]) -> list[TagKey]:
        return tag_keys()

    async def values(call: Call[TagValuesQuestion]) -> list[TagValue]:
        return [TagValue(text=one) for one in await service.tag_values(call)]

    async def search(call: Call[SearchQuestion]) -> list[FoundName]:
        return [FoundName(text=one, value=one) for one in await service.search(call)]

    def declare(name: str, path: str, summary: str, about: str, *, method: str = "POST", **more: Any) -> Endpoint:
        if "body" in more:
            more["reading"] = reading
        return Endpoint(
            method=method,
            path=f"{PATH}{path}",
            name=f"grafana_{name}",
            summary=summary,
            tag="query",
            about=about,
            is_question=method == "POST",
            **{"action": LIST_SITES, **more},
        )

    def asking(codes: tuple[str, ...], missing: Mapping[int, tuple[str, ...]] = NO_SITE) -> dict[str, Any]:
        return {"errors": {400: codes, **missing}, "asks_store": True, "takes_turns": True}

    test: dict[str, Any] = {
        "method": "GET",
        "handle": status,
        "replies": (Reply(about="The token is taken.", type=GrafanaStatus),),
    }
    return [
        declare("test", "/", "Whether Grafana's JSON data source works", "For *Save & test*.", **test),
        declare("test_bare", "", "Whether Grafana's JSON data source works", "For *Save & test*.", **test),
        declare(
            "metrics",
            "/metrics",
            "What panels of Grafana's JSON data source may ask for",
            "Metrics and reports with the keys of their payload. The body is not read.",
            handle=metrics,
            replies=(Reply(about="Metrics first.", type=list[MetricChoice]),),
        ),
        declare(
            "payload_options",
            "/metric-payload-options",
            "The values of one key of a payload",
            "None of a key that is typed in.",
            handle=options,
            body=Body(
                types=(PayloadOptionsQuestion,),
                examples={
                    "funnels": {"metric": "funnel", "payload": {"site": "example.com"}, "name": "funnel"},
                    "sites": {"metric": "visitors", "payload": {}, "name": "site"},
                },
            ),
            replies=(Reply(about="In the order to show.", type=list[OptionAnswer]),),
            errors={400: REQUEST_CODES, **NO_SITE},
        ),
        declare(
            "query",
            "/query",
            "The queries of a panel",
            "Metrics over the panel's range as data frames, series or tables; also a saved funnel, what happens now, "
            "and annotations. The range, the distance of points and ad-hoc filters are the panel's, the rest stands in "
            "each query's payload.",
            action=QUERY_SITE,
            site=SiteFrom.HANDLER,
            handle=service.panel,
            body=Body(
                types=(PanelQuestion,),
                examples={
                    "trend": {
                        **_PANEL,
                        "targets": [{"refId": "A", "target": "visitors", "payload": {"site": "example.com"}}],
                    },
                    "table": {
                        **_PANEL,
                        "targets": [
                            {
                                "refId": "B",
                                "target": "(visitors|pageviews)",
                                "payload": {"site": "example.com", "dimension": "event:page", "format": "table"},
                            }
                        ],
                    },
                },
            ),
            replies=(Reply(about="At least one answer a query, with its `refId`.", type=list[PanelAnswer]),),
            **asking((*QUESTION_CODES, *FUNNEL_CODES), {404: ("unknown_funnel", "unknown_site")}),
        ),
        declare(
            "variable",
            "/variable",
            "The values of a dashboard's variable",
            "`target`: `sites`, `metrics`, `dimensions`; `goals`, `segments`, `funnels` of a site; or a dimension, "
            "whose values come with most visitors first.",
            handle=variable,
            body=Body(
                types=(VariableQuestion,),
                examples={
                    "values": {"payload": {"target": "visit:country", "site": "example.com"}, "range": _RANGE},
                    "sites": {"payload": {"target": "sites"}},
                },
            ),
            replies=(Reply(about="In the order to show.", type=list[VariableValue]),),
            **asking(QUESTION_CODES),
        ),
        declare(
            "tag_keys",
            "/tag-keys",
            "What ad-hoc filters may be about",
            "Dimensions. The body is not read.",
            handle=keys,
            replies=(Reply(about="By scope.", type=list[TagKey]),),
        ),
        declare(
            "tag_values",
            "/tag-values",
            "Values for an ad-hoc filter",
            "Those of the token's only site; none where it covers several and the body names none.",
            handle=values,
            body=Body(
                types=(TagValuesQuestion,), examples={"country": {"key": "visit:country", "site": "example.com"}}
            ),
            replies=(Reply(about="Those with most visitors first.", type=list[TagValue]),),
            **asking(QUESTION_CODES),
        ),
        declare(
            "search",
            "/search",
            "Names and values for early versions of the plugin",
            "With an empty `target` what panels may ask for, else as for a variable.",
            handle=search,
            body=Body(
                types=(SearchQuestion,),
                examples={"values": {"target": "visit:country", "site": "example.com"}, "names": {"target": ""}},
            ),
            replies=(Reply(about="In the order to show.", type=list[FoundName]),),
            **asking(QUESTION_CODES),
        ),
        declare(
            "annotations",
            "/annotations",
            "Annotations for early versions of the plugin",
            "Later ones send a query with the target `annotations`.",
            action=VIEW_SAVED,
            site=SiteFrom.HANDLER,
            handle=service.annotations,
            body=Body(
                types=(AnnotationsQuestion,),
                examples={
                    "site": {
                        "annotation": {"name": "Releases", "query": "example.com", "enable": True},
                        "range": _RANGE,
                    }
                },
            ),
            replies=(Reply(about="The earliest first.", type=list[AnnotationEvent]),),
            **asking(REQUEST_CODES),
        ),
    ]

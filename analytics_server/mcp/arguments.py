"""Arguments of tools whose endpoint takes none of its own in a body. They are checked further by the endpoint."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from analytics_server.analyses.experiments.results import ResultsRequest
from analytics_server.mcp.messages import Json
from analytics_server.query.language.shapes import Filters, MetricName
from analytics_server.query.trends import INTERVALS, MAX_VALUES

SiteName = Annotated[str, Meta(min_length=1, max_length=253)]


class SitesArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of the sites that the caller covers."""

    contains: Annotated[
        str, Meta(max_length=253, description="Only sites whose id contains this, in either case; all if left out.")
    ] = ""
    offset: Annotated[
        int, Meta(ge=0, description="How many of these sites to leave out: those that were shown before.")
    ] = 0

    def shown(self, sites: list[Json]) -> list[Json]:
        """Those of the sites, as the endpoint lists them."""
        wanted = self.contains.lower()
        return [site for site in sites if wanted in site["site_id"].lower()][self.offset :]


class SiteArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which site."""

    site_id: SiteName


class DescribeArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which site, whose profile may leave columns out."""

    site_id: Annotated[str, Meta(max_length=253)] = ""


class TrendsArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """The parameters of `GET /api/v1/trends`, as JSON."""

    site_id: SiteName
    metrics: tuple[MetricName, ...] = ("visitors",)
    interval: Annotated[str, Meta(extra_json_schema={"enum": [*INTERVALS, ""]})] = ""
    from_: Annotated[str, Meta(description="First day or moment, in place of date_range.")] = ""
    to: Annotated[str, Meta(description="Last day, included.")] = ""
    date_range: str = ""
    breakdown: str = ""
    filters: Filters = ()
    limit: Annotated[int, Meta(ge=1, le=MAX_VALUES)] | None = None


class ExperimentArguments(ResultsRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/experiments/{id}/results`, and which experiment."""

    experiment: Annotated[
        str, Meta(min_length=1, max_length=253, description="The definition's id, or the experiment's key or name.")
    ]

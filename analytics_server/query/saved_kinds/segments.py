"""Segments: filters with a name, which may stand in any question's filters."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from analytics_server.errors import RequestError
from analytics_server.model import Site
from analytics_server.query.context import QueryContext
from analytics_server.query.endpoint_parts import FILTER_CODES
from analytics_server.query.language.filters import parse_filters
from analytics_server.query.language.saved_filters import SegmentBody
from analytics_server.query.language.shapes import Filters
from analytics_server.saved.shapes import Name, SiteId
from analytics_server.saved.store import Kind, SavedThing
from analytics_server.saved.types import SavedType, plain_texts


class SegmentRequest(SegmentBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new segment."""

    site_id: SiteId
    name: Name


class SegmentChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays."""

    site_id: SiteId | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    filters: Filters | UnsetType = UNSET


class SegmentAnswer(SegmentBody, frozen=True, kw_only=True):
    """A segment."""

    id: str
    site_id: str
    name: str
    created_at_ms: int
    updated_at_ms: int


class SegmentsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A site's segments, by name."""

    segments: list[SegmentAnswer]


def segment_type(context: QueryContext) -> SavedType:
    """Segments. `context` checks their regular expressions."""

    async def check(asked: SegmentRequest, site: Site, before: SavedThing | None) -> tuple[str, SegmentBody]:
        """A segment must leave something out."""
        if not asked.filters:
            raise RequestError(
                'filters is empty: give at least one, such as ["is", "event:page", ["/"]].', code="bad_filter"
            )
        await context.check_patterns(parse_filters(asked.filters))
        return asked.name, SegmentBody(filters=asked.filters)

    return SavedType(
        kind=Kind.SEGMENT,
        noun="segment",
        plural="segments",
        path="/api/v1/segments",
        request=SegmentRequest,
        change=SegmentChange,
        body=SegmentBody,
        answer=SegmentAnswer,
        answers=SegmentsAnswer,
        together=("filters",),
        check=check,
        texts=plain_texts(
            "segment",
            "segments",
            "Filters with a name, which may stand in any question's filters.",
            examples={
                "segment": {
                    "site_id": "example.com",
                    "name": "Swedish phones",
                    "filters": [["is", "visit:country", ["SE"]], ["is", "visit:device", ["Mobile"]]],
                }
            },
            change={"name": "Phones in Sweden"},
            codes=FILTER_CODES,
        ),
    )

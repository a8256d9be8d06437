"""Goals, segments, annotations and saved queries as the API takes and shows them.

A request's keys are those of the document that is saved, with the site and the name; an
answer's are the same with id and times. What is checked before one is saved is in `saving`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from analytics_server.access.saved import NAME_CHARS, NAME_PATTERN
from analytics_server.query.language.saved_filters import TEXT_CHARS, About, Currency, GoalBody, SegmentBody
from analytics_server.query.language.shapes import Filters

ANNOTATION_CHARS = 1_000
MOMENT_CHARS = 64

SiteId = Annotated[str, Meta(min_length=1, max_length=253)]
Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=NAME_CHARS,
        extra_json_schema={"pattern": NAME_PATTERN},
    ),
]
"""No control characters, no spaces around it."""
Text = Annotated[str, Meta(min_length=1, max_length=ANNOTATION_CHARS)]
Moment = Annotated[str, Meta(min_length=1, max_length=MOMENT_CHARS)]
Moments = Annotated[tuple[Moment, ...], Meta(min_length=2, max_length=2)]
QuestionBody = Annotated[dict[str, object], Meta(extra_json_schema={"$ref": "#/components/schemas/QueryRequest"})]


class AnnotationBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A note on a day or moment (`date`) or a range (`date_range`), written as in a query's `date_range`."""

    text: Text
    date: Moment | UnsetType = UNSET
    date_range: Moments | UnsetType = UNSET


class QueryBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question: `request` is a body of `POST /api/v1/query`, `sql` and `params` are for `POST /api/v1/sql`."""

    request: QuestionBody | UnsetType = UNSET
    sql: str | UnsetType = UNSET
    params: dict[str, object] | UnsetType = UNSET


# ---- what is sent ------------------------------------------------------


class GoalRequest(GoalBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new goal. Without a name it gets that of its event or page."""

    site_id: SiteId
    name: Name | UnsetType = UNSET


class SegmentRequest(SegmentBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new segment."""

    site_id: SiteId
    name: Name


class AnnotationRequest(AnnotationBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new annotation. Without a name it gets the beginning of its text; names of annotations may repeat."""

    site_id: SiteId
    name: Name | UnsetType = UNSET


class SavedQueryRequest(QueryBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new saved query: with `request`, or with `sql` and perhaps `params`."""

    site_id: SiteId
    name: Name


class GoalChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays; `event`, `page` and `filters` are replaced together."""

    site_id: SiteId | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    event: Annotated[str, Meta(max_length=NAME_CHARS)] | UnsetType = UNSET
    page: Annotated[str, Meta(max_length=TEXT_CHARS)] | UnsetType = UNSET
    filters: Filters | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    about: About | UnsetType = UNSET


class SegmentChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays."""

    site_id: SiteId | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    filters: Filters | UnsetType = UNSET


class AnnotationChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays; `date` and `date_range` are replaced together."""

    site_id: SiteId | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    text: Text | UnsetType = UNSET
    date: Moment | UnsetType = UNSET
    date_range: Moments | UnsetType = UNSET


class SavedQueryChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays; `request`, `sql` and `params` are replaced together."""

    site_id: SiteId | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    request: QuestionBody | UnsetType = UNSET
    sql: str | UnsetType = UNSET
    params: dict[str, object] | UnsetType = UNSET


# ---- what is shown -----------------------------------------------------


class GoalAnswer(GoalBody, frozen=True, kw_only=True):
    """A goal."""

    id: str
    site_id: str
    name: str
    created_at_ms: int
    updated_at_ms: int


class SegmentAnswer(SegmentBody, frozen=True, kw_only=True):
    """A segment."""

    id: str
    site_id: str
    name: str
    created_at_ms: int
    updated_at_ms: int


class AnnotationAnswer(AnnotationBody, frozen=True, kw_only=True):
    """An annotation. `start`, `end`: instants with the site's offset; `end` is not included."""

    id: str
    site_id: str
    name: str
    start: str
    end: str
    created_at_ms: int
    updated_at_ms: int


class SavedQueryAnswer(QueryBody, frozen=True, kw_only=True):
    """A saved query."""

    id: str
    site_id: str
    name: str
    created_at_ms: int
    updated_at_ms: int


class GoalsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A site's goals, by name."""

    goals: list[GoalAnswer]


class SegmentsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A site's segments, by name."""

    segments: list[SegmentAnswer]


class AnnotationsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A site's annotations, the earliest first."""

    annotations: list[AnnotationAnswer]


class SavedQueriesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A site's saved queries, by name."""

    queries: list[SavedQueryAnswer]

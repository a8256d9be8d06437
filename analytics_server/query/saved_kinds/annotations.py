"""Annotations: what happened when, for charts. Their names may repeat, and lists are in the order of time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from analytics_server.errors import RequestError
from analytics_server.model import Site
from analytics_server.query.context import zone_of
from analytics_server.query.language.time_range import EARLIEST, LATEST, midnight, parse_moment
from analytics_server.saved.shapes import Name, SiteId
from analytics_server.saved.store import NAME_CHARS, Kind, SavedThing, body_of
from analytics_server.saved.types import SavedType, plain_texts

ANNOTATION_CHARS = 1_000
MOMENT_CHARS = 64

Text = Annotated[str, Meta(min_length=1, max_length=ANNOTATION_CHARS)]
Moment = Annotated[str, Meta(min_length=1, max_length=MOMENT_CHARS)]
Moments = Annotated[tuple[Moment, ...], Meta(min_length=2, max_length=2)]


class AnnotationBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A note on a day or moment (`date`) or a range (`date_range`), written as in a query's `date_range`."""

    text: Text
    date: Moment | UnsetType = UNSET
    date_range: Moments | UnsetType = UNSET


class AnnotationRequest(AnnotationBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new annotation. Without a name it gets the beginning of its text; names of annotations may repeat."""

    site_id: SiteId
    name: Name | UnsetType = UNSET


class AnnotationChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays; `date` and `date_range` are replaced together."""

    site_id: SiteId | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    text: Text | UnsetType = UNSET
    date: Moment | UnsetType = UNSET
    date_range: Moments | UnsetType = UNSET


class AnnotationAnswer(AnnotationBody, frozen=True, kw_only=True):
    """An annotation. `start`, `end`: instants with the site's offset; `end` is not included."""

    id: str
    site_id: str
    name: str
    start: str
    end: str
    created_at_ms: int
    updated_at_ms: int


class AnnotationsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A site's annotations, the earliest first."""

    annotations: list[AnnotationAnswer]


def annotation_type() -> SavedType:
    """Annotations."""
    return SavedType(
        kind=Kind.ANNOTATION,
        noun="annotation",
        plural="annotations",
        path="/api/v1/annotations",
        request=AnnotationRequest,
        change=AnnotationChange,
        body=AnnotationBody,
        answer=AnnotationAnswer,
        answers=AnnotationsAnswer,
        together=("date", "date_range"),
        check=_check,
        details=_instants,
        order=lambda thing, site: when(body_of(thing, AnnotationBody), site),
        texts=plain_texts(
            "annotation",
            "annotations",
            "What happened when, for charts. Names may repeat.",
            examples={"annotation": {"site_id": "example.com", "date": "2026-11-01", "text": "New prices."}},
            change={"date_range": ["2026-11-01", "2026-11-03"]},
            codes=("bad_date_range",),
            conflicts=(),
        ),
    )


async def _check(asked: AnnotationRequest, site: Site, before: SavedThing | None) -> tuple[str, AnnotationBody]:
    """An annotation has a text and a place in time."""
    if (asked.date is UNSET) == (asked.date_range is UNSET):
        raise RequestError(
            'An annotation needs one of date ("2026-11-01", "2026-11-01T12:00") and date_range (a pair of them).',
            code="bad_date_range",
        )
    text = asked.text.strip()
    if not text or "\x00" in text:
        raise RequestError("text is empty or holds a NUL: say what happened.", code="bad_request")
    body = AnnotationBody(text=text, date=asked.date, date_range=asked.date_range)
    start, end = when(body, site)
    if asked.date_range is not UNSET and start >= end:
        raise RequestError("date_range is empty: the first must lie before the second.", code="bad_date_range")
    if start < EARLIEST or end > LATEST:
        raise RequestError(
            f"An annotation must lie between {EARLIEST.date()} and {LATEST.date()}.", code="bad_date_range"
        )
    name = " ".join(text.split())[:NAME_CHARS].strip() if asked.name is UNSET else asked.name
    return name, body


def _instants(thing: SavedThing, site: Site) -> Mapping[str, object]:
    zone = zone_of(site)
    start, end = when(body_of(thing, AnnotationBody), site)
    return {"start": start.astimezone(zone).isoformat(), "end": end.astimezone(zone).isoformat()}


def when(body: AnnotationBody, site: Site) -> tuple[datetime, datetime]:
    """Start and end of an annotation, UTC. Raises `RequestError` (bad_date_range)."""
    zone = zone_of(site)
    if body.date_range is not UNSET:
        first, last = body.date_range
    else:
        first = last = "" if body.date is UNSET else body.date
    start, end = parse_moment(first, zone), parse_moment(last, zone)
    return (
        start if isinstance(start, datetime) else midnight(start, zone),
        end if isinstance(end, datetime) else midnight(end + timedelta(days=1), zone),
    )

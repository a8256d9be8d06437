"""A site's annotations as a dashboard draws them: a line for a day or moment, a region for a range."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from msgspec import UNSET, UnsetType

from analytics_server.grafana.bodies import AnnotationSource
from analytics_server.model import Site
from analytics_server.query.context import QueryContext
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.saved_kinds.annotations import AnnotationBody, when
from analytics_server.saved.store import Kind, SavedThing, body_of


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAnnotation:
    """An annotation that lies in a range. `end_ms`: of one of a range; both in epoch milliseconds."""

    id: str
    title: str
    text: str
    time_ms: int
    end_ms: int | None


class AnnotationEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An annotation as early versions of the plugin read it. `annotation`: the dashboard's query, as it was sent."""

    annotation: AnnotationSource
    id: str
    title: str
    text: str
    tags: list[str]
    time: int
    time_end: int | UnsetType = msgspec.field(name="timeEnd", default=UNSET)
    is_region: bool = msgspec.field(name="isRegion", default=False)


def annotations_within(context: QueryContext, site: Site, range_: TimeRange) -> list[FoundAnnotation]:
    """The site's annotations that begin in the range or reach into it, the earliest first; unreadable ones left out."""
    saved = context.saved
    if saved is None:
        return []

    def read(thing: SavedThing) -> FoundAnnotation | None:
        body = body_of(thing, AnnotationBody)
        start, end = when(body, site)
        is_range = body.date_range is not UNSET
        if start >= range_.end or (end <= range_.start if is_range else start < range_.start):
            return None
        return FoundAnnotation(
            id=thing.id,
            title=thing.name,
            text=body.text,
            time_ms=round(start.timestamp() * 1000),
            end_ms=round(end.timestamp() * 1000) if is_range else None,
        )

    found = [one for one in saved.readable(saved.all(Kind.ANNOTATION, site.site_id), read) if one is not None]
    return sorted(found, key=lambda one: (one.time_ms, one.title, one.id))


def event_of(found: FoundAnnotation, asked: AnnotationSource) -> AnnotationEvent:
    """The annotation in the shape of early versions."""
    return AnnotationEvent(
        annotation=asked,
        id=found.id,
        title=found.title,
        text=found.text,
        tags=[],
        time=found.time_ms,
        time_end=UNSET if found.end_ms is None else found.end_ms,
        is_region=found.end_ms is not None,
    )

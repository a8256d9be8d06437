"""What is checked before a goal, segment, annotation or query is saved, and how each kind is read and shown.

Whoever uses a saved thing later relies on it: filters and patterns are readable, a saved
query can be asked, a date is one. What it names (a goal in a saved query) may go later;
asking then says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET

from analytics_server.access.saved import NAME_CHARS, Kind, SavedThing, body_of
from analytics_server.errors import RequestError
from analytics_server.model import Site
from analytics_server.query.context import zone_of
from analytics_server.query.engine import QueryService
from analytics_server.query.language.filters import parse_filters
from analytics_server.query.language.request import QueryRequest, decode_request
from analytics_server.query.language.saved_filters import GoalBody, SegmentBody, goal_conditions
from analytics_server.query.language.time_range import EARLIEST, LATEST, midnight, parse_moment
from analytics_server.query.plan.plan import make_plan
from analytics_server.query.sql.statement import compile_question
from analytics_server.saved.things import (
    AnnotationAnswer,
    AnnotationBody,
    AnnotationChange,
    AnnotationRequest,
    AnnotationsAnswer,
    GoalAnswer,
    GoalChange,
    GoalRequest,
    GoalsAnswer,
    QueryBody,
    SavedQueriesAnswer,
    SavedQueryAnswer,
    SavedQueryChange,
    SavedQueryRequest,
    SegmentAnswer,
    SegmentChange,
    SegmentRequest,
    SegmentsAnswer,
)
from analytics_server.sql.service import SqlRequest, SqlService


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """One kind of saved thing.

    `noun`, `plural`: its name in messages and addresses. `together`: keys of which a change replaces all or none.
    `check`: name and document of a request, once it can be relied on; raises `RequestError` or a store error.
    """

    kind: Kind
    noun: str
    plural: str
    request: type[msgspec.Struct]
    change: type[msgspec.Struct]
    body: type[msgspec.Struct]
    answer: type[msgspec.Struct]
    answers: type[msgspec.Struct]
    together: tuple[str, ...]
    check: Callable[[Any, Site, Askers], Awaitable[tuple[str, msgspec.Struct]]]

    def show(self, thing: SavedThing, site: Site) -> msgspec.Struct:
        """The thing as it is answered."""
        body = body_of(thing, self.body)
        more = {}
        if isinstance(body, AnnotationBody):
            start, end = (moment.astimezone(zone_of(site)).isoformat() for moment in when(body, site))
            more = {"start": start, "end": end}
        return self.answer(
            **msgspec.structs.asdict(body),
            **more,
            id=thing.id,
            site_id=thing.site_id,
            name=thing.name,
            created_at_ms=thing.created_at_ms,
            updated_at_ms=thing.updated_at_ms,
        )

    def place(self, thing: SavedThing, site: Site) -> tuple[datetime, ...]:
        """What lists are sorted by before the name: the time of an annotation."""
        return when(body_of(thing, AnnotationBody), site) if self.kind is Kind.ANNOTATION else ()

    def answer_all(self, answers: list[msgspec.Struct]) -> msgspec.Struct:
        """The list as it is answered."""
        return self.answers(**{self.plural: answers})

    def changed(self, thing: SavedThing, change: msgspec.Struct) -> msgspec.Struct:
        """The request that would have made the thing as it shall become. Raises `RequestError`."""
        given = {name: getattr(change, name) for name in change.__struct_fields__}
        given = {name: value for name, value in given.items() if value is not UNSET}
        site_id = given.pop("site_id", thing.site_id)
        if site_id.strip().lower() != thing.site_id:
            raise RequestError(
                f"site_id can't change: the {self.noun} belongs to {thing.site_id!r}.", code="bad_request"
            )
        kept = msgspec.structs.asdict(body_of(thing, self.body))
        if any(name in given for name in self.together):
            kept = {name: value for name, value in kept.items() if name not in self.together}
        return self.request(**({"name": thing.name} | kept | given), site_id=thing.site_id)


@dataclass(frozen=True, slots=True)
class Askers:
    """Those who would answer what is saved, and so can say whether they could."""

    query: QueryService
    sql: SqlService


async def check_goal(asked: GoalRequest, site: Site, askers: Askers) -> tuple[str, GoalBody]:
    """A goal must say which events it means."""
    body = GoalBody(
        event=asked.event, page=asked.page, filters=asked.filters, currency=asked.currency, about=asked.about
    )
    await askers.query.desk.check_patterns(goal_conditions(body, "The goal"))
    name = asked.event or asked.page if asked.name is UNSET else asked.name
    if not name:
        raise RequestError("name is missing: a goal by filters alone needs one.", code="bad_name")
    return name, body


async def check_segment(asked: SegmentRequest, site: Site, askers: Askers) -> tuple[str, SegmentBody]:
    """A segment must leave something out."""
    if not asked.filters:
        raise RequestError(
            'filters is empty: give at least one, such as ["is", "event:page", ["/"]].', code="bad_filter"
        )
    await askers.query.desk.check_patterns(parse_filters(asked.filters))
    return asked.name, SegmentBody(filters=asked.filters)


async def check_annotation(asked: AnnotationRequest, site: Site, askers: Askers) -> tuple[str, AnnotationBody]:
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


async def check_query(asked: SavedQueryRequest, site: Site, askers: Askers) -> tuple[str, QueryBody]:
    """A saved query can be asked as it stands."""
    if (asked.request is UNSET) == (asked.sql is UNSET):
        raise RequestError(
            "A saved query needs one of request (a body of POST /api/v1/query) and sql.", code="bad_request"
        )
    if asked.request is not UNSET:
        if asked.params is not UNSET:
            raise RequestError("params go with sql, not with request.", code="bad_request")
        question = decode_request(msgspec.json.encode(asked.request), QueryRequest)
        if question.site_id.strip().lower() != site.site_id:
            raise RequestError(
                f"request.site_id is {question.site_id!r}, and the query is saved for {site.site_id!r}: name one site.",
                code="bad_request",
            )
        prepared = await askers.query.prepare(question)
        compile_question(prepared.question, make_plan(prepared.question, prepared.range_), prepared.range_)
    if asked.sql is not UNSET:
        params = {} if asked.params is UNSET else asked.params
        await askers.sql.check(SqlRequest(site_id=site.site_id, query=asked.sql, params=params))
    return asked.name, QueryBody(request=asked.request, sql=asked.sql, params=asked.params)


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


SHELVES: tuple[Shelf, ...] = (
    Shelf(
        kind=Kind.GOAL,
        noun="goal",
        plural="goals",
        request=GoalRequest,
        change=GoalChange,
        body=GoalBody,
        answer=GoalAnswer,
        answers=GoalsAnswer,
        together=("event", "page", "filters"),
        check=check_goal,
    ),
    Shelf(
        kind=Kind.SEGMENT,
        noun="segment",
        plural="segments",
        request=SegmentRequest,
        change=SegmentChange,
        body=SegmentBody,
        answer=SegmentAnswer,
        answers=SegmentsAnswer,
        together=("filters",),
        check=check_segment,
    ),
    Shelf(
        kind=Kind.ANNOTATION,
        noun="annotation",
        plural="annotations",
        request=AnnotationRequest,
        change=AnnotationChange,
        body=AnnotationBody,
        answer=AnnotationAnswer,
        answers=AnnotationsAnswer,
        together=("date", "date_range"),
        check=check_annotation,
    ),
    Shelf(
        kind=Kind.QUERY,
        noun="saved query",
        plural="queries",
        request=SavedQueryRequest,
        change=SavedQueryChange,
        body=QueryBody,
        answer=SavedQueryAnswer,
        answers=SavedQueriesAnswer,
        together=("request", "sql", "params"),
        check=check_query,
    ),
)

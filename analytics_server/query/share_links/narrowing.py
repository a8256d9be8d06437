"""What a share link may ask: each question within the link's fixed filters, or refused; never a wider one. A token with
a threshold may ask what a link with that threshold may.

Nothing that such a question says may look past the filters, as conditions about other events of a session and metrics
whose denominator leaves filters out do. Where the filters choose single events, neither the pages that their sessions
began and ended on, nor the sessions' paths are shown. A link with a threshold `k` asks as one with filters does; the
rows of fewer than `k` visitors are put together in `threshold`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import msgspec

from analytics_server.errors import Forbidden, RequestError
from analytics_server.http.authorization import Caller, Narrowing
from analytics_server.profiles.tables import profile_of
from analytics_server.query.context import QueryContext
from analytics_server.query.dimensions import DIMENSIONS, GOAL
from analytics_server.query.language.conditions import Condition, all_matches, count_done
from analytics_server.query.language.event_match import EventSpec
from analytics_server.query.language.filter_classes import classify
from analytics_server.query.language.filters import parse_filters
from analytics_server.query.language.library import SavedGoal
from analytics_server.query.language.request import QueryRequest
from analytics_server.saved.store import Kind

SEGMENT_GONE = "segment_gone"
PLAIN_METRICS = frozenset(
    {
        *("visitors", "sessions", "visits", "pageviews", "events", "bounce_rate", "session_duration"),
        *("visit_duration", "views_per_session", "views_per_visit", "scroll_depth", "engagement_time", "time_on_page"),
        "exit_rate",
    }
)
"""Of the rows that the filters keep, or of their sessions, and of nothing else."""

PAGES_OF_SESSIONS = frozenset(dimension.name for dimension in DIMENSIONS if dimension.joined)
"""Entry and exit page: those of a session that was chosen by one of its events may be others."""
A = TypeVar("A", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class FixedFilters:
    """A link's filters, those of its segment included. `by_event`: they choose single events. `who`: for messages."""

    filters: tuple[object, ...]
    by_event: bool
    who: str = "This link"

    @property
    def left_out(self) -> frozenset[str]:
        """The dimensions that the link may not name."""
        return PAGES_OF_SESSIONS | {GOAL.name} if self.by_event else frozenset({GOAL.name})


class LinkQuestions:
    """What share links are checked against where they are made and opened."""

    def __init__(self, context: QueryContext) -> None:
        self._context = context

    async def segment(self, site_id: str, id_or_name: str) -> tuple[str, str] | None:
        """Id and name of a saved segment of the site, also of one that another server has just made."""
        saved = self._context.saved
        if saved is None:
            return None
        if saved.find(Kind.SEGMENT, site_id, id_or_name) is None:
            await saved.load()
        found = saved.find(Kind.SEGMENT, site_id, id_or_name)
        return None if found is None else (found.id, found.name)

    def segment_name(self, site_id: str, id_: str) -> str | None:
        """The name of the segment of that id, None if it is gone."""
        saved = self._context.saved
        found = saved.get(Kind.SEGMENT, site_id, id_) if saved else None
        return None if found is None else found.name

    def left_out(self, narrowing: Narrowing) -> list[str]:
        """The dimensions that a link may not name. Raises `Forbidden` (segment_gone) or `RequestError` (bad_filter)."""
        found: frozenset[str] = frozenset()
        if narrowing.is_restricted:
            found = fixed_filters(self._context, narrowing).left_out
        return sorted(found | profile_of(self._context.site(narrowing.site_id).profile).forbidden_dimensions)


def fixed_filters(context: QueryContext, narrowing: Narrowing) -> FixedFilters:
    """The link's filters. Raises `Forbidden` (segment_gone) where its segment was deleted or can't be read."""
    filters = narrowing.filters
    if narrowing.segment:
        try:
            filters += context.library(narrowing.site_id).segment_filters(narrowing.segment)
            parse_filters(filters)
        except RequestError as error:
            raise Forbidden(
                "This link shows a saved segment of the site that was deleted or can't be read: ask for another link.",
                code=SEGMENT_GONE,
            ) from error
    return FixedFilters(filters, bool(classify(parse_filters(filters)).about_events), narrowing.who)


def narrow_query(context: QueryContext, request: QueryRequest, narrowing: Narrowing) -> QueryRequest:
    """The question within what the link shows. Raises `Forbidden`, or `RequestError` for filters that are none."""
    if not narrowing.is_restricted:
        return request
    fixed = fixed_filters(context, narrowing)
    for metric in (*request.metrics, *(name for name, _ in request.order_by if ":" not in name and name != "time")):
        if metric not in PLAIN_METRICS:
            raise Forbidden(f"{fixed.who} does not show {metric[:64]!r}: it would count past what may be shown.")
    for dimension in request.dimensions:
        check_dimension(dimension, fixed)
    return within(request, request.filters, fixed)


def within(request: A, filters: Sequence[object], fixed: FixedFilters) -> A:
    """The question with a link's filters behind its own. Raises what `check_filters` does."""
    check_filters(filters, fixed)
    return msgspec.structs.replace(request, filters=(*filters, *fixed.filters))


def narrow_analysis(context: QueryContext, narrowing: Narrowing) -> FixedFilters | None:
    """The filters for each event that an analysis looks at; None for all. Raises `Forbidden`, where there is a `k`."""
    if narrowing.threshold:
        raise Forbidden(
            f"{narrowing.who} shows no analyses: their numbers are not held back where they are of few visitors."
        )
    return fixed_filters(context, narrowing) if narrowing.is_restricted else None


def check_dimension(dimension: str | None, fixed: FixedFilters) -> None:
    """Raises `Forbidden` for a dimension whose rows count past a link's filters."""
    if dimension in fixed.left_out:
        raise Forbidden(f"{fixed.who} does not show {dimension!r}: it would tell of what is left out.")


def check_filters(filters: Sequence[object], fixed: FixedFilters) -> None:
    """Raises `Forbidden` for filters that look past a link's, or `RequestError` for filters that are none."""
    conditions = parse_filters(filters, _NothingSaved(fixed.who))
    if count_done(conditions):
        _refuse(fixed.who, "has_done and sequence")
    for match in all_matches(conditions):
        check_dimension(match.dimension.name, fixed)


def check_events(specs: Iterable[EventSpec | None], fixed: FixedFilters) -> None:
    """The same for the events of an analysis."""
    for spec in specs:
        if spec is None:
            continue
        if spec.goal:
            _refuse(fixed.who, "saved goals")
        check_filters(spec.filters, fixed)


def threshold_of(caller: Caller) -> int:
    """Rows of fewer visitors are not shown by themselves to the caller; 0 for none."""
    return 0 if caller.narrowed_by is None else caller.narrowed_by.threshold


def told_to(caller: Caller, answer: A) -> A:
    """The answer, without how much was read for it where that tells of what a link leaves out."""
    if caller.narrowed_by is None or not caller.narrowed_by.is_restricted:
        return answer
    meta = msgspec.structs.replace(getattr(answer, "meta"), rows_read=0, bytes_read=0)  # noqa: B009
    return msgspec.structs.replace(answer, meta=meta)


def _refuse(who: str, what: str) -> NoReturn:
    raise Forbidden(f"{who} takes no {what}: they would look past what may be shown.")


class _NothingSaved:
    """A library for a link's own filters, which may name nothing that is saved, nor find out what is."""

    def __init__(self, who: str) -> None:
        self._who = who

    def goal(self, id_or_name: str, *, place: str) -> SavedGoal:
        """Raises `Forbidden`."""
        _refuse(self._who, "saved goals")

    def goals(self) -> list[SavedGoal]:
        """Raises `Forbidden`."""
        _refuse(self._who, "saved goals")

    def segment(self, id_or_name: str, *, place: str) -> tuple[Condition, ...]:
        """Raises `Forbidden`."""
        _refuse(self._who, "saved segments")

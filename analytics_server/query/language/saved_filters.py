"""The saved goals and segments of one site, as conditions.

Looked up by id or by name. What is saved was checked when it was saved; a goal or segment
that can't be read any more is an error that names it, never a silent "everything".
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from analytics_server.errors import RequestError
from analytics_server.model import PAGEVIEW
from analytics_server.query.dimensions import find_dimension
from analytics_server.query.language.conditions import Condition, Match
from analytics_server.query.language.filters import parse_filters
from analytics_server.query.language.goal_filters import goal_events
from analytics_server.query.language.library import SavedGoal
from analytics_server.query.language.shapes import Filters
from analytics_server.saved.store import Kind, Saved, SavedThing, body_of

TEXT_CHARS = 2_048
ABOUT_CHARS = 1_000

Currency = Annotated[str, Meta(pattern="^([A-Z]{3})?$", description="ISO 4217 code.")]
ScrollDepth = Annotated[int, Meta(ge=1, le=100, description="Per cent of the page.")]
About = Annotated[str, Meta(max_length=ABOUT_CHARS)]


class GoalBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A goal: events of that name, and/or on pages that fit the wildcard, and/or that pass the filters.

    `scroll_depth`: of events of any kind on these pages, those that report so many per cent or more.
    `currency`: the one its revenue is counted and shown in; `about`: a note.
    """

    event: Annotated[str, Meta(max_length=120)] = ""
    page: Annotated[str, Meta(max_length=TEXT_CHARS)] = ""
    scroll_depth: ScrollDepth | None = None
    filters: Filters = ()
    currency: Currency = ""
    about: About = ""


class SegmentBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A segment: filters with a name."""

    filters: Filters


class SiteLibrary:
    """What is saved of one site."""

    def __init__(self, saved: Saved | None, site_id: str) -> None:
        self._saved = saved
        self._site_id = site_id

    def goal(self, id_or_name: str, *, place: str) -> SavedGoal:
        """The goal of that name or id. Raises `RequestError` (unknown_goal)."""
        return _saved_goal(self._find(Kind.GOAL, id_or_name, place))

    def has_goal(self, id_or_name: str) -> bool:
        """Is there such a goal?"""
        return self._saved is not None and self._saved.find(Kind.GOAL, self._site_id, id_or_name) is not None

    def goals(self) -> list[SavedGoal]:
        """All goals of the site by name, but for those that can't be read."""
        if self._saved is None:
            return []
        return self._saved.readable(self._saved.all(Kind.GOAL, self._site_id), _saved_goal)

    def segment(self, id_or_name: str, *, place: str) -> tuple[Condition, ...]:
        """The conditions of a segment. Raises `RequestError` (unknown_segment)."""
        thing = self._find(Kind.SEGMENT, id_or_name, place)
        return parse_filters(body_of(thing, SegmentBody).filters, place=f"the segment {thing.name!r}")

    def segment_filters(self, id_: str) -> tuple[object, ...]:
        """The filters of the segment of that id, as they were saved. Raises `RequestError` (unknown_segment)."""
        thing = self._saved.get(Kind.SEGMENT, self._site_id, id_) if self._saved is not None else None
        if thing is None:
            raise RequestError(f"There is no segment {id_!r}.", code="unknown_segment")
        return body_of(thing, SegmentBody).filters

    def _find(self, kind: Kind, id_or_name: str, place: str) -> SavedThing:
        thing = self._saved.find(kind, self._site_id, id_or_name) if self._saved is not None else None
        if thing is None:
            raise RequestError(
                f"There is no {kind} {id_or_name!r} ({place}): GET /api/v1/{kind}s lists them.", code=f"unknown_{kind}"
            )
        return thing


def _saved_goal(thing: SavedThing) -> SavedGoal:
    body = body_of(thing, GoalBody)
    return SavedGoal(thing.name, goal_conditions(body, f"the goal {thing.name!r}"), body.currency)


def goal_conditions(goal: GoalBody, place: str) -> tuple[Condition, ...]:
    """What must hold of an event of a goal. Raises `RequestError` (bad_goal or of its filters).

    Passive events are of a goal only if it names them or is about the scroll depth (`goal_filters.goal_events`).
    """
    where: list[Condition] = []
    if goal.event:
        where.append(Match(find_dimension("event:name"), "is", (goal.event,), negated=False))
    if goal.scroll_depth is not None:
        if goal.event or not goal.page:
            raise RequestError(
                f'{place} is a scroll depth: it needs "page", such as "/blog/**" or "**" for all, and no "event",'
                " because several kinds of events report how far a page was scrolled.",
                code="bad_goal",
            )
        where += parse_filters([["gte", "event:scroll_depth", [goal.scroll_depth]]])
    if goal.page:
        if not goal.event and goal.scroll_depth is None:
            where.append(Match(find_dimension("event:name"), "is", (PAGEVIEW,), negated=False))
        where.append(Match(find_dimension("event:page"), "matches_wildcard", (goal.page,), negated=False))
    where += parse_filters(goal.filters, place=f"{place}.filters")
    if not where:
        raise RequestError(
            f'{place} says of no event that it is meant: give "event", "page" or "filters".', code="bad_goal"
        )
    return goal_events(tuple(where))

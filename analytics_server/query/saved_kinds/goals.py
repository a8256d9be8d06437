"""Goals: events that count as success, saved with a site. Questions name one by its id or name."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from analytics_server.errors import RequestError
from analytics_server.model import Site
from analytics_server.query.context import QueryContext
from analytics_server.query.endpoint_parts import FILTER_CODES
from analytics_server.query.language.saved_filters import (
    TEXT_CHARS,
    About,
    Currency,
    GoalBody,
    ScrollDepth,
    goal_conditions,
)
from analytics_server.query.language.shapes import Filters
from analytics_server.saved.shapes import Name, SiteId
from analytics_server.saved.store import NAME_CHARS, Kind, SavedThing
from analytics_server.saved.types import SavedType, plain_texts


class GoalRequest(GoalBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new goal. Without a name it gets that of its event or page, with the scroll depth if it has one."""

    site_id: SiteId
    name: Name | UnsetType = UNSET


class GoalChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays; `event`, `page`, `scroll_depth` and `filters` are replaced together."""

    site_id: SiteId | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    event: Annotated[str, Meta(max_length=NAME_CHARS)] | UnsetType = UNSET
    page: Annotated[str, Meta(max_length=TEXT_CHARS)] | UnsetType = UNSET
    scroll_depth: ScrollDepth | UnsetType | None = UNSET
    filters: Filters | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    about: About | UnsetType = UNSET


class GoalAnswer(GoalBody, frozen=True, kw_only=True):
    """A goal."""

    id: str
    site_id: str
    name: str
    created_at_ms: int
    updated_at_ms: int


class GoalsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A site's goals, by name."""

    goals: list[GoalAnswer]


def _name_of(goal: GoalBody) -> str:
    depth = "" if goal.scroll_depth is None else f" ({goal.scroll_depth} %)"
    return goal.event or f"{goal.page}{depth}"


def goal_type(context: QueryContext) -> SavedType:
    """Goals. `context` checks their regular expressions."""

    async def check(asked: GoalRequest, site: Site, before: SavedThing | None) -> tuple[str, GoalBody]:
        """A goal must say which events it means."""
        body = GoalBody(
            event=asked.event,
            page=asked.page,
            scroll_depth=asked.scroll_depth,
            filters=asked.filters,
            currency=asked.currency,
            about=asked.about,
        )
        await context.check_patterns(goal_conditions(body, "The goal"))
        name = _name_of(body) if asked.name is UNSET else asked.name
        if not name:
            raise RequestError("name is missing: a goal by filters alone needs one.", code="bad_name")
        return name, body

    return SavedType(
        kind=Kind.GOAL,
        noun="goal",
        plural="goals",
        path="/api/v1/goals",
        request=GoalRequest,
        change=GoalChange,
        body=GoalBody,
        answer=GoalAnswer,
        answers=GoalsAnswer,
        together=("event", "page", "scroll_depth", "filters"),
        check=check,
        texts=plain_texts(
            "goal",
            "goals",
            "Events of a name (`event`), on pages that fit a wildcard (`page`), passing `filters`: all that is given "
            "must hold. With `page` and `scroll_depth` (1 to 100): events of any kind that report such a depth or more "
            "on these pages. `currency`: the one its revenue is counted in. Questions name a goal by its id or name.",
            examples={
                "goal": {
                    "site_id": "example.com",
                    "name": "Signed up",
                    "event": "signup",
                    "about": "The form on /signup was sent.",
                },
                "scroll": {
                    "site_id": "example.com",
                    "name": "Read to the end",
                    "page": "/blog/**",
                    "scroll_depth": 90,
                },
            },
            change={"page": "/welcome*"},
            codes=FILTER_CODES,
        ),
    )

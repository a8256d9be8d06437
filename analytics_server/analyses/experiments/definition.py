"""What an experiment is: its variants, what counts as success, and when it ran.

A definition is a saved thing (`saved.store`) of the kind experiment. Everything in it is checked here
before it is saved, so that a result can only fail over what has gone since (a deleted goal).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from analytics_server.errors import RequestError
from analytics_server.query.language.conditions import Condition
from analytics_server.query.language.event_match import NAME_CHARS, EventMatch, EventSpec, read_spec
from analytics_server.query.language.saved_filters import SiteLibrary
from analytics_server.query.language.time_range import EARLIEST, LATEST, TimeRange, resolve_range
from analytics_server.query.language.window import parse_window

MAX_VARIANTS = 10
MAX_GOALS = 10
MAX_WEIGHT = 1_000_000
MIN_WEIGHT = 0.000_001
DEFAULT_WINDOW_S = 30 * 86_400

Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS)]
SiteId = Annotated[str, Meta(max_length=253)]
GoalSpec = Annotated[str, Meta(max_length=NAME_CHARS)] | EventSpec
"""A saved goal's id or name, an event's name, or which events are meant."""
Goals = Annotated[tuple[GoalSpec, ...], Meta(max_length=MAX_GOALS)]
Moment = Annotated[str, Meta(max_length=64)] | int
Window = Annotated[str, Meta(max_length=64)] | int
Status = Literal["draft", "running", "stopped"]


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing to show. `weight`: its part of the subjects, relative to the others'; 0 shows it to no new subject."""

    name: Name
    weight: Annotated[float, Meta(ge=0, le=MAX_WEIGHT)] = 1.0


Variants = Annotated[tuple[Variant, ...], Meta(min_length=2, max_length=MAX_VARIANTS)]


class ExperimentRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/experiments`. `key`: the `experiment.id` that exposures carry; the name by default."""

    site_id: Annotated[str, Meta(min_length=1, max_length=253)]
    name: Name
    variants: Variants
    key: Annotated[str, Meta(max_length=NAME_CHARS)] = ""
    control: Annotated[str, Meta(max_length=NAME_CHARS)] = ""
    goals: Goals = ()
    window: Window = DEFAULT_WINDOW_S
    start: Moment | None = None
    end: Moment | None = None
    status: Status = "running"


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """What saved and shown definitions have in common.

    `window`: seconds; `start`, `end`: instants with the site's offset, end excluded.
    """

    key: str
    variants: tuple[Variant, ...]
    control: str
    goals: tuple[GoalSpec, ...] = ()
    window: int = DEFAULT_WINDOW_S
    start: str | None = None
    end: str | None = None
    status: Status = "running"

    @property
    def names(self) -> tuple[str, ...]:
        """The variants' names, in order."""
        return tuple(variant.name for variant in self.variants)

    def is_open(self, now: datetime) -> bool:
        """Are new subjects taken in?"""
        return (
            self.status == "running"
            and (self.start is None or datetime.fromisoformat(self.start) <= now)
            and (self.end is None or now < datetime.fromisoformat(self.end))
        )


class ExperimentBody(Definition, frozen=True, kw_only=True):
    """A definition as it is saved.

    `saved_goals`: those texts among its goals that named saved ones. Should such a goal go, results say so, instead of
    counting events of that name. `key_since_ms`, `name_since_ms`: since when it has its key and its name; 0 = since it
    was made (by an earlier version).
    """

    saved_goals: tuple[str, ...] = ()
    key_since_ms: int = 0
    name_since_ms: int = 0

    def __post_init__(self) -> None:
        """Raises `ValueError` for a stored start or end that is no instant."""
        for text in (self.start, self.end):
            if text is not None and datetime.fromisoformat(text).tzinfo is None:
                raise ValueError(f"{text!r} has no offset")


def check_definition(
    asked: ExperimentRequest,
    library: SiteLibrary,
    zone: ZoneInfo,
    now: datetime,
    before: ExperimentBody | None = None,
) -> tuple[ExperimentBody, list[Condition]]:
    """The document to save, and its goals' conditions, whose regular expressions are still to be checked.

    `before`: the definition that this one replaces. Goals that are the same mean the same as before.

    Raises `RequestError` (bad_experiment, bad_window, bad_date_range, or of a goal).
    """
    key = asked.key or asked.name
    for place, text in (("name", asked.name), ("key", key)):
        _check_text(place, text)
    for index, variant in enumerate(asked.variants):
        _check_text(f"variants[{index}].name", variant.name)
        if 0 < variant.weight < MIN_WEIGHT:
            raise _bad(f"variants[{index}].weight is below {MIN_WEIGHT:f}: multiply all weights by the same number")
    names = [variant.name for variant in asked.variants]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise _bad(f"variants names {repeated!r} twice")
    if not any(variant.weight > 0 for variant in asked.variants):
        raise _bad("variants has no weight above 0: no subject would be shown anything")
    control = asked.control or names[0]
    if control not in names:
        raise _bad(f"control is {control!r}, which is none of the variants")
    goals = [read_goal(goal, f"goals[{index}]", library) for index, goal in enumerate(asked.goals)]
    range_ = range_between(asked.start, asked.end, zone, now)
    body = ExperimentBody(
        key=key,
        variants=asked.variants,
        control=control,
        goals=asked.goals,
        window=parse_window(asked.window),
        start=None if asked.start is None else range_.start.astimezone(zone).isoformat(),
        end=None if asked.end is None else range_.end.astimezone(zone).isoformat(),
        status=asked.status,
        saved_goals=tuple(
            goal
            for goal in asked.goals
            if isinstance(goal, str) and (library.has_goal(goal) or (before is not None and goal in before.saved_goals))
        ),
    )
    return body, [condition for goal in goals for condition in goal.where]


def range_between(start: Moment | None, end: Moment | None, zone: ZoneInfo, now: datetime) -> TimeRange:
    """From start to end, either of which may be open. Raises `RequestError` (bad_date_range)."""
    first = EARLIEST.isoformat() if start is None else start
    return resolve_range((first, LATEST.isoformat() if end is None else end), now=now, zone=zone)


def read_goal(goal: GoalSpec, place: str, library: SiteLibrary, own: ExperimentBody | None = None) -> EventMatch:
    """Which events a goal means. Raises `RequestError`.

    A text is looked up among the labels of the definition's own goals, then among the site's saved goals by id and
    name, and is else an event's name.
    """
    if isinstance(goal, EventSpec):
        return read_spec(goal, place, library)
    if not goal.strip():
        raise _bad(f"{place} is empty: name a goal or an event")
    for known in own.goals if own is not None else ():
        if isinstance(known, EventSpec) and goal in (known.name, known.goal, known.event):
            return read_spec(known, place, library)
    if library.has_goal(goal) or (own is not None and goal in own.saved_goals):
        return read_spec(EventSpec(goal=goal), place, library)
    return read_spec(EventSpec(event=goal), place, library)


def _check_text(place: str, text: str) -> None:
    if not text.isprintable() or text.strip() != text or not text:
        raise _bad(f"{place} must be printable text without spaces around it, not {text[:40]!r}")


def _bad(message: str) -> RequestError:
    return RequestError(f"{message}.", code="bad_experiment")

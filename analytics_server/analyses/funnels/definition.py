"""What a funnel is: its request, strictly decoded, and its checked form.

Steps are event specs (`query/language/event_match.py`); everything that is named is looked up here, once.
Pure; knows nothing of SQL or of the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from analytics_server.errors import RequestError
from analytics_server.query.dimensions import Dimension, find_dimension, has_one_value
from analytics_server.query.language.conditions import Condition, all_matches, count_done, normalise
from analytics_server.query.language.event_match import NAME_CHARS, EventMatch, EventSpec, read_spec
from analytics_server.query.language.filters import parse_filters
from analytics_server.query.language.library import Library
from analytics_server.query.language.shapes import DateRange
from analytics_server.query.language.window import parse_window

MIN_STEPS = 2
MAX_STEPS = 20
MAX_EXCLUSIONS = 5
MAX_CONDITIONS = 200
"""Comparisons in all steps, exclusions and filters of one funnel together."""

MAX_HAS_DONE = 10
DEFAULT_WINDOW = "7d"
DEFAULT_VALUES = 20
MAX_VALUES = 100
DEFAULT_LISTED = 100
MAX_LISTED = 1_000

Order = Literal["ordered", "strict", "any"]
By = Literal["session", "visitor", "user"]
SiteId = Annotated[str, Meta(min_length=1, max_length=253)]
FunnelName = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS)]


class ExclusionSpec(EventSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events that void an attempt when one lies between its step `after` and its step `before`.

    Without `before`: the deepest step that the attempt reaches.
    """

    after: Annotated[int, Meta(ge=1, le=MAX_STEPS - 1)] = 1
    before: Annotated[int, Meta(ge=2, le=MAX_STEPS)] | None = None


class FunnelBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a funnel counts, without the site and the range: this is what can be saved."""

    steps: tuple[EventSpec, ...]
    window: int | str = DEFAULT_WINDOW
    order: Order = "ordered"
    by: By = "session"
    exclude: tuple[ExclusionSpec, ...] = ()
    filters: tuple[object, ...] = ()


class Drill(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which sessions are listed: those that reached a step, or those lost on the way to it."""

    step: Annotated[int, Meta(ge=1, le=MAX_STEPS)]
    kind: Literal["dropped", "reached"] = "dropped"
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTED)] = DEFAULT_LISTED
    offset: Annotated[int, Meta(ge=0, le=2**31)] = 0


class FunnelRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/funnels`: a funnel as in `FunnelBody`, or with `funnel` the id or name of a saved one.

    `breakdown`: a dimension, whose value at step 1 divides the answer.
    """

    site_id: SiteId
    date_range: DateRange
    funnel: FunnelName | UnsetType = UNSET
    steps: tuple[EventSpec, ...] | UnsetType = UNSET
    window: int | str | UnsetType = UNSET
    order: Order | UnsetType = UNSET
    by: By | UnsetType = UNSET
    exclude: tuple[ExclusionSpec, ...] | UnsetType = UNSET
    filters: tuple[object, ...] | UnsetType = UNSET
    breakdown: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_VALUES)] = DEFAULT_VALUES


class DrillRequest(FunnelRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/funnels/sessions`: a funnel and whom to list. `breakdown` is refused."""

    drill: Drill


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Events between step `after` and step `before` (0: the deepest reached) that void an attempt."""

    events: EventMatch
    after: int
    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """A funnel whose every name is known."""

    steps: tuple[EventMatch, ...]
    window_s: int
    order: Order
    by: By
    exclude: tuple[Exclusion, ...] = ()
    where: tuple[Condition, ...] = ()

    @property
    def window_us(self) -> int:
        """How long an attempt may last, in microseconds."""
        return self.window_s * 1_000_000

    def conditions(self) -> tuple[Condition, ...]:
        """All conditions of steps, exclusions and filters."""
        parts = [*(step.where for step in self.steps), *(one.events.where for one in self.exclude), self.where]
        return tuple(condition for part in parts for condition in part)

    def normalised(self) -> dict[str, object]:
        """The funnel as it was understood, with full names and all defaults."""
        return {
            "steps": [step.normalised() for step in self.steps],
            "window": self.window_s,
            "order": self.order,
            "by": self.by,
            "exclude": [
                one.events.normalised() | {"after": one.after, "before": one.before or None} for one in self.exclude
            ],
            "filters": [normalise(condition) for condition in self.where],
        }


_BODY_KEYS = FunnelBody.__struct_fields__


def body_of_request(request: FunnelRequest) -> FunnelBody:
    """The funnel that a request spells out. Raises `RequestError` (bad_funnel)."""
    given = {key: getattr(request, key) for key in _BODY_KEYS if getattr(request, key) is not UNSET}
    if "steps" not in given:
        raise RequestError(
            'A funnel needs "steps": 2 to 20 events, such as [{"name": "pageview"}, {"name": "signup"}],'
            ' or "funnel", the id or name of a saved one.',
            code="bad_funnel",
        )
    return FunnelBody(**given)


def refuse_parts(request: FunnelRequest) -> None:
    """With `funnel`, the saved one says everything. Raises `RequestError` (bad_funnel)."""
    given = [key for key in _BODY_KEYS if getattr(request, key) is not UNSET]
    if given:
        raise RequestError(
            f'"funnel" names a saved funnel, which has its own {given[0]}: leave out either of them.', code="bad_funnel"
        )


def check_funnel(body: FunnelBody, library: Library) -> Funnel:
    """Look up every name and check every bound. Raises `RequestError`."""
    count = len(body.steps)
    if not MIN_STEPS <= count <= MAX_STEPS:
        raise RequestError(f"A funnel has {MIN_STEPS} to {MAX_STEPS} steps, not {count}.", code="bad_funnel")
    if len(body.exclude) > MAX_EXCLUSIONS:
        raise RequestError(f"exclude may hold {MAX_EXCLUSIONS} specs at most.", code="bad_funnel")
    funnel = Funnel(
        steps=tuple(read_spec(spec, f"steps[{index}]", library) for index, spec in enumerate(body.steps)),
        window_s=parse_window(body.window),
        order=body.order,
        by=body.by,
        exclude=tuple(_exclusion(spec, index, body, library) for index, spec in enumerate(body.exclude)),
        where=parse_filters(body.filters, library),
    )
    _check_size(funnel.conditions())
    return funnel


def find_breakdown(name: str) -> Dimension:
    """A dimension that an event has one value of. Raises `RequestError` (unknown_dimension, unsupported_dimension)."""
    dimension = find_dimension(name)
    if not has_one_value(dimension):
        raise RequestError(
            f"breakdown can't be {name!r}: it needs a dimension with one value for each event, such as visit:source.",
            code="unsupported_dimension",
        )
    return dimension


def _exclusion(spec: ExclusionSpec, index: int, body: FunnelBody, library: Library) -> Exclusion:
    place, last = f"exclude[{index}]", len(body.steps)
    before = spec.before or 0
    if spec.after >= last or before > last or (before and spec.after >= before):
        raise RequestError(f"{place} must lie between two steps: 1 ≤ after < before ≤ {last}.", code="bad_exclusion")
    if body.order == "any" and spec.after != 1:
        raise RequestError(
            f'{place}.after must be 1 where "order" is "any": the other steps have no fixed place.',
            code="bad_exclusion",
        )
    plain = EventSpec(name=spec.name, event=spec.event, goal=spec.goal, filters=spec.filters)
    return Exclusion(read_spec(plain, place, library), spec.after, before)


def _check_size(conditions: Sequence[Condition]) -> None:
    if sum(1 for _ in all_matches(conditions)) > MAX_CONDITIONS:
        raise RequestError(
            f"A funnel may hold {MAX_CONDITIONS} comparisons at most, those of its goals and segments included.",
            code="bad_funnel",
        )
    if count_done(conditions) > MAX_HAS_DONE:
        raise RequestError(
            f"A funnel may hold {MAX_HAS_DONE} times has_done, has_not_done and sequence at most.", code="bad_funnel"
        )

"""What may be asked of cohorts, and the shape of the answer.

`check_cohorts` looks up every name; it knows neither SQL nor the clock. Numbers of an answer
are whole, retention is a share (0.25 is a quarter), unrounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from analytics_server.analyses.cohorts.calendar import Period
from analytics_server.errors import RequestError
from analytics_server.model import stored_site_id
from analytics_server.query.answer import AnswerMeta
from analytics_server.query.dimensions import Dimension, find_dimension, has_one_value
from analytics_server.query.language.conditions import Condition, normalise
from analytics_server.query.language.event_match import EventMatch, EventSpec, read_spec
from analytics_server.query.language.filters import parse_filters
from analytics_server.query.language.goal_filters import goal_events
from analytics_server.query.language.library import Library
from analytics_server.query.language.shapes import DateRange
from analytics_server.query.language.time_range import RangeSpec

Subject = Literal["user", "session", "visitor"]

MAX_COHORTS = 400
MAX_PERIODS = 1_000
MAX_CELLS = 200_000
MAX_VALUES = 50
DEFAULT_VALUES = 10


class CohortsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/cohorts`. `date_range`: which cohorts are shown; `periods`: how many of each."""

    site_id: Annotated[str, Meta(min_length=1, max_length=253)]
    date_range: DateRange = "12mo"
    period: Period = "week"
    by: Subject = "user"
    first: EventSpec | None = None
    returning: EventSpec | None = None
    filters: tuple[object, ...] = ()
    breakdown: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_VALUES)] = DEFAULT_VALUES
    periods: Annotated[int, Meta(ge=1, le=MAX_PERIODS)] | None = None


class Cohort(msgspec.Struct, frozen=True, kw_only=True):
    """Those whose first event lies in the period that begins on `start`.

    `returned[k]`: how many of them have a returning event k periods later; `complete[k]`: is that period over?
    """

    start: str
    size: int
    returned: list[int]
    complete: list[bool]


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """Retention `period` periods later, over all cohorts for which that period is over: `returned` of `size`."""

    period: int
    size: int
    returned: int
    retention: float | None


class CohortGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The cohorts of those whose first event has that value."""

    value: str
    size: int
    cohorts: list[Cohort]
    curve: list[CurvePoint]


class CohortsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `POST /api/v1/cohorts`; `query` is the question as it was understood.

    `breakdown`: the values with most subjects; `meta.total_rows` says how many values there are.
    """

    period: str
    cohorts: list[Cohort]
    curve: list[CurvePoint]
    meta: AnswerMeta
    query: dict[str, object]
    breakdown: list[CohortGroup] | UnsetType = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortQuestion:
    """A request whose every name is known. `first`, `returning`: None = any active event."""

    site_id: str
    date_range: RangeSpec
    period: Period
    by: Subject
    first: EventMatch | None
    returning: EventMatch | None
    where: tuple[Condition, ...]
    breakdown: Dimension | None
    limit: int
    periods: int

    @property
    def first_where(self) -> tuple[Condition, ...]:
        """What must hold of a first event."""
        return self._conditions_of(self.first)

    @property
    def returning_where(self) -> tuple[Condition, ...]:
        """What must hold of a returning event."""
        return self._conditions_of(self.returning)

    def _conditions_of(self, events: EventMatch | None) -> tuple[Condition, ...]:
        return goal_events(self.where) if events is None else (*self.where, *events.where)

    def normalised(self) -> dict[str, object]:
        """As JSON with all defaults, without the range."""
        return {
            "site_id": self.site_id,
            "period": self.period,
            "by": self.by,
            "first": _shown(self.first),
            "returning": _shown(self.returning),
            "filters": [normalise(condition) for condition in self.where],
            "breakdown": self.breakdown.name if self.breakdown else None,
            "limit": self.limit,
        }


def check_cohorts(request: CohortsRequest, library: Library) -> CohortQuestion:
    """Look up every name. Raises `RequestError`."""
    return CohortQuestion(
        site_id=stored_site_id(request.site_id),
        date_range=request.date_range,
        period=request.period,
        by=request.by,
        first=_read(request.first, "first", library),
        returning=_read(request.returning, "returning", library),
        where=parse_filters(request.filters, library),
        breakdown=None if request.breakdown is None else find_breakdown(request.breakdown),
        limit=request.limit,
        periods=request.periods or MAX_PERIODS,
    )


def find_breakdown(name: str) -> Dimension:
    """A dimension that an event has one value of. Raises `RequestError`."""
    dimension = find_dimension(name)
    if not has_one_value(dimension):
        raise RequestError(
            f"breakdown can't be {name!r}: it needs a dimension with one value for each event, such as visit:source"
            " or event:props:plan.",
            code="unsupported_dimension",
        )
    return dimension


def _read(spec: EventSpec | None, place: str, library: Library) -> EventMatch | None:
    return None if spec is None or spec == EventSpec() else read_spec(spec, place, library)


def _shown(events: EventMatch | None) -> dict[str, object] | None:
    return None if events is None else events.normalised()

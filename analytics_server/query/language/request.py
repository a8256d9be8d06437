"""What a client may ask: strict decoding of the JSON query into a checked `Question`.

Unknown keys are refused, names are looked up in the registry, and every message says
where the fault is and what would be right. Nothing here knows of SQL or of the clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, NoReturn, TypeVar

import msgspec
from msgspec import Meta

from analytics_server.errors import RequestError
from analytics_server.model import stored_site_id
from analytics_server.query.dimensions import GOAL, Dimension, Interval, Scope, find_dimension, is_property, nearest
from analytics_server.query.language.comparisons import ComparisonRequest, ComparisonSpec, read_comparison
from analytics_server.query.language.conditions import Condition, matches, normalise
from analytics_server.query.language.filter_classes import FilterClasses, classify
from analytics_server.query.language.filters import all_of, parse_filters
from analytics_server.query.language.goal_filters import goals_in, is_active, paying, without_goals, without_properties
from analytics_server.query.language.library import Library
from analytics_server.query.language.shapes import MAX_DIMENSIONS, MAX_METRICS, DateRange, Dimensions, Filters, Metrics
from analytics_server.query.language.time_range import RangeSpec
from analytics_server.query.metrics import GROUP_VISITORS, VISITORS, Metric, Share, find_metric

MAX_GOALS = 100
MAX_ORDERS = MAX_METRICS + MAX_DIMENSIONS
DEFAULT_LIMIT = 100

T = TypeVar("T")


class Include(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the answer should hold besides its rows."""

    total_rows: bool = False
    time_labels: bool = False
    comparison: ComparisonSpec | ComparisonRequest | None = None
    match_day_of_week: bool = False


class Pagination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rows of the ordered result are wanted."""

    limit: Annotated[int, Meta(ge=1)] | None = None
    offset: Annotated[int, Meta(ge=0, le=2**31)] = 0


class QueryRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/query`."""

    site_id: Annotated[str, Meta(min_length=1, max_length=253)]
    metrics: Metrics
    date_range: DateRange
    dimensions: Dimensions = ()
    filters: Filters = ()
    order_by: Annotated[tuple[tuple[str, Literal["asc", "desc"]], ...], Meta(max_length=MAX_ORDERS)] = ()
    include: Include = Include()
    pagination: Pagination = Pagination()
    exact: bool = False


@dataclass(frozen=True, slots=True)
class SortKey:
    """Sort by the metric or dimension at that place of the question."""

    by: Literal["metric", "dimension"]
    index: int
    descending: bool


@dataclass(frozen=True, slots=True)
class Goal:
    """A saved goal: what must hold of its events, and the currency that its revenue is counted in ("": any)."""

    name: str
    condition: Condition
    currency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request whose every name is known to the registry. `goals`: what the dimension event:goal groups by.

    What follows from these is worked out once: `filters`, the conditions by what they depend on; `wider`, per kind of
    share that is asked for, the question whose visitors it is a share of. `exact_visitors`: for shares, both numbers
    are counted exactly, as an approximate part may come out greater than its whole. `counts_passive`: of
    goals that passive events may reach, these count for visitors of the question without the goal (`converting`).
    """

    site_id: str
    metrics: tuple[Metric, ...]
    dimensions: tuple[Dimension, ...]
    where: tuple[Condition, ...]
    goals: tuple[Goal, ...]
    date_range: RangeSpec
    order_by: tuple[SortKey, ...]
    limit: int
    offset: int
    include: Include
    comparison: ComparisonSpec | None
    match_day_of_week: bool
    exact: bool
    exact_visitors: bool = False
    counts_passive: bool = field(init=False, repr=False, compare=False)
    filters: FilterClasses = field(init=False, repr=False, compare=False)
    wider: Mapping[Share, Question] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        shares = dict.fromkeys(metric.share for metric in self.metrics if metric.share)
        object.__setattr__(self, "exact_visitors", self.exact_visitors or self.exact or bool(shares))
        object.__setattr__(self, "counts_passive", self._counts_passive())
        object.__setattr__(self, "filters", classify(self.where))
        object.__setattr__(self, "wider", {share: _wider(self, share) for share in shares})

    def _counts_passive(self) -> bool:
        chosen = [[goal.condition for goal in goals] for goals in goals_in(self.where)]
        if GOAL in self.dimensions:
            chosen.append([goal.condition for goal in self.goals])
        return bool(chosen) and not any(all(map(is_active, goals)) for goals in chosen)

    def counted_for(self, metric: Metric) -> Metric:
        """What has to be read for the metric: visitors for a share, the metric itself otherwise."""
        if metric.share is Share.OF_GROUP_WITHOUT_GOAL and self.counts_passive and self.converting().dimensions:
            return GROUP_VISITORS
        return VISITORS if metric.share else metric

    def converting(self, *, by_group: bool = True) -> Question:
        """The question of the visitors who may reach the goal."""
        return _wider(self, Share.OF_GROUP_WITHOUT_GOAL if by_group else Share.OF_ALL_WITHOUT_GOAL)

    @property
    def paying(self) -> tuple[Condition, ...]:
        """What must hold of an event besides the filters for its revenue to count, where rows are not by goal."""
        return paying(self.where)

    @property
    def goal_dimensions(self) -> tuple[Dimension, ...]:
        """What the goals that the question groups by look at."""
        return tuple(match.dimension for match in matches([goal.condition for goal in self.goals]))

    @property
    def time_index(self) -> int | None:
        """Place of the time dimension, if there is one."""
        return next((i for i, dimension in enumerate(self.dimensions) if dimension.scope is Scope.TIME), None)

    @property
    def interval(self) -> Interval | None:
        """The length of the time buckets, if there are any."""
        return None if self.time_index is None else self.dimensions[self.time_index].interval

    def with_interval(self, interval: Interval) -> Question:
        """The same question with the dimension `time` made definite."""
        if self.time_index is None or self.interval is not None:
            return self
        concrete = find_dimension(f"time:{interval}")
        dimensions = tuple(concrete if d.scope is Scope.TIME else d for d in self.dimensions)
        return replace(self, dimensions=dimensions)

    def by_first_metric(self) -> Question:
        """The same question, the groups with most of the first metric first."""
        return replace(self, order_by=(SortKey("metric", 0, True),))

    def normalised(self) -> dict[str, object]:
        """The question as JSON with full names and all defaults."""
        names: dict[str, tuple[Metric, ...] | tuple[Dimension, ...]] = {
            "metric": self.metrics,
            "dimension": self.dimensions,
        }
        return {
            "site_id": self.site_id,
            "metrics": [metric.name for metric in self.metrics],
            "dimensions": [dimension.name for dimension in self.dimensions],
            "filters": [normalise(condition) for condition in self.where],
            "order_by": [[names[o.by][o.index].name, "desc" if o.descending else "asc"] for o in self.order_by],
            "include": {
                "total_rows": self.include.total_rows,
                "time_labels": self.include.time_labels,
                "comparison": self.comparison,
                "match_day_of_week": self.match_day_of_week,
            },
            "pagination": {"limit": self.limit, "offset": self.offset},
            "exact": self.exact,
        }


def _wider(question: Question, share: Share) -> Question:
    """The question whose visitors a share is of: counted exactly, as those of the question are."""
    where, dimensions = question.where, question.dimensions
    if share is not Share.OF_ALL:
        where = without_properties(without_goals(where))
    if share is not Share.OF_GROUP_WITHOUT_GOAL:
        dimensions = ()
    return replace(
        question,
        metrics=(VISITORS,),
        dimensions=tuple(d for d in dimensions if d is not GOAL and not is_property(d)),
        where=where,
        order_by=(),
        goals=(),
        exact_visitors=True,
    )


def decode_request(body: bytes, kind: type[T]) -> T:
    """Decode strictly; raises `RequestError` naming the place and the nearest valid key."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        _refuse(str(error), kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"The body is no readable JSON: {error}.", code="bad_json") from error


def check_request(request: QueryRequest, library: Library | None = None, *, max_rows: int) -> Question:
    """Look up every name and check what belongs together; raises `RequestError`."""
    metrics = _each_once("metrics", [find_metric(name) for name in request.metrics], MAX_METRICS)
    if not metrics:
        raise RequestError('metrics is empty: name at least one, such as ["visitors"].', code="bad_request")
    dimensions = _each_once("dimensions", [find_dimension(name) for name in request.dimensions], MAX_DIMENSIONS)
    if sum(dimension.scope is Scope.TIME for dimension in dimensions) > 1:
        raise RequestError("dimensions may hold one time dimension only.", code="bad_request")
    limit = min(DEFAULT_LIMIT, max_rows) if request.pagination.limit is None else request.pagination.limit
    if limit > max_rows:
        raise RequestError(f"pagination.limit may be {max_rows} at most; use offset for more.", code="bad_pagination")
    where = parse_filters(request.filters, library)
    comparison, match_day_of_week = read_comparison(request.include.comparison, request.include.match_day_of_week)
    question = Question(
        site_id=stored_site_id(request.site_id),
        metrics=metrics,
        dimensions=dimensions,
        where=where,
        goals=_goals(where, library) if GOAL in dimensions else (),
        date_range=request.date_range,
        order_by=(),
        limit=limit,
        offset=request.pagination.offset,
        include=request.include,
        comparison=comparison,
        match_day_of_week=match_day_of_week,
        exact=request.exact,
    )
    if request.include.time_labels and question.time_index is None:
        raise RequestError("include.time_labels needs a time dimension.", code="bad_request")
    _check_shares(question)
    return replace(question, order_by=_order(request.order_by, question))


def _goals(where: Sequence[Condition], library: Library | None) -> tuple[Goal, ...]:
    """The goals to group by: those that the filters choose, else all of the site."""
    found = [Goal(g.name, all_of(g.conditions), g.currency) for g in (library.goals() if library else ())]
    for chosen in goals_in(where):
        names = {goal.goal for goal in chosen}
        found = [goal for goal in found if goal.name in names]
    if len(found) > MAX_GOALS:
        raise RequestError(
            f"The site has more than {MAX_GOALS} goals, too many to group by: choose some of them by a filter such as"
            ' ["is", "event:goal", ["Signup"]].',
            code="unsupported_combination",
        )
    return tuple(found)


def _check_shares(question: Question) -> None:
    converting = [metric.name for metric in question.metrics if metric.share not in (None, Share.OF_ALL)]
    if converting and GOAL not in question.dimensions and not goals_in(question.where):
        raise RequestError(
            f'{converting[0]} needs a goal: add the dimension "event:goal", or a filter such as ["goal", "Signup"]'
            " that stands by itself, not inside or, not or has_done. GET /api/v1/goals lists the goals.",
            code="unsupported_combination",
        )


def _order(wanted: Sequence[tuple[str, str]], question: Question) -> tuple[SortKey, ...]:
    """As asked; by default time upwards, else the first metric downwards."""
    if not wanted:
        if question.time_index is not None:
            return (SortKey("dimension", question.time_index, False),)
        return (SortKey("metric", 0, True),) if question.dimensions else ()
    places = {dimension.name: ("dimension", index) for index, dimension in enumerate(question.dimensions)}
    for index, metric in enumerate(question.metrics):
        places |= dict.fromkeys((metric.name, *metric.aliases), ("metric", index))
    orders = []
    for place, (name, direction) in enumerate(wanted):
        if name not in places:
            raise RequestError(
                f"order_by[{place}] names {name!r}, which is not among the query's metrics and dimensions."
                f"{nearest(name, places)}",
                code="bad_order",
            )
        by, index = places[name]
        orders.append(SortKey("metric" if by == "metric" else "dimension", index, direction == "desc"))
    return tuple(orders)


Field = TypeVar("Field", Metric, Dimension)


def _each_once(key: str, fields: Sequence[Field], most: int) -> tuple[Field, ...]:
    names = [field.name for field in fields]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise RequestError(f"{key} names {repeated!r} twice.", code="bad_request")
    if len(names) > most:
        raise RequestError(f"{key} may hold {most} names at most.", code="bad_request")
    return tuple(fields)


_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<key>.*?)`(?: - at `\$\.?(?P<place>.*)`)?", re.DOTALL)


def _refuse(message: str, kind: type) -> NoReturn:
    unknown = _UNKNOWN_FIELD.match(message)
    if unknown is None:
        raise RequestError(f"The request has a wrong value: {message}.", code="bad_request")
    place = unknown["place"] or ""
    owner = {"include": Include, "include.comparison": ComparisonRequest, "pagination": Pagination}.get(place, kind)
    where = f" in {place}" if place else ""
    names = getattr(owner, "__struct_fields__", ())
    raise RequestError(
        f"There is no key {unknown['key']!r}{where}.{nearest(unknown['key'], names)}", code="unknown_key"
    )

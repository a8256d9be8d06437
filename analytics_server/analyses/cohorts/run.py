"""Runs a cohort question: check, choose the table, ask, and lay the counts out as a matrix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from msgspec import UNSET

from analytics_server.analyses.cohorts.calendar import NONE, first_day, period_at, periods_of, starts_at
from analytics_server.analyses.cohorts.request import (
    MAX_CELLS,
    MAX_COHORTS,
    MAX_PERIODS,
    Cohort,
    CohortGroup,
    CohortQuestion,
    CohortsAnswer,
    CohortsRequest,
    CurvePoint,
    check_cohorts,
)
from analytics_server.analyses.cohorts.statement import (
    CohortTable,
    cheapest_source,
    select_breakdown,
    select_cohorts,
    tables_of,
)
from analytics_server.errors import RequestError
from analytics_server.profiles.refusal import refuse_cohorts, refuse_users
from analytics_server.query.answer import whole_number
from analytics_server.query.context import Cost, QueryContext, meta_of, show_range
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.parameters import COUNT, TEXT, Binder

Cells = Mapping[tuple[int, int], int]
"""How many subjects by cohort and period; the period `NONE` holds the cohort's size."""

BY_VISITOR = (
    "A visitor is known for one day (UTC) and a visit that lasts over its end, so nobody can be seen to come back on a"
    ' later day: what is counted later are visits that last over midnight. Ask by "user" to follow people over days.'
)
BY_SESSION = (
    "A session is one visit, so nobody can be seen to come back with the next one: what is counted later are sessions"
    ' that go on into the next period. Ask by "user" to follow people over days.'
)
_WARNINGS = {"user": (), "visitor": (BY_VISITOR,), "session": (BY_SESSION,)}


@dataclass(frozen=True, slots=True)
class Grid:
    """Which cohorts are shown, over which periods. `columns`: the most that a cohort may have."""

    question: CohortQuestion
    range_: TimeRange
    now: datetime
    first: int
    last: int
    current: int
    columns: int

    def lay_out(self, cells: Cells) -> tuple[list[Cohort], list[CurvePoint]]:
        """The matrix and the curve over all its complete columns."""
        over = {number: self._is_over(number) for number in range(self.first, self.current + 1)}
        cohorts = []
        for number in range(self.first, self.last + 1):
            later = range(number, min(self.current, number + self.columns - 1) + 1)
            cohorts.append(
                Cohort(
                    start=first_day(number, self.question.period).isoformat(),
                    size=cells.get((number, NONE), 0),
                    returned=[cells.get((number, period), 0) for period in later],
                    complete=[over[period] for period in later],
                )
            )
        return cohorts, _curve(cohorts)

    def _is_over(self, number: int) -> bool:
        return starts_at(number + 1, self.question.period, self.range_) <= self.now


async def run_cohorts(
    context: QueryContext, request: CohortsRequest, *, source: CohortTable | None = None
) -> CohortsAnswer:
    """Answer `POST /api/v1/cohorts`. `source`: read that table although a cheaper one would do.

    Raises `RequestError`, `NotFound` or a store error.
    """
    question = check_cohorts(request, context.library(request.site_id))
    site = context.site(request.site_id)
    question = replace(question, site_id=site.site_id)
    refuse_cohorts(site.profile)
    if question.by == "user":
        refuse_users(site.profile)
    context.check_profile(site, (*question.first_where, *question.returning_where), [question.breakdown])
    await context.check_patterns((*question.first_where, *question.returning_where))
    range_, now = await context.range_of(site, question.date_range)
    grid = make_grid(question, range_, now)
    chosen = source or cheapest_source(question)
    binder = _bind(grid)
    result = await context.query(select_cohorts(question, chosen, binder), binder.values)
    cohorts, curve = grid.lay_out(_cells(result.rows))
    cost = Cost().plus(result)
    groups: list[CohortGroup] | None = None
    all_values = 0
    if question.breakdown is not None:
        binder = _bind(grid)
        binder.name("limit", question.limit, COUNT)
        result = await context.query(select_breakdown(question, binder), binder.values)
        cost = cost.plus(result)
        groups = [_group(grid, row) for row in result.rows]
        all_values = whole_number(result.rows[0][2]) if result.rows else 0
    return CohortsAnswer(
        period=question.period,
        cohorts=cohorts,
        curve=curve,
        breakdown=UNSET if groups is None else groups,
        meta=meta_of(
            tables_of(question, chosen),
            range_,
            cost,
            [*context.site_warnings(site, range_), *_WARNINGS[question.by]],
            total_rows=UNSET if groups is None else all_values,
        ),
        query=question.normalised() | {"date_range": list(show_range(range_)), "periods": grid.columns},
    )


def make_grid(question: CohortQuestion, range_: TimeRange, now: datetime) -> Grid:
    """The cohorts of the range that have begun. Raises `RequestError` (too_many_cohorts, too_many_cells)."""
    first, last = periods_of(range_, question.period)
    current = period_at(now, question.period, range_)
    last = min(last, current)
    cohorts = max(0, last - first + 1)
    if cohorts > MAX_COHORTS:
        raise RequestError(
            f"The range holds {cohorts} cohorts of one {question.period}, and {MAX_COHORTS} can be shown at most:"
            " choose a shorter date_range or a longer period.",
            code="too_many_cohorts",
        )
    columns = max(1, min(question.periods, current - first + 1, MAX_PERIODS))
    values = 1 if question.breakdown is None else question.limit
    if cohorts * columns * values > MAX_CELLS:
        raise RequestError(
            f"The answer would have {cohorts} cohorts by {columns} periods"
            f"{'' if question.breakdown is None else f' by {values} values'}, and {MAX_CELLS} numbers can be shown at"
            ' most: choose a shorter date_range, a longer period, or fewer "periods".',
            code="too_many_cells",
        )
    return Grid(question, range_, now, first, last, current, columns)


def _bind(grid: Grid) -> Binder:
    binder = Binder()
    question, range_ = grid.question, grid.range_
    binder.name("site", question.site_id, TEXT)
    binder.name("tz", range_.zone.key, TEXT)
    for name in ("first", "last", "current"):
        binder.name(name, getattr(grid, name), COUNT)
    binder.name("periods", grid.columns, COUNT)
    binder.moment("since", starts_at(grid.first, question.period, range_))
    binder.moment("until", starts_at(grid.last + 1, question.period, range_))
    return binder


def _cells(rows: Iterable[Sequence[object]]) -> Cells:
    return {(whole_number(cohort), whole_number(period)): whole_number(subjects) for cohort, period, subjects in rows}


def _group(grid: Grid, row: Sequence[object]) -> CohortGroup:
    value, size, _, cells = row
    assert isinstance(cells, list), "groupArray gives a list"
    cohorts, curve = grid.lay_out(_cells(cells))
    return CohortGroup(value=str(value), size=whole_number(size), cohorts=cohorts, curve=curve)


def _curve(cohorts: Sequence[Cohort]) -> list[CurvePoint]:
    """Only complete cells count: a period that is not over would draw the curve down."""
    points = []
    for later in range(max((len(cohort.returned) for cohort in cohorts), default=0)):
        whole = [cohort for cohort in cohorts if later < len(cohort.complete) and cohort.complete[later]]
        size, returned = sum(c.size for c in whole), sum(c.returned[later] for c in whole)
        points.append(
            CurvePoint(period=later, size=size, returned=returned, retention=returned / size if size else None)
        )
    return points

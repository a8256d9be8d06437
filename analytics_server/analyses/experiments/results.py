"""Answering `POST /api/v1/experiments/{id}/results`: definition → range → SQL → numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta

from analytics_server.analyses.experiments.answer import (
    BreakdownResult,
    Excluded,
    ExperimentShown,
    GoalShown,
    ResultsAnswer,
    Tally,
    VariantCounts,
    judge,
    sample_ratio,
)
from analytics_server.analyses.experiments.definition import (
    DEFAULT_WINDOW_S,
    MAX_GOALS,
    MAX_VARIANTS,
    ExperimentBody,
    Goals,
    GoalSpec,
    Name,
    SiteId,
    Variant,
    Window,
    range_between,
    read_goal,
)
from analytics_server.analyses.experiments.statement import (
    COUNTED,
    MIXED,
    UNITS,
    ResultsQuestion,
    select_breakdown,
    select_currencies,
    select_results,
    select_sites,
    select_variants,
)
from analytics_server.errors import NotFound, RequestError
from analytics_server.model import Site
from analytics_server.query.answer import whole_number
from analytics_server.query.context import Cost, QueryContext, meta_of
from analytics_server.query.dimensions import Dimension, find_dimension, has_one_value
from analytics_server.query.language.conditions import normalise
from analytics_server.query.language.event_match import EventMatch
from analytics_server.query.language.filters import parse_filters
from analytics_server.query.language.saved_filters import SiteLibrary
from analytics_server.query.language.shapes import DateRange
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.language.window import parse_window
from analytics_server.query.parameters import TEXT, Binder
from analytics_server.query.sql.select import Select
from analytics_server.saved.store import SavedThing, body_of

MAX_BREAKDOWN = 20
MAX_CURRENCIES = MAX_VARIANTS

Row = tuple[object, ...]
Rows = Sequence[Row]


class ResultsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/experiments/{id}/results`; what is left out is the definition's."""

    site_id: SiteId = ""
    goal: GoalSpec | None = None
    goals: Goals = ()
    date_range: DateRange | None = None
    filters: tuple[object, ...] = ()
    breakdown: Annotated[str, Meta(max_length=253)] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_BREAKDOWN)] = 10
    window: Window | None = None
    control: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedResults:
    """A checked request: what to read, of which subjects, and what is known of the experiment."""

    asked: ResultsQuestion
    binder: Binder
    range_: TimeRange
    shown: ExperimentShown
    cost: Cost
    warnings: list[str]


@dataclass(slots=True)
class Counts:
    """What the rows say: groups by variant, and the subjects that are in none."""

    groups: dict[str, VariantCounts] = field(default_factory=dict)
    mixed: int = 0
    unknown: int = 0
    maturing: int = 0


async def run_results(
    context: QueryContext, site: Site, id_or_key: str, thing: SavedThing | None, request: ResultsRequest
) -> ResultsAnswer:
    """Evaluate an experiment of the site: a saved one (`thing`), or one that is known by its exposures only.

    Raises `RequestError`, `NotFound` (unknown_experiment) or a store error.
    """
    planned = await _with_currencies(context, await _plan(context, site, id_or_key, thing, request))
    statements = [select_results(planned.asked, planned.binder)]
    by_value = planned.asked.breakdown
    if by_value is not None:
        statements = [
            select_results(replace(planned.asked, breakdown=None), planned.binder),
            select_breakdown(planned.asked, planned.binder, request.limit),
        ]
    answers = await asyncio.gather(*(context.query(sql, planned.binder.values) for sql in statements))
    cost = planned.cost
    for answer in answers:
        cost = cost.plus(answer)
    # Posteriors of many variants and values take up to seconds: not on the loop.
    return await asyncio.to_thread(_show, planned, [answer.rows for answer in answers], cost)


async def sites_with_exposures(context: QueryContext, key: str) -> list[str]:
    """The sites there are where the experiment of that key was shown, in order. Raises a store error."""
    binder = Binder()
    binder.name("experiment", key, TEXT)
    answer = await context.query(select_sites(), binder.values)
    return [str(row[0]) for row in answer.rows if context.has_site(str(row[0]))]


async def _plan(
    context: QueryContext, site: Site, id_or_key: str, thing: SavedThing | None, request: ResultsRequest
) -> PreparedResults:
    library, now = context.library(site.site_id), context.now()
    body = body_of(thing, ExperimentBody) if thing is not None else None
    goals = _goals(request, body, library)
    where = parse_filters(request.filters, library)
    breakdown = _breakdown(request.breakdown)
    conditions = [*where, *(condition for goal in goals for condition in goal.where)]
    context.check_profile(site, conditions, [breakdown])
    await context.check_patterns(conditions)
    window = parse_window(request.window if request.window is not None else body.window if body else DEFAULT_WINDOW_S)
    range_ = await _range(context, site, request, body, now)
    key = body.key if body else id_or_key
    binder = _bind(site, range_, window, key, now)
    cost, warnings = Cost(), context.site_warnings(site, range_)
    if body is None:
        names, cost = await _frequent(context, select_variants(), binder)
        body = _from_exposures(key, names[:MAX_VARIANTS])
        if len(names) > MAX_VARIANTS:
            warnings.append(f"Only the {MAX_VARIANTS} variants with most exposures are evaluated.")
    control = request.control or body.control
    if control not in body.names:
        raise RequestError(f"control is {control!r}, which is none of: {', '.join(body.names)}.", code="bad_experiment")
    return PreparedResults(
        asked=ResultsQuestion(variants=body.names, goals=goals, where=where, breakdown=breakdown),
        binder=binder,
        range_=range_,
        shown=ExperimentShown(
            id=thing.id if thing else None,
            name=thing.name if thing else key,
            key=key,
            control=control,
            weights={variant.name: variant.weight for variant in body.variants},
            goals=[GoalShown(name=goal.label, filters=[normalise(one) for one in goal.where]) for goal in goals],
            window=window,
            status=body.status if thing else None,
        ),
        cost=cost,
        warnings=warnings,
    )


async def _with_currencies(context: QueryContext, planned: PreparedResults) -> PreparedResults:
    """The same with the currencies to add up, which the statement must know."""
    names, cost = await _frequent(context, select_currencies(planned.asked, planned.binder), planned.binder)
    warnings = list(planned.warnings)
    if len(names) > MAX_CURRENCIES:
        warnings.append(f"Only the {MAX_CURRENCIES} most frequent currencies are added up.")
    asked = replace(planned.asked, currencies=tuple(sorted(names[:MAX_CURRENCIES])))
    return replace(planned, asked=asked, cost=planned.cost.plus(cost), warnings=warnings)


async def _frequent(context: QueryContext, query: Select, binder: Binder) -> tuple[list[str], Cost]:
    answer = await context.query(query, binder.values)
    return [str(row[0]) for row in answer.rows], Cost().plus(answer)


def _goals(request: ResultsRequest, body: ExperimentBody | None, library: SiteLibrary) -> tuple[EventMatch, ...]:
    """Those that the request names, else the definition's. Raises `RequestError`."""
    own = body.goals if body is not None else ()
    named = [("goal", request.goal)] if request.goal is not None else []
    named += [(f"goals[{index}]", goal) for index, goal in enumerate(request.goals)]
    if len(named) > MAX_GOALS:
        raise RequestError(f"goal and goals may name {MAX_GOALS} goals together.", code="bad_experiment")
    if not named and not own:
        raise RequestError(
            'The experiment has no goal of its own: name one, such as {"goal": "signup"}.', code="no_goal"
        )
    if not named:
        named = [(f"the experiment's goals[{index}]", goal) for index, goal in enumerate(own)]
    return tuple(read_goal(goal, place, library, body) for place, goal in named)


def _breakdown(name: str) -> Dimension | None:
    """Raises `RequestError` for what is unknown or no single value of an event."""
    if not name:
        return None
    dimension = find_dimension(name)
    if not has_one_value(dimension):
        raise RequestError(
            f"An experiment can't be broken down by {name!r}: choose a visit: dimension or another event: dimension.",
            code="unsupported_dimension",
        )
    return dimension


async def _range(
    context: QueryContext, site: Site, request: ResultsRequest, body: ExperimentBody | None, now: datetime
) -> TimeRange:
    """As asked; else from the experiment's start to its end; else all there is."""
    if request.date_range is not None:
        return (await context.range_of(site, request.date_range))[0]
    everything = (await context.range_of(site, "all"))[0]
    if body is None or (body.start is None and body.end is None):
        return everything
    if body.start is None:
        return range_between(None, body.end, everything.zone, now)
    end = body.end
    if end is None and datetime.fromisoformat(body.start) < everything.end:
        end = everything.end.isoformat()
    return range_between(body.start, end, everything.zone, now)


def _bind(site: Site, range_: TimeRange, window: int, key: str, now: datetime) -> Binder:
    binder = Binder()
    binder.name("site", site.site_id, TEXT)
    binder.moment("start", range_.start)
    binder.moment("exposed_until", range_.end)
    binder.moment("end", range_.end + timedelta(seconds=window))
    binder.moment("now", now)
    binder.name("experiment", key, TEXT)
    binder.name("window", window * 1_000_000, "Int64")
    binder.name("most", MAX_VARIANTS + 1, "UInt64")  # one more than is used tells that there are more
    return binder


def _from_exposures(key: str, found: Sequence[str]) -> ExperimentBody:
    """What the exposures themselves say of an experiment that is not saved. Raises `NotFound`."""
    if not found:
        raise NotFound(
            f"There is no experiment {key[:120]!r}: none is saved by that id, key or name, and no exposure names it in"
            " the range. GET /api/v1/experiments lists the saved ones.",
            code="unknown_experiment",
        )
    names = sorted(found)
    control = "control" if "control" in names else names[0]
    return ExperimentBody(key=key, variants=tuple(Variant(name=name) for name in names), control=control)


def _show(planned: PreparedResults, rows: Sequence[Rows], cost: Cost) -> ResultsAnswer:
    shown, asked = planned.shown, planned.asked
    names, labels = list(shown.weights), [goal.name for goal in shown.goals]
    counts = _count(rows[0], names, len(labels), asked.currencies)
    goals = judge(labels, names, shown.control, counts.groups)
    ratio = sample_ratio(shown.weights, {name: group.exposures for name, group in counts.groups.items()})
    warnings = list(planned.warnings)
    if ratio.mismatch:
        warnings.append("Subjects are not split as the weights say: find out why before you use the numbers.")
    return ResultsAnswer(
        experiment=shown,
        variants=goals[0].variants,
        goals=goals,
        sample_ratio=ratio,
        excluded=Excluded(several_variants=counts.mixed, unknown_variant=counts.unknown),
        maturing=counts.maturing,
        breakdown=UNSET if asked.breakdown is None else _show_breakdown(planned, rows[1]),
        meta=meta_of(
            "events+sessions",
            planned.range_,
            cost,
            warnings,
            total_rows=UNSET if asked.breakdown is None else _all_values(rows[1]),
        ),
    )


def _show_breakdown(planned: PreparedResults, rows: Rows) -> list[BreakdownResult]:
    shown, asked = planned.shown, planned.asked
    names, labels = list(shown.weights), [goal.name for goal in shown.goals]
    by_value: dict[str, list[Row]] = {}
    for row in rows:
        by_value.setdefault(str(row[2]), []).append(row)
    found = []
    for value, part in by_value.items():
        counts = _count(part, names, len(labels), asked.currencies)
        exposures = sum(group.exposures for group in counts.groups.values())
        goals = judge(labels, names, shown.control, counts.groups)
        found.append(BreakdownResult(value=value, exposures=exposures, goals=goals))
    return found


def _all_values(rows: Rows) -> int:
    """How many values the breakdown has: behind each row of `select_breakdown`."""
    return whole_number(rows[0][-1]) if rows else 0


def _count(rows: Iterable[Row], names: Sequence[str], goals: int, currencies: Sequence[str]) -> Counts:
    """The rows of `select_results`, by what they are about."""
    counts = Counts()
    width = 1 + 2 * len(currencies)
    for row in rows:
        state, variant, _, subjects, maturing, *values = row
        if state == MIXED:
            counts.mixed += whole_number(subjects)
        elif state != COUNTED:
            counts.unknown += whole_number(subjects)
        else:
            counts.maturing += whole_number(maturing)
            tallies = [_tally(values[place * width : (place + 1) * width], currencies) for place in range(goals)]
            counts.groups[names[whole_number(variant) - 1]] = VariantCounts(whole_number(subjects), tallies)
    return counts


def _tally(values: Sequence[object], currencies: Sequence[str]) -> Tally:
    """Conversions, then sum and sum of squares of each currency. One that none of the variant spent is left out."""
    tally = Tally(whole_number(values[0]))
    for place, currency in enumerate(currencies):
        total, squares = values[1 + 2 * place : 3 + 2 * place]
        assert isinstance(squares, float), "a sum of powers comes as a float"
        if squares:
            tally.revenue[currency] = (Fraction(str(total)), Fraction(squares) / UNITS**2)
    return tally

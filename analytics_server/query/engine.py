"""The query engine: from the request's bytes to the answer's rows.

Owns the order of things (decode → check → range → plan → SQL → rows) and nothing else;
each step is a pure module of its own. Reads the clock once per question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce

from msgspec import UNSET, UnsetType

from analytics_server.config import LimitsSection, PrivacySection
from analytics_server.query.answer import (
    Answer,
    AnswerMeta,
    Comparison,
    ResultRow,
    Value,
    absent,
    show_change,
    show_metric,
    whole_number,
)
from analytics_server.query.compared_rows import (
    MAX_FOUND_ROWS,
    ComparedPage,
    compared_buckets,
    compared_page,
    needs_metrics,
    too_many_groups,
)
from analytics_server.query.context import Cost, QueryContext, SiteDirectory, show_range
from analytics_server.query.dimensions import GOAL, Interval
from analytics_server.query.language.buckets import buckets, choose_interval, label_bucket
from analytics_server.query.language.comparisons import comparison_range
from analytics_server.query.language.request import QueryRequest, Question, check_request, decode_request
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.plan.coverage import CACHE_S, DayReader, kept_dimension
from analytics_server.query.plan.plan import Plan, approximate_metrics, make_plan
from analytics_server.query.sql.statement import Only, ResultPage, compile_question, count_rows
from analytics_server.query.warnings import (
    MOST_NAMED,
    currencies_of,
    goal_currencies,
    needs_currency,
    one_currency,
    warnings_of,
)
from analytics_server.saved.store import Saved
from analytics_server.store.protocol import Store

Key = tuple[object, ...]
Values = Sequence[object]


@dataclass(frozen=True, slots=True)
class PreparedQuestion:
    """A question with everything needed to answer it."""

    question: Question
    range_: TimeRange
    now: datetime
    before: TimeRange | None
    """The range to compare with."""
    hidden_goals: tuple[str, ...] = ()
    """Saved goals that are left out of the rows, because the site's profile forbids what they compare."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows of one statement: values of the metrics by values of the dimensions, in order."""

    rows: dict[Key, Values]
    total: int
    plan: Plan
    cost: Cost


@dataclass(frozen=True, slots=True)
class Currency:
    """The currency of an answer's amounts ("" if it holds none or several), and what it cost to find out.

    `by_goal`: the currency of each goal, if the rows are by goal.
    """

    code: str
    cost: Cost
    by_goal: dict[str, str] | None = None


class QueryService:
    """Answers queries of known sites. Raises `RequestError`, `NotFound` or a `StoreError`."""

    def __init__(
        self,
        store: Store,
        sites: SiteDirectory,
        clock: Callable[[], datetime],
        limits: LimitsSection,
        saved: Saved | None = None,
        *,
        use_totals: bool = True,
        cache_s: float = CACHE_S,
        unfinished: Callable[[], str] = str,
        kept_days: PrivacySection | None = None,
    ) -> None:
        self._days = DayReader(store, cache_s=cache_s) if use_totals else None
        self.context = QueryContext(store, sites, clock, limits, saved, unfinished=unfinished, kept_days=kept_days)
        self.limits = limits

    async def run(self, request: bytes | QueryRequest) -> Answer:
        """Answer `POST /api/v1/query`."""
        if isinstance(request, bytes):
            request = decode_request(request, QueryRequest)
        asked = await self.prepare(request)
        question, before = asked.question, asked.before
        currency = await self.currency(question, asked.range_, *([before] if before else []))
        if before is None:
            return self._answer(asked, await self._page(asked), None, currency)
        if question.interval is not None:
            return await self._compare_by_time(asked, before, currency)
        if question.dimensions:
            groups = await self._page(asked)
            only = {index: _texts(groups, index) for index in range(len(question.dimensions))}
            earlier = await self.fetch(question, before, only=only) if groups.rows else None
        else:
            groups, earlier = await asyncio.gather(self._page(asked), self.fetch(question, before))
        return self._answer(asked, groups, earlier, currency)

    async def _page(self, asked: PreparedQuestion) -> Groups:
        """The rows that were asked for, without their comparison."""
        question = asked.question
        page = ResultPage(question.limit, question.offset, count_all=question.include.total_rows)
        return await self.fetch(question, asked.range_, page=page)

    async def _compare_by_time(self, asked: PreparedQuestion, before: TimeRange, currency: Currency | None) -> Answer:
        """Every bucket of either range has its row. They may be many: a thread puts them in order."""
        question, range_ = asked.question, asked.range_
        ranges, limit = (range_, before), self.limits.query_rows
        compared_buckets(question, ranges, ((), ()), limit=limit)  # too many are refused before anything is read
        page = ResultPage(MAX_FOUND_ROWS + 1) if len(question.dimensions) > 1 else None
        groups, earlier = await self._both(question, range_, before, page=page)
        dated, times, every = question, (groups, earlier), None
        is_large = page is not None and max(len(groups.rows), len(earlier.rows)) > MAX_FOUND_ROWS
        if is_large and not needs_metrics(question):
            every = await self._all_groups(question, range_, before)
            dated = replace(question, dimensions=(question.dimensions[question.time_index or 0],), order_by=())
            times = await self._both(dated, range_, before)
        ours, theirs = compared_buckets(dated, ranges, (times[0].rows, times[1].rows), limit=limit)
        if every is not None:
            found = await asyncio.to_thread(compared_page, question, ours, theirs, {}, {}, every)
            groups, earlier = await self._both(question, range_, before, page=page, only=_only(question, found))
            if max(len(groups.rows), len(earlier.rows)) > MAX_FOUND_ROWS:
                raise too_many_groups()
        else:
            found = await asyncio.to_thread(compared_page, question, ours, theirs, groups.rows, earlier.rows)
        shown = [(row.key, row.other) for row in found.rows]
        return self._answer(asked, replace(groups, total=found.total), earlier, currency, shown)

    async def _both(
        self,
        question: Question,
        range_: TimeRange,
        before: TimeRange,
        *,
        page: ResultPage | None = None,
        only: Only | None = None,
    ) -> tuple[Groups, Groups]:
        """The rows of both ranges."""
        return await asyncio.gather(
            self.fetch(question, range_, page=page, only=only), self.fetch(question, before, page=page, only=only)
        )

    async def _all_groups(self, question: Question, range_: TimeRange, before: TimeRange) -> list[Key]:
        """The groups of both ranges, whenever something happened in them. Raises `RequestError` (too_many_groups)."""
        place = question.time_index or 0
        dimensions = question.dimensions[:place] + question.dimensions[place + 1 :]
        whole = replace(question, dimensions=dimensions, order_by=())
        found = await self._both(whole, range_, before, page=ResultPage(MAX_FOUND_ROWS + 1))
        if max(len(groups.rows) for groups in found) > MAX_FOUND_ROWS:
            raise too_many_groups()
        return list(dict.fromkeys(key for groups in found for key in groups.rows))

    async def prepare(self, request: QueryRequest) -> PreparedQuestion:
        """Check a request and fix its range and interval."""
        question = check_request(request, self.context.library(request.site_id), max_rows=self.limits.query_rows)
        site = self.context.site(request.site_id)
        if question.site_id != site.site_id:  # of an older version, which spelt it otherwise
            question = replace(question, site_id=site.site_id)
        hidden = tuple(goal.name for goal in question.goals if self.context.forbids(site, goal.condition))
        if hidden:  # the question does not name these
            question = replace(question, goals=tuple(goal for goal in question.goals if goal.name not in hidden))
        conditions = [*question.where, *(goal.condition for goal in question.goals)]
        self.context.check_profile(site, conditions, question.dimensions, question.metrics)
        await self.context.check_patterns(conditions)
        range_, now = await self.context.range_of(site, question.date_range)
        before = None
        if question.comparison is not None:
            matching = question.match_day_of_week
            before = comparison_range(range_, question.comparison, now=now, match_day_of_week=matching)
        return PreparedQuestion(question.with_interval(choose_interval(range_)), range_, now, before, hidden)

    async def fetch(
        self,
        question: Question,
        range_: TimeRange,
        *,
        page: ResultPage | None = None,
        only: Only | None = None,
        least_visitors: int = 0,
        rest_of: Sequence[Key] | None = None,
    ) -> Groups:
        """Run one question over one range; see `compile_question`."""
        coverage = None
        asked = (question, *question.wider.values())
        merges = rest_of is not None  # and the totals of groups, such as their visitors, don't add up
        if self._days is not None and not merges and any(kept_dimension(each) is not None for each in asked):
            now, limit = self.context.now(), self.limits.query_timeout_s
            coverage = await self._days.coverage(question.site_id, range_, now, timeout_s=limit)
        plan = make_plan(question, range_, coverage)
        statement = compile_question(
            question, plan, range_, page=page, only=only, least_visitors=least_visitors, rest_of=rest_of
        )
        result = await self.context.query(statement.query, statement.parameters)
        cost = Cost().plus(result)
        width, count = len(question.dimensions), len(question.metrics)
        rows: dict[Key, Values] = {row[:width]: row[width : width + count] for row in result.rows}
        total = len(rows)
        if page is not None and page.count_all:
            if result.rows:
                total = whole_number(result.rows[0][-1])
            elif page.offset:
                counting = count_rows(compile_question(question, plan, range_, only=only))
                counted = await self.context.query(counting.query, counting.parameters)
                cost, total = cost.plus(counted), whole_number(counted.rows[0][0])
        return Groups(rows, total, plan, cost)

    async def currency(self, question: Question, *ranges: TimeRange) -> Currency | None:
        """The one currency of the revenue asked for, or of each goal; none if the rows name theirs.

        Raises `RequestError` (several_currencies).
        """
        if not needs_currency(question):
            return None
        by_goal = GOAL in question.dimensions
        page = None if by_goal else ResultPage(MOST_NAMED)
        found = await asyncio.gather(*(self.fetch(currencies_of(question), range_, page=page) for range_ in ranges))
        cost = reduce(Cost.plus, (groups.cost for groups in found), Cost())
        if not by_goal:
            return Currency(one_currency({str(key[0]) for groups in found for key in groups.rows}, question), cost)
        goals = goal_currencies(((str(key[0]), str(key[1])) for groups in found for key in groups.rows), question)
        codes = set(goals.values())
        return Currency(codes.pop() if len(codes) == 1 else "", cost, goals)

    def meta(
        self,
        asked: PreparedQuestion,
        groups: Groups,
        cost: Cost,
        currency: Currency | None = None,
    ) -> AnswerMeta:
        """What the answer rests on."""
        question, range_, before = asked.question, asked.range_, asked.before
        if currency is not None:
            cost = cost.plus(currency.cost)
        return AnswerMeta(
            table=groups.plan.table,
            time_zone=range_.zone.key,
            date_range=show_range(range_),
            elapsed_ms=round(cost.elapsed_ms, 1),
            rows_read=cost.rows_read,
            bytes_read=cost.bytes_read,
            approximate=approximate_metrics(question, groups.plan),
            warnings=[
                *self.context.site_warnings(
                    self.context.site(question.site_id), *(one for one in (range_, before) if one is not None)
                ),
                *warnings_of(question, range_, asked.now, asked.hidden_goals),
            ],
            currency=currency.code if currency is not None and currency.code else UNSET,
            currencies=UNSET if currency is None or currency.by_goal is None else currency.by_goal,
            comparison_date_range=UNSET if before is None else show_range(before),
            total_rows=groups.total if question.include.total_rows else UNSET,
            time_labels=self._labels(question, range_),
            comparison_time_labels=UNSET if before is None else self._labels(question, before),
        )

    def _labels(self, question: Question, range_: TimeRange) -> list[str] | UnsetType:
        interval = question.interval
        if interval is None or not question.include.time_labels:
            return UNSET
        return [bucket.label for bucket in buckets(range_, interval, limit=self.limits.query_rows)]

    def _answer(
        self,
        asked: PreparedQuestion,
        groups: Groups,
        earlier: Groups | None,
        currency: Currency | None,
        keys: Iterable[tuple[Key, Key]] | None = None,
    ) -> Answer:
        """`keys`: the rows by their key in either range; without them, the groups in their order."""
        shown = ((key, key) for key in groups.rows) if keys is None else keys
        results = [
            _show_row(asked, key, groups.rows.get(key), other, earlier.rows.get(other) if earlier else None)
            for key, other in shown
        ]
        cost = groups.cost if earlier is None else groups.cost.plus(earlier.cost)
        query = asked.question.normalised() | {"date_range": list(show_range(asked.range_))}
        return Answer(results=results, meta=self.meta(asked, groups, cost, currency), query=query)


def _show_row(asked: PreparedQuestion, key: Key, values: Values | None, other: Key, others: Values | None) -> ResultRow:
    question, range_ = asked.question, asked.range_
    shown = _show_values(question, values)
    comparison: Comparison | UnsetType = UNSET
    if asked.before is not None:
        then = _show_values(question, others)
        comparable = None not in key and None not in other
        change: list[Value] = [None] * len(then)
        if comparable:
            change = [show_change(metric, a, b) for metric, a, b in zip(question.metrics, shown, then, strict=True)]
        comparison = Comparison(dimensions=show_key(question, other, range_), metrics=then, change=change)
    return ResultRow(dimensions=show_key(question, key, range_), metrics=shown, comparison=comparison)


def _show_values(question: Question, values: Values | None) -> list[Value]:
    if values is None:
        return [absent(metric) for metric in question.metrics]
    return [show_metric(metric, value) for metric, value in zip(question.metrics, values, strict=True)]


def show_key(question: Question, key: Key, range_: TimeRange) -> list[str | None]:
    """A group's values as texts; buckets by their label, none where the range has no such bucket."""
    interval, time_index = question.interval, question.time_index
    return [_label(part, interval, range_) if interval and i == time_index else str(part) for i, part in enumerate(key)]


def _label(bucket: object, interval: Interval, range_: TimeRange) -> str | None:
    return None if bucket is None else label_bucket(bucket, interval, range_.zone)


def _only(question: Question, page: ComparedPage) -> Only:
    """The values of the groups that a page is about, by the place of their dimension."""
    places = [index for index in range(len(question.dimensions)) if index != question.time_index]
    return {index: sorted({str(row.group[n]) for row in page.rows}) for n, index in enumerate(places)}


def _texts(groups: Groups, index: int) -> list[str]:
    return sorted({str(key[index]) for key in groups.rows})

"""Answering a query: from the request's bytes to the answer's rows.

Owns the order of things (decode → check → range → plan → SQL → rows) and nothing else;
each step is a pure module of its own. Reads the clock once per question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

from msgspec import UNSET, UnsetType

from analytics_server.config import LimitsSection
from analytics_server.model import stored_site_id
from analytics_server.query.answer import (
    Answer,
    AnswerMeta,
    Comparison,
    ResultRow,
    absent,
    show_change,
    show_metric,
    whole_number,
)
from analytics_server.query.context import Cost, QueryContext, SiteDirectory, show_range
from analytics_server.query.dimensions import Scope
from analytics_server.query.language.request import QueryRequest, Question, check_request, decode_request
from analytics_server.query.language.time_range import (
    TimeRange,
    buckets,
    choose_interval,
    comparison_range,
    label_bucket,
)
from analytics_server.query.plan.coverage import CACHE_S, DayReader, kept_dimension
from analytics_server.query.plan.plan import Plan, approximate_metrics, make_plan
from analytics_server.query.sql.statement import Only, ResultPage, compile_question, count_rows
from analytics_server.query.warnings import MOST_NAMED, currencies_of, needs_currency, one_currency, warnings_of
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


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows of one statement: values of the metrics by values of the dimensions, in order."""

    rows: dict[Key, Values]
    total: int
    plan: Plan
    cost: Cost


@dataclass(frozen=True, slots=True)
class Currency:
    """The currency of an answer's amounts ("" if it holds none), and what it cost to find out."""

    code: str
    cost: Cost


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
    ) -> None:
        self._days = DayReader(store, cache_s=cache_s) if use_totals else None
        self.context = QueryContext(store, sites, clock, limits, saved)
        self.limits = limits

    async def run(self, request: bytes | QueryRequest) -> Answer:
        """Answer `POST /api/v1/query`."""
        if isinstance(request, bytes):
            request = decode_request(request, QueryRequest)
        asked = await self.prepare(request)
        question, range_ = asked.question, asked.range_
        mode = question.include.comparison
        before = comparison_range(range_, mode, now=asked.now) if mode else None
        page = ResultPage(question.limit, question.offset, count_all=question.include.total_rows)
        currency = await self.currency(question, range_, *([before] if before else []))
        by_text = any(dimension.scope is not Scope.TIME for dimension in question.dimensions)
        if before is None:
            groups, earlier = await self.fetch(question, range_, page=page), None
        elif by_text:
            groups = await self.fetch(question, range_, page=page)
            only = {i: _texts(groups, i) for i, d in enumerate(question.dimensions) if d.scope is not Scope.TIME}
            earlier = await self.fetch(question, before, only=only) if groups.rows else None
        else:
            groups, earlier = await asyncio.gather(
                self.fetch(question, range_, page=page), self.fetch(question, before)
            )
        return self._answer(asked, groups, before, earlier, currency)

    async def prepare(self, request: QueryRequest) -> PreparedQuestion:
        """Check a request and fix its range and interval."""
        site_id = stored_site_id(request.site_id)
        question = check_request(request, self.context.library(site_id), max_rows=self.limits.query_rows)
        site = self.context.site(site_id)
        await self.context.check_patterns([*question.where, *(goal.condition for goal in question.goals)])
        range_, now = await self.context.range_of(site, question.date_range)
        return PreparedQuestion(question.with_interval(choose_interval(range_)), range_, now)

    async def fetch(
        self, question: Question, range_: TimeRange, *, page: ResultPage | None = None, only: Only | None = None
    ) -> Groups:
        """Run one question over one range."""
        coverage = None
        asked = (question, *question.wider.values())
        if self._days is not None and any(kept_dimension(each) is not None for each in asked):
            now, limit = self.context.now(), self.limits.query_timeout_s
            coverage = await self._days.coverage(question.site_id, range_, now, timeout_s=limit)
        plan = make_plan(question, range_, coverage)
        statement = compile_question(question, plan, range_, page=page, only=only)
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
        """The one currency of the revenue asked for; none if there is none, or if the rows name theirs.

        Raises `RequestError` (several_currencies).
        """
        if not needs_currency(question):
            return None
        page = ResultPage(MOST_NAMED)
        found = await asyncio.gather(*(self.fetch(currencies_of(question), range_, page=page) for range_ in ranges))
        code = one_currency({str(key[0]) for groups in found for key in groups.rows})
        return Currency(code, reduce(Cost.plus, (groups.cost for groups in found), Cost()))

    def meta(
        self,
        asked: PreparedQuestion,
        groups: Groups,
        cost: Cost,
        before: TimeRange | None = None,
        currency: Currency | None = None,
    ) -> AnswerMeta:
        """What the answer rests on."""
        question, range_ = asked.question, asked.range_
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
                *warnings_of(question, range_, asked.now, compared=before is not None),
            ],
            currency=currency.code if currency is not None and currency.code else UNSET,
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
        before: TimeRange | None,
        earlier: Groups | None,
        currency: Currency | None,
    ) -> Answer:
        question, range_ = asked.question, asked.range_
        compare = None if before is None else self._comparing(question, range_, before, earlier)
        results = []
        for key, values in groups.rows.items():
            shown = [show_metric(metric, value) for metric, value in zip(question.metrics, values, strict=True)]
            comparison = UNSET if compare is None else compare(key, shown)
            results.append(ResultRow(dimensions=show_key(question, key, range_), metrics=shown, comparison=comparison))
        cost = groups.cost if earlier is None else groups.cost.plus(earlier.cost)
        query = asked.question.normalised() | {"date_range": list(show_range(range_))}
        return Answer(results=results, meta=self.meta(asked, groups, cost, before, currency), query=query)

    def _comparing(
        self, question: Question, range_: TimeRange, before: TimeRange, earlier: Groups | None
    ) -> Callable[[Key, Sequence[int | float | None]], Comparison]:
        """Finds a row's counterpart: same values, and the bucket at the same place of its range."""
        counterparts: dict[object, object] = {}
        if question.interval is not None:
            limit = self.limits.query_rows
            ours, theirs = (buckets(each, question.interval, limit=limit) for each in (range_, before))
            counterparts = {mine.key: other.key for mine, other in zip(ours, theirs, strict=False)}
        time_index = question.time_index

        def compare(key: Key, shown: Sequence[int | float | None]) -> Comparison:
            other = tuple(counterparts.get(part) if i == time_index else part for i, part in enumerate(key))
            values = earlier.rows.get(other) if earlier else None
            then = (
                [absent(metric) for metric in question.metrics]
                if values is None
                else [show_metric(metric, value) for metric, value in zip(question.metrics, values, strict=True)]
            )
            change = [show_change(metric, a, b) for metric, a, b in zip(question.metrics, shown, then, strict=True)]
            known = time_index is None or other[time_index] is not None
            return Comparison(
                dimensions=show_key(question, other if known else key, range_), metrics=then, change=change
            )

        return compare


def show_key(question: Question, key: Key, range_: TimeRange) -> list[str]:
    """A group's values as texts; buckets by their label."""
    interval, time_index = question.interval, question.time_index
    return [
        label_bucket(part, interval, range_.zone) if interval and i == time_index else str(part)
        for i, part in enumerate(key)
    ]


def _texts(groups: Groups, index: int) -> list[str]:
    return sorted({str(key[index]) for key in groups.rows})

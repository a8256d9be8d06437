"""Answers to share links, and tokens, with a threshold `k`: no row of fewer than `k` visitors is shown by itself.

Groups of fewer are put together into one row, the last one, whose numbers ClickHouse counts anew, as those of visitors
and means don't add up. If that row has fewer than `k` visitors itself, it takes in the smallest of the others, as the
difference between a total and the rows shown would tell its numbers; if there is no other, its values are null. What
had no visitors is nowhere told apart from what had few: totals and buckets without visitors are null as well.
Groups that are not shown never leave ClickHouse by themselves, so neither order nor pages tell of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec
from msgspec import UNSET, UnsetType

from analytics_server.errors import RequestError
from analytics_server.query.answer import Answer, Comparison, ResultRow, Value, show_change, show_metric, whole_number
from analytics_server.query.compared_rows import compared_buckets, compared_page
from analytics_server.query.context import show_range
from analytics_server.query.engine import Groups, Key, PreparedQuestion, QueryService, Values, show_key
from analytics_server.query.language.request import QueryRequest, Question
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.metrics import VISITORS
from analytics_server.query.sql.statement import Only, ResultPage


@dataclass(frozen=True, slots=True)
class ShownGroups:
    """The groups of at least `k` visitors, in the question's order.

    `rest`: the values of all others together; None if there are none. `is_rest_shown`: it has `k` visitors itself.
    """

    groups: Groups
    rest: Values | None = None
    is_rest_shown: bool = False


async def run_with_threshold(service: QueryService, request: QueryRequest, threshold: int) -> Answer:
    """Answer `POST /api/v1/query`. Raises what `QueryService.run` raises, and `RequestError` (too_many_groups)."""
    asked = with_exact_visitors(await service.prepare(request))
    question, before = asked.question, asked.before
    shown = await shown_groups(service, question, asked.range_, threshold)
    cost, total = shown.groups.cost, len(shown.groups.rows)
    earlier: Mapping[Key, Values] = {}
    pairs: list[tuple[Key, Key]] = [(key, key) for key in shown.groups.rows] if question.dimensions else [((), ())]
    if before is not None and question.interval is None:
        only = {index: sorted({str(key[index]) for key, _ in pairs}) for index in range(len(question.dimensions))}
        if pairs:
            found = await shown_groups(service, question, before, threshold, only=only, with_rest=False)
            earlier, cost = found.groups.rows, cost.plus(found.groups.cost)
    elif before is not None:
        found = await shown_groups(service, question, before, threshold, with_rest=False)
        earlier, cost = found.groups.rows, cost.plus(found.groups.cost)
        pairs, total = _by_time(service, asked, before, shown.groups.rows, earlier)
    if before is None or question.interval is None:
        pairs = pairs[question.offset : question.offset + question.limit]
    results = [_row(asked, ours, shown.groups.rows.get(ours), theirs, earlier.get(theirs)) for ours, theirs in pairs]
    if question.dimensions and (shown.rest is not None or not shown.groups.rows):
        if question.offset <= total < question.offset + question.limit:
            results.append(_rest_row(asked, shown))
        total += 1
    groups = replace(shown.groups, total=total)
    meta = msgspec.structs.replace(service.meta(asked, groups, cost), threshold=threshold)
    query = question.normalised() | {"date_range": list(show_range(asked.range_))}
    return Answer(results=results, meta=meta, query=query)


async def shown_groups(
    service: QueryService,
    question: Question,
    range_: TimeRange,
    threshold: int,
    *,
    only: Only | None = None,
    with_rest: bool = True,
) -> ShownGroups:
    """The groups that may be shown, and what is left of the others. Raises `RequestError` (too_many_groups)."""
    width, counted = len(question.metrics), _counting_visitors(question)
    place, most = counted.metrics.index(VISITORS), service.limits.query_rows
    found = await service.fetch(counted, range_, page=ResultPage(most + 1), only=only, least_visitors=threshold)
    rows, cost = dict(found.rows), found.cost
    if len(rows) > most:
        raise RequestError(
            f"Rows of at least {threshold} visitors are shown here, and there are more than {most}"
            " ([limits] query_rows): choose some by a filter, or a shorter range.",
            code="too_many_groups",
        )
    rest, is_shown = None, False
    if with_rest and question.dimensions:
        while True:
            merged = await service.fetch(counted, range_, rest_of=list(rows))
            cost = cost.plus(merged.cost)
            rest = next(iter(merged.rows.values()), None)
            is_shown = rest is not None and whole_number(rest[place]) >= threshold
            if rest is None or is_shown or not rows:
                break
            del rows[min(reversed(rows), key=lambda key: whole_number(rows[key][place]))]
    kept = {key: values[:width] for key, values in rows.items()}
    return ShownGroups(
        replace(found, rows=kept, total=len(kept), cost=cost), None if rest is None else rest[:width], is_shown
    )


def with_exact_visitors(asked: PreparedQuestion) -> PreparedQuestion:
    """The question with exact numbers of visitors: whether a row is shown must not depend on an estimate."""
    return replace(asked, question=replace(asked.question, exact_visitors=True))


def show_rest(question: Question, shown: ShownGroups) -> list[Value]:
    """The values of what is not shown by itself."""
    values = shown.rest if shown.is_rest_shown else None
    return _show(question, values)


def _counting_visitors(question: Question) -> Question:
    if VISITORS in question.metrics:
        return question
    return replace(question, metrics=(*question.metrics, VISITORS))


def _by_time(
    service: QueryService,
    asked: PreparedQuestion,
    before: TimeRange,
    rows: Mapping[Key, Values],
    others: Mapping[Key, Values],
) -> tuple[list[tuple[Key, Key]], int]:
    """The page's rows by their key in either range, and how many there are."""
    question, limit = asked.question, service.limits.query_rows
    ours, theirs = compared_buckets(question, (asked.range_, before), (rows, others), limit=limit)
    page = compared_page(question, ours, theirs, rows, others)
    return [(row.key, row.other) for row in page.rows], page.total


def _row(asked: PreparedQuestion, key: Key, values: Values | None, other: Key, others: Values | None) -> ResultRow:
    question, range_ = asked.question, asked.range_
    shown = _show(question, values)
    comparison: Comparison | UnsetType = UNSET
    if asked.before is not None:
        then = _show(question, others)
        comparison = Comparison(
            dimensions=show_key(question, other, range_),
            metrics=then,
            change=[show_change(metric, a, b) for metric, a, b in zip(question.metrics, shown, then, strict=True)],
            below_threshold=True if others is None else UNSET,
        )
    return ResultRow(
        dimensions=show_key(question, key, range_),
        metrics=shown,
        comparison=comparison,
        below_threshold=True if values is None else UNSET,
    )


def _rest_row(asked: PreparedQuestion, shown: ShownGroups) -> ResultRow:
    """Nothing is said of the groups' numbers in the other range."""
    question = asked.question
    nothing: list[str | None] = [None] * len(question.dimensions)
    comparison: Comparison | UnsetType = UNSET
    if asked.before is not None:
        hidden = _show(question, None)
        comparison = Comparison(dimensions=nothing, metrics=hidden, change=hidden, below_threshold=True)
    return ResultRow(
        dimensions=nothing, metrics=show_rest(question, shown), comparison=comparison, below_threshold=True
    )


def _show(question: Question, values: Iterable[object] | None) -> list[Value]:
    if values is None:
        return [None] * len(question.metrics)
    return [show_metric(metric, value) for metric, value in zip(question.metrics, values, strict=True)]

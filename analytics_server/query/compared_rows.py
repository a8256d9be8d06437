"""The rows of a comparison by time: every bucket of either range, for every group that either range knows.

Pure. Buckets are compared by their place in their range; where one range has fewer, the other's last ones have no
counterpart. The rows of both ranges are put together and ordered here, as ClickHouse orders those of one range.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isnan

from analytics_server.errors import RequestError
from analytics_server.query.answer import absent
from analytics_server.query.dimensions import ValueKind
from analytics_server.query.language.buckets import Bucket
from analytics_server.query.language.request import Question, SortKey

MAX_COMPARED_ROWS = 50_000
"""Buckets times groups of one comparison: more would be put together for one page of them."""

Key = tuple[object, ...]
Values = Sequence[object]
Rows = Mapping[Key, Values]


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """A group in the buckets at one place: its key in either range, with None for a bucket that the range lacks."""

    place: int
    group: Key
    key: Key
    other: Key


def compared_rows(
    question: Question, ours: Sequence[Bucket], theirs: Sequence[Bucket], rows: Rows, others: Rows
) -> list[ComparedRow]:
    """All rows in the question's order. `rows`, `others`: what happened in the range and in the compared one.

    Raises `RequestError` (too_many_groups).
    """
    time_index = question.time_index
    assert time_index is not None, "only comparisons by time have rows for buckets"
    places = list(itertools.zip_longest((bucket.key for bucket in ours), (bucket.key for bucket in theirs)))
    groups = dict.fromkeys(key[:time_index] + key[time_index + 1 :] for key in itertools.chain(rows, others))
    if len(question.dimensions) == 1:
        groups = {(): None}
    elif len(groups) * len(places) > MAX_COMPARED_ROWS:
        raise RequestError(
            f"A comparison by time has a row for each group in each bucket, here more than {MAX_COMPARED_ROWS}: choose"
            " groups by a filter, a longer interval or a shorter range.",
            code="too_many_groups",
        )
    found = [
        ComparedRow(place, group, _key(bucket, group, time_index), _key(other, group, time_index))
        for place, (bucket, other) in enumerate(places)
        for group in groups
    ]
    return _ordered(found, question, rows)


def _key(bucket: object, group: Key, time_index: int) -> Key:
    return (*group[:time_index], bucket, *group[time_index:])


def _ordered(found: list[ComparedRow], question: Question, rows: Rows) -> list[ComparedRow]:
    named = {order.index for order in question.order_by if order.by == "dimension"}
    last = [SortKey("dimension", index, False) for index in range(len(question.dimensions)) if index not in named]
    for order in reversed((*question.order_by, *last)):
        _sort(found, order, question, rows)
    return found


def _sort(found: list[ComparedRow], order: SortKey, question: Question, rows: Rows) -> None:
    """Sort by one key, keeping the order of equal rows; what has no value comes last, whatever the direction."""
    if order.by == "metric":
        nothing = absent(question.metrics[order.index])

        def value(row: ComparedRow) -> tuple[bool, int | float | Decimal]:
            values = rows.get(row.key)
            cell = nothing if values is None else values[order.index]
            number = cell if isinstance(cell, int | float | Decimal) and not isnan(cell) else None
            return (number is not None) is order.descending, 0 if number is None else number

        found.sort(key=value, reverse=order.descending)
    elif order.index == question.time_index:
        found.sort(key=lambda row: row.place, reverse=order.descending)
    else:
        index = order.index - (order.index > (question.time_index or 0))
        numeric = question.dimensions[order.index].values is ValueKind.NUMBER
        found.sort(
            key=lambda row: (int(str(row.group[index])) if numeric else 0, str(row.group[index])),
            reverse=order.descending,
        )

"""The rows of a comparison by time: every bucket of either range, for every group that either range knows.

Pure. Buckets are compared by their place in their range; where one range has fewer, the other's last ones have no
counterpart. The rows of both ranges are put together and ordered here, as ClickHouse orders those of one range. Most of
them may hold nothing: these are never put into a list, but come one after the other in the order of their dimensions,
and are merged with those that hold something, up to the end of the page.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isnan

from analytics_server.errors import RequestError
from analytics_server.query.answer import absent
from analytics_server.query.dimensions import ValueKind
from analytics_server.query.language.buckets import Bucket, buckets, with_found
from analytics_server.query.language.request import Question, SortKey
from analytics_server.query.language.time_range import TimeRange

MAX_FOUND_ROWS = 50_000
"""Rows of one range in which something happened, or groups: so many are read for one page."""

MAX_PASSED_ROWS = 100_000
"""A page ends behind so many rows at most, as all before it are gone through, which takes about a second."""

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


@dataclass(frozen=True, slots=True)
class ComparedPage:
    """The wanted rows in the question's order, and how many there are in all."""

    rows: list[ComparedRow]
    total: int


def compared_buckets(
    question: Question, ranges: tuple[TimeRange, TimeRange], rows: tuple[Iterable[Key], Iterable[Key]], *, limit: int
) -> tuple[Sequence[Bucket], Sequence[Bucket]]:
    """The buckets of the range and of the one it is compared with, those of `rows` included. Raises `RequestError`."""
    interval, index = question.interval, question.time_index or 0
    assert interval is not None, "only comparisons by time have buckets"
    ours, theirs = (
        with_found(buckets(range_, interval, limit=limit), (key[index] for key in found), interval, range_.zone)
        for range_, found in zip(ranges, rows, strict=True)
    )
    return ours, theirs


def compared_page(
    question: Question,
    ours: Sequence[Bucket],
    theirs: Sequence[Bucket],
    rows: Rows,
    others: Rows,
    groups: Sequence[Key] | None = None,
) -> ComparedPage:
    """The question's page. `rows`, `others`: what happened in the range and in the compared one.

    `groups`: all groups of both ranges, where the rows are not those of all of them; the order must not need a metric.
    Raises `RequestError` (too_many_groups, bad_pagination).
    """
    time_index = question.time_index
    assert time_index is not None, "only comparisons by time have rows for buckets"
    if len(question.dimensions) > 1 and max(len(rows), len(others)) > MAX_FOUND_ROWS:
        raise too_many_groups()
    places = list(itertools.zip_longest((bucket.key for bucket in ours), (bucket.key for bucket in theirs)))
    if groups is None and len(question.dimensions) > 1:
        groups = list(dict.fromkeys(key[:time_index] + key[time_index + 1 :] for key in (*rows, *others)))
    elif groups is None:
        groups = [()]
    order = _Order(question, rows)
    every: Iterable[ComparedRow] = order.all_rows(groups, places)
    total = len(groups) * len(places)
    end = min(question.offset + question.limit, total)
    if question.offset < total and end > MAX_PASSED_ROWS:
        raise RequestError(
            f"A comparison by time shows its first {MAX_PASSED_ROWS} rows, of {total} here: choose groups by a filter,"
            " or turn order_by round.",
            code="bad_pagination",
        )
    if order.by_metrics:
        found = {bucket: place for place, (bucket, _) in enumerate(places) if bucket is not None}
        held = [
            _row(found[key[time_index]], places, key[:time_index] + key[time_index + 1 :], time_index) for key in rows
        ]
        held.sort(key=order.key)
        every = heapq.merge(held, (row for row in every if row.key not in rows), key=order.key)
    return ComparedPage(list(itertools.islice(every, question.offset, max(end, question.offset))), total)


def too_many_groups() -> RequestError:
    """The error for more rows, or groups, than can be put together."""
    return RequestError(
        "A comparison by time puts the groups of both ranges together, which are more, or ordered by a metric in more"
        f" rows, than {MAX_FOUND_ROWS}: choose groups by a filter, a longer interval or a shorter range.",
        code="too_many_groups",
    )


def needs_metrics(question: Question) -> bool:
    """Does the order of the rows depend on their values?"""
    return any(order.by == "metric" for order in question.order_by)


def _row(place: int, places: Sequence[tuple[object, object]], group: Key, time_index: int) -> ComparedRow:
    bucket, other = places[place]
    return ComparedRow(
        place,
        group,
        (*group[:time_index], bucket, *group[time_index:]),
        (*group[:time_index], other, *group[time_index:]),
    )


class _Order:
    """The question's order, completed by all dimensions, so that no two rows are equal in it."""

    def __init__(self, question: Question, rows: Rows) -> None:
        named = {order.index for order in question.order_by if order.by == "dimension"}
        last = [SortKey("dimension", index, False) for index in range(len(question.dimensions)) if index not in named]
        orders = [*question.order_by, *last]
        self._time_index = question.time_index or 0
        self.by_metrics = any(order.by == "metric" for order in orders)
        self._parts = [_part(order, question, rows) for order in orders]
        times = [order for order in orders if order.by == "dimension" and order.index == self._time_index]
        self._backwards = times[0].descending
        at = orders.index(times[0])
        self._before = self._of_groups(orders[:at], question)
        self._after = self._of_groups(orders[at + 1 :], question)

    def key(self, row: ComparedRow) -> tuple[object, ...]:
        """What rows are ordered by; what has no value comes last, whatever the direction."""
        return tuple(part(row) for part in self._parts)

    def all_rows(self, groups: Sequence[Key], places: Sequence[tuple[object, object]]) -> Iterator[ComparedRow]:
        """Each group at each place, in the order of the dimensions alone."""

        def before(group: Key) -> tuple[object, ...]:
            return tuple(part(group) for part in self._before)

        def whole(group: Key) -> tuple[object, ...]:
            return (*before(group), *(part(group) for part in self._after))

        in_order = sorted(groups, key=whole)
        for _, bunch in itertools.groupby(in_order, key=before):
            alike = list(bunch)
            for place in reversed(range(len(places))) if self._backwards else range(len(places)):
                for group in alike:
                    yield _row(place, places, group, self._time_index)

    def _of_groups(self, orders: Sequence[SortKey], question: Question) -> list[Callable[[Key], object]]:
        return [
            _group_part(order, question)
            for order in orders
            if order.by == "dimension" and order.index != self._time_index
        ]


class _Descending:
    """A text that is ordered the other way round."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __lt__(self, other: _Descending) -> bool:
        return other.text < self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def _part(order: SortKey, question: Question, rows: Rows) -> Callable[[ComparedRow], object]:
    """One key of the order."""
    sign = -1 if order.descending else 1
    if order.by == "metric":
        nothing = absent(question.metrics[order.index])

        def value(row: ComparedRow) -> tuple[bool, int | float | Decimal]:
            values = rows.get(row.key)
            cell = nothing if values is None else values[order.index]
            number = cell if isinstance(cell, int | float | Decimal) and not isnan(cell) else None
            return number is None, 0 if number is None else sign * number

        return value
    if order.index == question.time_index:
        return lambda row: sign * row.place
    of_group = _group_part(order, question)
    return lambda row: of_group(row.group)


def _group_part(order: SortKey, question: Question) -> Callable[[Key], object]:
    index = order.index - (order.index > (question.time_index or 0))
    if question.dimensions[order.index].values is ValueKind.NUMBER:
        sign = -1 if order.descending else 1
        return lambda group: sign * int(str(group[index]))
    if order.descending:
        return lambda group: _Descending(str(group[index]))
    return lambda group: str(group[index])

"""Ranges, buckets and comparisons the slow way: by looking at every minute of the clock.

Follows docs/metrics.md and docs/query-api.md, and shares no code with the package `query`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import zip_longest
from typing import Any
from zoneinfo import ZoneInfo

from tests.query.oracle import Answer, Oracle, bucket_label

Span = tuple[datetime, datetime]
Row = tuple[tuple[str | None, ...], list[float | None], tuple[str | None, ...], list[float | None]]

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@lru_cache(maxsize=4096)
def first_instant(day: date, zone: ZoneInfo) -> datetime:
    """The first minute at which the local date is that day or, if the calendar leaves it out, a later one."""
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while moment.astimezone(zone).date() < day:
        moment += MINUTE
    return moment


def span_of(name: str, now: datetime, zone: ZoneInfo) -> Span:
    """The instants that a range of whole days means: dates are chosen from a calendar, then looked up on the clock."""
    today = now.astimezone(zone).date()
    dates = [today + DAY * n for n in range(-5200, 400)]
    if name == "day":
        chosen = [today]
    elif name == "yesterday":
        earlier = (today - DAY * n for n in range(1, 4))  # The calendar may have left out a date.
        chosen = [next(d for d in earlier if first_instant(d, zone) < first_instant(today, zone))]
    elif name.endswith("d"):
        chosen = [d for d in dates if today - DAY * int(name[:-1]) < d <= today]
    elif name == "week":
        chosen = [d for d in dates if d.isocalendar()[:2] == today.isocalendar()[:2]]
    elif name == "year":
        chosen = [d for d in dates if d.year == today.year]
    else:
        months = 1 if name == "month" else int(name.removesuffix("mo"))
        number = today.year * 12 + today.month
        chosen = [d for d in dates if number - months < d.year * 12 + d.month <= number]
    return first_instant(chosen[0], zone), first_instant(chosen[-1] + DAY, zone)


def labels(name: str, span: Span, zone: ZoneInfo) -> list[str]:
    """The buckets of a range in the order in which they begin, by asking each minute for its own."""
    step = MINUTE if name in ("time:minute", "time:hour") else timedelta(minutes=15)
    found: dict[str, None] = {}
    for moment in _moments(span, step):
        found[bucket_label(name, moment.astimezone(zone))] = None
    return list(found)


def _moments(span: Span, step: timedelta) -> Iterator[datetime]:
    moment, end = span
    yield moment
    moment = moment.replace(
        minute=moment.minute // 15 * 15 if step > MINUTE else moment.minute, second=0, microsecond=0
    )
    while (moment := moment + step) < end:
        yield moment


def compared(
    oracle: Oracle,
    metrics: Sequence[str],
    dimensions: Sequence[str],
    filters: Sequence[Any],
    spans: tuple[Span, Span],
    nothing: Sequence[float | None],
) -> list[Row]:
    """The rows of a comparison by time, ordered by time and then by the other dimensions.

    Buckets are compared by their place; every group of either range has a row in each of them.
    """
    place = next(index for index, name in enumerate(dimensions) if name.startswith("time:"))
    ours, theirs = (oracle.answer(metrics, dimensions, filters, *span) for span in spans)
    pairs = zip_longest(*(labels(dimensions[place], span, oracle.zone) for span in spans))
    groups = sorted({key[:place] + key[place + 1 :] for key in (*ours, *theirs)})
    if len(dimensions) == 1:
        groups = [()]
    found: list[Row] = []
    for pair in pairs:
        for group in groups:
            mine, other = ((*group[:place], bucket, *group[place:]) for bucket in pair)
            found.append((mine, _at(ours, mine, nothing), other, _at(theirs, other, nothing)))
    return found


def _at(answer: Answer, key: tuple[str | None, ...], nothing: Sequence[float | None]) -> list[float | None]:
    known = tuple(part for part in key if part is not None)
    return answer.get(known, list(nothing)) if len(known) == len(key) else list(nothing)

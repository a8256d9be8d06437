"""The shape of answers, and how a value from SQL is shown.

Counts are whole numbers, `bounce_rate` is per cent, durations are seconds; a mean
without anything to average is null, never zero.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from analytics_server.query.metrics import Metric, MetricKind

Value = int | float | None

_DIGITS = {
    MetricKind.PERCENT: 1,
    MetricKind.SECONDS: 1,
    MetricKind.MEAN: 2,
    MetricKind.AMOUNT: 4,
    MetricKind.MEAN_AMOUNT: 4,
}
_SUMS = (MetricKind.COUNT, MetricKind.AMOUNT)


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The same row in the other range. `change`: per cent, or points where the metric is per cent.

    A bucket that this range does not have is null among the dimensions, and nothing is compared. `below_threshold`:
    there were fewer visitors than a share link shows, so that the values are null.
    """

    dimensions: list[str | None]
    metrics: list[Value]
    change: list[Value]
    below_threshold: Literal[True] | UnsetType = UNSET


class ResultRow(msgspec.Struct, frozen=True, kw_only=True):
    """One group: values in the order of the query's dimensions and metrics.

    In a comparison by time, a bucket that only the other range has is null among the dimensions. `below_threshold`, to
    share links with a threshold: the row of all groups that are not shown by themselves, with null for each dimension;
    or a bucket or total that is not shown. Its values are null where it has fewer visitors than the threshold itself.
    """

    dimensions: list[str | None]
    metrics: list[Value]
    comparison: Comparison | UnsetType = UNSET
    below_threshold: Literal[True] | UnsetType = UNSET


class AnswerMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer rests on. Times are the site's, with their offset.

    `currency`: of all amounts of money; `currencies`: by goal, in an answer by event:goal. `threshold`: rows of fewer
    visitors are not shown by themselves, of a share link that says so.
    """

    table: str
    time_zone: str
    date_range: tuple[str, str]
    elapsed_ms: float
    rows_read: int
    bytes_read: int
    approximate: list[str]
    warnings: list[str]
    currency: str | UnsetType = UNSET
    currencies: dict[str, str] | UnsetType = UNSET
    comparison_date_range: tuple[str, str] | UnsetType = UNSET
    total_rows: int | UnsetType = UNSET
    time_labels: list[str] | UnsetType = UNSET
    comparison_time_labels: list[str] | UnsetType = UNSET
    threshold: int | UnsetType = UNSET


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `POST /api/v1/query`; `query` is the question with full names and defaults."""

    results: list[ResultRow]
    meta: AnswerMeta
    query: dict[str, object]


class Trends(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `GET /api/v1/trends`: one flat row per bucket, or per bucket and value.

    To share links with a threshold, what has fewer visitors is null; `rest`: all buckets that are not shown together.
    """

    interval: str
    metrics: list[str]
    breakdown: str | None
    rows: list[dict[str, str | Value]]
    meta: AnswerMeta
    rest: dict[str, Value] | UnsetType = UNSET


def whole_number(value: object) -> int:
    """A whole number from SQL, which may come as a text. Raises `ValueError` for anything else."""
    return value if isinstance(value, int) else int(str(value))


def show_metric(metric: Metric, value: object) -> Value:
    """A value from SQL as JSON shows it."""
    if value is None:
        return absent(metric)
    if metric.share and isinstance(value, int | float):
        # Events arrive while the two numbers are read.
        value = min(value, 100.0)
    if metric.kind is MetricKind.COUNT:
        return int(value) if isinstance(value, int | float) else 0
    return round(float(value), _DIGITS[metric.kind]) if isinstance(value, int | float) else None


def absent(metric: Metric) -> Value:
    """The value of a group or bucket in which nothing happened."""
    return 0 if metric.kind in _SUMS else None


def show_change(metric: Metric, value: Value, before: Value) -> Value:
    """Change against the compared range: points for per cent, else per cent of the value before."""
    if value is None or before is None:
        return None
    if metric.kind is MetricKind.PERCENT:
        return round(value - before, 1)
    if before == 0:
        return 0.0 if value == 0 else 100.0
    return round((value - before) * 100 / abs(before), 1)

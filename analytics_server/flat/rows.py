"""Answers as lists of flat objects: one kind of value under each key, times in epoch milliseconds. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from analytics_server.analyses.cohorts.request import CohortsAnswer
from analytics_server.analyses.funnels.answer import FunnelAnswer, StepAnswer
from analytics_server.query.answer import Answer, Trends, Value

Row = dict[str, str | Value | bool]


def rows_of_trends(answer: Trends, begins: Mapping[str, float]) -> list[Row]:
    """A row per bucket, or per bucket and `value` of the breakdown, by time. `begins`: by label, in epoch seconds."""
    rows: list[Row] = []
    for found in answer.rows:
        row: Row = {"time": round(begins[str(found["time"])] * 1000)}
        if answer.breakdown is not None:
            row["value"] = found["breakdown"]
        rows.append(row | {name: found[name] for name in answer.metrics})
    return rows


def rows_of_answer(answer: Answer) -> list[Row]:
    """A row per `value` of a dimension, in the answer's order; or the one row of all."""
    metrics = answer.query["metrics"]
    assert isinstance(metrics, list | tuple), "a question names its metrics"
    return [
        {
            **({"value": row.dimensions[0] or ""} if row.dimensions else {}),
            **dict(zip(metrics, row.metrics, strict=True)),
        }
        for row in answer.results
    ]


def rows_of_funnel(answer: FunnelAnswer, *, by_value: bool) -> list[Row]:
    """A row per step, with its number from 1; with a breakdown per `value` and step."""
    if not by_value:
        return list(_steps(answer.steps))
    return [{"value": one.value, **step} for one in answer.breakdown for step in _steps(one.steps)]


def _steps(steps: Sequence[StepAnswer]) -> Iterator[Row]:
    for number, step in enumerate(steps, 1):
        yield {
            "step": number,
            "name": step.name,
            "count": step.count,
            "conversion": step.conversion,
            "step_conversion": step.step_conversion,
            "dropped": step.dropped,
            "median_seconds": step.median_seconds,
            "step_median_seconds": step.step_median_seconds,
        }


def rows_of_cohorts(answer: CohortsAnswer, zone: ZoneInfo) -> list[Row]:
    """A row per cohort and period after it, by the cohort's start. `retention`: per cent with one digit."""
    return [
        {
            "time": _midnight_ms(cohort.start, zone),
            "cohort": cohort.start,
            "size": cohort.size,
            "period": period,
            "returned": returned,
            "retention": round(100 * returned / cohort.size, 1) if cohort.size else None,
            "complete": complete,
        }
        for cohort in answer.cohorts
        for period, (returned, complete) in enumerate(zip(cohort.returned, cohort.complete, strict=True))
    ]


def _midnight_ms(day: str, zone: ZoneInfo) -> int:
    return round(datetime.fromisoformat(day).replace(tzinfo=zone).timestamp() * 1000)

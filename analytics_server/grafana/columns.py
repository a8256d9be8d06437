"""Answers of the query engine, of funnels and of annotations as columns with units and labels. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UNSET, UnsetType

from analytics_server.analyses.funnels.answer import FunnelAnswer, StepAnswer
from analytics_server.grafana.annotations import FoundAnnotation
from analytics_server.grafana.frames import Cell, ColumnKind, ReportColumn, ReportColumns
from analytics_server.query.answer import Answer, Trends
from analytics_server.query.metrics import AMOUNTS, MetricKind, find_metric

NO_VALUE = "(none)"
"""How a series of events without a value of the dimension is called."""

_UNITS = {MetricKind.PERCENT: "percent", MetricKind.SECONDS: "s"}
_STEP_COLUMNS: tuple[tuple[str, ColumnKind, str], ...] = (
    ("name", "string", ""),
    ("count", "number", "short"),
    ("conversion", "number", "percent"),
    ("step_conversion", "number", "percent"),
    ("dropped", "number", "short"),
    ("median_seconds", "number", "s"),
    ("step_median_seconds", "number", "s"),
)


def unit_of(metric: str, currency: str | UnsetType = UNSET) -> str:
    """Grafana's unit of a metric. `currency`: ISO 4217 code of the answer's amounts."""
    kind = find_metric(metric).kind
    if kind in AMOUNTS and currency:
        return f"currency:{currency}"
    return _UNITS.get(kind, "short")


def columns_of_trends(answer: Trends, begins: Mapping[str, float], name: str) -> ReportColumns:
    """A column of times, and one per metric, or per value of the breakdown and metric.

    `begins`: when each bucket begins, by label, in epoch seconds.
    """
    times = {str(row["time"]): round(begins[str(row["time"])] * 1000) for row in answer.rows}
    cells: dict[str | None, dict[str, Mapping[str, Cell]]] = {} if answer.breakdown else {None: {}}
    for row in answer.rows:
        value = None if answer.breakdown is None else str(row["breakdown"])
        cells.setdefault(value, {})[str(row["time"])] = row
    columns = [ReportColumn(name="time", kind="time", values=list(times.values()))]
    currencies = answer.meta.currencies or {}
    for value, by_time in cells.items():
        for metric in answer.metrics:
            labels, shown, currency = {}, "", answer.meta.currency
            if value is not None:
                currency = value if answer.breakdown == "event:currency" else currencies.get(value, currency)
                labels = {str(answer.breakdown): value}
                shown = value or NO_VALUE if len(answer.metrics) == 1 else f"{value or NO_VALUE}: {metric}"
            columns.append(
                ReportColumn(
                    name=metric,
                    kind="number",
                    values=[by_time[label][metric] if label in by_time else None for label in times],
                    unit=unit_of(metric, currency),
                    labels=labels,
                    shown=shown,
                )
            )
    return ReportColumns(name=name, columns=columns, warnings=answer.meta.warnings)


def columns_of_answer(answer: Answer, dimension: str, metrics: Sequence[str], name: str) -> ReportColumns:
    """A column of the dimension's values if there is one, and one per metric. `metrics`: in the answer's order."""
    columns = []
    if dimension:
        values = [row.dimensions[0] or "" for row in answer.results]
        columns.append(ReportColumn(name=dimension, kind="string", values=values))
        if answer.meta.currencies and any(find_metric(metric).kind in AMOUNTS for metric in metrics):
            named = [answer.meta.currencies.get(value, "") for value in values]
            columns.append(ReportColumn(name="currency", kind="string", values=named))
    for place, metric in enumerate(metrics):
        numbers = [row.metrics[place] for row in answer.results]
        columns.append(
            ReportColumn(name=metric, kind="number", values=numbers, unit=unit_of(metric, answer.meta.currency))
        )
    return ReportColumns(name=name, columns=columns, warnings=answer.meta.warnings)


def columns_of_funnel(answer: FunnelAnswer, breakdown: str) -> ReportColumns:
    """A row per step, numbered from 1; with a breakdown per value and step."""
    parts = [(one.value, one.steps) for one in answer.breakdown] if breakdown else [("", answer.steps)]
    rows: list[tuple[str, int, StepAnswer]] = [
        (value, number, step) for value, steps in parts for number, step in enumerate(steps, 1)
    ]
    columns = [ReportColumn(name=breakdown, kind="string", values=[value for value, _, _ in rows])] if breakdown else []
    columns.append(ReportColumn(name="step", kind="number", values=[number for _, number, _ in rows]))
    for name, kind, unit in _STEP_COLUMNS:
        columns.append(
            ReportColumn(name=name, kind=kind, values=[getattr(step, name) for _, _, step in rows], unit=unit)
        )
    return ReportColumns(name="funnel", columns=columns, warnings=answer.meta.warnings)


def columns_of_annotations(found: Sequence[FoundAnnotation]) -> ReportColumns:
    """A row per annotation, by time. Those of a day or moment have no `timeEnd`: Grafana draws a line."""
    return ReportColumns(
        name="annotations",
        columns=[
            ReportColumn(name="time", kind="time", values=[one.time_ms for one in found]),
            ReportColumn(name="timeEnd", kind="time", values=[one.end_ms for one in found]),
            ReportColumn(name="title", kind="string", values=[one.title for one in found]),
            ReportColumn(name="text", kind="string", values=[one.text for one in found]),
            ReportColumn(name="id", kind="string", values=[one.id for one in found]),
        ],
    )

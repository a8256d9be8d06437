"""Answers for panels: a report as columns, printed as a data frame, as a table, or as one series per number. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from analytics_server.errors import RequestError
from analytics_server.grafana.payload import Format
from analytics_server.query.answer import Value

Cell = str | Value
ColumnKind = Literal["time", "number", "string"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportColumn:
    """Values of one kind; times in epoch milliseconds. `unit`: one of Grafana's. `shown`: the name for people."""

    name: str
    kind: ColumnKind
    values: Sequence[Cell]
    unit: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    shown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportColumns:
    """A report of columns of one length; by time, the first one is that of time. `warnings`: for people."""

    name: str
    columns: Sequence[ReportColumn]
    warnings: Sequence[str] = ()


class FieldConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How Grafana shows a field."""

    unit: str | UnsetType = UNSET
    shown: str | UnsetType = msgspec.field(name="displayNameFromDS", default=UNSET)


class FrameField(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a frame."""

    name: str
    type: ColumnKind
    values: list[Cell]
    labels: dict[str, str]
    config: FieldConfig


class PanelTableColumn(msgspec.Struct, frozen=True, kw_only=True):
    """One column of a table."""

    text: str
    type: ColumnKind
    unit: str | UnsetType = UNSET


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What a panel says in its corner."""

    severity: Literal["info"]
    text: str


class PanelMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says besides its numbers."""

    notices: list[Notice]


class PanelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one query of a panel: a frame (`fields`), a table (`columns`, `rows`), or a series (`datapoints`).

    `datapoints`: pairs of a value and its time in epoch milliseconds; a series has its labels in `tags`.
    """

    ref_id: str = msgspec.field(name="refId")
    name: str | UnsetType = UNSET
    fields: list[FrameField] | UnsetType = UNSET
    type: Literal["table"] | UnsetType = UNSET
    columns: list[PanelTableColumn] | UnsetType = UNSET
    rows: list[list[Cell]] | UnsetType = UNSET
    target: str | UnsetType = UNSET
    datapoints: list[tuple[Cell, Cell]] | UnsetType = UNSET
    unit: str | UnsetType = UNSET
    tags: dict[str, str] | UnsetType = UNSET
    meta: PanelMeta | UnsetType = UNSET


def answers_of(report: ReportColumns, ref_id: str, format_: Format) -> Iterator[PanelAnswer]:
    """The report in the shape asked for. Raises `RequestError` for a series of what has no time."""
    meta = PanelMeta(notices=[Notice(severity="info", text=one) for one in report.warnings])
    told = meta if report.warnings else UNSET
    if format_ == "frame":
        yield PanelAnswer(ref_id=ref_id, name=report.name, fields=[_field(one) for one in report.columns], meta=told)
    elif format_ == "table":
        yield PanelAnswer(
            ref_id=ref_id,
            type="table",
            columns=[
                PanelTableColumn(text=one.shown or one.name, type=one.kind, unit=one.unit or UNSET)
                for one in report.columns
            ],
            rows=[list(row) for row in zip(*(one.values for one in report.columns), strict=True)],
            meta=told,
        )
    else:
        yield from _series(report, ref_id, told)


def row_count(report: ReportColumns) -> int:
    """How many rows the report has."""
    return len(report.columns[0].values) if report.columns else 0


def _field(column: ReportColumn) -> FrameField:
    return FrameField(
        name=column.name,
        type=column.kind,
        values=list(column.values),
        labels=dict(column.labels),
        config=FieldConfig(unit=column.unit or UNSET, shown=column.shown or UNSET),
    )


def _series(report: ReportColumns, ref_id: str, told: PanelMeta | UnsetType) -> Iterator[PanelAnswer]:
    time, *others = report.columns
    if time.kind != "time" or any(one.kind != "number" for one in others):
        raise RequestError(
            f"{report.name} is no series of numbers over time: use the format frame or table.", code="bad_request"
        )
    if not others:
        yield PanelAnswer(ref_id=ref_id, target=report.name, datapoints=[], meta=told)
    for column in others:
        yield PanelAnswer(
            ref_id=ref_id,
            target=column.shown or column.name,
            datapoints=list(zip(column.values, time.values, strict=True)),
            unit=column.unit or UNSET,
            tags=dict(column.labels),
            meta=told,
        )

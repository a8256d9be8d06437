"""From a planned question to one SQL statement: parts, merging, order and page.

Pure: question in, SQL and parameters out. One part is ordered and cut as it stands;
several are stacked with UNION ALL and grouped once more by the plan's formulas, so that
order and page are right for the merged rows and no more than a page of them leaves
ClickHouse. A part for another range than the question's has parameters of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analytics_server.query.binding import COUNT, TEXT, Binder
from analytics_server.query.edges import WHOLE_SESSIONS
from analytics_server.query.fields import Kind, Metric
from analytics_server.query.plan import Part, Plan
from analytics_server.query.request import Question
from analytics_server.query.scoped import Scoped
from analytics_server.query.sources import select_part
from analytics_server.query.timerange import TimeRange

Only = Mapping[int, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Page:
    """Which of the ordered rows are wanted, and whether to count all of them."""

    limit: int
    offset: int = 0
    count_all: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with its parameters. Columns: the dimensions, the metrics, `total_rows` if counted."""

    sql: str
    parameters: dict[str, object]


def compile_question(
    question: Question, plan: Plan, range_: TimeRange, *, page: Page | None = None, only: Only | None = None
) -> Statement:
    """One SELECT that answers the question for a range.

    Without a page all rows come, in no order. `only` keeps the groups with these values,
    per place of a dimension.
    """
    binder = Binder()
    binder.name("site", question.site_id, TEXT)
    _bind_range(binder, range_, "")
    binder.name("tz", range_.zone.key, TEXT)
    ranges = {range_: ""}
    selects = []
    for part in plan.parts:
        select = select_part(part, Scoped(question, part.range_, range_.end, binder, only or {}, WHOLE_SESSIONS))
        if part.range_ not in ranges:
            ranges[part.range_] = f"_{len(ranges)}"
            _bind_range(binder, part.range_, ranges[part.range_])
        selects.append(_with_range(select, ranges[part.range_]))
    dimensions = [f"d_{index}" for index in range(len(question.dimensions))]
    if not plan.merged:
        relation = selects[0]
        metrics = [f"r.m_{metric.name}" for metric in question.metrics]
        group_by = ""
    else:
        held = list(dict.fromkeys(metric for part in plan.parts for metric in part.metrics))
        stacked = [_stack(select, dimensions, held, p) for select, p in zip(selects, plan.parts, strict=True)]
        relation = "\nUNION ALL\n".join(stacked)
        metrics = list(plan.merged)
        group_by = f"\nGROUP BY {', '.join(f'r.{name}' for name in dimensions)}" if dimensions else ""
    columns = [f"r.{name} AS d_{index}" for index, name in enumerate(dimensions)]
    columns += [f"{sql} AS m_{index}" for index, sql in enumerate(metrics)]
    if page is not None and page.count_all:
        columns.append("count() OVER () AS total_rows")
    sql = f"SELECT {', '.join(columns)}\nFROM (\n{_indent(relation)}\n) AS r{group_by}"
    if page is not None:
        limit, offset = binder.name("limit", page.limit, COUNT), binder.name("offset", page.offset, COUNT)
        sql += f"{_order(question)}\nLIMIT {limit} OFFSET {offset}"
    return Statement(sql, binder.values)


def count_rows(statement: Statement) -> Statement:
    """How many rows a statement without a page has."""
    return Statement(f"SELECT count() AS total_rows\nFROM (\n{_indent(statement.sql)}\n)", statement.parameters)


def _bind_range(binder: Binder, range_: TimeRange, suffix: str) -> None:
    binder.moment(f"start{suffix}", range_.start)
    binder.moment(f"end{suffix}", range_.end)


def _with_range(select: str, suffix: str) -> str:
    """A part's SQL with the parameters of its own range; values never stand in it, so names are all it can hit."""
    return select.replace("{start:", f"{{start{suffix}:").replace("{end:", f"{{end{suffix}:")


def _stack(select: str, dimensions: Sequence[str], metrics: Sequence[Metric], part: Part) -> str:
    """A part with the columns of all parts: its own metrics, and nothing for the others."""
    columns = [f"p.{name} AS {name}" for name in dimensions]
    for metric in metrics:
        nothing = "toUInt64(0)" if metric.kind is Kind.COUNT else "CAST(NULL, 'Nullable(Float64)')"
        columns.append(f"{f'p.m_{metric.name}' if metric in part.metrics else nothing} AS m_{metric.name}")
    return f"SELECT {', '.join(columns)}\nFROM (\n{_indent(select)}\n) AS p"


def _order(question: Question) -> str:
    """As asked, then by all dimensions, so that pages never overlap."""
    keys = [
        f"{'m' if order.by == 'metric' else 'd'}_{order.index} {'DESC' if order.descending else 'ASC'}"
        for order in question.order_by
    ]
    named = {order.index for order in question.order_by if order.by == "dimension"}
    keys += [f"d_{index} ASC" for index in range(len(question.dimensions)) if index not in named]
    return f"\nORDER BY {', '.join(keys)}" if keys else ""


def _indent(sql: str) -> str:
    return "\n".join(f"    {line}" for line in sql.split("\n"))

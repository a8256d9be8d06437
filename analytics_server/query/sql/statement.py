"""From a planned question to one SQL statement: parts, merging, order and page.

Pure: question in, SQL and parameters out. One part is ordered and cut as it stands;
several are stacked with UNION ALL and grouped once more by the plan's formulas, so that
order and page are right for the merged rows and no more than a page of them leaves
ClickHouse. A part for another range than the question's has parameters of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from analytics_server.query.language.request import Question
from analytics_server.query.language.shares import VISITORS, shares_of, wider
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.metrics import Kind, Metric, Share
from analytics_server.query.parameters import COUNT, TEXT, Binder
from analytics_server.query.plan.plan import Part, Plan, Wider
from analytics_server.query.sql.range_edges import WHOLE_SESSIONS
from analytics_server.query.sql.scope import Scoped, indent
from analytics_server.query.sql.tables import select_part

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
    compiler = _Compiler(binder, range_)
    names = [f"d_{index}" for index in range(len(question.dimensions))]
    relation, counts = compiler.rows(question, plan, only or {})
    group = _group_share(question)
    if group is not None and plan.merged:
        # The groups' visitors are joined to merged rows.
        relation = _named_rows(relation, names, counts)
        counts = {name: f"r.m_{name}" for name in counts}
    shares = {share: compiler.visitors(wide) for share, wide in plan.wider.items() if share is not group}
    joined = ""
    if group is not None:
        joined, shares[group] = compiler.join_groups(question, plan.wider[group])
    columns = [f"r.{name} AS {name}" for name in names]
    for index, metric in enumerate(question.metrics):
        value = counts[metric.name] if metric.share is None else _percent(counts["visitors"], shares[metric.share])
        columns.append(f"{value} AS m_{index}")
    if page is not None and page.count_all:
        columns.append("count() OVER () AS total_rows")
    sql = f"SELECT {', '.join(columns)}\nFROM (\n{indent(relation)}\n) AS r{joined}"
    if plan.merged and group is None and names:
        sql += f"\nGROUP BY {', '.join(f'r.{name}' for name in names)}"
    if page is not None:
        limit, offset = binder.name("limit", page.limit, COUNT), binder.name("offset", page.offset, COUNT)
        sql += f"{_order(question)}\nLIMIT {limit} OFFSET {offset}"
    return Statement(sql, binder.values)


@dataclass(slots=True)
class _Compiler:
    """The pieces of one statement, which share its parameters."""

    binder: Binder
    range_: TimeRange
    ranges: dict[TimeRange, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ranges[self.range_] = ""

    def rows(self, question: Question, plan: Plan, only: Only) -> tuple[str, dict[str, str]]:
        """The relation `r` of a question's groups, and per counted metric its formula over `r`."""
        selects = [self._select(question, part, only) for part in plan.parts]
        if not plan.merged:
            return selects[0], {metric.name: f"r.m_{metric.name}" for metric in plan.parts[0].metrics}
        dimensions = [f"d_{index}" for index in range(len(question.dimensions))]
        held = list(dict.fromkeys(metric for part in plan.parts for metric in part.metrics))
        stacked = [_stack(select, dimensions, held, p) for select, p in zip(selects, plan.parts, strict=True)]
        return "\nUNION ALL\n".join(stacked), dict(plan.merged)

    def visitors(self, wide: Wider) -> str:
        """The visitors of a question without dimensions, as a scalar."""
        relation, counts = self.rows(wide.question, wide.plan, {})
        return f"(\n{indent(f'SELECT {counts[VISITORS.name]} FROM (')}\n{indent(indent(relation))}\n    ) AS r\n)"

    def join_groups(self, question: Question, wide: Wider) -> tuple[str, str]:
        """A join of the groups of a wider question to rows `r`, and their visitors."""
        relation, counts = self.rows(wide.question, wide.plan, {})
        names = [f"d_{index}" for index in range(len(wide.question.dimensions))]
        visitors = {VISITORS.name: counts[VISITORS.name]}
        grouped = _named_rows(relation, names, visitors, merged=bool(wide.plan.merged))
        places = [question.dimensions.index(dimension) for dimension in wide.question.dimensions]
        on = " AND ".join(f"r.d_{ours} = g.d_{theirs}" for theirs, ours in enumerate(places))
        return f"\nLEFT JOIN (\n{indent(grouped)}\n) AS g ON {on}", f"g.m_{VISITORS.name}"

    def _select(self, question: Question, part: Part, only: Only) -> str:
        """A part's SQL with the parameters of its own range; values never stand in it, so names are all it can hit."""
        select = select_part(part, Scoped(question, part.range_, self.range_.end, self.binder, only, WHOLE_SESSIONS))
        if part.range_ not in self.ranges:
            self.ranges[part.range_] = f"_{len(self.ranges)}"
            _bind_range(self.binder, part.range_, self.ranges[part.range_])
        suffix = self.ranges[part.range_]
        return select.replace("{start:", f"{{start{suffix}:").replace("{end:", f"{{end{suffix}:")


def _group_share(question: Question) -> Share | None:
    """The share of each group's own visitors, if the groups are not just the goals."""
    share = Share.OF_GROUP_WITHOUT_GOAL
    wanted = share in shares_of(question) and wider(question, share).dimensions
    return share if wanted else None


def _named_rows(relation: str, names: Sequence[str], counts: Mapping[str, str], *, merged: bool = True) -> str:
    """Rows with a column per metric, grouped if they come from several parts."""
    columns = [*(f"r.{name} AS {name}" for name in names), *(f"{sql} AS m_{name}" for name, sql in counts.items())]
    group_by = f"\nGROUP BY {', '.join(f'r.{name}' for name in names)}" if merged and names else ""
    return f"SELECT {', '.join(columns)}\nFROM (\n{indent(relation)}\n) AS r{group_by}"


def _percent(part: str, whole: str) -> str:
    return f"100 * {part} / nullIf({whole}, 0)"


def count_rows(statement: Statement) -> Statement:
    """How many rows a statement without a page has."""
    return Statement(f"SELECT count() AS total_rows\nFROM (\n{indent(statement.sql)}\n)", statement.parameters)


def _bind_range(binder: Binder, range_: TimeRange, suffix: str) -> None:
    binder.moment(f"start{suffix}", range_.start)
    binder.moment(f"end{suffix}", range_.end)


def _stack(select: str, dimensions: Sequence[str], metrics: Sequence[Metric], part: Part) -> str:
    """A part with the columns of all parts: its own metrics, and nothing for the others."""
    columns = [f"p.{name} AS {name}" for name in dimensions]
    for metric in metrics:
        nothing = "toUInt64(0)" if metric.kind is Kind.COUNT else "CAST(NULL, 'Nullable(Float64)')"
        columns.append(f"{f'p.m_{metric.name}' if metric in part.metrics else nothing} AS m_{metric.name}")
    return f"SELECT {', '.join(columns)}\nFROM (\n{indent(select)}\n) AS p"


def _order(question: Question) -> str:
    """As asked, then by all dimensions, so that pages never overlap."""
    keys = [
        f"{'m' if order.by == 'metric' else 'd'}_{order.index} {'DESC' if order.descending else 'ASC'}"
        for order in question.order_by
    ]
    named = {order.index for order in question.order_by if order.by == "dimension"}
    keys += [f"d_{index} ASC" for index in range(len(question.dimensions)) if index not in named]
    return f"\nORDER BY {', '.join(keys)}" if keys else ""

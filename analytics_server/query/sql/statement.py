"""From a planned question to one SELECT: parts, merging, order and page.

Pure: question in, a SELECT and its parameters out. One part is ordered and cut as it stands;
several are stacked with UNION ALL and grouped once more by the plan's formulas, so that
order and page are right for the merged rows and no more than a page of them leaves
ClickHouse. A part for another range than the question's has parameters of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from analytics_server.query.dimensions import Dimension, Scope, ValueKind
from analytics_server.query.language.request import Question
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.metrics import VISITORS, Metric, MetricKind, Share
from analytics_server.query.parameters import COUNT, TEXT, Binder
from analytics_server.query.plan.plan import Plan, PlanPart, Wider
from analytics_server.query.sql.range_edges import RangeEdges, edges_named
from analytics_server.query.sql.scope import REST, Scoped, names_of
from analytics_server.query.sql.select import (
    Expression,
    Join,
    Query,
    Relation,
    Select,
    Statement,
    Subquery,
    compose,
    select,
    union_all,
)
from analytics_server.query.sql.tables import select_part

Only = Mapping[int, Sequence[str]]


@dataclass(frozen=True, slots=True)
class ResultPage:
    """Which of the ordered rows are wanted, and whether to count all of them."""

    limit: int
    offset: int = 0
    count_all: bool = False


def compile_question(
    question: Question,
    plan: Plan,
    range_: TimeRange,
    *,
    page: ResultPage | None = None,
    only: Only | None = None,
    least_visitors: int = 0,
    rest_of: Sequence[Sequence[object]] | None = None,
) -> Statement:
    """One SELECT that answers the question for a range.

    Without a page all rows come, in no order. `only` keeps the groups with these values, per place of a dimension;
    `least_visitors` those of so many visitors, which must be among the metrics. `rest_of`: instead of the groups, the
    one row of all that have none of these keys.
    """
    binder = Binder()
    binder.name("site", question.site_id, TEXT)
    compiler = _Compiler(binder, range_, rest_of=rest_of)
    binder.name("tz", range_.zone.key, TEXT)
    names = names_of(len(question.dimensions))
    rows, counts = compiler.rows(question, plan, only or {})
    group = _group_share(question)
    if group is not None and plan.merged:
        # The groups' visitors are joined to merged rows.
        rows = _named_rows(rows, names, counts)
        counts = {name: f"r.m_{name}" for name in counts}
    shares: dict[Share, Expression] = {
        share: compiler.visitors(wide) for share, wide in plan.wider.items() if share is not group
    }
    source: Relation = Subquery(rows, "r")
    if group is not None:
        source, shares[group] = compiler.join_groups(source, question, plan.wider[group])
    columns: list[Expression] = [f"r.{name} AS {name}" for name in names]
    for index, metric in enumerate(question.metrics):
        value: Expression = counts[question.counted_for(metric).name]
        if metric.share is not None:
            value = _percent(value, shares[metric.share])
        columns.append(compose(value, f" AS m_{index}"))
    if page is not None and page.count_all:
        columns.append("count() OVER () AS total_rows")
    group_by = [f"r.{name}" for name in names] if plan.merged and group is None else []
    query = select(columns, source, group_by=group_by)
    if least_visitors:
        visitors = f"k.m_{question.metrics.index(VISITORS)}"
        query = _those(query, [f"{visitors} >= {binder.name('least_visitors', least_visitors, COUNT)}"])
    if rest_of is not None:
        query = _those(query, [_is_rest(name, d, binder) for name, d in zip(names, question.dimensions, strict=True)])
    if page is not None:
        limit, offset = binder.name("limit", page.limit, COUNT), binder.name("offset", page.offset, COUNT)
        query = replace(query, order_by=_order(question), limit=limit, offset=offset)
    return Statement(query, binder.values)


@dataclass(slots=True)
class _Compiler:
    """The pieces of one statement, which share its parameters."""

    binder: Binder
    range_: TimeRange
    edges: dict[TimeRange, RangeEdges] = field(default_factory=dict)
    rest_of: Sequence[Sequence[object]] | None = None

    def __post_init__(self) -> None:
        self._edges_of(self.range_)

    def rows(self, question: Question, plan: Plan, only: Only) -> tuple[Query, dict[str, str]]:
        """The rows `r` of a question's groups, and per counted metric its formula over `r`."""
        selects = [self._select(question, part, only) for part in plan.parts]
        if not plan.merged:
            return selects[0], {metric.name: f"r.m_{metric.name}" for metric in plan.parts[0].metrics}
        dimensions = names_of(len(question.dimensions))
        held = list(dict.fromkeys(metric for part in plan.parts for metric in part.metrics))
        stacked = [_stack(select, dimensions, held, p) for select, p in zip(selects, plan.parts, strict=True)]
        return union_all(stacked), dict(plan.merged)

    def visitors(self, wide: Wider) -> Expression:
        """The visitors of a question without dimensions, as a value."""
        rows, counts = self.rows(wide.question, wide.plan, {})
        return compose(select([counts[VISITORS.name]], Subquery(rows, "r")))

    def join_groups(self, source: Relation, question: Question, wide: Wider) -> tuple[Join, str]:
        """The rows `r` joined with the groups of a wider question, and the visitors of these."""
        rows, counts = self.rows(wide.question, wide.plan, {})
        names = names_of(len(wide.question.dimensions))
        grouped = _named_rows(rows, names, {VISITORS.name: counts[VISITORS.name]}, merged=bool(wide.plan.merged))
        places = [question.dimensions.index(dimension) for dimension in wide.question.dimensions]
        on = " AND ".join(f"r.d_{ours} = g.d_{theirs}" for theirs, ours in enumerate(places))
        return Join(source, "LEFT", Subquery(grouped, "g"), f"ON {on}"), f"g.m_{VISITORS.name}"

    def _select(self, question: Question, part: PlanPart, only: Only) -> Select:
        return select_part(
            part,
            Scoped(
                question=question,
                range_=part.range_,
                until=self.range_.end,
                binder=self.binder,
                only=only,
                edges=self._edges_of(part.range_),
                rest_of=self.rest_of,
            ),
        )

    def _edges_of(self, range_: TimeRange) -> RangeEdges:
        """The placeholders of a range's edges: `start` and `end` of the question's, numbered ones of other parts'."""
        if range_ not in self.edges:
            suffix = f"_{len(self.edges)}" if self.edges else ""
            self.binder.moment(f"start{suffix}", range_.start)
            self.binder.moment(f"end{suffix}", range_.end)
            self.edges[range_] = edges_named(suffix)
        return self.edges[range_]


def _group_share(question: Question) -> Share | None:
    """The share of each group's own visitors, if the groups are not just the goals."""
    share = Share.OF_GROUP_WITHOUT_GOAL
    return share if share in question.wider and question.wider[share].dimensions else None


def _named_rows(rows: Query, names: Sequence[str], counts: Mapping[str, str], *, merged: bool = True) -> Select:
    """Rows with a column per metric, grouped if they come from several parts."""
    columns = [*(f"r.{name} AS {name}" for name in names), *(f"{sql} AS m_{name}" for name, sql in counts.items())]
    return select(columns, Subquery(rows, "r"), group_by=[f"r.{name}" for name in names] if merged else [])


def _percent(part: Expression, whole: Expression) -> Expression:
    return compose("100 * ", part, " / nullIf(", whole, ", 0)")


def _those(query: Select, where: Sequence[Expression]) -> Select:
    return select(["*"], Subquery(query, "k"), where)


def _is_rest(name: str, dimension: Dimension, binder: Binder) -> str:
    if dimension.scope is Scope.TIME:
        return f"k.{name} = defaultValueOfArgumentType(k.{name})"
    return f"k.{name} = {binder.bind(REST, TEXT)}"


def count_rows(statement: Statement) -> Statement:
    """How many rows a statement without a page has."""
    return Statement(select(["count() AS total_rows"], Subquery(statement.query)), statement.parameters)


def _stack(rows: Select, dimensions: Sequence[str], metrics: Sequence[Metric], part: PlanPart) -> Select:
    """A part with the columns of all parts: its own metrics, and nothing for the others."""
    columns = [f"p.{name} AS {name}" for name in dimensions]
    for metric in metrics:
        nothing = "toUInt64(0)" if metric.kind is MetricKind.COUNT else "CAST(NULL, 'Nullable(Float64)')"
        columns.append(f"{f'p.m_{metric.name}' if metric in part.metrics else nothing} AS m_{metric.name}")
    return select(columns, Subquery(rows, "p"))


def _order(question: Question) -> tuple[str, ...]:
    """As asked, then by all dimensions, so that pages never overlap."""
    keys = [
        f"{f'm_{order.index}' if order.by == 'metric' else _sorted_by(question, order.index)}"
        f" {'DESC' if order.descending else 'ASC'}"
        for order in question.order_by
    ]
    named = {order.index for order in question.order_by if order.by == "dimension"}
    keys += [f"{_sorted_by(question, index)} ASC" for index in range(len(question.dimensions)) if index not in named]
    return tuple(keys)


def _sorted_by(question: Question, index: int) -> str:
    """A dimension's column; numbers by their size."""
    numeric = question.dimensions[index].values is ValueKind.NUMBER
    return f"toUInt64OrZero(d_{index})" if numeric else f"d_{index}"

"""Which expressions are wide Decimals, that the engine in process can't calculate with.

A sum of Decimals is a Decimal(38, …). The smaller build of the engine has no arithmetic on it:
`sum(revenue_amount) / 2` fails. So operands that are wide for certain are made
Decimal(18, …) before they are calculated with. What is not known
for certain is left alone: then the engine's own error says what does not fit.

Pure: reads the tree, changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from analytics_server.sql.printer.dialect import RAW
from analytics_server.sql.printer.functions import Functions
from analytics_server.sql.printer.tables import TABLES
from analytics_server.sql.printer.types import BadSqlType, SqlType, parse_type

NARROW_DIGITS = 18
CALCULATING = frozenset(
    {
        *("plus", "minus", "multiply", "divide", "modulo", "intDiv", "intDivOrZero", "positiveModulo", "moduloOrZero"),
        *("greatest", "least", "if", "multiIf", "ifNull", "transform", "clamp"),
    }
)
"""Functions that fail with a wide Decimal among their arguments."""

MOST_STEPS = 20_000

_SUMS = frozenset({"sum"})
_SAME = frozenset({"min", "max", "any", "any_value", "anyLast", "argMin", "argMax", "first_value", "last_value"}) | {
    *("lag", "lead", "lagInFrame", "leadInFrame", "nth_value", "abs", "round", "floor", "ceil", "ceiling", "trunc"),
    *("truncate", "negate", "assumeNotNull", "toNullable", "quantileExact", "medianExact", "singleValueOrNull"),
}
"""Functions that give what their first argument is."""
_CHOOSING = {"if": (1, 2), "ifNull": (0, 1), "coalesce": None, "greatest": None, "least": None, "nullIf": (0,)}
_CASTS = {"toDecimal32": 9, "toDecimal64": 18, "toDecimal128": 38, "toDecimal64OrNull": 18, "toDecimal64OrZero": 18}
_COUNTS = re.compile(r"(count|uniq|length|toU?Int|intDiv|dateDiff|toUnixTimestamp)\w*")


@dataclass(frozen=True, slots=True)
class NumberKind:
    """Digits behind the point of a Decimal, 0 for whole numbers; `is_wide`: more than 18 digits in all."""

    scale: int
    is_wide: bool = False
    is_decimal: bool = True


WHOLE = NumberKind(0, is_decimal=False)


class Decimals:
    """Looks at one query's expressions."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._known: dict[int, NumberKind | None] = {}
        self._steps = 0

    def scale_of_wide(self, node: exp.Expr) -> int | None:
        """Digits behind the point, if the expression is a wide Decimal for certain; else None."""
        try:
            kind = self.of(node)
        except RecursionError:
            return None
        return kind.scale if kind is not None and kind.is_wide and kind.scale <= NARROW_DIGITS else None

    def of(self, node: object) -> NumberKind | None:
        """What number an expression is; None if it is not known to be a Decimal or a whole number."""
        if not isinstance(node, exp.Expr):
            return None
        if id(node) not in self._known:
            self._known[id(node)] = None  # itself inside itself
            self._steps += 1
            if self._steps < MOST_STEPS:
                self._known[id(node)] = self._look(node)
        return self._known[id(node)]

    def _look(self, node: exp.Expr) -> NumberKind | None:
        if isinstance(node, exp.Column):
            return self._of_column(node)
        if isinstance(node, exp.Literal):
            return WHOLE if not node.args.get("is_string") and str(node.this).isdigit() else None
        if isinstance(node, (exp.Paren, exp.Alias, exp.Neg, exp.Window, exp.Filter, exp.IgnoreNulls, exp.RespectNulls)):
            return self.of(node.this)
        if isinstance(node, (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod)):
            return _calculated(type(node), self.of(node.this), self.of(node.expression))
        if isinstance(node, (exp.Cast, exp.CastToStrType)):
            to = node.args["to"]
            return _of_type(to.name if isinstance(to, exp.Literal) else str(to.meta.get(RAW, "")))
        if isinstance(node, exp.If):
            return self._widest([node.args.get("true"), node.args.get("false")])
        if isinstance(node, exp.Case):
            return self._widest([*(each.args.get("true") for each in node.args["ifs"]), node.args.get("default")])
        if isinstance(node, exp.Subquery):
            return self._of_output(node.this, 0)
        if isinstance(node, exp.Select):
            return self._of_output(node, 0)
        if isinstance(node, exp.ParameterizedAgg):
            return self._of_call(node, node.args["params"])
        return self._of_call(node, node.expressions) if isinstance(node, exp.Anonymous) else None

    def _of_call(self, node: exp.Expr, arguments: list[exp.Expr]) -> NumberKind | None:
        called = self._functions.find(node.this if isinstance(node.this, str) else node.this.name)
        if called is None:
            return None
        name = called.base.name
        endings = called.name.removeprefix(name)
        if _COUNTS.fullmatch(name):
            return WHOLE
        if any(ending in endings for ending in ("Array", "Map", "ForEach")) or not arguments:
            return None
        first = arguments[0]
        if isinstance(first, exp.Distinct):
            first = first.expressions[0]
        if name in _SUMS:
            kind = self.of(first)
            return kind and NumberKind(kind.scale, is_wide=kind.is_decimal, is_decimal=kind.is_decimal)
        if name in _SAME:
            return self.of(first)
        if name in _CASTS and len(arguments) == 2:
            scale = arguments[1]
            digits = str(scale.this) if isinstance(scale, exp.Literal) else ""
            return NumberKind(int(digits), is_wide=_CASTS[name] > NARROW_DIGITS) if digits.isdigit() else None
        if name in _CHOOSING:
            places = _CHOOSING[name] or range(len(arguments))
            return self._widest([arguments[place] for place in places if place < len(arguments)])
        operator = {"plus": exp.Add, "minus": exp.Sub, "multiply": exp.Mul, "divide": exp.Div}.get(name)
        if operator is not None and len(arguments) == 2:
            return _calculated(operator, self.of(arguments[0]), self.of(arguments[1]))
        return None

    def _widest(self, nodes: list[exp.Expr | None]) -> NumberKind | None:
        kinds = [self.of(node) for node in nodes if node is not None and not isinstance(node, exp.Null)]
        if not kinds or any(kind is None for kind in kinds):
            return None
        known = [kind for kind in kinds if kind is not None]
        return NumberKind(
            max(kind.scale for kind in known),
            is_wide=any(kind.is_wide for kind in known),
            is_decimal=any(kind.is_decimal for kind in known),
        )

    # ---- names -----------------------------------------------------------------

    def _of_column(self, node: exp.Column) -> NumberKind | None:
        if isinstance(node.this, exp.Star) or node.args.get("db"):
            return None
        table, name = node.table, node.name
        inside: exp.Expr = node
        around = node.parent
        while around is not None:
            if isinstance(around, exp.Lambda) and any(each.name == name for each in around.expressions):
                return None
            if isinstance(around, exp.Select):
                if not table:
                    for item in around.expressions:
                        if isinstance(item, exp.Alias) and item.alias == name and item is not inside:
                            return self.of(item.this)
                    for cte in _ctes(around):
                        if cte.args.get("scalar") and cte.alias == name and cte.this is not inside:
                            return self.of(cte.this)
                return self._of_sources(around, table, name)
            inside, around = around, around.parent
        return None

    def _of_sources(self, select: exp.Expr, table: str, name: str) -> NumberKind | None:
        """A column of what stands behind FROM and JOIN."""
        found = []
        for join in select.args.get("joins") or []:
            arrays = [join.this, *(join.args.get("expressions") or [])]
            if str(join.args.get("kind") or "").upper() == "ARRAY" and name in [each.alias_or_name for each in arrays]:
                return None
        for relation in _relations(select):
            if not table or table == (relation.alias or relation.name):
                kind = self._of_relation(relation, name)
                if kind is not None:
                    found.append(kind)
        return found[0] if found and len(set(found)) == 1 else None

    def _of_relation(self, relation: exp.Expr, name: str) -> NumberKind | None:
        if isinstance(relation, exp.Subquery):
            return self._of_output(relation.this, name)
        if not isinstance(relation, exp.Table):
            return None
        ancestors = list(_ancestors(relation))
        inside = {id(around) for around in ancestors}
        for around in ancestors:
            for cte in _ctes(around):
                if cte.alias == relation.name and not cte.args.get("scalar") and id(cte) not in inside:
                    columns = [each.name for each in cte.args["alias"].args.get("columns") or []]
                    return self._of_output(cte.this, columns.index(name) if name in columns else name)
        known = TABLES.get(relation.name)
        column = next((each for each in known.columns if each.name == name), None) if known else None
        return _of_type(column.type) if column else None

    def _of_output(self, query: object, which: str | int) -> NumberKind | None:
        """The column of a SELECT's answer with a name, or at a place."""
        while isinstance(query, exp.Subquery):
            query = query.this
        if isinstance(query, exp.SetOperation):
            place = _place_of(query, which) if isinstance(which, str) else which
            kinds = {
                self._of_output(side, which if place is None else place) for side in (query.this, query.expression)
            }
            known = [kind for kind in kinds if kind is not None]
            same = len({kind.scale for kind in known}) == 1 and len(known) == len(kinds)
            return max(known, key=lambda kind: kind.is_wide) if same else None
        if not isinstance(query, exp.Select):
            return None
        self._steps += 1
        if self._steps >= MOST_STEPS:
            return None
        if isinstance(which, int):
            return self.of(query.expressions[which]) if which < len(query.expressions) else None
        for item in query.expressions:
            if item.alias_or_name == which and not isinstance(item, exp.Star):
                return self.of(item)
        if any(_is_star(item) for item in query.expressions):
            return self._of_sources(query, "", which)
        return None


def _place_of(query: exp.Expr, name: str) -> int | None:
    """Where the column with this name stands; None behind a star."""
    while isinstance(query, (exp.SetOperation, exp.Subquery)):
        query = query.this
    items = query.expressions if isinstance(query, exp.Select) else []
    if any(_is_star(item) for item in items):
        return None
    return next((place for place, item in enumerate(items) if item.alias_or_name == name), None)


def _is_star(item: exp.Expr) -> bool:
    return isinstance(item, exp.Star) or (isinstance(item, exp.Column) and isinstance(item.this, exp.Star))


def _ancestors(node: exp.Expr) -> Iterator[exp.Expr]:
    around = node.parent
    while around is not None:
        yield around
        around = around.parent


def _ctes(node: exp.Expr) -> list[exp.Expr]:
    with_ = node.args.get("with_")
    return with_.expressions if isinstance(with_, exp.With) else []


def _relations(select: exp.Expr) -> Iterator[exp.Expr]:
    if source := select.args.get("from_"):
        yield _bare(source.this)
    for join in select.args.get("joins") or []:
        if str(join.args.get("kind") or "").upper() != "ARRAY":
            yield _bare(join.this)


def _bare(relation: exp.Expr) -> exp.Expr:
    return relation.this if isinstance(relation, exp.Final) else relation


def _calculated(operator: type[exp.Expr], left: NumberKind | None, right: NumberKind | None) -> NumberKind | None:
    """Operands are made narrow, so what comes out is narrow."""
    if left is None or right is None:
        return None
    if not (left.is_decimal or right.is_decimal):
        return None if operator is exp.Div else WHOLE
    if operator is exp.Mul:
        return NumberKind(left.scale + right.scale)
    if operator is exp.Div:
        return NumberKind(left.scale if left.is_decimal else right.scale)
    return NumberKind(max(left.scale, right.scale))


def _of_type(text: str) -> NumberKind | None:
    try:
        kind: SqlType = parse_type(text)
    except BadSqlType:
        return None
    while kind.family in ("Nullable", "LowCardinality"):
        kind = kind.parts[0]
    if re.fullmatch(r"U?Int\d+", kind.family):
        return WHOLE
    if kind.family == "Decimal":
        return NumberKind(kind.numbers[1], is_wide=kind.numbers[0] > NARROW_DIGITS)
    if kind.family in ("Decimal32", "Decimal64", "Decimal128", "Decimal256"):
        return NumberKind(kind.numbers[0], is_wide=kind.family in ("Decimal128", "Decimal256"))
    return None

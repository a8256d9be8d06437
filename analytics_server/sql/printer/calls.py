"""Prints calls of functions, with parameters, lambdas and windows.

A function is called under the name that the list of functions gives it. Arguments that
ClickHouse would read as a type or as a function's name must be texts, and are looked up too.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from sqlglot import exp

from analytics_server.query.language.regexps import MOST_WEIGHT, weight_of
from analytics_server.sql.printer.context import Context, NameScope, literal
from analytics_server.sql.printer.decimals import CALCULATING
from analytics_server.sql.printer.expressions import ExpressionPrinter, Print
from analytics_server.sql.printer.functions import TYPE_ARGUMENT, Called
from analytics_server.sql.printer.refusal import shown
from analytics_server.sql.printer.types import is_zone
from analytics_server.sql.sizes import Sizes
from analytics_server.zones import refusal

MAX_LAMBDA_DEPTH = 2
REPEATS = frozenset({"repeat", "leftPad", "rightPad"})
"""Functions whose second argument says how long the result becomes."""

PATTERNS = {
    **dict.fromkeys(("match", "extract", "extractAll", "extractGroups", "countMatches", "regexpExtract"), 1),
    **dict.fromkeys(("extractAllGroupsVertical", "extractAllGroupsHorizontal"), 1),
    **dict.fromkeys(("replaceRegexpOne", "replaceRegexpAll"), 1),
    "splitByRegexp": 0,
}
"""Functions that take a regular expression, and in which place."""
_AGGREGATE_TEXT = re.compile(r"(?P<name>\w+)(?P<parameters>\([0-9., ]*\))?")


class CallPrinter(ExpressionPrinter):
    """Prints calls. Raises `SqlRefused`."""

    printers: ClassVar[dict[type[exp.Expr], Print]] = dict(ExpressionPrinter.printers)

    def __init__(self, context: Context, tree: exp.Expr) -> None:
        super().__init__(context)
        self._sizes = Sizes(context, tree)
        self._lambda_depth = 0

    def _known(self, node: exp.Expr) -> Called:
        name = node.this if isinstance(node.this, str) else node.this.name
        known = self.context.functions.find(name)
        if known is None:
            self.context.refuse(
                node,
                f"There is no function {shown(name)} here.{self.context.functions.suggest(name)}",
                "unknown_function",
            )
        return known

    def _function(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "expressions")
        known = self._known(node)
        self._sizes.check(known.name, node)
        return f"{known.name}({self._arguments(known, node, node.expressions, scope)})"

    def _parametric(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "expressions", "params")
        known = self._known(node)
        if not known.is_aggregate:
            self.context.refuse(node, f"{known.name} has no parameters: it is called {known.base.signature}.")
        for parameter in node.expressions:
            if not isinstance(parameter, (exp.Literal, exp.Neg, exp.Placeholder)):
                self.context.refuse(parameter, f"The parameters of {known.name} are numbers or texts.")
        arguments = self._arguments(known, node, node.args["params"], scope)
        return f"{known.name}({self.listed(node.expressions, scope)})({arguments})"

    def _arguments(self, known: Called, node: exp.Expr, arguments: Sequence[exp.Expr], scope: NameScope) -> str:
        if known.name == "count" and len(arguments) == 1 and type(arguments[0]) is exp.Star:
            self.context.only(arguments[0])
            return ""
        if len(arguments) == 1 and isinstance(arguments[0], exp.Distinct) and known.is_aggregate:
            self.context.only(arguments[0], "expressions")
            return f"DISTINCT {self.listed(arguments[0].expressions, scope)}"
        written = [self._argument(argument, scope) for argument in arguments]
        if known.name in CALCULATING:
            written = [self.narrowed(*each) for each in zip(arguments, written, strict=True)]
        if known.name in TYPE_ARGUMENT and len(arguments) > 1:
            # accurateCast(x, type, default) and JSONExtract(json, path…, type)
            place = -1 if known.name == "JSONExtract" else 1
            written[place] = literal(str(self.context.kind(self._text(known, arguments[place]), arguments[place])))
        if known.zone_place is not None:
            for argument in arguments[known.zone_place :]:
                self._check_zone(known, argument)
        if known.name in REPEATS and len(arguments) > 1 and not self._sizes.is_number(arguments[1]):
            # What is computed is cut to what was reckoned with; what is written was checked as it is.
            most = self._sizes.times(arguments[1], self._sizes.of(arguments[0]) if known.name == "repeat" else 4)
            written[1] = f"least({written[1]}, {most})"
        if known.name in PATTERNS and len(arguments) > PATTERNS[known.name]:
            self._check_pattern(arguments[PATTERNS[known.name]])
        if known.name == "arrayReduce" and arguments:
            written[0] = literal(self._aggregate_name(known, arguments[0]))
        return ", ".join(written)

    def _regexp(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "expression")
        self._check_pattern(node.expression)
        return f"match({self.write(node.this, scope)}, {self.write(node.expression, scope)})"

    def _joined(self, node: exp.Expr, scope: NameScope) -> str:
        self._sizes.check("concat", node)
        return self._binary(node, scope)

    def _check_pattern(self, node: exp.Expr) -> None:
        """A regular expression is read here, so it is a text or a parameter."""
        value: object = None
        if isinstance(node, exp.Literal) and node.args.get("is_string"):
            value = str(node.this)
        elif isinstance(node, exp.Placeholder):
            value = self.context.bound.get(node.this.name if isinstance(node.this, exp.Expr) else str(node.this))
        if not isinstance(value, str):
            self.context.refuse(node, "A regular expression is a text in quotes or a parameter.")
        if (weight := weight_of(value)) > MOST_WEIGHT:
            self.context.refuse(
                node,
                f"The regular expression stands for {weight:,} steps, {MOST_WEIGHT:,} are allowed: repeat less in it.",
                "sql_too_big",
            )

    def _argument(self, node: exp.Expr, scope: NameScope) -> str:
        return self._lambda(node, scope) if isinstance(node, exp.Lambda) else self.write(node, scope)

    def _lambda(self, node: exp.Lambda, scope: NameScope) -> str:
        self.context.only(node, "this", "expressions")
        if self._lambda_depth == MAX_LAMBDA_DEPTH:
            self.context.refuse(
                node, f"Functions in functions (->) may be {MAX_LAMBDA_DEPTH} deep at most.", "sql_too_big"
            )
        names = [self.context.quoted(name) for name in node.expressions]
        self._lambda_depth += 1
        body = self.write(node.this, scope)
        self._lambda_depth -= 1
        return f"{names[0] if len(names) == 1 else '(' + ', '.join(names) + ')'} -> {body}"

    def _text(self, known: Called, node: exp.Expr) -> str:
        if not isinstance(node, exp.Literal) or not node.args.get("is_string"):
            self.context.refuse(node, f"{known.base.signature}: this must be a text in quotes.")
        return str(node.this)

    def _check_zone(self, known: Called, node: exp.Expr) -> None:
        """A number is no zone; what is computed could become the path of any file."""
        value: object = None
        if isinstance(node, exp.Literal):
            if not node.args.get("is_string"):
                return
            value = str(node.this)
        elif isinstance(node, exp.Placeholder):
            value = self.context.bound.get(node.this.name)
        if not isinstance(value, str) or not is_zone(value):
            why = f" {refusal(value)}" if isinstance(value, str) else ""
            self.context.refuse(
                node,
                f"{known.base.signature}: a time zone is a name in quotes, such as 'Europe/Berlin', or a parameter"
                f" that is one.{why}",
            )

    def _aggregate_name(self, known: Called, node: exp.Expr) -> str:
        found = _AGGREGATE_TEXT.fullmatch(self._text(known, node))
        aggregate = self.context.functions.find(found["name"]) if found else None
        if found is None or aggregate is None or not aggregate.is_aggregate:
            self.context.refuse(
                node, "arrayReduce takes an aggregate function's name, such as 'max'.", "unknown_function"
            )
        return aggregate.name + (found["parameters"] or "")

    # ---- windows ---------------------------------------------------------------

    def _filter(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "expression")
        condition = node.expression
        if not isinstance(node.this, (exp.Anonymous, exp.ParameterizedAgg)) or not isinstance(condition, exp.Where):
            self.context.refuse(node, "FILTER (WHERE …) follows an aggregate function.")
        return f"{self.write(node.this, scope)} FILTER (WHERE {self.write(condition.this, scope)})"

    def _nulls(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this")
        if not isinstance(node.this, (exp.Anonymous, exp.ParameterizedAgg)):
            self.context.refuse(node, "IGNORE NULLS and RESPECT NULLS follow a function.")
        return f"{self.write(node.this, scope)} {'IGNORE' if isinstance(node, exp.IgnoreNulls) else 'RESPECT'} NULLS"

    def _window(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "partition_by", "order", "spec", "alias", "over")
        called = node.this
        inner = called.this if isinstance(called, (exp.Filter, exp.IgnoreNulls, exp.RespectNulls)) else called
        if not isinstance(inner, (exp.Anonymous, exp.ParameterizedAgg)) or not self._known(inner).takes_window:
            self.context.refuse(node, "OVER follows an aggregate or a window function.")
        name = node.args.get("alias")
        if name is not None and not any(node.args.get(key) for key in ("partition_by", "order", "spec")):
            return f"{self.write(called, scope)} OVER {self.context.quoted(name)}"
        if name is not None:
            self.context.refuse(node, "A window has a name or a description, not both.")
        return f"{self.write(called, scope)} OVER ({self.window(node, scope)})"

    def window(self, node: exp.Expr, scope: NameScope) -> str:
        """What stands in a window's brackets."""
        pieces = []
        if parts := node.args.get("partition_by"):
            pieces.append(f"PARTITION BY {self.listed(parts, scope)}")
        if order := node.args.get("order"):
            pieces.append(self.order(order, scope))
        if spec := node.args.get("spec"):
            self.context.only(spec, "kind", "start", "start_side", "end", "end_side")
            kind = str(spec.args.get("kind"))
            if kind not in ("ROWS", "RANGE"):
                self.context.refuse(node, "A window's frame counts ROWS or a RANGE.")
            start = self._edge(spec, "start", scope)
            end = f" AND {self._edge(spec, 'end', scope)}" if spec.args.get("end") else ""
            pieces.append(f"{kind} {'BETWEEN ' if end else ''}{start}{end}")
        return " ".join(pieces)

    def _edge(self, spec: exp.Expr, key: str, scope: NameScope) -> str:
        edge, side = spec.args.get(key), spec.args.get(f"{key}_side")
        if edge == "CURRENT ROW":
            return "CURRENT ROW"
        if side not in ("PRECEDING", "FOLLOWING"):
            self.context.refuse(spec, "A frame begins and ends PRECEDING, FOLLOWING or at CURRENT ROW.", "bad_sql")
        if edge == "UNBOUNDED":
            return f"UNBOUNDED {side}"
        if not isinstance(edge, (exp.Literal, exp.Placeholder)):
            self.context.refuse(spec, "A frame's edge is a number.")
        return f"{self.write(edge, scope)} {side}"

    @abstractmethod
    def order(self, node: exp.Expr, scope: NameScope) -> str:
        """Print an ORDER BY."""


CallPrinter.printers.update(
    {
        exp.Anonymous: CallPrinter._function,
        exp.RegexpLike: CallPrinter._regexp,
        exp.DPipe: CallPrinter._joined,
        exp.ParameterizedAgg: CallPrinter._parametric,
        exp.Filter: CallPrinter._filter,
        exp.IgnoreNulls: CallPrinter._nulls,
        exp.RespectNulls: CallPrinter._nulls,
        exp.Window: CallPrinter._window,
    }
)

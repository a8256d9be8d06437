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
from analytics_server.sql.function_names import INSTEAD_OF, MOVES, WITHOUT
from analytics_server.sql.printer.context import Context, NameScope
from analytics_server.sql.printer.decimals import CALCULATING
from analytics_server.sql.printer.expressions import ExpressionPrinter, Print
from analytics_server.sql.printer.functions import TYPE_ARGUMENT, Called
from analytics_server.sql.printer.operators import UNITS
from analytics_server.sql.printer.sizes import BUILDERS, MOST_BYTES, MOST_TIMES, Sizes
from analytics_server.sql.printer.types import is_zone
from analytics_server.sql.refusal import shown
from analytics_server.store.literals import literal
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
MAPS = frozenset({"sumMap", "minMap", "maxMap"})
SHORTENED = frozenset({"levenshteinDistance"})
COMPARED_BYTES = 200
"""How much of each text is compared by functions whose work grows with the product of the lengths."""
JSON_PATHS = frozenset({"JSON_VALUE", "JSON_EXISTS", "JSON_QUERY"})
_JSON_PATH = re.compile(r"\$(?:\.\w{1,100}|\[\d{1,6}\]|\[\"[^\"\\]{1,100}\"\]){0,20}")
NOT_APPLIED = frozenset({*TYPE_ARGUMENT, *SHORTENED, *JSON_PATHS, "arrayReduce", "range", "arrayWithConstant"})
"""Functions whose arguments are looked at, so that they can't be named alone."""
BUILDING = BUILDERS | PATTERNS.keys() | {"range", "arrayWithConstant", "arrayConcat", "arrayMap", "toJSONString"}
"""Functions that stand in a lambda of APPLY only if there is no second one."""
_AGGREGATE_TEXT = re.compile(r"(?P<name>\w+)(?P<parameters>\([0-9., ]*\))?")


class CallPrinter(ExpressionPrinter):
    """Prints calls. Raises `SqlRefused`."""

    printers: ClassVar[dict[type[exp.Expr], Print]] = dict(ExpressionPrinter.printers)

    def __init__(self, context: Context, tree: exp.Expr) -> None:
        super().__init__(context)
        self._sizes = Sizes(context, tree)
        self._applies = sum(isinstance(node, exp.Apply) for node in tree.walk())
        self._lambda_depth = 0

    def _known(self, node: exp.Expr) -> Called:
        name = node.this if isinstance(node.this, str) else node.this.name
        known = self.context.functions.find(name)
        if known is None:
            instead = INSTEAD_OF.get(name.lower())
            hint = f" Write {instead}." if instead else self.context.functions.suggest(name)
            self.context.refuse(node, f"There is no function {shown(name)} here.{hint}", "unknown_function")
        if not self.context.features.has_function(known.base.name):
            instead = WITHOUT.get(known.base.name)
            self.context.refuse(
                node,
                f"The engine of this server has no function {known.base.name}; a ClickHouse server has it."
                + (f" Write {instead}." if instead else ""),
                "unknown_function",
            )
        return known

    def _function(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "expressions")
        name = str(node.this).lower()
        if name in MOVES:
            return self._moved(node, MOVES[name], scope)
        if name == "string_agg":
            return self._joined_texts(node, scope)
        if name in self.context.catalog.constants and not node.expressions:
            self.context.rewritten += 1
            return literal(self.context.catalog.constants[name])
        known = self._known(node)
        self._sizes.check(known.name, node)
        return f"{known.name}({self._arguments(known, node, node.expressions, scope)})"

    def _moved(self, node: exp.Expr, verb: str, scope: NameScope) -> str:
        """`date_add(DAY, 1, ts)` or `date_add(ts, INTERVAL 1 DAY)`."""
        arguments = node.expressions
        if len(arguments) == 2:
            sign = "+" if verb == "add" else "-"
            return f"({self._operand(arguments[0], scope)} {sign} {self._operand(arguments[1], scope)})"
        unit = self._unit(arguments[0]).upper() if len(arguments) == 3 else ""
        if unit.removesuffix("S") not in UNITS:
            self.context.refuse(node, f"{node.this} is called with a unit ({', '.join(UNITS)}), a number and a time.")
        moved = f"{verb}{unit.removesuffix('S').capitalize()}s"
        return f"{moved}({self.listed([arguments[2], arguments[1]], scope)})"

    def _unit(self, node: exp.Expr) -> str:
        """A unit of time as a bare word or a text."""
        if isinstance(node, exp.Literal) and node.args.get("is_string"):
            return str(node.this)
        return node.name if isinstance(node, exp.Column) and not node.table else ""

    def _joined_texts(self, node: exp.Expr, scope: NameScope) -> str:
        """`string_agg(text, ',')`, which the smaller engine lacks."""
        arguments = list(node.expressions)
        distinct = len(arguments) == 1 and isinstance(arguments[0], exp.Distinct)
        if distinct:
            self.context.only(arguments[0], "expressions")
            arguments = arguments[0].expressions
        if len(arguments) != 2 or not isinstance(arguments[1], exp.Literal):
            self.context.refuse(
                node,
                "string_agg is called with a text and a separator in quotes. In an order:"
                " arrayStringConcat(arrayMap(p -> p.2, arraySort(groupArray((ts, path)))), ',').",
            )
        text, between = (self.write(each, scope) for each in arguments)
        return f"arrayStringConcat({'groupUniqArray' if distinct else 'groupArray'}({text}), {between})"

    def applied(self, node: object, scope: NameScope) -> str:
        """What stands in the brackets of APPLY: a function's name, one with parameters, or a lambda."""
        if isinstance(node, exp.Lambda):
            self._check_applied(node)
            return self._lambda(node, scope)
        is_name = isinstance(node, exp.Column) and not node.table
        if not isinstance(node, exp.Expr) or not (is_name or isinstance(node, exp.Anonymous)):
            self.context.refuse(
                node if isinstance(node, exp.Expr) else None,
                "APPLY takes a function's name, an aggregate with parameters, or x -> ….",
            )
        if is_name:
            known = self._known(node)
            if known.name in NOT_APPLIED or known.name in BUILDERS or known.name in PATTERNS:
                self.context.refuse(node, f"Write APPLY(x -> {known.name}(x, …)).")
            return known.name
        known = self._known(node)
        if not known.is_aggregate or not all(
            isinstance(each, (exp.Literal, exp.Placeholder)) for each in node.expressions
        ):
            self.context.refuse(
                node, f"In APPLY an aggregate has numbers for parameters; else write x -> {known.name}(x)."
            )
        return f"{known.name}({self.listed(node.expressions, scope)})"

    def _check_applied(self, body: exp.Lambda) -> None:
        """What one APPLY builds the next one may take: so only one may build, and then there is no other."""
        for node in body.walk():
            if isinstance(node, (exp.Placeholder, exp.Query)):
                self.context.refuse(
                    node,
                    "In APPLY stand no parameters and no SELECT: write the value out, or name the columns one by one.",
                )
            known = self.context.functions.find(str(node.this)) if isinstance(node, exp.Anonymous) else None
            builds = isinstance(node, (exp.DPipe, exp.RegexpLike)) or (known is not None and known.name in BUILDING)
            if builds and self._applies > 1:
                self.context.refuse(
                    node,
                    "A query with several APPLY builds no texts or arrays and matches no patterns in them: name the"
                    " columns one by one, such as repeat(path, 2).",
                    "sql_too_big",
                )

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
        mapped = f"{known.name.removesuffix('Map')}MappedArrays"
        if known.name in MAPS and len(arguments) > 1 and not self.context.features.has_function(mapped):
            self.context.refuse(
                node,
                f"The engine of this server has {known.name} for maps only: write"
                f" {known.name}(mapFromArrays(keys, values)).",
                "unknown_function",
            )
        if known.name == "position" and len(arguments) == 1 and isinstance(arguments[0], exp.In):
            sought = arguments[0]  # position('b' IN path)
            self.context.only(sought, "this", "field")
            if sought.args.get("field") is None:
                self.context.refuse(sought, "position('b' IN path) takes two texts.", "bad_sql")
            return self.listed([sought.args["field"], sought.this], scope)
        if known.name == "dateDiff" and arguments and self._unit(arguments[0]):
            unit = exp.Literal.string(self._unit(arguments[0]).lower())
            arguments = [unit, *arguments[1:]]
        written = [self._argument(argument, scope) for argument in arguments]
        if known.name in SHORTENED:
            written = [f"substring({each}, 1, {COMPARED_BYTES})" for each in written]
        if known.name in JSON_PATHS and len(arguments) > 1:
            self._check_json_path(known, arguments[1])
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
        if known.name == "arrayWithConstant" and arguments:
            if self._sizes.times(arguments[0], 1) > MOST_TIMES:
                self.context.refuse(arguments[0], f"An array of {MOST_TIMES:,} elements at most.", "sql_too_big")
            if not self._sizes.is_number(arguments[0]):
                written[0] = f"least({written[0]}, {MOST_TIMES})"
        if known.name in PATTERNS and len(arguments) > PATTERNS[known.name]:
            self._check_pattern(arguments[PATTERNS[known.name]])
            place = 1 - min(PATTERNS[known.name], 1)
            if len(arguments) > place and not self._sizes.may_be_searched_whole(arguments[place]):
                written[place] = f"substring({written[place]}, 1, {MOST_BYTES})"
                self.context.builds_long_texts = True
                self.context.rewritten += 1
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

    def _check_json_path(self, known: Called, node: exp.Expr) -> None:
        """Without ranges and stars, which go over everything again and again."""
        if not _JSON_PATH.fullmatch(self._text(known, node)):
            self.context.refuse(node, f"{known.base.signature}: a path is a text such as '$.a.b[0]'.")

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
        if found and found["name"].endswith(("State", "Merge")):
            found = None
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
        is_call = isinstance(node.this, (exp.Anonymous, exp.ParameterizedAgg))
        if not is_call or not isinstance(condition, exp.Where) or not self._known(node.this).is_aggregate:
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

"""Prints expressions: every kind of node that may be used, with every part it may have.

A node that is not in the table below is refused, and so is a part of a node that its
printer does not name: nothing is printed by default. Operators are printed with brackets
wherever the reader of ClickHouse could group them otherwise.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from sqlglot import exp

from analytics_server.sql.printer.context import CTE, Context, NameScope, quote
from analytics_server.sql.printer.dialect import RAW
from analytics_server.sql.printer.operators import BINARY, CALCULATIONS, CHAINS, MATCHES, UNITS
from analytics_server.sql.refusal import shown
from analytics_server.store.literals import literal

PROPS = "props"
PARAMETER = "user_"
"""Put before the names of a caller's parameters."""

_NUMBER = re.compile(r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_CONSTANTS = {"inf": "inf", "infinity": "inf", "nan": "nan"}
_ATOMS = (
    exp.Column,
    exp.Identifier,
    exp.Literal,
    exp.Null,
    exp.Boolean,
    exp.Anonymous,
    exp.ParameterizedAgg,
    exp.Paren,
    exp.Subquery,
    exp.Array,
    exp.Tuple,
    exp.Cast,
    exp.CastToStrType,
    exp.Dot,
    exp.Placeholder,
    exp.If,
    exp.HexString,
    exp.Exists,
)

Print = Callable[[Any, exp.Expr, NameScope], str]
"""A method that prints one kind of node."""


def called(node: exp.Expr) -> str:
    """What a node is called in messages."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__).upper()


MEMBERS = {
    exp.Literal,
    exp.Neg,
    exp.Null,
    exp.Boolean,
    exp.Tuple,
    exp.Array,
    exp.Placeholder,
    exp.Cast,
    exp.CastToStrType,
    exp.Anonymous,
    exp.Subquery,
    exp.HexString,
    exp.Add,
    exp.Sub,
    exp.Mul,
    exp.DPipe,
}
"""What may stand alone behind IN."""


class ExpressionPrinter:
    """Prints names, values and operators. Raises `SqlRefused`."""

    printers: ClassVar[dict[type[exp.Expr], Print]] = {}
    """The nodes that may be used as expressions."""

    def __init__(self, context: Context) -> None:
        self.context = context

    @abstractmethod
    def query(self, node: exp.Expr, scope: NameScope) -> str:
        """Print a SELECT or a union of some, without brackets."""

    def write(self, node: object, scope: NameScope) -> str:
        """Print any expression."""
        if not isinstance(node, exp.Expr):
            self.context.refuse(None, "The query can't be read.", "bad_sql")
        printer = self.printers.get(type(node))
        if printer is None:
            self.context.refuse(node, f"{called(node)} can't be used here.")
        return printer(self, node, scope)

    def listed(self, nodes: Sequence[exp.Expr], scope: NameScope) -> str:
        """The expressions as SQL, separated by commas."""
        return ", ".join(self.write(node, scope) for node in nodes)

    # ---- names -------------------------------------------------------------

    def _identifier(self, node: exp.Expr, scope: NameScope) -> str:
        """The name of a lambda's argument."""
        return self.context.quoted(node)

    def _column(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "table", "db", "catalog")
        last = node.this
        before = [node.args[key] for key in ("catalog", "db", "table") if node.args.get(key)]
        if isinstance(last, exp.Star):
            self.context.refuse(node, "A star stands among the columns of SELECT only, or in count(*).")
        if isinstance(last, exp.Literal):
            return self._elements(self._path(before, scope), last)
        if not before and not last.args.get("quoted") and last.name.lower() in _CONSTANTS:
            return _CONSTANTS[last.name.lower()]
        return self._path([*before, last], scope)

    def _path(self, parts: Sequence[exp.Expr], scope: NameScope) -> str:
        """Names with dots: a table's column, a key of the properties, an element of a tuple."""
        names = self.context.without_database([self.context.name(part) for part in parts], scope)
        owner = 1 if len(names) > 1 and names[0] in scope.tables else 0
        if names[owner] == PROPS and len(names) > owner + 1:
            held = ".".join(quote(name) for name in names[: owner + 1])
            return f"arrayElement({held}, {literal('.'.join(names[owner + 1 :]))})"
        return ".".join(quote(name) for name in names)

    def _elements(self, tuple_: str, places: exp.Expr) -> str:
        """`t.1`, or `t.1.2`, which is read as `t` and the number 1.2."""
        for place in places.name.split("."):
            if not place.isdigit() or len(place) > 3:
                self.context.refuse(places, "A tuple's element is named by its place, such as t.1.")
            tuple_ = f"tupleElement({tuple_}, {int(place)})"
        return tuple_

    def _dot(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "expression")
        held, element = self.write(node.this, scope), node.expression
        if isinstance(element, exp.Literal):
            return self._elements(held, element)
        if not isinstance(element, exp.Identifier):
            self.context.refuse(node, f"{called(element)} can't follow a dot.")
        return f"tupleElement({held}, {literal(self.context.name(element))})"

    # ---- values ------------------------------------------------------------

    def _literal(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "is_string")
        if node.args.get("is_string"):
            return literal(str(node.this))
        text = str(node.this)
        if not _NUMBER.fullmatch(text) or len(text) > 80:
            self.context.refuse(node, f"{shown(text)} is no number.", "bad_sql")
        return text

    def _hex(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "is_integer")
        text = str(node.this)
        if not re.fullmatch(r"[0-9a-fA-F]{1,16}", text):
            self.context.refuse(node, "A hexadecimal number has 16 digits at most.", "bad_sql")
        return str(int(text, 16))

    def _null(self, node: exp.Expr, scope: NameScope) -> str:
        return "NULL"

    def _boolean(self, node: exp.Expr, scope: NameScope) -> str:
        return "true" if node.this else "false"

    def _placeholder(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "kind")
        kind_node = node.args.get("kind")
        if not isinstance(kind_node, exp.DataType):
            self.context.refuse(node, "A parameter has a name and a type of values: {from:Date}.")
        name = self.context.name(node.this)
        if not re.fullmatch(r"[A-Za-z_]\w{0,63}", name, re.ASCII):
            self.context.refuse(node, "A parameter's name has up to 64 letters, digits and underscores.")
        kind = self.context.kind(str(kind_node.meta.get(RAW, "")), kind_node)
        known = self.context.declared.setdefault(name, kind)
        if known != kind:
            self.context.refuse(node, f"The parameter {name} has two types, {known} and {kind}.", "bad_parameter")
        return f"{{{PARAMETER}{name}:{kind}}}"

    def _array(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "expressions")
        return f"[{self.listed(node.expressions, scope)}]"

    def _tuple(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "expressions")
        return f"tuple({self.listed(node.expressions, scope)})"

    def _interval(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "unit")
        unit = node.args.get("unit")
        name = unit.name.upper().removesuffix("S") if isinstance(unit, exp.Var) else ""
        if name not in UNITS:
            self.context.refuse(node, f"An interval's unit is one of {', '.join(UNITS)}.")
        count = node.this
        if isinstance(count, exp.Literal):
            if not re.fullmatch(r"-?\d{1,9}", str(count.this)):
                self.context.refuse(count, "An interval's count is a whole number.")
            return f"toInterval{name.capitalize()}({count.this})"
        return f"toInterval{name.capitalize()}({self.write(count, scope)})"

    def _cast(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "to")
        to = node.args["to"]
        text = to.name if isinstance(to, exp.Literal) else str(to.meta.get(RAW, ""))
        return f"CAST({self.write(node.this, scope)}, {literal(str(self.context.kind(text, node)))})"

    # ---- operators -----------------------------------------------------------

    def _operand(self, node: exp.Expr, scope: NameScope) -> str:
        written = self.write(node, scope)
        return written if type(node) in _ATOMS else f"({written})"

    def narrowed(self, node: exp.Expr, written: str) -> str:
        """What is printed for an operand, as a Decimal that the engine can calculate with."""
        scale = self.context.decimals.scale_of_wide(node) if self.context.decimals else None
        if scale is None:
            return written
        self.context.rewritten += 1
        return f"toDecimal64({written}, {scale})"

    def _number(self, node: exp.Expr, scope: NameScope) -> str:
        """An operand of a calculation."""
        return self.narrowed(node, self._operand(node, scope))

    def _binary(self, node: exp.Expr, scope: NameScope) -> str:
        chain = next((each for each in CHAINS if type(node) in each), (type(node),))
        pieces: list[str] = []
        left: exp.Expr = node
        operand = self._number if type(node) in CALCULATIONS else self._operand
        while type(left) in chain:
            self.context.only(left, "this", "expression", "safe", "typed")
            pieces += [operand(left.expression, scope), BINARY[type(left)]]
            left = left.this
            if chain == (type(node),) and type(node) not in (exp.And, exp.Or):
                break
        return " ".join([operand(left, scope), *reversed(pieces)])

    def _match(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "expression", "negate")
        negated = "NOT " if node.args.get("negate") else ""
        left, right = self._operand(node.this, scope), self._operand(node.expression, scope)
        return f"{left} {negated}{MATCHES[type(node)]} {right}"

    def _int_div(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "expression")
        left, right = self._number(node.this, scope), self._number(node.expression, scope)
        return f"intDiv({left}, {right})"

    def _not(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this")
        return f"NOT {self._operand(node.this, scope)}"

    def _neg(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this")
        return f"-{self._operand(node.this, scope)}"

    def _paren(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this")
        return f"({self.write(node.this, scope)})"

    def _between(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "low", "high")
        low, high = (self._operand(node.args[key], scope) for key in ("low", "high"))
        return f"{self._operand(node.this, scope)} BETWEEN {low} AND {high}"

    def _is(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "expression")
        if isinstance(node.expression, exp.Boolean):  # neither of them where it is NULL
            sign = "!=" if node.expression.this else "="
            return f"ifNull({self._operand(node.this, scope)} {sign} 0, 0)"
        if not isinstance(node.expression, exp.Null):
            self.context.refuse(node, "IS is followed by NULL, TRUE or FALSE, or NOT and one of them.")
        return f"isNull({self.write(node.this, scope)})"

    def _if(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "true", "false")
        if node.args.get("false") is None:
            self.context.refuse(node, "A condition ? value needs : and another value.", "bad_sql")
        choices = [self.narrowed(each, self.write(each, scope)) for each in (node.args["true"], node.args["false"])]
        return f"if({', '.join([self.write(node.this, scope), *choices])})"

    def _case(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "ifs", "default")
        written = ["CASE"]
        if node.this is not None:
            written.append(self._operand(node.this, scope))
        for each in node.args["ifs"]:
            self.context.only(each, "this", "true")
            chosen = self.narrowed(each.args["true"], self.write(each.args["true"], scope))
            written.append(f"WHEN {self.write(each.this, scope)} THEN {chosen}")
        if node.args.get("default") is not None:
            written.append(f"ELSE {self.narrowed(node.args['default'], self.write(node.args['default'], scope))}")
        return f"({' '.join(written)} END)"

    def _bracket(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "expressions")
        if len(node.expressions) != 1:
            self.context.refuse(node, "One place or key stands in brackets.", "bad_sql")
        return f"arrayElement({self.write(node.this, scope)}, {self.write(node.expressions[0], scope)})"

    def _alias(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "alias")
        return f"({self.write(node.this, scope)} AS {self.context.quoted(node.args['alias'])})"

    # ---- sets and subqueries -------------------------------------------------

    def _in(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "query", "field", "expressions")
        left = self._operand(node.this, scope)
        query, field = node.args.get("query"), node.args.get("field")
        if query is not None:
            return f"{left} IN {self._subquery(query, scope)}"
        members = [field] if field is not None else node.expressions
        if len(members) == 1:
            return f"{left} IN {self._only_member(members[0], field is None, scope)}"
        return f"{left} IN ({self.listed(members, scope)})"

    def _only_member(self, member: exp.Expr, bracketed: bool, scope: NameScope) -> str:
        """A name alone behind IN would be taken for a table's: of those, only a WITH's may stand there."""
        bare = member
        while isinstance(bare, exp.Paren):
            bare = bare.this
        if isinstance(bare, exp.Column) and not bare.args.get("table") and bare.name in scope.ctes:
            return f"(SELECT * FROM {quote(CTE + bare.name)})"
        if type(bare) not in MEMBERS:
            self.context.refuse(
                member, "Behind IN stands a list of values or a subquery: x IN (1, 2), x IN (SELECT …)."
            )
        if isinstance(bare, exp.Subquery):
            return self._subquery(bare, scope)
        return f"({self.write(bare, scope)})" if bracketed else self.write(bare, scope)

    def _subquery(self, node: exp.Expr, scope: NameScope) -> str:
        """A SELECT in brackets, as a value or a set."""
        if isinstance(node, exp.Subquery):
            self.context.only(node, "this", "alias")
            if node.args.get("alias"):
                self.context.refuse(node, "A subquery as a value gets its name behind AS.", "bad_sql")
            node = node.this
            if isinstance(node, exp.Subquery):
                return self._subquery(node, scope)
        return f"({self.query(node, scope)})"

    def _exists(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this")
        return f"EXISTS {self._subquery(node.this, scope)}"


ExpressionPrinter.printers.update(
    {
        **dict.fromkeys(BINARY, ExpressionPrinter._binary),
        **dict.fromkeys(MATCHES, ExpressionPrinter._match),
        exp.IntDiv: ExpressionPrinter._int_div,
        exp.Identifier: ExpressionPrinter._identifier,
        exp.Column: ExpressionPrinter._column,
        exp.Dot: ExpressionPrinter._dot,
        exp.Literal: ExpressionPrinter._literal,
        exp.HexString: ExpressionPrinter._hex,
        exp.Null: ExpressionPrinter._null,
        exp.Boolean: ExpressionPrinter._boolean,
        exp.Placeholder: ExpressionPrinter._placeholder,
        exp.Array: ExpressionPrinter._array,
        exp.Tuple: ExpressionPrinter._tuple,
        exp.Interval: ExpressionPrinter._interval,
        exp.Cast: ExpressionPrinter._cast,
        exp.CastToStrType: ExpressionPrinter._cast,
        exp.Not: ExpressionPrinter._not,
        exp.Neg: ExpressionPrinter._neg,
        exp.Paren: ExpressionPrinter._paren,
        exp.Between: ExpressionPrinter._between,
        exp.Is: ExpressionPrinter._is,
        exp.If: ExpressionPrinter._if,
        exp.Case: ExpressionPrinter._case,
        exp.Bracket: ExpressionPrinter._bracket,
        exp.Alias: ExpressionPrinter._alias,
        exp.In: ExpressionPrinter._in,
        exp.Subquery: ExpressionPrinter._subquery,
        exp.Exists: ExpressionPrinter._exists,
    }
)

"""A SELECT as a value: built from parts, changed only by building another, printed once when it is sent.

Expressions are text made of registry expressions and placeholders. Where an expression holds a SELECT of its own
(`x IN (SELECT …)`) it is a `Fragment`, which keeps that SELECT as a value; putting a fragment into an f-string raises
`TypeError`, so that no SELECT becomes text before it is printed. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Fragment:
    """An expression that holds queries: pieces of text with queries between them. Made by `compose`."""

    pieces: tuple[str | Query | Scalar, ...]

    def __str__(self) -> str:
        raise TypeError("A fragment is no text before it is printed: compose it with `compose` and `compose_list`.")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A short query inside an expression that stands for one value; printed on one line."""

    query: Select


Expression = str | Fragment


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the schema."""

    name: str
    alias: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True)
class Subquery:
    """A query that is read like a table."""

    query: Query
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Join:
    """Two sources side by side. `on`: by what, such as `ON a.x = b.x` or `USING (x)`."""

    left: Relation
    how: Literal["INNER", "LEFT", "RIGHT"]
    right: Subquery
    on: str


@dataclass(frozen=True, slots=True)
class ArrayJoin:
    """A source with a row for each element of an array expression."""

    source: Relation
    array: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """One SELECT. `prewhere` is applied before FINAL merges rows: only what holds for all parts of a row alike.

    `scalars`: queries of one value that the expressions may use by name (WITH). `limit` and `offset` are expressions.
    """

    columns: tuple[Expression, ...]
    source: Relation | None
    prewhere: tuple[Expression, ...] = ()
    where: tuple[Expression, ...] = ()
    group_by: tuple[Expression, ...] = ()
    having: tuple[Expression, ...] = ()
    order_by: tuple[str, ...] = ()
    limit: str = ""
    offset: str = ""
    scalars: tuple[tuple[str, Query], ...] = ()


@dataclass(frozen=True, slots=True)
class Union:
    """The rows of several SELECTs with the same columns, each row once if `distinct`."""

    selects: tuple[Select, ...]
    distinct: bool = False


Query = Select | Union
Relation = Table | Subquery | Join | ArrayJoin


@dataclass(frozen=True, slots=True)
class Statement:
    """A query with the values of its parameters."""

    query: Query
    parameters: dict[str, object]

    @property
    def sql(self) -> str:
        """The query as text."""
        return print_sql(self.query)


def select(
    columns: Iterable[Expression],
    source: Relation | None,
    where: Iterable[Expression] = (),
    group_by: Iterable[Expression] = (),
    prewhere: Iterable[Expression] = (),
) -> Select:
    """The most frequent shape of a SELECT."""
    return Select(
        columns=tuple(columns),
        source=source,
        prewhere=tuple(prewhere),
        where=tuple(where),
        group_by=tuple(group_by),
    )


def union_all(selects: Iterable[Select]) -> Query:
    """The rows of all SELECTs; a single one is itself."""
    found = tuple(selects)
    return found[0] if len(found) == 1 else Union(found)


def compose(*pieces: Expression | Query | Scalar) -> Expression:
    """The pieces one after the other as one expression."""
    found: list[str | Query | Scalar] = []
    for piece in pieces:
        for part in piece.pieces if isinstance(piece, Fragment) else (piece,):
            if isinstance(part, str) and found and isinstance(found[-1], str):
                found[-1] += part
            else:
                found.append(part)
    if len(found) == 1 and isinstance(found[0], str):
        return found[0]
    return Fragment(tuple(found)) if found else ""


def compose_list(separator: str, expressions: Iterable[Expression]) -> Expression:
    """The expressions with a separator between them."""
    pieces: list[Expression] = []
    for expression in expressions:
        pieces += [separator, expression] if pieces else [expression]
    return compose(*pieces)


def and_(conditions: Sequence[Expression]) -> Expression:
    """All conditions as one, in parentheses."""
    return compose("(", compose_list(" AND ", conditions), ")")


def or_(conditions: Sequence[Expression]) -> Expression:
    """At least one of the conditions, in parentheses."""
    return compose("(", compose_list(" OR ", conditions), ")")


def not_(condition: Expression) -> Expression:
    """The opposite of a condition."""
    return compose("NOT (", condition, ")")


def is_in(key: Sequence[str], query: Query, *, negated: bool = False) -> Expression:
    """Whether a key of one or several expressions is among the rows of a query."""
    return compose(f"({', '.join(key)}) {'NOT IN' if negated else 'IN'} ", query)


def columns_read(alias: str, expressions: Iterable[Expression]) -> list[str]:
    """The columns of a source that expressions read, in alphabetical order; not those read inside their queries."""
    column = re.compile(rf"\b{alias}\.(\w+)")
    texts = (
        piece
        for expression in expressions
        for piece in (expression.pieces if isinstance(expression, Fragment) else (expression,))
        if isinstance(piece, str)
    )
    return sorted({name for text in texts for name in column.findall(text)})


def print_sql(query: Query) -> str:
    """The query as text, an element of each clause on a line of its own."""
    printer = _Printer()
    printer.query(query, 0)
    return "".join(printer.pieces)


def print_line(query: Query) -> str:
    """The query as text on one line."""
    printer = _Printer(one_line=True)
    printer.query(query, 0)
    return "".join(printer.pieces)


@dataclass(slots=True)
class _Printer:
    """Collects the pieces of the text. `depth`: how many levels the lines are indented."""

    one_line: bool = False
    pieces: list[str] = field(default_factory=list)

    def query(self, query: Query, depth: int) -> None:
        if isinstance(query, Select):
            self._select(query, depth)
            return
        for place, one in enumerate(query.selects):
            if place:
                word = "UNION DISTINCT" if query.distinct else "UNION ALL"
                self.pieces.append(f"{self._line(depth)}{word}{self._line(depth)}")
            self._select(one, depth)

    def _select(self, one: Select, depth: int) -> None:
        put, line = self.pieces.append, self._line(depth)
        for place, (name, query) in enumerate(one.scalars):
            put(", " if place else "WITH ")
            self._nested(query, depth)
            put(f" AS {name}")
        put(f"{line}SELECT" if one.scalars else "SELECT")
        self._listed(one.columns, ",", depth)
        if one.source is not None:
            put(f"{line}FROM ")
            self._relation(one.source, depth)
        if one.prewhere:
            put(f"{line}PREWHERE")
            self._listed(one.prewhere, "AND", depth)
        if one.where:
            put(f"{line}WHERE")
            self._listed(one.where, "AND", depth)
        if one.group_by:
            put(f"{line}GROUP BY ")
            self.expression(compose_list(", ", one.group_by), depth)
        if one.having:
            put(f"{line}HAVING ")
            self.expression(compose_list(" AND ", one.having), depth)
        if one.order_by:
            put(f"{line}ORDER BY {', '.join(one.order_by)}")
        if one.limit:
            put(f"{line}LIMIT {one.limit}" + (f" OFFSET {one.offset}" if one.offset else ""))

    def _listed(self, expressions: Sequence[Expression], between: str, depth: int) -> None:
        """Each on its own line: columns end in a comma, conditions begin with AND."""
        line = self._line(depth + 1)
        before = between + line if between == "," else f"{line}{between} "
        for place, expression in enumerate(expressions):
            self.pieces.append(before if place else line)
            self.expression(expression, depth + 1)

    def expression(self, expression: Expression, depth: int) -> None:
        if isinstance(expression, str):
            self.pieces.append(expression)
            return
        for piece in expression.pieces:
            if isinstance(piece, str):
                self.pieces.append(piece)
            elif isinstance(piece, Scalar):
                self.pieces.append(f"({print_line(piece.query)})")
            else:
                self._nested(piece, depth)

    def _relation(self, relation: Relation, depth: int) -> None:
        put = self.pieces.append
        match relation:
            case Table(name, alias, final):
                put(name + (f" AS {alias}" if alias else "") + (" FINAL" if final else ""))
            case Subquery(query, alias):
                self._nested(query, depth)
                put(f" AS {alias}" if alias else "")
            case Join(left, how, right, on):
                self._relation(left, depth)
                put(f"{self._line(depth)}{how} JOIN ")
                self._relation(right, depth)
                put(f" {on}")
            case ArrayJoin(source, array):
                self._relation(source, depth)
                put(f"{self._line(depth)}ARRAY JOIN {array}")

    def _nested(self, query: Query, depth: int) -> None:
        put = self.pieces.append
        put("(" if self.one_line else f"({self._line(depth + 1)}")
        self.query(query, depth + 1)
        put(")" if self.one_line else f"{self._line(depth)})")

    def _line(self, depth: int) -> str:
        return " " if self.one_line else "\n" + "    " * depth

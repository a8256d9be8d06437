"""How big a query becomes once its names stand for what they name.

ClickHouse puts the expression in the place of its alias and the SELECT in the place of its
WITH, again and again: twenty lines that each use the line before twice grow to a million
parts, and that happens before any time limit is looked at. So it is counted here first.
"""

from __future__ import annotations

from collections.abc import Container

from sqlglot import exp

from analytics_server.sql.refusal import SqlRefused

MAX_NODES = 3_000
"""Parts of the query as it is written."""

MAX_EXPANDED = 10_000
"""Parts after all names are expanded."""

MAX_SELECTS = 100
"""SELECTs after all names are expanded."""

MAX_NESTED_LAMBDAS = 4
"""Lambdas inside lambdas: each goes over all elements of an array for each element of another, in one go
that no time limit interrupts."""

COLUMNS_OF_A_TABLE = 50

PRINTED_BYTES = 2_000_000
"""Of what is printed: longer than what was written, since columns and tables of constant rows are spelled out."""

SELECTS_OF_ROWS = 2
"""A table of constant rows is a SELECT from a SELECT."""

TOO_BIG = "sql_too_big"


def check_printed(size: int) -> None:
    """Raises `SqlRefused` for a query that so many bytes are printed of."""
    if size > PRINTED_BYTES:
        raise SqlRefused(
            f"With its tables spelled out, the query has more than {PRINTED_BYTES:,} bytes: name fewer tables.",
            code=TOO_BIG,
        )


def check_weight(tree: exp.Expr, constant: Container[tuple[str, str]] = ()) -> None:
    """Raises `SqlRefused` for a query that is too big, or would become so.

    `constant`: database and name of tables of constant rows.
    """
    nodes = list(tree.walk())
    if len(nodes) > MAX_NODES:
        raise SqlRefused(f"The query has {len(nodes)} parts, {MAX_NODES} are allowed.", code=TOO_BIG)
    nested = [node for node in nodes if isinstance(node, exp.Lambda) and node.find_ancestor(exp.Lambda)]
    if len(nested) > MAX_NESTED_LAMBDAS:
        raise SqlRefused(f"The query may have {MAX_NESTED_LAMBDAS} lambdas inside lambdas.", code=TOO_BIG)
    expanded, selects = _Weigher(nodes, constant).weigh(tree)
    if expanded > MAX_EXPANDED:
        raise SqlRefused(
            f"With every alias and WITH put in, the query has more than {MAX_EXPANDED} parts:"
            " use fewer names that stand for others.",
            code=TOO_BIG,
        )
    if selects > MAX_SELECTS:
        raise SqlRefused(
            f"With every WITH put in, the query has {selects} SELECTs, {MAX_SELECTS} are allowed.", code=TOO_BIG
        )


class _Weigher:
    """Adds up parts and SELECTs; a name weighs as much as the heaviest thing it may stand for."""

    def __init__(self, nodes: list[exp.Expr], constant: Container[tuple[str, str]]) -> None:
        self._constant = constant
        self._named_nodes: dict[str, list[exp.Expr]] = {}
        tables = sum(isinstance(node, exp.Table) for node in nodes)
        self._columns = COLUMNS_OF_A_TABLE * tables + sum(
            len(n.expressions) for n in nodes if isinstance(n, exp.Select)
        )
        for node in nodes:
            if isinstance(node, exp.CTE):
                alias = node.args.get("alias")
                if alias is not None:
                    self._named_nodes.setdefault(alias.name, []).append(node.this)
                    for place, column in enumerate(alias.columns):
                        self._named_nodes.setdefault(column.name, []).extend(_items_at(node.this, place))
            elif isinstance(node, exp.Alias):
                self._named_nodes.setdefault(node.alias, []).append(node.this)
        self._known: dict[str, tuple[int, int]] = {}

    def weigh(self, tree: exp.Expr) -> tuple[int, int]:
        """Parts and SELECTs of a node; stops counting past the limit."""
        parts = selects = 0
        for node in tree.walk():
            parts += 1
            selects += isinstance(node, exp.Select)
            if isinstance(node, exp.Table) and (node.db, node.name) in self._constant:
                selects += SELECTS_OF_ROWS
            if isinstance(node, exp.Values):
                selects += SELECTS_OF_ROWS
                rows = (row for each in node.expressions for row in each.expressions)
                parts += max((len(row.expressions) for row in rows), default=0) ** 2
            if isinstance(node, exp.Apply):
                parts += self._weigh_applied(node)
            name = node.name if isinstance(node, (exp.Column, exp.Table)) or _is_bare(node) else ""
            if name in self._named_nodes:
                more_parts, more_selects = self._weigh_name(name)
                parts, selects = parts + more_parts, selects + more_selects
            if parts > MAX_EXPANDED or selects > MAX_SELECTS:
                break
        return parts, selects

    def _weigh_applied(self, node: exp.Apply) -> int:
        """A lambda is put in for each column, and into the lambda behind it wherever that names its argument."""
        weight = self._columns
        applied: object = node
        while isinstance(applied, exp.Apply):
            weight = min(weight * sum(1 for _ in applied.expression.walk()), 10 * MAX_EXPANDED)
            applied = applied.this
        return weight

    def _weigh_name(self, name: str) -> tuple[int, int]:
        if name not in self._known:
            self._known[name] = (0, 0)  # itself inside itself: no more than once
            weights = [self.weigh(node) for node in self._named_nodes[name]]
            self._known[name] = max(parts for parts, _ in weights), max(selects for _, selects in weights)
        return self._known[name]


def _items_at(query: exp.Expr, place: int) -> list[exp.Expr]:
    """What a column of a WITH may stand for: the item at this place of each SELECT in it."""
    return [select.expressions[place] for select in query.find_all(exp.Select) if len(select.expressions) > place]


def _is_bare(node: exp.Expr) -> bool:
    """A name inside a lambda, which is no column to the parser but may be an alias to ClickHouse."""
    return isinstance(node, exp.Identifier) and not isinstance(
        node.parent, (exp.Column, exp.Table, exp.TableAlias, exp.Alias)
    )

"""Prints what stands behind FROM and JOIN, and WITH.

A table is `events` or `sessions`, a WITH that is in scope, or a subquery; nothing else can
stand there. What a WITH is called in ClickHouse no table is called.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial

from sqlglot import exp

from analytics_server.sql.printer.calls import CallPrinter
from analytics_server.sql.printer.context import CTE, NameScope, quote
from analytics_server.sql.printer.dialect import RAW
from analytics_server.sql.printer.expressions import PROPS
from analytics_server.sql.printer.sizes import collects
from analytics_server.sql.printer.tables import TABLES
from analytics_server.sql.refusal import nearest, shown

SIDES = ("", "LEFT", "RIGHT", "FULL")
STRICTNESS = ("ANY", "ALL", "SEMI", "ANTI", "ASOF")

RARE = {
    "SEMI": "WHERE x IN (SELECT …)",
    "ANTI": "WHERE x NOT IN (SELECT …)",
    "ASOF": "argMax(value, ts) over a JOIN with a condition on the times",
}
"""Joins that the smaller engine lacks, and what to write instead."""
GROWING = frozenset({"Text", "URLs", "JSON", "Arrays", "Maps and tuples", "Hashes"})
"""Families of functions that may make long texts or arrays of short ones."""
MAX_NUMBERS = 1_000_000
MAX_FIRST_NUMBER = 2**53
INSTEAD = {
    "sample": "SAMPLE can't be used here: write WHERE cityHash64(visitor_id) % 10 = 0 for a tenth of the visitors.",
    "settings": "SETTINGS can't be used here: they stand once, at the end of the whole query.",
    "format": "FORMAT can't be used here: name the format in the address, as ?format=csv or default_format=CSV.",
    "into": "INTO can't be used here: the answer is sent to you.",
    "locks": "FOR UPDATE and LOCK can't be used here: nothing is ever changed.",
}
"""Clauses that are refused, and what to do."""


class RelationPrinter(CallPrinter):
    """Prints tables, subqueries, joins and WITH. Raises `SqlRefused`."""

    def _with(self, node: exp.Expr, scope: NameScope) -> tuple[str, NameScope]:
        self.context.only(node, "expressions", "recursive")
        recursive = bool(node.args.get("recursive"))
        written = []
        for each in node.expressions:
            self.context.only(each, "this", "alias", "scalar")
            alias = each.args.get("alias")
            if alias is None:
                self.context.refuse(each, "Each part of WITH has a name.", "bad_sql")
            self.context.only(alias, "this", "columns")
            name = self.context.name(alias.this)
            columns = [self.context.quoted(column) for column in alias.args.get("columns") or []]
            if each.args.get("scalar"):
                written.append(f"{self._operand(each.this, scope)} AS {quote(name)}")
                continue
            if name == PROPS:
                self.context.refuse(alias, f"{PROPS} is a column: give this another name.")
            inside = scope
            if recursive and isinstance(each.this, exp.Union):
                self._check_rounds(node, each.this)
                inside = scope.with_ctes({name})
            listed = f" ({', '.join(columns)})" if columns else ""
            written.append(f"{quote(CTE + name)}{listed} AS ({self.query(each.this, inside)})")
            scope = scope.with_ctes({name})
        return f"WITH {'RECURSIVE ' if recursive else ''}{', '.join(written)} ", scope

    def _check_rounds(self, with_: exp.Expr, body: exp.Expr) -> None:
        """Nothing in a WITH RECURSIVE may build texts or arrays: they would double from round to round."""
        for node in self._used_in(with_, body):
            grows = isinstance(node, (exp.DPipe, exp.Apply))
            if isinstance(node, (exp.Cast, exp.CastToStrType)):
                to = node.args["to"]
                grows = "String" in str(
                    self.context.kind(to.name if isinstance(to, exp.Literal) else str(to.meta.get(RAW, "")), node)
                )
            elif isinstance(node, (exp.Anonymous, exp.ParameterizedAgg)):
                name = node.this if isinstance(node.this, str) else node.this.name
                known = self.context.functions.find(name)
                grows = collects(self.context, node) or (
                    known is not None and (known.family in GROWING or known.base.name == "toString")
                )
            if grows:
                self.context.refuse(
                    node,
                    "In a WITH RECURSIVE stand functions of dates and numbers only: build texts and arrays behind it,"
                    " under names that it does not use.",
                    "sql_too_big",
                )

    def _used_in(self, with_: exp.Expr, body: exp.Expr) -> Iterator[exp.Expr]:
        """The nodes of a WITH RECURSIVE, and of what its names stand for, wherever that stands in the query."""
        named: dict[str, list[exp.Expr]] = {}
        for node in with_.root().walk():
            if isinstance(node, exp.Alias) or (isinstance(node, exp.CTE) and node.args.get("scalar")):
                named.setdefault(node.alias, []).append(node.this)
        waiting = [body]
        while waiting:
            for node in waiting.pop().walk():
                yield node
                if isinstance(node, exp.Identifier):
                    waiting += named.pop(node.name, [])

    def _alias_of(self, relation: exp.Expr) -> str:
        """The name by which a table or subquery is addressed."""
        if isinstance(relation, exp.Final):
            relation = relation.this
        alias = relation.args.get("alias")
        if alias is not None and alias.this is not None:
            name = self.context.name(alias.this)
            if name == PROPS:
                self.context.refuse(alias, f"{PROPS} is a column: give the table another name.")
            return name
        return relation.name if isinstance(relation, exp.Table) else ""

    def _within(self, relations: Sequence[exp.Expr], scope: NameScope) -> NameScope:
        """The scope of a SELECT from these. A table that has an alias is still known by its database and name."""
        names: set[str] = set()
        aliases: dict[tuple[str, str], str] = {}
        for relation in relations:
            name = self._alias_of(relation)
            names.add(name)
            table = relation.this if isinstance(relation, exp.Final) else relation
            if isinstance(table, exp.Table) and table.db:
                full = (table.db, table.name)
                aliases[full] = "" if full in aliases else name  # of two, none is meant
        return scope.with_tables(names - {""}, aliases)

    def _relation(self, node: exp.Expr, scope: NameScope) -> str:
        if isinstance(node, exp.Final):  # sessions are always merged, events never change
            self.context.only(node, "this")
            node = node.this
        if isinstance(node, exp.Values):
            return self._values(node, scope)
        if not isinstance(node, (exp.Table, exp.Subquery)):
            self.context.refuse(
                node, "Behind FROM and JOIN stand events, sessions, a WITH or a subquery.", "unknown_table"
            )
        self._only(node, "this", "alias", "db", "catalog")
        if alias := node.args.get("alias"):
            self.context.only(alias, "this")
        name = self._alias_of(node)
        written = self._subquery_of(node, scope) if isinstance(node, exp.Subquery) else self._table(node, scope)
        return f"{written} AS {quote(name)}" if name else written

    def _subquery_of(self, node: exp.Subquery, scope: NameScope) -> str:
        inner = node.this
        if isinstance(inner, (exp.Table, exp.Subquery)) and not inner.args.get("alias"):
            return self._relation(inner, scope)
        return f"({self.query(inner, scope)})"

    def _table(self, node: exp.Table, scope: NameScope) -> str:
        identifier = node.this
        if isinstance(identifier, exp.Anonymous) and str(identifier.this).lower() == "numbers" and not node.db:
            return self._numbers(identifier)
        if not isinstance(identifier, exp.Identifier):
            called = identifier.name if isinstance(identifier, exp.Expr) else "this"
            self.context.refuse(
                node,
                f"The table function {shown(called)} can't be used here: read events or sessions.",
                "unknown_table",
            )
        catalog, database = self.context.catalog, node.args["db"].name if node.args.get("db") else ""
        virtual = None if node.args.get("catalog") else catalog.tables.get((database, identifier.name))
        if virtual is not None:
            return self.context.table(database, identifier.name, partial(virtual.scoped, self.context.wanted))
        if node.args.get("catalog") or (database and database not in catalog.databases):
            parts = [node.args[key].name for key in ("catalog", "db") if node.args.get(key)]
            full = ".".join([*parts, identifier.name])
            own = catalog.constants.get("currentdatabase")
            seen = f"in the database {shown(str(own))}" if own else "without a database"
            self.context.refuse(
                node,
                f"There is no table {shown(full)} here: there are events and sessions, {seen}.",
                "unknown_table",
            )
        name = self.context.name(identifier)
        if name in scope.ctes and not database:
            return quote(CTE + name)
        table = TABLES.get(name)
        if table is None:
            hint = nearest(name, [*TABLES, *sorted(scope.ctes)]) or " There are events and sessions."
            self.context.refuse(node, f"There is no table {shown(name)} here.{hint}", "unknown_table")
        context = self.context
        return context.table("", name, partial(table.scoped, context.database, context.wanted, context.sites))

    def _numbers(self, node: exp.Anonymous) -> str:
        """`numbers(n)` and `numbers(first, n)`: the one table function, with a greatest n."""
        self.context.only(node, "this", "expressions")
        counts = [self._count(each) for each in node.expressions]
        if not 1 <= len(counts) <= 2 or counts[-1] > MAX_NUMBERS or counts[0] > MAX_FIRST_NUMBER:
            self.context.refuse(
                node, f"numbers(n) and numbers(first, n) give {MAX_NUMBERS:,} numbers at most.", "sql_too_big"
            )
        return f"numbers({', '.join(str(count) for count in counts)})"

    def _values(self, node: exp.Values, scope: NameScope) -> str:
        """`VALUES (('a', 1), ('b', 2))`: rows of constants, with the columns c1, c2 and so on."""
        self.context.only(node, "expressions", "alias")
        if alias := node.args.get("alias"):
            self.context.only(alias, "this")
        name = self._alias_of(node)
        rows = node.expressions[0].expressions if len(node.expressions) == 1 else []
        widths = {len(row.expressions) for row in rows if isinstance(row, exp.Tuple)}
        cells = [cell for row in rows for cell in row.expressions]
        width = max(widths, default=0)  # one alone could be the columns' names and types
        if len(widths) != 1 or width < 2 or len(cells) != len(rows) * width or not all(map(_is_constant, cells)):
            self.context.refuse(
                node,
                "VALUES takes rows of equally many constants, two or more: VALUES (('a', 1), ('b', 2)).",
                "bad_sql",
            )
        columns = ", ".join(f"tupleElement(`__cells`, {place}) AS `c{place}`" for place in range(1, width + 1))
        written = ", ".join(f"tuple({self.listed(row.expressions, scope)})" for row in rows)
        text = f"(SELECT {columns} FROM (SELECT arrayJoin([{written}]) AS `__cells`))"
        return f"{text} AS {quote(name)}" if name else text

    @abstractmethod
    def _count(self, node: exp.Expr | None) -> int:
        """A number of rows: written out, or a parameter."""

    def _join(self, join: exp.Expr, outer: NameScope, inner: NameScope) -> str:
        if is_array_join(join):
            self._only(join, "this", "expressions", "side", "kind")
            if join.args.get("side") not in (None, "", "LEFT"):
                self.context.refuse(join, "ARRAY JOIN may be LEFT, nothing else.")
            members = [join.this, *(join.args.get("expressions") or [])]
            for member in members:
                self._check_array(member)
            arrays = ", ".join(self._named(member, inner) for member in members)
            return f"{'LEFT ' if join.args.get('side') else ''}ARRAY JOIN {arrays}"
        self._only(join, "this", "side", "kind", "on", "using")
        side, kind = (str(join.args.get(key) or "").upper() for key in ("side", "kind"))
        relation = self._relation(join.this, outer)
        if side not in SIDES or kind not in ("", "INNER", "OUTER", "CROSS", *STRICTNESS):
            self.context.refuse(join, f"{shown(f'{side} {kind} JOIN')} can't be used here.")
        if kind in RARE and not self.context.features.rare_joins:
            self.context.refuse(
                join,
                f"The engine of this server has no {kind} JOIN; a ClickHouse server has it. Write {RARE[kind]}.",
                "unsupported_join",
            )
        if kind == "CROSS":
            return f"CROSS JOIN {relation}"
        default = "LEFT" if kind in ("SEMI", "ANTI") else "INNER"
        words = [kind if kind in STRICTNESS else "", side or default, "JOIN"]
        written = f"{' '.join(filter(None, words))} {relation}"
        if (on := join.args.get("on")) is not None:
            return f"{written} ON {self.write(on, inner)}"
        using = join.args.get("using") or []
        if not using:
            self.context.refuse(join, "A JOIN needs ON or USING.", "bad_sql")
        return f"{written} USING ({', '.join(self._column_name(each) for each in using)})"

    def _check_array(self, member: exp.Expr) -> None:
        """A text in quotes would be taken for a column's name."""
        bare = member.this if isinstance(member, exp.Alias) else member
        at = bare.this.meta.get("start") if isinstance(bare, exp.Column) else None
        if isinstance(at, int) and self.context.text[at : at + 1] == "'":
            self.context.refuse(bare, "ARRAY JOIN takes arrays: write ['a', 'b'], or splitByChar(',', text).")

    def _column_name(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Column) and self._bare(node):
            node = node.this
        if not isinstance(node, exp.Identifier):
            self.context.refuse(node, "USING takes columns' names.", "bad_sql")
        return self.context.quoted(node)

    def _named(self, node: exp.Expr, scope: NameScope) -> str:
        if not isinstance(node, exp.Alias):
            return self.write(node, scope)
        self.context.only(node, "this", "alias")
        return f"{self._operand(node.this, scope)} AS {self.context.quoted(node.args['alias'])}"

    def _bare(self, node: exp.Expr | None) -> bool:
        if not isinstance(node, exp.Column) or any(node.args.get(key) for key in ("table", "db", "catalog")):
            self.context.refuse(node, "EXCEPT takes columns' names, REPLACE takes expressions AS names.", "bad_sql")
        return True

    def _only(self, node: exp.Expr, *allowed: str) -> None:
        for key, message in INSTEAD.items():
            if node.args.get(key) and key not in allowed:
                self.context.refuse_clause(node, key, message)
        self.context.only(node, *allowed)


def _is_constant(node: exp.Expr) -> bool:
    bare = node.this if isinstance(node, exp.Neg) else node
    return isinstance(bare, (exp.Literal, exp.Boolean, exp.Null))


def is_array_join(join: exp.Expr) -> bool:
    """Is the join an ARRAY JOIN?"""
    return str(join.args.get("kind") or "").upper() == "ARRAY"

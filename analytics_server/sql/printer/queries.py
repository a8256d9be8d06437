"""Prints SELECTs and unions: every clause that may be used, with every part it may have."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlglot import exp

from analytics_server.sql.printer.asked_settings import take_settings
from analytics_server.sql.printer.context import Context, NameScope, clause, quote
from analytics_server.sql.printer.dialect import SPAN
from analytics_server.sql.printer.expressions import PROPS
from analytics_server.sql.printer.relations import RelationPrinter, is_array_join

MAX_ROWS_ASKED = 2**53
MAX_DIGITS = 15
MAX_TITLE_CHARS = 100
SET_OPERATIONS: dict[type[exp.Expr], str] = {
    exp.Union: "UNION",
    exp.Except: "EXCEPT",
    exp.Intersect: "INTERSECT",
}
TAIL = ("order", "limit", "offset")
"""What may stand behind the brackets of a query."""
_SELECT_PARTS = (
    "with_",
    "distinct",
    "expressions",
    "from_",
    "joins",
    "prewhere",
    "where",
    "group",
    "having",
    "qualify",
    "windows",
    "order",
    "limit_by",
    "limit",
    "offset",
)


class QueryPrinter(RelationPrinter):
    """Prints one whole query. Raises `SqlRefused`."""

    def __init__(self, context: Context, tree: exp.Expr, *, max_rows: int) -> None:
        super().__init__(context, tree)
        self._max_rows = max_rows

    def whole(self, node: exp.Expr) -> str:
        """The query with one row more than may be returned, so that a cut is noticed."""
        while isinstance(node, exp.Subquery) and not any(v for k, v in node.args.items() if k != "this"):
            node = node.this
        self.context.settings = take_settings(self.context, node)
        top = self._max_rows + 1
        if isinstance(node, exp.Select) and not _has_ties(node):
            return self._select(node, NameScope(), top=top)
        if isinstance(node, (exp.Subquery, *SET_OPERATIONS)) and _has_tail(node) and not _has_ties(node):
            return self._tailed(node, NameScope(), top=top)
        return f"SELECT * FROM ({self.query(node, NameScope())}) LIMIT {top}"

    def query(self, node: exp.Expr, scope: NameScope) -> str:
        """A SELECT, or several joined by UNION and the like, as SQL. Raises `SqlRefused`."""
        if isinstance(node, exp.Select):
            return self._select(node, scope)
        if isinstance(node, (exp.Subquery, *SET_OPERATIONS)) and _has_tail(node):
            return self._tailed(node, scope)
        if type(node) not in SET_OPERATIONS:
            self.context.refuse(node, "A SELECT is expected here.", "bad_sql")
        return self._union(node, scope)

    def _tailed(self, node: exp.Expr, scope: NameScope, *, top: int | None = None) -> str:
        """ORDER BY and LIMIT behind brackets: of all that stands in them."""
        if isinstance(node, exp.Subquery):
            self._only(node, "this", *TAIL)
            inner = self.query(node.this, scope)
        else:
            inner = self._union(node, scope, TAIL)
        order = [self.order(node.args["order"], scope)] if node.args.get("order") else []
        return " ".join([f"SELECT * FROM ({inner})", *order, *self._limits(node, scope, top)])

    # ---- parts of a query ----------------------------------------------------

    def _union(self, node: exp.Expr, scope: NameScope, tail: tuple[str, ...] = ()) -> str:
        self._only(node, "this", "expression", "distinct", "with_", *tail)
        operands: list[exp.Expr] = []
        operators: list[str] = []
        left = node
        opening = ""
        while type(left) in SET_OPERATIONS:  # a long union leans to the left: no recursion
            self._only(left, "this", "expression", "distinct", "with_", *(tail if left is node else ()))
            if with_ := left.args.get("with_"):
                opening, scope = self._with(with_, scope)
            operands.append(left.expression)
            kind = "DISTINCT" if left.args.get("distinct") else "ALL"
            operators.append(f"{SET_OPERATIONS[type(left)]} {kind}")
            left = left.this
        pieces = [opening + self._part(left, scope, bare=bool(opening))]
        for operator, operand in zip(reversed(operators), reversed(operands), strict=True):
            pieces += [operator, self._part(operand, scope)]
        # INTERSECT binds closer than the others: brackets keep what was read.
        while len(pieces) > 3 and len(set(operators)) > 1:
            pieces[:3] = [f"({' '.join(pieces[:3])})"]
        return " ".join(pieces)

    def _part(self, node: exp.Expr, scope: NameScope, *, bare: bool = False) -> str:
        """One side of a union."""
        if isinstance(node, exp.Subquery):
            if not _has_tail(node):
                self._only(node, "this")
                node = node.this
            return self.query(node, scope) if bare else f"({self.query(node, scope)})"
        if type(node) in SET_OPERATIONS:
            return f"({self.query(node, scope)})"
        return self.query(node, scope)

    def _select(self, node: exp.Expr, scope: NameScope, *, top: int | None = None) -> str:
        self._only(node, *_SELECT_PARTS)
        pieces = []
        if with_ := node.args.get("with_"):
            opening, scope = self._with(with_, scope)
            pieces.append(opening.rstrip())
        source = node.args.get("from_")
        joins = node.args.get("joins") or []
        relations = [*([source.this] if source else []), *(join.this for join in joins if not is_array_join(join))]
        inner = self._within(relations, scope)
        pieces.append(
            f"SELECT {self._distinct(node, inner)}{self._items(node.expressions, inner, named=top is not None)}"
        )
        if source is not None:
            self.context.only(source, "this")
            pieces.append(f"FROM {self._relation(source.this, scope)}")
        pieces += [self._join(join, scope, inner) for join in joins]
        pieces += self._conditions(node, inner)
        pieces += self._limits(node, inner, top)
        return " ".join(pieces)

    def _distinct(self, node: exp.Expr, scope: NameScope) -> str:
        distinct = node.args.get("distinct")
        if distinct is None:
            return ""
        self.context.only(distinct, "on")
        on = distinct.args.get("on")
        if on is None:
            return "DISTINCT "
        members = on.expressions if isinstance(on, exp.Tuple) else [on]
        return f"DISTINCT ON ({self.listed(members, scope)}) "

    # ---- the columns ---------------------------------------------------------

    def _items(self, items: Sequence[exp.Expr], scope: NameScope, *, named: bool) -> str:
        if not items:
            self.context.refuse(items[0] if items else None, "SELECT what? Name a column.", "bad_sql")
        return ", ".join(self._item(item, scope, named=named) for item in items)

    def _item(self, item: exp.Expr, scope: NameScope, *, named: bool) -> str:
        if isinstance(item, exp.Apply):
            return self._applied(item, scope)
        if _is_columns(item):
            return self._columns(item, scope)
        star = item if isinstance(item, exp.Star) else item.this if isinstance(item, exp.Column) else None
        if isinstance(star, exp.Star):
            return self._star(item, star, scope)
        if isinstance(item, exp.Alias):
            self.context.only(item, "this", "alias")
            return f"{self._operand(item.this, scope)} AS {self.context.quoted(item.args['alias'])}"
        before = self.context.rewritten
        written = self.write(item, scope)
        changed = self.context.rewritten > before or _is_rewritten(item)
        ours = _is_spelled_out(item) if isinstance(item, exp.Column) else named or changed
        title = self._title(item) if ours else ""
        return f"{written} AS {quote(title)}" if title else written

    def _title(self, item: exp.Expr) -> str:
        """The caller's own words for a column that has no name: ClickHouse would show ours."""
        span = item.meta.get(SPAN)
        if not isinstance(span, tuple):
            return ""
        text = re.sub(r"[\s\x00-\x1f\x7f]+", " ", self.context.text[span[0] : span[1]]).strip()
        return text[:MAX_TITLE_CHARS].lstrip("_")

    def _star(self, item: exp.Expr, star: exp.Star, scope: NameScope) -> str:
        self.context.only(item, "this", "table", "except_", "replace")
        self.context.only(star, "except_", "replace")
        written = "*"
        if item is not star:
            if item.args.get("db"):
                self.context.refuse(item, "Write table.*, without a database.")
            written = f"{self.context.quoted(item.args['table'])}.*"
        if without := star.args.get("except_"):
            written += f" EXCEPT ({', '.join(self._excepted(each, scope) for each in without)})"
        if instead := star.args.get("replace"):
            values = ", ".join(
                f"{self._operand(each.this, scope)} AS {self.context.quoted(each.args['alias'])}"
                for each in instead
                if isinstance(each, exp.Alias) or self._bare(None)
            )
            written += f" REPLACE ({values})"
        return written

    def _excepted(self, node: exp.Expr, scope: NameScope) -> str:
        if isinstance(node, exp.Literal):
            self._check_pattern(node)
            return self.write(node, scope)
        return self.context.quoted(node.this) if self._bare(node) else ""

    def _columns(self, item: exp.Expr, scope: NameScope) -> str:
        """`COLUMNS('pattern')` or `COLUMNS(a, b)`, of one table if it is named."""
        table, call = "", item
        if isinstance(item, exp.Dot):
            table, call = f"{self.context.quoted(item.this)}.", item.expression
        self.context.only(call, "this", "expressions")
        members = call.expressions
        if len(members) == 1 and isinstance(members[0], exp.Literal):
            self._check_pattern(members[0])
            return f"{table}COLUMNS({self.write(members[0], scope)})"
        names = [self.context.quoted(each.this) for each in members if self._bare(each)]
        if not names:
            self.context.refuse(call, "COLUMNS takes a pattern in quotes or columns' names.", "bad_sql")
        return f"{table}COLUMNS({', '.join(names)})"

    def _applied(self, item: exp.Apply, scope: NameScope) -> str:
        """`* APPLY(f)`: a function of each of the columns."""
        self.context.only(item, "this", "expression")
        inner = item.this
        bare = inner.this if isinstance(inner, exp.Column) else inner
        if not isinstance(bare, (exp.Apply, exp.Star)) and not _is_columns(inner):
            self.context.refuse(item, "APPLY follows a star or COLUMNS(…).", "bad_sql")
        return f"{self._item(inner, scope, named=False)} APPLY({self.applied(item.expression, scope)})"

    # ---- clauses ---------------------------------------------------------------

    def _conditions(self, node: exp.Expr, scope: NameScope) -> list[str]:
        pieces = []
        for key in ("where", "group", "having", "windows", "qualify", "order"):
            part = node.args.get(key)
            if key == "where" and (first := node.args.get("prewhere")):
                # The engine's own PREWHERE is the site's; a caller's is a condition like any other.
                self.context.only(first, "this")
                more = f" AND {self._operand(part.this, scope)}" if part else ""
                pieces.append(f"WHERE {self._operand(first.this, scope)}{more}")
                continue
            if not part:
                continue
            if key == "group":
                pieces.append(self._group(part, scope))
            elif key == "windows":
                pieces.append(f"WINDOW {', '.join(self._named_window(each, scope) for each in part)}")
            elif key == "order":
                pieces.append(self.order(part, scope))
            else:
                self.context.only(part, "this")
                pieces.append(f"{clause(key)} {self.write(part.this, scope)}")
        return pieces

    def _group(self, node: exp.Expr, scope: NameScope) -> str:
        if node.args.get("totals"):
            self.context.refuse_clause(
                node, "totals", "WITH TOTALS can't be used here: write WITH ROLLUP, or GROUPING SETS ((a), ())."
            )
        self.context.only(node, "expressions", "all", "rollup", "cube")
        if node.args.get("all"):
            return "GROUP BY ALL"
        for key in ("rollup", "cube"):
            if parts := node.args.get(key):
                self.context.only(parts[0])
                return f"GROUP BY {self.listed(node.expressions, scope)} WITH {key.upper()}"
        only = node.expressions[0] if len(node.expressions) == 1 else None
        if isinstance(only, (exp.Rollup, exp.Cube)):
            self.context.only(only, "expressions")
            return f"GROUP BY {type(only).__name__.upper()}({self.listed(only.expressions, scope)})"
        if isinstance(only, exp.GroupingSets):
            self.context.only(only, "expressions")
            return f"GROUP BY GROUPING SETS ({', '.join(self._grouping_set(each, scope) for each in only.expressions)})"
        return f"GROUP BY {self.listed(node.expressions, scope)}"

    def _grouping_set(self, node: exp.Expr, scope: NameScope) -> str:
        if isinstance(node, exp.Tuple):
            self.context.only(node, "expressions")
            return f"({self.listed(node.expressions, scope)})"
        return f"({self.write(node.this if isinstance(node, exp.Paren) else node, scope)})"

    def _named_window(self, node: exp.Expr, scope: NameScope) -> str:
        self.context.only(node, "this", "partition_by", "order", "spec")
        return f"{self.context.quoted(node.this)} AS ({self.window(node, scope)})"

    def order(self, node: exp.Expr, scope: NameScope) -> str:
        """An ORDER BY as SQL. Raises `SqlRefused`."""
        self.context.only(node, "expressions")
        only = node.expressions[0].this if len(node.expressions) == 1 else None
        if isinstance(only, exp.Column) and only.name.upper() == "ALL" and not only.this.args.get("quoted"):
            self.context.only(node.expressions[0], "this", "desc", "nulls_first")
            return f"ORDER BY ALL{' DESC' if node.expressions[0].args.get('desc') else ''}"
        return "ORDER BY " + ", ".join(self._ordered(each, scope) for each in node.expressions)

    def _ordered(self, node: exp.Expr, scope: NameScope) -> str:
        if not isinstance(node, exp.Ordered):
            return self.write(node, scope)
        self.context.only(node, "this", "desc", "nulls_first", "with_fill")
        written = self.write(node.this, scope) + (" DESC" if node.args.get("desc") else " ASC")
        if node.args.get("nulls_first"):
            written += " NULLS FIRST"
        if fill := node.args.get("with_fill"):
            self.context.only(fill, "from_", "to", "step", "interpolate")
            written += " WITH FILL"
            for key, word in (("from_", "FROM"), ("to", "TO"), ("step", "STEP")):
                if value := fill.args.get(key):
                    written += f" {word} {self.write(value, scope)}"
            if values := fill.args.get("interpolate"):
                written += f" INTERPOLATE ({', '.join(self._interpolated(each, scope) for each in values)})"
        return written

    def _interpolated(self, node: exp.Expr, scope: NameScope) -> str:
        """`column AS expression`, the other way round than elsewhere."""
        if not isinstance(node, exp.Alias):
            return self.write(node, scope)
        return f"{self.context.quoted(node.args['alias'])} AS {self.write(node.this, scope)}"

    def _limits(self, node: exp.Expr, scope: NameScope, top: int | None) -> list[str]:
        limit, offset, by = (node.args.get(key) for key in ("limit", "offset", "limit_by"))
        pieces = []
        if offset is not None and offset.expressions:  # LIMIT n OFFSET m BY …
            if limit is None:
                self.context.refuse(offset, "LIMIT n BY needs a number of rows.", "bad_sql")
            pieces.append(self._limit_by(limit, offset.expressions, offset.expression, scope))
            limit = offset = None
        elif by is not None:
            pieces.append(self._limit_by(by, by.expressions, by.args.get("offset"), scope))
        count: int | None = None
        ties = ""
        if limit is not None:
            count, ties = self._limit(limit)
        if top is not None:
            count = top if count is None else min(count, top)
        if count is not None:
            pieces.append(f"LIMIT {count}{ties}")
        if offset is not None:
            self.context.only(offset, "expression")
            pieces.append(f"OFFSET {self._count(offset.expression)}")
        return pieces

    def _limit(self, node: exp.Expr) -> tuple[int, str]:
        """LIMIT, or the standard's FETCH FIRST n ROWS."""
        fetched = isinstance(node, exp.Fetch)
        self.context.only(node, *(("count", "direction") if fetched else ("expression",)), "limit_options")
        options = node.args.get("limit_options")
        if options is not None:
            self.context.only(options, "with_ties", *(("rows",) if fetched else ()))
        ties = " WITH TIES" if options is not None and options.args.get("with_ties") else ""
        count = node.args.get("count") if fetched else node.expression
        return (1 if fetched and count is None else self._count(count)), ties

    def _limit_by(self, limit: exp.Expr, by: Sequence[exp.Expr], offset: exp.Expr | None, scope: NameScope) -> str:
        self.context.only(limit, "expression", "expressions", "offset")
        skipped = f" OFFSET {self._count(offset)}" if offset is not None else ""
        return f"LIMIT {self._count(limit.expression)}{skipped} BY {self.listed(by, scope)}"

    def _count(self, node: exp.Expr | None) -> int:
        """A number of rows: written out, or a parameter."""
        if isinstance(node, exp.Placeholder):
            self.write(node, NameScope())  # declares it
            value = self.context.bound.get(node.this.name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ROWS_ASKED:
                return value
        text = str(node.this) if isinstance(node, exp.Literal) and not node.args.get("is_string") else ""
        if not text.isascii() or not text.isdigit() or len(text) > MAX_DIGITS:
            self.context.refuse(node, "A number of rows is a whole number, or a parameter that is one.")
        return int(text)


def _is_columns(node: exp.Expr) -> bool:
    call = node.expression if isinstance(node, exp.Dot) and isinstance(node.this, exp.Identifier) else node
    return isinstance(call, exp.Anonymous) and str(call.this).upper() == "COLUMNS"


def _has_tail(node: exp.Expr) -> bool:
    return any(node.args.get(key) for key in TAIL)


def _has_ties(node: exp.Expr) -> bool:
    options = node.args["limit"].args.get("limit_options") if node.args.get("limit") else None
    return options is not None and bool(options.args.get("with_ties"))


def _is_rewritten(node: exp.Expr) -> bool:
    """Would ClickHouse's own name for this column show names that the caller never gave?"""
    return any(isinstance(each, (exp.Placeholder, exp.Table)) or _names_props(each) for each in node.walk())


def _names_props(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and any(
        node.args.get(key) is not None and node.args[key].name == PROPS for key in ("table", "db", "catalog")
    )


def _is_spelled_out(node: exp.Column) -> bool:
    """Does this column become a call: a key of the properties, or an element of a tuple?"""
    return _names_props(node) or isinstance(node.this, exp.Literal)

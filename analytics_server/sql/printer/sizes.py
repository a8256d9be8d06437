"""How long a text may become that a query builds: before anything is run, from the query alone.

The engine looks at the time between blocks of rows only, and within a block it works on each row's text to its end.
A few functions make long texts of short ones, each in another's arguments again: `repeat(repeat('a', 1000), 1000)`
is a megabyte, which a search then reads again for every row. So the length of everything they give is estimated, with
each name replaced by the longest thing it may stand for, and bounded. What is stored counts as `COLUMN_BYTES`, what
ClickHouse's memory limit bounds anyway (aggregates) likewise.
"""

from __future__ import annotations

from sqlglot import exp

from analytics_server.sql.printer.context import Context

MOST_BYTES = 10_000
"""Of a text that a function builds."""

LONG_BYTES = 2_000
"""A query that builds longer texts is worked on in smaller blocks of rows, between which the clock is looked at."""

COLUMN_BYTES = 100
NUMBER_BYTES = 24
ELEMENT_BYTES = 64
MOST_TIMES = 1_000
"""The most that a computed number of repetitions is taken for."""

_REPEATED = frozenset({"repeat"})
_PADDED = frozenset({"leftPad", "rightPad"})
_REPLACED = frozenset({"replaceAll", "replace", "replaceRegexpAll"})
_TIMES = {"hex": 2, "bin": 8, "encodeURLComponent": 3, "base64Encode": 2, "regexpQuoteMeta": 2}
_JOINED = frozenset({"concat", "concatWithSeparator", "arrayStringConcat", "format", "toFixedString"})
BUILDERS = frozenset({*_REPEATED, *_PADDED, *_REPLACED, *_TIMES, *_JOINED})

COLLECTING = frozenset({"array_agg", "sumMap", "minMap", "maxMap", "histogram"})


class Sizes:
    """Estimates for one query. Raises `SqlRefused` through the context."""

    def __init__(self, context: Context, tree: exp.Expr) -> None:
        self._context = context
        self._named_nodes: dict[str, list[exp.Expr]] = {}
        self._elements_named: dict[str, list[exp.Expr]] = {}
        self._unnamed: list[exp.Expr] = []
        self._collects = False
        for node in tree.walk():
            if isinstance(node, (exp.Anonymous, exp.ParameterizedAgg)):
                self._collects |= collects(context, node)
            if isinstance(node, exp.Lambda):
                stands_for = _applied_to(node, tree)
                for each in node.expressions:
                    self._elements_named.setdefault(each.name, []).extend(stands_for)
            if isinstance(node, (exp.Alias, exp.CTE)) and node.alias:
                self._named_nodes.setdefault(node.alias, []).append(node.this)
            if isinstance(node, exp.CTE):
                for column in node.args["alias"].args.get("columns") or [] if node.args.get("alias") else []:
                    self._named_nodes.setdefault(column.name, []).append(node.this)
            if isinstance(node, exp.Select):
                self._unnamed += [each for each in node.expressions if not isinstance(each, (exp.Alias, exp.Column))]
            if isinstance(node, exp.SetOperation):
                first: exp.Expr | None = node
                while isinstance(first, (exp.SetOperation, exp.Subquery)):
                    first = first.this
                for item in first.expressions if isinstance(first, exp.Select) else []:
                    if isinstance(item, (exp.Alias, exp.Column)):  # the other side's column has this name too
                        self._named_nodes.setdefault(item.alias_or_name, []).append(node.expression)
        self._named: dict[str, int] = {}
        self._known: dict[int, int] = {}

    def check(self, name: str, node: exp.Expr) -> None:
        """Refuse a call of a builder whose text may become too long."""
        if name not in BUILDERS:
            return
        size = self.of(node)
        self._context.builds_long_texts |= size > LONG_BYTES
        if size > MOST_BYTES:
            self._context.refuse(
                node,
                f"What {name} gives may become {size:,} bytes long; {MOST_BYTES:,} are allowed, where a column counts"
                f" as {COLUMN_BYTES}.",
                "sql_too_big",
            )

    def may_be_searched_whole(self, node: exp.Expr) -> bool:
        """Is a text short for certain? What aggregates collect from many rows is bounded by the memory alone."""
        return not self._collects and self.of(node) <= MOST_BYTES

    def times(self, node: exp.Expr, size: int) -> int:
        """How often something of that size is repeated at most: the number, if it is written, or the most allowed."""
        written = self._number(node)
        return written if written is not None else max(1, min(MOST_TIMES, MOST_BYTES // max(1, size)))

    def of(self, node: exp.Expr) -> int:
        """The most bytes that a value of the expression is thought to have."""
        known = self._known.get(id(node))
        if known is None:
            known = self._known[id(node)] = min(self._estimate(node), 10**12)
        return known

    def _estimate(self, node: exp.Expr) -> int:
        if isinstance(node, exp.Literal):
            return len(str(node.this).encode()) if node.args.get("is_string") else NUMBER_BYTES
        if isinstance(node, exp.Placeholder):
            value = self._context.bound.get(node.this.name if isinstance(node.this, exp.Expr) else str(node.this))
            return len(value.encode("utf-8", "replace")) if isinstance(value, str) else COLUMN_BYTES
        if isinstance(node, (exp.Column, exp.Identifier)):
            return self._of_name(node.name)
        if isinstance(node, (exp.Alias, exp.Paren)):
            return self.of(node.this)
        if isinstance(node, exp.Subquery | exp.Select):
            return max((self.of(each) for each in node.selects), default=COLUMN_BYTES)
        if isinstance(node, exp.Anonymous):
            return self._of_call(node)
        if isinstance(node, exp.Lambda):
            return self.of(node.this)
        if isinstance(node, (exp.Binary, exp.Tuple, exp.Array, exp.Case, exp.If, exp.Bracket)):
            return sum(self.of(each) for each in node.iter_expressions())
        return max([NUMBER_BYTES, *(self.of(each) for each in node.iter_expressions())])

    def _of_name(self, name: str) -> int:
        if name not in self._named_nodes and not name.isidentifier():  # a column that has its own text for a name
            if name not in self._named:
                self._named[name] = COLUMN_BYTES
                self._named[name] = max([COLUMN_BYTES, *(self.of(each) for each in self._unnamed)])
            return self._named[name]
        if name not in self._named_nodes and name not in self._elements_named:
            return COLUMN_BYTES
        if name not in self._named:
            self._named[name] = COLUMN_BYTES  # itself inside itself: no more than once
            least = ELEMENT_BYTES if name in self._elements_named else 0
            candidates = [*self._named_nodes.get(name, ()), *self._elements_named.get(name, ())]
            self._named[name] = max([least, *(self.of(each) for each in candidates)])
        return self._named[name]

    def _of_call(self, node: exp.Anonymous) -> int:
        known = self._context.functions.find(str(node.this))
        arguments = list(node.expressions)
        if known is None or known.is_aggregate or not arguments:
            return COLUMN_BYTES
        sizes = [self.of(each) for each in arguments]
        match known.name:
            case name if name in _REPEATED and len(arguments) == 2:
                return sizes[0] * self.times(arguments[1], sizes[0])
            case name if name in _PADDED and len(arguments) >= 2:
                return max(sizes[0], 4 * self.times(arguments[1], 4))
            case "toFixedString" if len(arguments) == 2:
                return self.times(arguments[1], 1)
            case name if name in _REPLACED and len(arguments) == 3:
                return sizes[0] * max(1, sizes[2] // max(1, self._shortest(arguments[1])))
            case "format":
                places = str(arguments[0].this).count("{") if isinstance(arguments[0], exp.Literal) else sizes[0]
                return sizes[0] + places * max(sizes[1:], default=0)
            case "arrayStringConcat":
                return sizes[0] + self._elements(arguments[0]) * (sizes[1] if len(sizes) > 1 else 0)
            case "range":
                return 8 * self._elements(node)
            case "arrayWithConstant" if len(arguments) == 2:
                return self._elements(node) * sizes[1]
            case "arrayJoin" | "arrayElement":
                return max(NUMBER_BYTES, sizes[0] // self._elements(arguments[0]))
            case "arrayMap":
                return sizes[0] * max((self._elements(each) for each in arguments[1:]), default=1)
            case name:
                return sum(sizes) * _TIMES.get(name, 1)

    def _shortest(self, node: exp.Expr) -> int:
        """The least that is replaced by one replacement: a text's length, if it is written."""
        return len(str(node.this)) if isinstance(node, exp.Literal) and node.args.get("is_string") else 1

    def _elements(self, node: exp.Expr) -> int:
        """How many elements an array may have."""
        if isinstance(node, exp.Array):
            return len(node.expressions)
        if isinstance(node, exp.Anonymous):
            known = self._context.functions.find(str(node.this))
            if known is not None and known.name == "arrayWithConstant" and node.expressions:
                return self.times(node.expressions[0], 1)
            if known is not None and known.name == "range" and node.expressions:
                return self.times(node.expressions[1 if len(node.expressions) > 1 else 0], 100)
        return max(1, self.of(node) // 16)

    def is_number(self, node: exp.Expr) -> bool:
        """Is it a whole number that is written as such?"""
        return self._number(node) is not None

    def _number(self, node: exp.Expr) -> int | None:
        while isinstance(node, exp.Paren):
            node = node.this
        if isinstance(node, exp.Literal) and not node.args.get("is_string") and str(node.this).isdigit():
            return int(str(node.this))
        return None


def collects(context: Context, node: exp.Expr) -> bool:
    """Is it an aggregate whose value becomes longer with each row?"""
    name = node.this if isinstance(node.this, str) else node.this.name
    if name.lower() == "string_agg":
        return True
    known = context.functions.find(name)
    if known is None or not known.is_aggregate:
        return False
    base, endings = known.base.name, known.name.removeprefix(known.base.name)
    return (
        base in COLLECTING
        or (base.startswith(("group", "topK", "approx_top")) and not base.startswith("groupBit"))
        or any(ending in endings for ending in ("Map", "ForEach"))
    )


def _applied_to(node: exp.Lambda, tree: exp.Expr) -> list[exp.Expr]:
    """What the names of a lambda may stand for: elements of the arrays beside it, or in APPLY any column there is."""
    call = node.parent
    if isinstance(call, exp.Apply):
        inside = {id(each) for each in node.walk()}
        texts = (exp.Literal, exp.Placeholder, exp.Anonymous, exp.DPipe, exp.Tuple, exp.Array)
        return [each for each in tree.walk() if isinstance(each, texts) and id(each) not in inside]
    found: list[exp.Expr] = []
    for each in call.expressions if isinstance(call, exp.Anonymous) else []:
        if isinstance(each, exp.Array):
            found += each.expressions
        elif each is not node and not (isinstance(each, exp.Anonymous) and str(each.this).lower() == "range"):
            found.append(each)
    return found

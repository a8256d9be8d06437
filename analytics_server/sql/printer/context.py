"""What printing a query needs to know: the caller's text, names in scope, parameters, functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from sqlglot import exp

from analytics_server.sql.catalog import EMPTY, Catalog
from analytics_server.sql.features import EVERYTHING, EngineFeatures
from analytics_server.sql.printer.decimals import Decimals
from analytics_server.sql.printer.functions import Functions
from analytics_server.sql.printer.types import BadSqlType, SqlType, parse_type
from analytics_server.sql.printer.weight import check_printed
from analytics_server.sql.refusal import SqlRefused, TextPosition, place_of, shown

RESERVED = "__"
"""Names that begin so are the server's."""

NOT_RESERVED = frozenset({"__timestamp"})
"""What Superset calls the time of a chart's rows."""

CTE = f"{RESERVED}with_"
"""Put before the names of a caller's WITH: no table has such a name, so it can never be reached by one."""

MAX_NAME_CHARS = 128
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CLAUSES = {"is_global": "GLOBAL", "global_": "GLOBAL", "method": "NATURAL", "locks": "FOR", "laterals": "LATERAL"}
"""Parts of nodes that are called otherwise in SQL."""


@dataclass(frozen=True, slots=True)
class NameScope:
    """The names that one SELECT sees: its WITH and its tables, and those around it.

    `aliases`: of tables that were written with a database, by both names.
    """

    ctes: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    aliases: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def with_ctes(self, names: set[str]) -> NameScope:
        """The scope inside a WITH that gives these names."""
        return NameScope(self.ctes | names, self.tables, self.aliases)

    def with_tables(self, names: set[str], aliases: Mapping[tuple[str, str], str]) -> NameScope:
        """The scope inside a FROM that gives these names."""
        kept = {full: by for full, by in self.aliases.items() if by not in names and full[1] not in names}
        return NameScope(self.ctes, self.tables | names, {**kept, **aliases})


@dataclass(slots=True)
class Context:
    """One query on its way to ClickHouse."""

    text: str
    functions: Functions
    database: str
    bound: Mapping[str, object]
    """The values of the caller's parameters, not yet checked."""
    wanted: Container[str] | None
    """Columns to read of the tables; None: all."""
    sites: Mapping[str, Container[str]] = field(default_factory=dict)
    """The sites whose rows are seen, with the columns that each one's profile leaves out."""
    features: EngineFeatures = EVERYTHING
    """What the engine has that runs the query."""
    catalog: Catalog = EMPTY
    """What may be named besides the two tables."""
    dropped: list[str] = field(default_factory=list)
    """Settings of the text that are not followed, where the catalog allows that."""
    builds_long_texts: bool = False
    settings: dict[str, int] = field(default_factory=dict)
    """What the query's own SETTINGS ask for."""
    rewritten: int = 0
    """How many expressions are printed otherwise than they were written."""
    declared: dict[str, SqlType] = field(default_factory=dict)
    """The caller's parameters that the text names, with their types."""
    tables: dict[tuple[str, str], str] = field(default_factory=dict)
    """What stands for each table that was named so far, by database and name."""
    printed: int = 0
    """How long the tables that were named are together, each as often as it was named."""
    decimals: Decimals | None = field(init=False, default=None)
    """Finds wide Decimals, where the engine can't calculate with them."""

    def __post_init__(self) -> None:
        if not self.features.wide_decimals:
            self.decimals = Decimals(self.functions)

    def table(self, database: str, name: str, make: Callable[[], str]) -> str:
        """What stands for a table, made once. Raises `SqlRefused` where all tables together become too long."""
        if (database, name) not in self.tables:
            self.tables[database, name] = make()
        text = self.tables[database, name]
        self.printed += len(text)
        check_printed(self.printed)
        return text

    def without_database(self, names: list[str], scope: NameScope) -> list[str]:
        """A column's path without the database before its table, where one may stand; the table by its alias."""
        if len(names) > 2 and (alias := scope.aliases.get((names[0], names[1]))) is not None:
            return [alias, *names[2:]] if alias else names
        named = len(names) > 2 and names[0] in self.catalog.databases and names[1] in scope.tables
        return names[1:] if named else names

    def place(self, node: exp.Expr | None) -> TextPosition | None:
        """Where a node stands in the caller's text, or the nearest thing inside it that is known to stand somewhere."""
        if node is None:
            return None
        for each in node.walk():
            start = each.meta.get("start")
            if isinstance(start, int):
                return place_of(self.text, start)
        return None

    def refuse(self, node: exp.Expr | None, message: str, code: str | None = None) -> NoReturn:
        """Raise `SqlRefused` at a node."""
        place = None
        while node is not None and place is None:
            place, node = self.place(node), node.parent
        raise SqlRefused(message, code=code, place=place)

    def refuse_clause(self, node: exp.Expr, key: str, message: str) -> NoReturn:
        """Raise `SqlRefused` where a clause's word stands, or at the node if it is not found."""
        start = node.meta.get("start")
        found = re.compile(rf"\b{clause(key).split()[0]}\b", re.IGNORECASE).search(
            self.text, start if isinstance(start, int) else 0
        )
        if found is None:
            self.refuse(node, message)
        raise SqlRefused(message, place=place_of(self.text, found.start()))

    def only(self, node: exp.Expr, *allowed: str) -> None:
        """Refuse a node that has any other part than the allowed ones."""
        for key, value in node.args.items():
            if value and key not in allowed:
                self.refuse_clause(node, key, f"{clause(key)} can't be used here.")

    def name(self, identifier: exp.Expr | str | None, node: exp.Expr | None = None) -> str:
        """A name of the caller's, checked and bare."""
        if isinstance(identifier, exp.Expr):
            node = identifier
        text = identifier.name if isinstance(identifier, exp.Expr) else identifier or ""
        if not text or len(text) > MAX_NAME_CHARS or _CONTROL.search(text):
            self.refuse(node, f"A name has 1 to {MAX_NAME_CHARS} characters, and no control characters.")
        if text.startswith(RESERVED) and text not in NOT_RESERVED:
            self.refuse(node, f"Names that begin with two underscores are reserved: {shown(text)}.")
        return text

    def quoted(self, identifier: exp.Expr | str | None, node: exp.Expr | None = None) -> str:
        """A name of the caller's, checked and in back-quotes."""
        return quote(self.name(identifier, node))

    def kind(self, text: str, node: exp.Expr) -> SqlType:
        """A type that the caller wrote."""
        try:
            return parse_type(text)
        except BadSqlType as error:
            self.refuse(node, f"The type {shown(text)} can't be used: {error}.", "unknown_type")


def quote(name: str) -> str:
    """An identifier in back-quotes."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def clause(key: str) -> str:
    """How a part of a node is called in SQL."""
    return _CLAUSES.get(key) or key.strip("_").replace("_", " ").upper()

"""The guard of callers' SQL: parsed, weighed, and printed anew as a statement that ClickHouse may run.

The wall between sites, and between a query and everything that is not a site's events and
sessions. Nothing of the caller's text is ever passed on: what ClickHouse gets is printed from
the tree, node by node, from lists of what may be used. Pure; any thread may call it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from analytics_server.sql.catalog import EMPTY, Catalog
from analytics_server.sql.features import EVERYTHING, EngineFeatures
from analytics_server.sql.printer.context import Context
from analytics_server.sql.printer.dialect import parse
from analytics_server.sql.printer.functions import Functions
from analytics_server.sql.printer.parameters import bind_parameters, check_names
from analytics_server.sql.printer.queries import QueryPrinter
from analytics_server.sql.printer.tables import SITE
from analytics_server.sql.printer.weight import check_printed, check_weight
from analytics_server.sql.refusal import SqlRefused
from analytics_server.sql.tokens import check_size

MAX_TOKENS = 6_000


@dataclass(frozen=True, slots=True)
class Guarded:
    """A statement to run, with its parameters."""

    sql: str
    parameters: Mapping[str, object]
    builds_long_texts: bool = False
    settings: Mapping[str, int] = field(default_factory=dict)
    """What the text itself may set."""
    dropped: Sequence[str] = ()
    """Settings of the text that are not followed."""


class Guard:
    """Turns texts into guarded statements. Keeps nothing."""

    def __init__(self, functions: Functions, *, max_chars: int, max_rows: int, max_tokens: int = MAX_TOKENS) -> None:
        self.functions = functions
        self.max_chars = max_chars
        self.max_rows = max_rows
        self.max_tokens = max_tokens

    def check_size(self, text: str, *, spare: int = 0) -> None:
        """Refuse what is too long to be read: quick enough for the event loop. Raises `SqlRefused`.

        `spare`: how many characters and words more there may be, of what is cut off before the text is checked.
        """
        check_size(text, max_chars=self.max_chars + spare, max_tokens=self.max_tokens + spare)

    def check(
        self,
        text: str,
        params: Mapping[str, object],
        *,
        sites: Mapping[str, Container[str]],
        database: str,
        catalog: Catalog = EMPTY,
        features: EngineFeatures = EVERYTHING,
    ) -> Guarded:
        """The statement that answers the text with the rows of the sites only, the columns that each hides empty.

        `catalog`: what may be named besides. `features`: what the engine that runs it has.

        Raises `SqlRefused`.
        """
        check_names(params)
        self.check_size(text)
        tree = parse(text)
        check_weight(tree, catalog.tables)
        context = Context(text, self.functions, database, params, _wanted(tree), sites, features, catalog)
        try:
            sql = QueryPrinter(context, tree, max_rows=self.max_rows).whole(tree)
        except RecursionError:
            raise SqlRefused("The query is nested too deeply.", code="sql_too_big") from None
        check_printed(len(sql.encode("utf-8", "replace")))
        own: Mapping[str, object] = {SITE: next(iter(sites)) if len(sites) == 1 else list(sites)}
        if f"{{{SITE}:{'String' if len(sites) == 1 else 'Array(String)'}}}" not in sql:
            own = {}  # a value that is not named would be refused
        return Guarded(
            sql,
            {**own, **bind_parameters(context.declared, params)},
            context.builds_long_texts,
            context.settings,
            context.dropped,
        )


def _wanted(tree: exp.Expr) -> frozenset[str] | None:
    """Every name in the query, so that no other columns are read; None when a star may mean any."""
    names = set()
    for node in tree.walk():
        if isinstance(node, exp.Star) and not isinstance(node.parent, exp.Anonymous):
            return None
        if isinstance(node, exp.Anonymous) and str(node.this).upper() == "COLUMNS":
            return None
        if isinstance(node, exp.Identifier):
            names.add(node.name)
    return frozenset(names)

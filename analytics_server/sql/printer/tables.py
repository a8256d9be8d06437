"""The two tables a query sees, and the subquery that stands for each of them.

The subquery is the wall between sites, hence its shape:

- `PREWHERE` on the site, so that no expression of the caller's is evaluated on a row of
  another site: an optimiser may push a WHERE of the caller's below ours, and an error
  ("can't parse '…'") would tell of a foreign value.
- Dictionary-encoded columns are made plain: ClickHouse evaluates a function of a
  LowCardinality column once per dictionary entry, and a dictionary holds the values of
  all sites in the part.
- Table and alias are qualified by names no caller can give, since a WITH of the caller's is
  visible in here.
- What the site's profile forbids is a constant, also where it was stored before the profile was set.
- Only columns that the query names are listed; internal ones (`batch_id`, `session_key`,
  `session_start` and the like) never are.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from analytics_server.model import COLUMNS, SESSION_ATTRIBUTES
from analytics_server.store.literals import literal

ROW = "__row"
"""The alias of a stored row. Names that begin with two underscores can't be given by callers."""

SITE = "site"
"""The parameter that carries the site."""

HIDDEN = frozenset({"session_start"})
PLAIN_MAP = "Map(String, String)"


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column as callers see it, and the expression over a stored row that gives it."""

    name: str
    type: str
    about: str
    expression: str

    @property
    def absent(self) -> str:
        """The column where the site's profile leaves it out: its type's empty value, never what is stored."""
        value = "''" if self.type == "String" else "0"
        return f"CAST({value}, {literal(self.type)})"


@dataclass(frozen=True, slots=True)
class ReadableTable:
    """A table as callers see it. `source` is what is read, with FINAL where rows are still to be merged."""

    name: str
    about: str
    final: bool
    columns: tuple[TableColumn, ...]

    @property
    def names(self) -> list[str]:
        """The names of the columns, in the order callers see."""
        return [column.name for column in self.columns]

    def scoped(self, database: str, wanted: Container[str] | None, sites: Mapping[str, Container[str]]) -> str:
        """The subquery: the sites' rows, with the wanted columns (None: all). Those that a site hides are empty."""
        columns = [c for c in self.columns if wanted is None or c.name in wanted] or self.columns[:1]
        listed = ", ".join(f"{_shown(c, sites)} AS `{c.name}`" for c in columns)
        final = " FINAL" if self.final else ""
        own = f"= {{{SITE}:String}}" if len(sites) == 1 else f"IN {{{SITE}:Array(String)}}"
        return f"(SELECT {listed} FROM `{database}`.`{self.name}` AS `{ROW}`{final} PREWHERE `{ROW}`.`site_id` {own})"


def _shown(column: TableColumn, sites: Mapping[str, Container[str]]) -> str:
    """The column's expression; empty for the rows of sites that hide it."""
    if column.name == "site_id" and len(sites) != 1:
        return _SITE_OF_ROW
    hiding = [site for site, hidden in sites.items() if column.name in hidden]
    if len(hiding) == len(sites):
        return column.absent
    if not hiding:
        return column.expression
    listed = ", ".join(literal(site) for site in hiding)
    return f"if({_SITE_OF_ROW} IN ({listed}), {column.absent}, {column.expression})"


_SITE_OF_ROW = f"CAST(`{ROW}`.`site_id`, 'String')"


def _plain(type_: str) -> str:
    if type_ == "LowCardinality(String)":
        return "String"
    return PLAIN_MAP if type_.startswith("Map(") else type_


def _stored(name: str, type_: str, about: str, *, merged: bool = False) -> TableColumn:
    """A column as it is stored, made plain. `merged` columns have aggregates' types."""
    plain = _plain(type_)
    if name == "site_id":
        return TableColumn(name, plain, about, f"{{{SITE}:String}}")
    column = f"`{ROW}`.`{name}`"
    return TableColumn(name, plain, about, f"CAST({column}, {literal(plain)})" if merged or plain != type_ else column)


def _merged(name: str, type_: str, about: str) -> TableColumn:
    return _stored(name, type_, about, merged=True)


_MOMENT = "DateTime64(6, 'UTC')"
_ABOUT = {column.name: column.about for column in COLUMNS}
_TYPES = {column.name: column.type for column in COLUMNS}

EVENTS = ReadableTable(
    name="events",
    about="One row per event.",
    final=False,
    columns=tuple(_stored(column.name, column.type, column.about) for column in COLUMNS if column.name not in HIDDEN),
)

SESSIONS = ReadableTable(
    name="sessions",
    about="One row per session.",
    final=True,
    columns=(
        _stored("site_id", "LowCardinality(String)", "The site the session belongs to."),
        _stored("session_id", "String", "The session, as in events."),
        _merged("visitor_id", "UInt64", "Salted hash of a day; of several visitors the greatest, 0 when none is kept."),
        _merged("user_id", "String", "The application's own id of a person, if it sent one."),
        _merged("started_at", _MOMENT, "Its first event, UTC."),
        _merged("ended_at", _MOMENT, "Its last event so far, UTC."),
        TableColumn(
            "duration_s",
            "Float64",
            "Seconds from its first to its last event.",
            f"(toUnixTimestamp64Micro(`{ROW}`.`ended_at`) - toUnixTimestamp64Micro(`{ROW}`.`started_at`)) / 1000000",
        ),
        _merged("pageviews", "UInt64", "How many page views it has."),
        _merged("events", "UInt64", "How many events it has."),
        TableColumn(
            "is_bounce",
            "UInt8",
            "1 for exactly one page view and no interaction.",
            f"toUInt8(`{ROW}`.`pageviews` = 1 AND `{ROW}`.`interactions` = 0)",
        ),
        TableColumn(
            "entry_page",
            "String",
            "Path of its first page view; empty if it has none.",
            f"tupleElement(`{ROW}`.`entry`, 'path')",
        ),
        TableColumn(
            "exit_page",
            "String",
            "Path of its last page view; empty if it has none.",
            f"tupleElement(`{ROW}`.`exit`, 'path')",
        ),
        _merged("hostname", _TYPES["hostname"], "Host of its first page."),
        *(_merged(name, _TYPES[name], _ABOUT[name]) for name in SESSION_ATTRIBUTES),
    ),
)

TABLES = {table.name: table for table in (EVENTS, SESSIONS)}

SETTINGS = {
    # Under FINAL a subcolumn of a tuple is merged by itself and comes out wrong; the whole tuple is right.
    "optimize_functions_to_subcolumns": 0,
    # A session's row never leaves its month: opened_at is in the key and makes the partition.
    "do_not_merge_across_partitions_select_final": 1,
}
"""What reading these tables rests on."""

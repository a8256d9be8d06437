"""What can be asked: tables, columns, functions, types and limits, for people and tools."""

from __future__ import annotations

from collections.abc import Container

import msgspec

from analytics_server.profiles.tables import STANDARD, profile_of
from analytics_server.sql.answer import FORMATS
from analytics_server.sql.printer import dialect, weight
from analytics_server.sql.printer.functions import COMBINATORS, STATES, Function
from analytics_server.sql.printer.parameters import MAX_PARAMETERS
from analytics_server.sql.printer.relations import MAX_NUMBERS
from analytics_server.sql.printer.tables import TABLES, TableColumn
from analytics_server.sql.printer.types import FAMILIES
from analytics_server.sql.service import RECURSIONS, SqlService


class SchemaColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column: its type in ClickHouse, and a sentence."""

    name: str
    type: str
    about: str


class SchemaTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table and its columns."""

    name: str
    about: str
    columns: list[SchemaColumn]


class SchemaFamily(msgspec.Struct, frozen=True, kw_only=True):
    """Functions that belong together."""

    family: str
    functions: list[Function]


class SchemaAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `GET /api/v1/schema`."""

    tables: list[SchemaTable]
    functions: list[SchemaFamily]
    combinators: dict[str, str]
    types: list[str]
    formats: list[str]
    limits: dict[str, int | float]


async def describe(service: SqlService, site_id: str) -> SchemaAnswer:
    """The schema, the same for every site but for what its profile leaves out.

    Raises `NotFound` for a site that does not exist.
    """
    profile = service.context.site(site_id).profile if site_id else STANDARD
    hidden = profile_of(profile).hidden_columns
    features = await service.features()
    families = [
        SchemaFamily(family=family, functions=[each for each in functions if features.has_function(each.name)])
        for family, functions in service.guard.functions.families.items()
    ]
    limits = service.limits
    return SchemaAnswer(
        tables=[
            SchemaTable(
                name=table.name,
                about=table.about,
                columns=[
                    SchemaColumn(name=c.name, type=c.type, about=_about(c, profile, hidden)) for c in table.columns
                ],
            )
            for table in TABLES.values()
        ],
        functions=families,
        combinators=COMBINATORS | STATES,
        types=list(FAMILIES),
        formats=list(FORMATS),
        limits={
            "timeout_s": limits.timeout_s,
            "memory_mb": limits.memory_mb,
            "read_rows": limits.read_rows,
            "read_mb": limits.read_mb,
            "rows": limits.rows,
            "answer_mb": limits.answer_mb,
            "characters": limits.max_chars,
            "brackets": dialect.MAX_DEPTH,
            "parts": weight.MAX_NODES,
            "expanded_parts": weight.MAX_EXPANDED,
            "selects": weight.MAX_SELECTS,
            "parameters": MAX_PARAMETERS,
            "numbers": MAX_NUMBERS,
            "rounds": RECURSIONS,
        },
    )


def _about(column: TableColumn, profile: str, hidden: Container[str]) -> str:
    if column.name not in hidden:
        return column.about
    return f"{column.about} Always empty: the site's profile {profile} leaves it out."

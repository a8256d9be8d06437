"""The `system` tables and constant functions that clients ask for on connecting: only what the caller may see.

Nothing is read from the engine's own tables. Each row says something about `events`, `sessions`, the functions that
may be called, or this endpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from analytics_server.clickhouse.formats import FORMATS
from analytics_server.clickhouse.scope import DATABASES, VisibleSites
from analytics_server.clickhouse.settings import OFTEN, SWITCHES
from analytics_server.sql.catalog import Catalog, Cell, VirtualTable
from analytics_server.sql.printer.functions import Functions
from analytics_server.sql.printer.tables import TABLES, TableColumn
from analytics_server.sql.printer.types import FAMILIES

SYSTEM = "system"
DISPLAY_NAME = "analytics-server"
REVISION = 0
"""Blocks of the format Native are written without what later revisions put before them; clients heed what they read."""

ENGINE = "MergeTree"
SORTED_BY = {"events": "site_id, ts", "sessions": "site_id, session_id"}
_TEXT, _FLAG, _COUNT = "String", "UInt8", "UInt64"
_MAYBE = "Nullable(UInt64)"


def _columns(texts: str = "", **types: str) -> dict[str, str]:
    """Names in one line that are texts, then others with their types."""
    return {**dict.fromkeys(texts.split(), _TEXT), **types}


_DATABASES = _columns("name engine data_path metadata_path", uuid="UUID") | _columns("engine_full comment")
_TABLES = {
    **_columns("database name engine engine_full create_table_query sorting_key primary_key comment"),
    "has_own_data": _FLAG,
    "data_paths": "Array(String)",  # clients take a table without one for a remote one
    "uuid": "UUID",
    "is_temporary": _FLAG,
    "metadata_path": _TEXT,
    "metadata_modification_time": "DateTime('UTC')",
    "metadata_version": "Int32",
    "dependencies_database": "Array(String)",
    "dependencies_table": "Array(String)",
    **_columns("as_select partition_key sampling_key storage_policy"),
    **dict.fromkeys(("total_rows", "total_bytes", "total_bytes_uncompressed", "parts", "active_parts"), _MAYBE),
    **dict.fromkeys(("total_marks", "lifetime_rows", "lifetime_bytes"), _MAYBE),
    "loading_dependencies_database": "Array(String)",
    "loading_dependencies_table": "Array(String)",
}
_COLUMNS = {
    **_columns("database table name type", position=_COUNT, comment=_TEXT),
    "is_in_sorting_key": _FLAG,
    "is_in_primary_key": _FLAG,
    "datetime_precision": _MAYBE,
    **_columns("default_kind default_expression compression_codec"),
    **dict.fromkeys(("data_compressed_bytes", "data_uncompressed_bytes", "marks_bytes"), _COUNT),
    **dict.fromkeys(("is_in_partition_key", "is_in_sampling_key"), _FLAG),
    **dict.fromkeys(
        ("character_octet_length", "numeric_precision", "numeric_precision_radix", "numeric_scale"), _MAYBE
    ),
}
_FUNCTIONS = {
    **_columns("name", is_aggregate=_FLAG),
    **_columns("description syntax categories origin"),
    "case_insensitive": _FLAG,
    **_columns("alias_to create_query arguments returned_value examples introduced_in"),
    "deterministic": "Nullable(UInt8)",
    "higher_order": _FLAG,
}
_SETTINGS = {
    **_columns("name value type", readonly=_FLAG, changed=_FLAG),
    **_columns("description default alias_for tier"),
    **dict.fromkeys(("min", "max"), "Nullable(String)"),
    "is_obsolete": _FLAG,
}
_EMPTY: dict[str, dict[str, str]] = {
    "clusters": {
        **_columns("cluster host_name host_address", shard_num="UInt32", replica_num="UInt32", port="UInt16"),
        "is_local": _FLAG,
    },
    "data_skipping_indices": _columns("database table name type type_full expr", granularity=_COUNT),
    "dictionaries": _columns("database name uuid status origin type comment", element_count=_COUNT),
    "disks": _columns("name path type", free_space=_COUNT, total_space=_COUNT),
    "merges": _columns("database table", elapsed="Float64", progress="Float64"),
    "mutations": _columns("database table mutation_id command", is_done=_FLAG),
    "parts": {
        **_columns("database table name partition partition_id part_type engine disk_name path", active=_FLAG),
        **dict.fromkeys(("rows", "bytes", "bytes_on_disk", "marks"), _COUNT),
        **dict.fromkeys(("data_compressed_bytes", "data_uncompressed_bytes", "primary_key_bytes_in_memory"), _COUNT),
        **dict.fromkeys(("modification_time", "min_time", "max_time"), "DateTime('UTC')"),
        **dict.fromkeys(("min_date", "max_date"), "Date"),
    },
    "processes": _columns("query_id user query", elapsed="Float64", read_rows=_COUNT, memory_usage="Int64"),
    "projections": _columns("database table name type query"),
    "query_log": _columns("query_id query user type", event_time="DateTime('UTC')", query_duration_ms=_COUNT),
    "quotas": _columns("name storage"),
    "replicas": _columns("database table engine", is_leader=_FLAG, is_readonly=_FLAG),
    "row_policies": _columns("name database table"),
    "table_functions": _columns("name description", allow_readonly=_FLAG),
    "views": _columns("database name query"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What is told of the server: the engine's version and the rows of `system.functions`."""

    version: str
    functions: Sequence[tuple[Cell, ...]]


def function_rows(functions: Functions, has_function: Callable[[str], bool]) -> list[tuple[Cell, ...]]:
    """The rows of `system.functions`: those that may be used and that the engine has."""
    return [
        (each.name, int(family == "Aggregates"), each.about, each.signature, family, "System")
        for family, members in functions.families.items()
        for each in members
        if has_function(each.name)
    ]


def catalog_of(scope: VisibleSites, user: str, facts: EngineFacts) -> Catalog:
    """What a caller may name besides the two tables."""
    return Catalog(
        databases=frozenset({scope.database, *DATABASES, SYSTEM}),
        tables={(SYSTEM, name): table for name, table in _tables(scope.database, user, facts).items()},
        constants=_constants(scope.database, user, facts.version),
        drops_settings=True,
    )


def statement_of(database: str, table: str) -> str:
    """How the table could have been created, as `SHOW CREATE TABLE` answers."""
    columns = ",\n".join(f"    `{column.name}` {column.type}" for column in TABLES[table].columns)
    return f"CREATE TABLE {database}.{table}\n(\n{columns}\n)\nENGINE = {ENGINE}\nORDER BY ({SORTED_BY[table]})"


def _constants(database: str, user: str, version: str) -> dict[str, Cell]:
    return {
        "version": version,
        **dict.fromkeys(("timezone", "servertimezone"), "UTC"),
        **dict.fromkeys(("displayname", "hostname", "fqdn"), DISPLAY_NAME),
        "revision": REVISION,
        "uptime": 1,
        **dict.fromkeys(("currentuser", "user", "current_user", "initialqueryid", "queryid"), user),
        **dict.fromkeys(("currentdatabase", "current_database", "database", "schema", "currentschema"), database),
    }


def _tables(database: str, user: str, facts: EngineFacts) -> dict[str, VirtualTable]:
    tables = [
        (
            database,
            table.name,
            ENGINE,
            f"{ENGINE} ORDER BY ({SORTED_BY[table.name]})",
            statement_of(database, table.name),
            SORTED_BY[table.name],
            SORTED_BY[table.name],
            table.about,
            1,
            f"['{table.name}']",
        )
        for table in TABLES.values()
    ]
    settings = [(name, "0", "Bool", 0) for name in SWITCHES] + [(name, "", "String", 0) for name in OFTEN]
    named = _columns("name")
    return {
        "databases": VirtualTable(_DATABASES, [(database, "Atomic")]),
        "tables": VirtualTable(_TABLES, tables),
        "columns": VirtualTable(_COLUMNS, _column_rows(database)),
        "functions": VirtualTable(_FUNCTIONS, facts.functions),
        "settings": VirtualTable(_SETTINGS, settings),
        "table_engines": VirtualTable(named, [(ENGINE,)]),
        "formats": VirtualTable(_columns("name", is_output=_FLAG, is_input=_FLAG), [(name, 1) for name in FORMATS]),
        "data_type_families": VirtualTable(
            _columns("name", case_insensitive=_FLAG, alias_to=_TEXT), [(name,) for name in FAMILIES]
        ),
        "users": VirtualTable(_columns("name storage"), [(user,)]),
        "roles": VirtualTable(named, []),
        "current_roles": VirtualTable(_columns("role_name", with_admin_option=_FLAG, is_default=_FLAG), []),
        "enabled_roles": VirtualTable(_columns("role_name", is_current=_FLAG, is_default=_FLAG), []),
        "one": VirtualTable({"dummy": _FLAG}, [(0,)]),
        **{name: VirtualTable(types, []) for name, types in _EMPTY.items()},
    }


@lru_cache(maxsize=256)
def _column_rows(database: str) -> tuple[tuple[Cell, ...], ...]:
    return tuple(
        _column(database, table.name, place, column)
        for table in TABLES.values()
        for place, column in enumerate(table.columns, start=1)
    )


def _column(database: str, table: str, place: int, column: TableColumn) -> tuple[Cell, ...]:
    is_sorted = int(column.name in SORTED_BY[table].split(", "))
    row: tuple[Cell, ...] = (database, table, column.name, column.type, place, column.about, is_sorted, is_sorted)
    return row

"""Types of columns stand in the statement as texts: also those that hold quotes and backslashes themselves."""

from __future__ import annotations

from analytics_server.config import ClickhouseSection, Config
from analytics_server.sql.printer.tables import ROW, TableColumn, _merged
from analytics_server.store import make_store

BACKSLASH = r"Enum8('a\\b' = 1)"


async def test_a_type_is_cast_to_as_it_is_declared(clickhouse_server: str) -> None:
    store = make_store(Config(clickhouse=ClickhouseSection(url=clickhouse_server, database="default", threads=1)))
    await store.open()
    try:
        column = _merged("kind", BACKSLASH, "")
        answer = await store.query(f"SELECT {column.expression} FROM (SELECT 'a\\\\b' AS `kind`) AS `{ROW}`")
        assert answer.rows == [("a\\b",)]

        moment = TableColumn("at", "DateTime64(6, 'UTC')", "", "")
        answer = await store.query(f"SELECT toTypeName({moment.absent})")
        assert answer.rows == [(moment.type,)]
    finally:
        await store.close()

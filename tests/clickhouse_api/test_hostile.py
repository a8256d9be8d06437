"""The hostile texts of SQL, asked through the interface: nothing of another site in any format."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clickhouse_api.conftest import ONE, TWO, Asking
from tests.sql.hostile import FAMILIES
from tests.sql.test_hostile import Places, is_foreign, places
from tests.sql.world import FOREIGN

__all__ = ["places"]

FORMATS = ("JSONCompactEachRow", "TSVWithNamesAndTypes", "RowBinaryWithNames", "Native")
ON_TOP = (
    "SELECT * FROM system.sites",
    "SELECT * FROM system.tables WHERE database != 'analytics'",
    "SELECT * FROM analytics.tokens",
    "SELECT * FROM `sql_test`.`events`",
    "SELECT * FROM `analytics.events`",
    "SELECT * FROM default.salts",
    f"SELECT * FROM `{FOREIGN}`.events",
    f"SHOW TABLES FROM `{FOREIGN}`",
    "SHOW TABLES WHERE name IN (SELECT document FROM tokens)",
    "SHOW TABLES LIKE (SELECT document FROM tokens)",
    "SHOW TABLES LIKE 'x' UNION ALL SELECT document FROM tokens",
    "SHOW TABLES WHERE 1) UNION ALL (SELECT document FROM tokens",
    "SHOW TABLES FROM `x' OR 1 = 1 OR '`",
    "SHOW TABLES LIMIT 1 UNION ALL SELECT 1",
    "EXPLAIN ESTIMATE SELECT * FROM events",
    "DESCRIBE TABLE (SELECT * FROM tokens)",
    "DESCRIBE url('http://127.0.0.1:{port}/')",
    "SELECT 1 INTO OUTFILE '{out}' FORMAT CSV",
    "SELECT * FROM events SETTINGS additional_table_filters = {}",
    "SELECT * FROM events SETTINGS readonly = 0, session_timezone = 'file:{file}'",
    "SELECT '{site:String}', '{site:Array(String)}', path FROM events",
    "WITH system AS (SELECT 1 AS name) SELECT * FROM system.tables, system",
    "WITH tables AS (SELECT document FROM tokens) SELECT * FROM system.tables",
    "SELECT __cells FROM system.tables",
    "SELECT system.tables.document FROM system.tables, events AS tokens",
    "SELECT analytics.tokens.document FROM events AS tokens",
)


@pytest.mark.parametrize("family", [*(name for name in FAMILIES if name != "resource bombs"), "on top"])
async def test_no_row_of_another_site(asking: Asking, places: Places, family: str) -> None:
    texts = ON_TOP if family == "on top" else FAMILIES[family]
    for number, text in enumerate(texts):
        format_ = FORMATS[number % len(FORMATS)]
        reply = await asking.ask(places.fill(text), token=(ONE, TWO)[number % 2], default_format=format_)
        assert reply.status in (200, 400, 429, 503), (text, reply.status)
        answer = reply.body.decode("utf-8", "replace").replace(text, "")
        assert not is_foreign(answer), (text, format_, answer[:500])
        assert reply.status == 200 or answer.startswith("Code: "), (text, answer[:500])
    places.assert_untouched()


async def test_settings_of_the_address_open_nothing(asking: Asking, tmp_path: Path) -> None:
    for name, value in (
        ("readonly", "0"),
        ("additional_table_filters", "{}"),
        ("max_execution_time", "0"),
        ("session_timezone", f"file:{tmp_path}"),
        ("database", ""),
        ("param_site", FOREIGN),
        ("param_user_site", FOREIGN),
        ("date_time_output_format", "simple', readonly = 0 --"),
        ("join_use_nulls", "1, readonly = 0"),
    ):
        reply = await asking.ask("SELECT * FROM events FORMAT JSONEachRow", **{name: value})
        assert reply.status == 200, (name, reply.text)
        assert not is_foreign(reply.text)
        assert FOREIGN not in reply.text

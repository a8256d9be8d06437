"""What the driver for Java (JDBC, 0.9) sends to the root, as recorded: DBeaver and Metabase are built on it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgspec
import pytest

from analytics_server.clickhouse.formats import begins_a_row
from analytics_server.sql.printer.tables import TABLES
from tests.clickhouse_api.conftest import ONE, Asking, Reply
from tests.clickhouse_api.row_binary import Value, rows_of, unpacked
from tests.sql.world import MINE

SENT: dict[str, str] = json.loads((Path(__file__).parent / "jdbc.json").read_text(encoding="utf-8"))
"""The statements of `java.sql.DatabaseMetaData` and of prepared statements, by what asks for them."""

HEADERS = {
    "Content-Type": "text/plain",
    "X-ClickHouse-Format": "RowBinaryWithNamesAndTypes",
    "X-ClickHouse-Query-Id": "aa11a5ee-1577-48c0-b14f-90e3e3cb8a67",
    "X-ClickHouse-Database": "analytics",
    "Authorization": f"Basic {base64.b64encode(f'me:{ONE}'.encode()).decode()}",
    "User-Agent": "ClickHouse JDBC Driver V2/0.9.4 clickhouse-java-v2/0.9.4 (Linux; jvm:17.0.15)",
}
PARAMS = {"query_id": HEADERS["X-ClickHouse-Query-Id"], "async_insert": "0", "wait_end_of_query": "0"}
EMPTY = ("catalogs", "index_info", "exported_keys", "procedures")


async def send(asking: Asking, text: str, **params: str) -> Reply:
    return await asking.send(text, {**PARAMS, **params}, HEADERS, path="/")


async def ask(asking: Asking, text: str) -> list[dict[str, Value]]:
    """The rows, which are the same with and without compression."""
    plain = await send(asking, text)
    assert plain.status == 200, plain.text
    assert plain.headers["X-ClickHouse-Query-Id"] == HEADERS["X-ClickHouse-Query-Id"]
    packed = await send(asking, text, compress="1")
    rows = rows_of(plain.body)
    assert rows_of(unpacked(packed.body)) == rows
    for reply in (plain, packed):
        assert msgspec.json.decode(reply.headers["X-ClickHouse-Summary"])["result_rows"] == str(int(bool(rows)))
    return rows


async def test_the_first_question_has_a_row_by_its_header(asking: Asking) -> None:
    (row,) = await ask(asking, SENT["version"])
    assert str(row["server_version"]).count(".") >= 2
    alive = await send(asking, SENT["alive"])
    assert (alive.headers["X-ClickHouse-Format"], alive.text) == ("TabSeparated", "1\n")


async def test_schemas_and_tables_are_listed(asking: Asking) -> None:
    assert await ask(asking, SENT["schemas"]) == [{"TABLE_SCHEM": "analytics", "TABLE_CATALOG": ""}]
    kinds = [row["TABLE_TYPE"] for row in await ask(asking, SENT["table_types"])]
    tables = await ask(asking, SENT["tables"])
    named = [(row["TABLE_SCHEM"], row["TABLE_NAME"], row["TABLE_TYPE"], row["TYPE_SCHEM"]) for row in tables]
    assert sorted(named, key=str) == [
        ("analytics", "events", "TABLE", "Atomic"),
        ("analytics", "sessions", "TABLE", "Atomic"),
    ]
    assert "TABLE" in kinds


async def test_columns_and_keys_are_described(asking: Asking) -> None:
    columns = await ask(asking, SENT["columns"])
    assert [(row["COLUMN_NAME"], row["TYPE_NAME"], row["REMARKS"]) for row in columns] == [
        (column.name, column.type, column.about) for column in TABLES["events"].columns
    ]
    assert [row["ORDINAL_POSITION"] for row in columns] == list(range(1, len(columns) + 1))
    keys = await ask(asking, SENT["primary_keys"])
    assert [(row["COLUMN_NAME"], row["KEY_SEQ"]) for row in keys] == [("site_id", 1), ("ts", 2)]


async def test_types_functions_and_properties_are_listed(asking: Asking) -> None:
    types = {row["TYPE_NAME"]: row["PRECISION"] for row in await ask(asking, SENT["type_info"])}
    assert (types["Int8"], types["DateTime64"]) == (3, 29)
    assert "uniqExact" in {row["FUNCTION_NAME"] for row in await ask(asking, SENT["functions"])}
    (known,) = await ask(asking, SENT["client_info"])
    assert known == {"NAME": "ApplicationName", "MAX_LEN": 255, "DEFAULT_VALUE": ""} | {
        "DESCRIPTION": "Client application name."
    }
    for name in EMPTY:
        assert await ask(asking, SENT[name]) == [], name


async def test_parameters_of_a_prepared_statement_are_read(asking: Asking) -> None:
    first, _ = await ask(
        asking, SENT["prepared"].replace("one.example", MINE).replace(" LIMIT 2", " ORDER BY path LIMIT 2")
    )
    values = list(first.values())
    assert values[:5] == ['it\'s\ta \\ "x" ü ?', -5, 1.5, 1_793_491_200_000_000_000, 1_793_525_400_500_000_000]
    (counted,) = await ask(asking, SENT["prepared_times"].split(" AND path")[0])
    (all_,) = await ask(asking, "SELECT count() FROM events")
    assert counted == all_
    assert all_["count()"] != 0


async def test_refusals_are_read_as_the_driver_reads_them(asking: Asking) -> None:
    for text, code in (
        ("INSERT INTO events (path) VALUES ('x')", "392"),
        ("SELECT * FROM system.query_thread_log", "60"),
        ("SELECT sum(a.number + b.number) FROM numbers(1000000) AS a, numbers(1000000) AS b", "159"),
    ):
        reply = await send(asking, text, compress="1")
        assert (reply.status, reply.code) == (400, code)
        assert unpacked(reply.body).startswith(f"Code: {code}. DB::Exception: ".encode())
    stranger = {**HEADERS, "Authorization": f"Basic {base64.b64encode(b'me:ast_other').decode()}"}
    refused = await asking.send("SELECT 1", {**PARAMS, "compress": "1"}, stranger, path="/")
    assert (refused.status, refused.code) == (401, "516")
    assert refused.text.startswith("Code: 516. DB::Exception: ")  # never packed


async def test_statements_without_an_answer_are_taken(asking: Asking) -> None:
    for text in ("USE analytics", "SET readonly=1", "SET ROLE NONE", "SET session_timezone='Europe/Berlin'"):
        reply = await send(asking, text, role="a")
        assert (reply.status, reply.body) == (200, b""), text


async def test_what_dbeaver_asks_besides(asking: Asking) -> None:
    """Its own statements over the driver: statistics, types by a UNION, definitions, a page of rows."""
    size = "sum(bytes) AS table_size, max(modification_time) AS latest, min(min_date) AS a, max(max_date) AS b"
    assert (
        await ask(asking, f"SELECT {size} FROM system.parts WHERE database='analytics' AND active GROUP BY table") == []
    )
    types = (
        "SELECT dt.name AS type, not(dt.case_insensitive)::Boolean AS cased, attrs.c2 AS digits"
        " FROM system.data_type_families dt"
        " LEFT JOIN (SELECT 'Int8' AS c1, 3 AS c2 UNION ALL SELECT 'Date', 10) AS attrs"
        " ON (dt.name = attrs.c1 OR dt.alias_to = attrs.c1) WHERE dt.name IN ('Date', 'Int8') ORDER BY type"
    )
    assert await ask(asking, types) == [
        {"type": "Date", "cased": True, "digits": 10},
        {"type": "Int8", "cased": True, "digits": 3},
    ]
    assert await ask(asking, "SELECT name FROM system.table_engines") == [{"name": "MergeTree"}]
    (made,) = await ask(asking, "SHOW CREATE TABLE analytics.events")
    assert str(made["statement"]).startswith("CREATE TABLE analytics.events\n(")
    tables = (
        "SELECT name AS TABLE_NAME, engine AS TABLE_TYPE, comment AS REMARKS FROM system.tables\nWHERE name='events'"
    )
    assert [row["TABLE_TYPE"] for row in await ask(asking, tables)] == ["MergeTree"]
    page = await ask(asking, "SELECT x.path FROM analytics.events x ORDER BY x.ts DESC LIMIT 0, 2")
    assert len(page) == 2


async def test_what_metabase_asks_besides(asking: Asking) -> None:
    version = (
        "WITH s AS (SELECT version() AS ver, splitByChar('.', ver) AS parts) SELECT toInt32(parts[1]) AS major FROM s"
    )
    assert [row["major"] for row in await ask(asking, version)] != [0]
    assert await ask(asking, "SELECT value='1' FROM system.settings WHERE name='cloud_mode'") == []
    (single,) = await ask(asking, "SELECT count() = 0 AS n FROM system.clusters WHERE is_local = 0")
    assert single == {"n": 1}
    day = "toStartOfDay(toTimeZone(`analytics`.`events`.`ts`, 'Europe/Berlin'))"
    counted = (
        "-- Metabase:: userID: 1\nSELECT toUInt8(count(*) > 0) AS n FROM `analytics`.`events`"
        " WHERE `analytics`.`events`.`ts`"
        f" < parseDateTime64BestEffort('2100-01-01 00:00:00.500', 3, 'UTC') GROUP BY {day} ORDER BY {day} ASC LIMIT 1"
    )
    assert await ask(asking, counted) == [{"n": 1}]
    told = await send(asking, "SELECT toString(toDateTime(0)) AS t FORMAT TSV", session_timezone="Europe/Berlin")
    assert (
        "X-ClickHouse-Dropped-Settings" not in told.headers
        or "timezone" not in (told.headers["X-ClickHouse-Dropped-Settings"])
    )


async def test_superset_names_the_time_of_a_chart(asking: Asking) -> None:
    chart = "SELECT toStartOfDay(ts) AS __timestamp, count(*) AS count FROM analytics.events GROUP BY __timestamp"
    assert (await send(asking, f"{chart} FORMAT TSV")).status == 200
    for name in ("__timestamp_", "__with_x", "__row"):
        assert (await send(asking, f"SELECT 1 AS {name}")).code == "392"


@pytest.mark.parametrize(
    ("body", "has_row"),
    [
        (b"", False),
        (b"\x01", False),
        (b"\x01\x01a", False),
        (b"\x01\x01a\x06Stri", False),
        (b"\x01\x01a\x06String", False),
        (b"\x01\x01a\x06String\x00", True),
        (b"\x02\x01a\x01b\x05UInt8\x05UInt8", False),
        (b"\x02\x01a\x01b\x05UInt8\x05UInt8\x00\x00", True),
        (b"\x01\x80\x01" + b"a" * 128 + b"\x05UInt8", False),
        (b"\x01\x80\x01" + b"a" * 128 + b"\x05UInt8\x07", True),
    ],
)
def test_a_row_begins_behind_names_and_types(body: bytes, has_row: bool) -> None:
    assert begins_a_row(body) is has_row

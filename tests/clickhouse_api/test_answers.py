"""Formats, statements and system tables, as clients ask for them on connecting."""

from __future__ import annotations

import gzip
import io
import re
import struct
from collections.abc import Iterator

import lz4.block
import pyarrow.ipc  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from clickhouse_cityhash.cityhash import CityHash128
from pytest_aiohttp.plugin import AiohttpClient

from analytics_server.clickhouse.failures import failure_behind_rows
from analytics_server.clickhouse.formats import FORMATS, without_format, words_of
from analytics_server.errors import StoreTimeout
from analytics_server.sql.printer.tables import TABLES
from analytics_server.store import Store
from tests.clickhouse_api.conftest import ALL, ONE, Asking, serve
from tests.clickhouse_api.row_binary import varint
from tests.sql.conftest import make_service
from tests.sql.world import FOREIGN, MINE

ROWS = "SELECT number AS n, concat('r', toString(number)) AS t FROM numbers(3)"


def text(data: io.BytesIO) -> str:
    return data.read(varint(data)).decode()


def native(body: bytes, revision: int = 0) -> Iterator[tuple[str, str, bytes | list[str]]]:
    """The first block's columns, of texts and of numbers of a fixed width, as a client of a revision reads them."""
    data = io.BytesIO(body)
    if revision:
        assert data.read(8) == b"\x01\x00\x02\xff\xff\xff\xff\x00"
    columns, rows = varint(data), varint(data)
    for _ in range(columns):
        name, type_ = text(data), text(data)
        if revision >= 54_454:
            assert data.read(1) == b"\x00"
        if type_ == "String":
            yield name, type_, [text(data) for _ in range(rows)]
        else:
            yield name, type_, data.read(rows * int(type_.removeprefix("UInt")) // 8)


async def test_each_format_is_the_engines_own(asking: Asking) -> None:
    for name, kind in FORMATS.items():
        reply = await asking.ask(f"{ROWS} FORMAT {name}")
        assert (reply.status, reply.headers["X-ClickHouse-Format"]) == (200, name), reply.text
        assert reply.headers["Content-Type"] == kind
        assert b"r2" in reply.body or name in ("Null", "Parquet")
    for params, headers in (({"default_format": "csv"}, {}), ({}, {"X-ClickHouse-Format": "CSV"})):
        named = await asking.send(ROWS, params, {"X-ClickHouse-Key": ONE, **headers})
        assert named.text == '0,"r0"\n1,"r1"\n2,"r2"\n'


async def test_what_machines_read_holds_the_same_rows(asking: Asking) -> None:
    values = {"n": [0, 1, 2], "t": ["r0", "r1", "r2"]}
    parquet = (await asking.ask(f"{ROWS} FORMAT Parquet")).body
    assert pyarrow.parquet.read_table(io.BytesIO(parquet))["n"].to_pylist() == values["n"]
    arrow = pyarrow.ipc.open_stream((await asking.ask(f"{ROWS} FORMAT ArrowStream")).body).read_all()
    assert arrow["n"].to_pylist() == values["n"]
    assert (await asking.ask(f"{ROWS} FORMAT JSONColumns")).json == values
    row_binary = (await asking.ask(f"{ROWS} FORMAT RowBinary")).body
    assert row_binary == b"".join(n.to_bytes(8, "little") + f"\x02r{n}".encode() for n in range(3))
    for revision in ("0", "54405", "54460"):
        reply = await asking.ask(f"{ROWS} FORMAT Native", client_protocol_version=revision)
        (_, kind, numbers), (name, _, texts) = native(reply.body)
        assert (kind, numbers) == ("UInt64", b"".join(n.to_bytes(8, "little") for n in range(3)))
        assert (name, texts) == ("t", values["t"])


async def test_the_first_block_for_clickhouse_go_is_at_its_revision(asking: Asking) -> None:
    hello = "SELECT displayName(), version(), revision(), timezone()"
    for revision in (54_405, 54_460):
        reply = await asking.ask(hello, default_format="Native", client_protocol_version=str(revision))
        found = {name: value for name, _, value in native(reply.body, revision)}
        assert found["displayName()"] == ["analytics-server"]
        assert found["revision()"] == bytes(4)
        assert found["timezone()"] == ["UTC"]
    plain = (await asking.ask(f"{hello} FORMAT TSV")).text.split("\t")
    assert plain[1] == found["version()"][0]


def test_the_format_clause_is_cut_off_and_nothing_else() -> None:
    for written, rest, name in (
        ("SELECT 1 FORMAT JSON", "SELECT 1", "JSON"),
        ("SELECT 1\nformat\tjsoncompact ; ", "SELECT 1", "JSONCompact"),
        ("SELECT 1 FORMAT TSV -- as texts", "SELECT 1", "TSV"),
        ("SELECT 1 SETTINGS a = 1 FORMAT CSV", "SELECT 1 SETTINGS a = 1", "CSV"),
        ("SELECT 1 FORMAT CSV SETTINGS a = 1", "SELECT 1  SETTINGS a = 1", "CSV"),
        ("SELECT 'x FORMAT JSON'", "SELECT 'x FORMAT JSON'", ""),
        ("SELECT format, json FROM t", "SELECT format, json FROM t", ""),
        ("SELECT (SELECT 1 FORMAT JSON)", "SELECT (SELECT 1 FORMAT JSON)", ""),
        ("SELECT 1 /* FORMAT JSON", "SELECT 1 /* FORMAT JSON", ""),
        ("SELECT 'x\\' FORMAT JSON", "SELECT 'x\\' FORMAT JSON", ""),
    ):
        assert without_format(written) == (rest, name)


@pytest.mark.parametrize("part", ["\\'", '\\"', "\\`", "'a", "/*", "--", "*/", "'\\"])
def test_no_text_takes_long_to_cut_into_words(part: str) -> None:
    """Looked at again from each of its characters, a text of this length would take minutes."""
    for end in ("", "\\", "\n"):
        text = "SELECT 1 " + part * (200_000 // len(part)) + end
        words = words_of(text)
        assert [word.text for word in words[:2]] == ["SELECT", "1"]
        assert without_format(text)[1] == ""


async def test_a_text_is_as_long_as_any_sql_with_a_format_behind_it(asking: Asking) -> None:
    most = asking.service.limits.max_chars
    head, tail = "SELECT 1", " FORMAT JSONCompactStringsEachRowWithNamesAndTypes;"
    assert (await asking.ask(head + " " * (most - len(head)) + tail)).status == 200
    for text in (head + " " * (most - len(head)) + "\n+1" + tail, head + "\\'" * 100_000, head + "+1" * 9_000):
        reply = await asking.ask(text)
        assert (reply.status, reply.code) == (400, "168"), reply.text


async def test_gzip_is_sent_to_those_who_ask_twice(asking: Asking) -> None:
    key = {"X-ClickHouse-Key": ONE, "Accept-Encoding": "gzip, br"}
    many = "SELECT number FROM numbers(900)"
    for params, headers, is_packed in (
        ({"enable_http_compression": "1"}, key, True),
        ({"enable_http_compression": "0"}, key, False),
        ({}, key, False),
        ({"enable_http_compression": "1"}, {**key, "Accept-Encoding": "identity"}, False),
    ):
        async with asking.http.post(
            "/clickhouse/", params=params, data=many, headers=headers, auto_decompress=False
        ) as answer:
            body = await answer.read()
            assert (answer.headers.get("Content-Encoding") == "gzip") == is_packed
        assert (gzip.decompress(body) if is_packed else body) == b"".join(b"%d\n" % n for n in range(900))


async def test_blocks_of_clickhouse_hold_the_answer(asking: Asking) -> None:
    for rows in (0, 900):
        reply = await asking.ask(f"SELECT number FROM numbers({rows})", compress="1")
        data, whole = reply.body, b""
        while data:
            first, second, method, packed, unpacked = struct.unpack("<QQBII", data[:25])
            assert method == 0x82
            assert CityHash128(data[16 : 16 + packed]) == first << 64 | second
            whole += lz4.block.decompress(data[25 : 16 + packed], uncompressed_size=unpacked)
            data = data[16 + packed :]
        assert whole == b"".join(b"%d\n" % n for n in range(rows))
    failed = await asking.ask("SELECT * FROM nothing", compress="1")
    assert b"Code: 60. DB::Exception: " in lz4.block.decompress(failed.body[25:], uncompressed_size=1_000)
    refused = await asking.ask("SELECT 1", token="ast_other", compress="1")
    assert refused.text.startswith("Code: 516. ")


async def test_statements_that_clients_send(asking: Asking) -> None:
    for statement, answer in (
        ("SHOW DATABASES", "analytics\n"),
        ("SHOW TABLES", "events\nsessions\n"),
        ('SHOW TABLES FROM "analytics"', "events\nsessions\n"),
        ("SHOW TABLES FROM default", "events\nsessions\n"),
        ("SHOW FULL TABLES IN `analytics` LIKE 'ev%' LIMIT 5;", "events\n"),
        ("SHOW TABLES NOT LIKE 'ev%'", "sessions\n"),
        ("SHOW TABLES WHERE name = 'events' OR name = 'x' LIMIT 1", "events\n"),
        ("SHOW TABLES FROM nothing", ""),
        ("SHOW FUNCTIONS LIKE 'windowFunnel'", "windowFunnel\n"),
        ("EXISTS events", "1\n"),
        ("EXISTS TABLE `default`.`sessions`", "1\n"),
        ("EXISTS TABLE analytics.tokens", "0\n"),
        ("EXISTS TABLE system.tables", "1\n"),
        ("EXISTS DATABASE analytics", "1\n"),
        ("EXISTS DATABASE sql_test", "0\n"),
        ("USE anything", ""),
        ("SET ROLE NONE", ""),
        ("set max_threads = 4", ""),
        ("SELECT currentUser() AS user, timezone() AS timezone, currentDatabase()", "one\tUTC\tanalytics\n"),
        ("SELECT 1 FROM system.one", "1\n"),
    ):
        reply = await asking.ask(statement)
        assert (reply.status, reply.text) == (200, answer), statement
    assert (await asking.ask("SELECT version() AS v, 1 FORMAT CSVWithNames")).text.startswith('"v","1"\n"')
    described = (await asking.ask("DESC TABLE analytics.events FORMAT JSONCompact")).json
    assert [column["name"] for column in described["meta"]][:3] == ["name", "type", "default_type"]
    assert [row[:2] for row in described["data"]] == [[c.name, c.type] for c in TABLES["events"].columns]
    assert (await asking.ask("DESCRIBE system.one")).text.startswith("dummy\tUInt8\t")
    created = (await asking.ask("SHOW CREATE TABLE sessions FORMAT TSVRaw")).text
    assert created.startswith("CREATE TABLE analytics.sessions\n(\n    `site_id` String,\n")
    assert (await asking.ask("SHOW COLUMNS FROM sessions FROM analytics")).text.startswith("site_id\tString\tNO\t")


async def test_formats_for_people_stop_at_as_many_rows_as_all_others(
    aiohttp_client: AiohttpClient, filled: tuple[str, Store]
) -> None:
    asking = await serve(aiohttp_client, make_service(filled[1], rows=1_500))
    for format_ in ("PrettyCompactMonoBlock", "PrettySpaceNoEscapes", "Pretty", "Vertical", "TSV"):
        reply = await asking.ask(f"SELECT number + 70000 AS n FROM numbers(1600) FORMAT {format_}")
        assert reply.headers["X-Row-Limit"] == "1500"
        assert len(re.findall(r"\b7[01]\d{3}\b", reply.text)) == 1_501, (format_, reply.text[-300:])


async def test_explain_shows_the_guarded_text(asking: Asking) -> None:
    for kind in ("", "PLAN ", "SYNTAX ", "PIPELINE graph = 1 "):
        reply = await asking.ask(f"EXPLAIN {kind}SELECT path FROM events FORMAT TSVRaw")
        assert "PREWHERE `__row`.`site_id` = {site:String}" in reply.text
        assert "FROM `analytics`.`events`" in reply.text
    named = await asking.ask("EXPLAIN SELECT path FROM events FORMAT TSVRaw", database=MINE)
    assert f"FROM `{MINE}`.`events`" in named.text
    refused = await asking.ask("EXPLAIN SELECT * FROM tokens")
    assert refused.code == "60"
    for words in (
        "INSERT INTO events VALUES (1)",
        "INSERT INTO events SELECT 1",
        "DROP SELECT 1",
        "= 1 SELECT 1",
        "PLAN",
    ):
        assert (await asking.ask(f"EXPLAIN {words}")).code == "62", words


async def test_explain_takes_turns_like_any_question(aiohttp_client: AiohttpClient, filled: tuple[str, Store]) -> None:
    service = make_service(filled[1], site_queries=1)
    asking = await serve(aiohttp_client, service)
    slot = await service._slots.acquire([MINE])
    for text in ("EXPLAIN SELECT 1", "EXPLAIN SELECT * FROM tokens", "SELECT 1"):
        for token in (ONE, ALL):
            reply = await asking.ask(text, token=token)
            assert (reply.status, reply.code) == (429, "202"), reply.text
    service._slots.release(slot)
    assert (await asking.ask("EXPLAIN SELECT 1")).status == 200
    assert not service._slots._present


async def test_a_text_waits_so_long_for_those_in_front(
    aiohttp_client: AiohttpClient, filled: tuple[str, Store]
) -> None:
    service = make_service(filled[1], wait_s=0.1)
    asking = await serve(aiohttp_client, service)
    async with service._reading:
        for text in ("SELECT 1", "EXPLAIN SELECT 1"):
            reply = await asking.ask(text)
            assert (reply.status, reply.code) == (503, "202"), reply.text
            assert "[sql] queries, wait_s" in reply.text
    assert (await asking.ask("SELECT 1")).text == "1\n"
    assert not service._slots._present


async def test_system_tables_show_what_may_be_seen(asking: Asking) -> None:
    tables = "clusters columns databases functions one parts processes query_log settings table_engines tables users"
    for table in tables.split():
        for token in (ONE, ALL):
            reply = await asking.ask(f"SELECT * FROM system.{table} FORMAT JSONCompact", token=token)
            assert reply.status == 200, (table, reply.text)
            assert FOREIGN not in reply.text
            assert MINE not in reply.text
    joined = (
        "SELECT t.name AS name, d.name AS d, t.engine, uuid FROM system.tables AS t JOIN system.databases AS d"
        " ON t.database = d.name WHERE t.name ILIKE 'EV%' AND NOT is_temporary ORDER BY name"
    )
    assert (await asking.ask(joined)).text == "events\tanalytics\tMergeTree\t00000000-0000-0000-0000-000000000000\n"
    assert (await asking.ask("SELECT system.tables.name FROM system.tables LIMIT 1")).text == "events\n"
    columns = "SELECT count(), max(position) FROM system.columns WHERE database = 'analytics' AND table = 'events'"
    count = len(TABLES["events"].columns)
    assert (await asking.ask(columns)).text == f"{count}\t{count}\n"
    many = " UNION ALL ".join(["SELECT * FROM system.functions"] * 3)
    assert (await asking.ask(f"SELECT uniqExact(name) > 100 FROM ({many})")).text == "1\n"
    union = "SELECT name FROM system.functions UNION ALL SELECT name FROM system.table_functions LIMIT 10000"
    assert "windowFunnel\n" in (await asking.ask(union)).text
    assert (await asking.ask("SELECT name, value, readonly FROM system.settings LIMIT 10000")).status == 200
    assert (await asking.ask("SELECT value FROM system.settings WHERE name = 'cloud_mode'")).text == ""


async def test_columns_may_be_written_with_database_and_table(asking: Asking) -> None:
    written = (
        "SELECT `analytics`.`events`.`site_id` AS s, count(*) > 0 AS c FROM `analytics`.`events`"
        " WHERE `analytics`.`events`.`ts` > toDateTime64('2020-01-01 00:00:00', 6, 'UTC')"
        " GROUP BY `analytics`.`events`.`site_id`"
    )
    assert (await asking.ask(written)).text == f"{MINE}\t1\n"
    assert (await asking.ask("SELECT analytics.events.props.plan != '' FROM analytics.events LIMIT 1")).status == 200


async def test_errors_name_the_database_and_end_as_sentences_do(asking: Asking) -> None:
    reply = await asking.ask("SELECT 1 FROM `other.example`.events")
    assert "no table other.example.events here: there are events and sessions, in the database analytics." in reply.text
    reply = await asking.ask("SELECT pth FROM events")
    assert reply.text.endswith(" Did you mean path? (UNKNOWN_IDENTIFIER)\n")


async def test_an_error_behind_the_first_rows_is_marked_as_clickhouse_does(asking: Asking) -> None:
    tags = [(await asking.ask(ROWS)).headers["X-ClickHouse-Exception-Tag"] for _ in range(2)]
    assert tags[0] != tags[1]
    assert all(re.fullmatch("[0-9a-f]{16}", tag) for tag in tags)
    told = "Code: 159. DB::Exception: Zu spät. (TIMEOUT_EXCEEDED)\n"
    assert failure_behind_rows(StoreTimeout("Zu spät."), tags[0]).decode() == (
        f"\r\n__exception__\r\n{tags[0]}\r\n{told}{len(told) + 1} {tags[0]}\r\n__exception__\r\n"
    )

"""ClickHouse's JSON is passed on piece by piece, wherever it is cut; turns are counted."""

from __future__ import annotations

import msgspec
import pytest

from analytics_server.errors import StoreError, StoreFatal, StoreRetryable
from analytics_server.sql.answer import JsonAnswer, SqlAnswer
from analytics_server.sql.engine_errors import explain
from analytics_server.sql.refusal import SqlRefused
from tests.sql.conftest import SqlClient

WHOLE = b"""{
\t"meta":
\t[
\t\t{
\t\t\t"name": "],",
\t\t\t"type": "String"
\t\t}
\t],

\t"data":
\t[
\t\t["],"],
\t\t["\\"data\\":\\n]"],
\t\t[1]
\t],

\t"rows": 3,

\t"statistics":
\t{
\t\t"elapsed": 0.1,
\t\t"rows_read": 5,
\t\t"bytes_read": 9
\t}
}
"""


@pytest.mark.parametrize("size", [1, 2, 7, 50, 10_000])
@pytest.mark.parametrize(("most", "cut"), [(2, True), (3, False)])
def test_json_is_the_same_however_it_is_cut(size: int, most: int, cut: bool) -> None:
    shape = JsonAnswer(most)
    written = b"".join(shape.feed(WHOLE[at : at + size]) for at in range(0, len(WHOLE), size)) + shape.end(1.26, 3)
    answer = msgspec.json.decode(written, type=SqlAnswer)
    assert answer.columns[0].name == "],"
    assert answer.rows == [["],"], ['"data":\n]'], [1]][:most]
    assert (answer.meta.rows_read, answer.meta.bytes_read, answer.meta.elapsed_ms) == (3, 3_000, 1.3)
    assert answer.meta.truncated is cut


def test_half_an_answer_is_an_error() -> None:
    shape = JsonAnswer(10)
    shape.feed(WHOLE[:150])
    with pytest.raises(StoreFatal):
        shape.end(1.0, 3)


@pytest.mark.parametrize(("rows", "truncated"), [(999, False), (1_000, False), (1_001, True)])
async def test_rows_are_cut_at_the_limit(sql_client: SqlClient, rows: int, truncated: bool) -> None:
    answer = await sql_client.ask(f"SELECT arrayJoin(range({rows})) AS n ORDER BY n")
    assert len(answer["rows"]) == min(rows, 1_000)
    assert answer["rows"][-1] == [min(rows, 1_000) - 1]
    assert answer["meta"]["truncated"] is truncated
    union = await sql_client.ask(f"SELECT arrayJoin(range({rows})) AS n UNION ALL SELECT 1 WHERE 0")
    assert (len(union["rows"]), union["meta"]["truncated"]) == (min(rows, 1_000), truncated)


async def test_other_formats(sql_client: SqlClient) -> None:
    query = "SELECT * FROM (SELECT 'a,\"b\n' AS t, 1 AS n UNION ALL SELECT 'c', 2) ORDER BY n"
    assert await sql_client.raw(query, format_="csv") == b'"t","n"\n"a,""b\n",1\n"c",2\n'
    lines = (await sql_client.raw(query, format_="ndjson")).splitlines()
    assert [msgspec.json.decode(line) for line in lines] == [{"t": 'a,"b\n', "n": 1}, {"t": "c", "n": 2}]
    parquet = await sql_client.raw(query, format_="parquet")
    assert parquet.startswith(b"PAR1")
    assert parquet.endswith(b"PAR1")
    assert await sql_client.raw("SELECT path FROM events WHERE 0", format_="csv") == b'"path"\n'
    with pytest.raises(SqlRefused, match="json, csv"):
        await sql_client.raw("SELECT 1", format_="xml")


async def test_limits_end_a_query(sql_client: SqlClient) -> None:
    for query, code in (
        ("SELECT count() FROM events a, events b, events c, events d", "sql_timeout"),
        ("SELECT length(groupArray(a.title || b.title || c.title)) FROM events a, events b, events c", "sql_memory"),
    ):
        with pytest.raises(SqlRefused) as caught:
            await sql_client.ask(query)
        assert caught.value.code == code, query
    assert await sql_client.rows("SELECT 1") == [[1]]


@pytest.mark.parametrize(
    ("error", "text", "code", "message"),
    [
        (
            StoreFatal(
                "A query failed: Code: 47. DB::Exception: Unknown expression or function identifier `pth` in scope"
                " SELECT pth FROM analytics.events AS __row. (UNKNOWN_IDENTIFIER)",
                engine_code=47,
            ),
            "SELECT\n pth FROM events",
            "unknown_column",
            "Line 2, column 2: There is no column pth here. Did you mean path?",
        ),
        (
            StoreFatal("Code: 6. DB::Exception: Cannot parse string '/secret/of/another' as UInt64", engine_code=6),
            "SELECT toUInt64(path) FROM events",
            "sql_failed",
            "ClickHouse can't run this: Cannot parse string … as UInt64.",
        ),
        (
            StoreFatal("Code: 36. DB::Exception: Bad thing in /var/lib/clickhouse/x. (BAD_ARGUMENTS)", engine_code=36),
            "SELECT 1",
            "sql_failed",
            "ClickHouse can't run this query (BAD_ARGUMENTS).",
        ),
        (
            StoreFatal("Code: 60. DB::Exception: Table analytics.x does not exist. (UNKNOWN_TABLE)", engine_code=60),
            "SELECT 1",
            "sql_failed",
            "ClickHouse can't run this query (UNKNOWN_TABLE).",
        ),
        (StoreFatal("x", engine_code=46), "SELECT 1", "unknown_function", "This server's ClickHouse lacks"),
        (StoreFatal("x", engine_code=158), "SELECT 1", "sql_too_much_read", "reads more"),
        (StoreRetryable("http://host/?secret", engine_code=210), "SELECT 1", "store_unavailable", "just now"),
    ],
)
def test_complaints_repeat_only_what_the_user_wrote(error: StoreError, text: str, code: str, message: str) -> None:
    explained = explain(error, text)
    assert getattr(explained, "code", "") == code
    assert message in str(explained)
    assert "secret" not in str(explained)

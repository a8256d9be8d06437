"""The test server must behave like ClickHouse where the product relies on it, and misbehave on request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, Error, OperationalError
from clickhouse_connect.driver.external import ExternalData

from tests.clickhouse import ClickHouseFront
from tests.clickhouse_front.errors import EngineError, from_engine
from tests.clickhouse_front.faults import Fault
from tests.clickhouse_front.statement import outline

ENDLESS = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1"

Connect = Callable[..., Client]


def client_of(front: ClickHouseFront, **options: Any) -> Client:
    parts = urlsplit(front.url)
    return clickhouse_connect.get_client(
        host=parts.hostname, port=parts.port, autogenerate_session_id=False, dedicated_pool=True, **options
    )


@pytest.fixture
def client(clickhouse_front: ClickHouseFront) -> Iterator[Client]:
    client = client_of(clickhouse_front)
    client.command("CREATE OR REPLACE TABLE t (a Int64, b String) ENGINE = MergeTree ORDER BY a")
    yield client
    client.close()


def count(client: Client) -> int:
    return int(client.query("SELECT count() FROM t").result_rows[0][0])


def insert(client: Client, rows: int = 3) -> None:
    client.insert("t", [[number, "é'\n"] for number in range(rows)], column_names=["a", "b"])


# ---- like ClickHouse -------------------------------------------------------


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", False])
def test_inserts_and_reads_in_every_encoding(
    client: Client,
    clickhouse_front: ClickHouseFront,
    encoding: str | bool,
) -> None:
    packed = client_of(clickhouse_front, compress=encoding)
    summary = packed.insert("t", [[n, "x" * 100] for n in range(5000)], column_names=["a", "b"]).summary
    assert summary["written_rows"] == "5000"
    assert packed.query("SELECT a FROM t ORDER BY a").result_rows == [(n,) for n in range(5000)]
    packed.close()


def test_inserts_in_text_formats_from_body_and_url(client: Client) -> None:
    client.raw_insert("t", ["a", "b"], b'{"a":1,"b":"x;y"}\n{"a":2,"b":"z"}\n', fmt="JSONEachRow")
    client.raw_insert("t", ["a", "b"], (line for line in (b"3,q\n", b"4,r\n")), fmt="CSV")
    client.command("INSERT INTO t VALUES (5, 'a;b'), (6, 'c')")
    client.command("INSERT INTO t SETTINGS max_threads = 1 FORMAT TSV", data="7\tx\n")
    assert client.query("SELECT groupArray(a) FROM (SELECT a FROM t ORDER BY a)").result_rows == [
        ([1, 2, 3, 4, 5, 6, 7],)
    ]


def test_names_the_columns_of_an_empty_answer(client: Client) -> None:
    assert client.query("SELECT a, b FROM t WHERE a > {n:Int64}", parameters={"n": 9}).column_names == ("a", "b")


def test_counts_rows_read_apart_from_rows_answered(client: Client) -> None:
    insert(client, 1000)
    summary = client.query("SELECT count() FROM t WHERE b != ''").summary
    assert (summary["read_rows"], summary["result_rows"]) == ("1000", "1")


def test_reads_external_data_and_long_parameters_from_a_form(client: Client) -> None:
    extra = ExternalData(file_name="extra.csv", data=b"1,a\n2,b\n", fmt="CSV", structure="n Int32, s String")
    assert client.query("SELECT s FROM extra WHERE n = 2", external_data=extra).result_rows == [("b",)]
    assert client.query("SELECT length({s:String})", parameters={"s": "x" * 100_000}).result_rows == [(100_000,)]


def test_keeps_settings_and_temporary_tables_in_a_session_only(
    client: Client,
    clickhouse_front: ClickHouseFront,
) -> None:
    session = client_of(clickhouse_front, session_id="s1")
    session.command("CREATE TEMPORARY TABLE mine (n Int8)")
    session.command("INSERT INTO mine VALUES (4)")
    with pytest.raises(DatabaseError):
        session.query("SELECT throwIf(number = 3) FROM numbers(9) SETTINGS max_block_size = 1")
    assert session.query("SELECT n FROM mine").result_rows == [(4,)]
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        client.query("SELECT n FROM mine")
    session.close()


@pytest.mark.parametrize(
    ("sql", "code", "name"),
    [
        ("SELEC 1", 62, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", 62, "SYNTAX_ERROR"),
        ("SELECT nothing", 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT 1 FROM nowhere", 60, "UNKNOWN_TABLE"),
        ("SELECT 1 SETTINGS max_threadz = 1", 115, "UNKNOWN_SETTING"),
        ("SELECT throwIf(number = 3) FROM numbers(9)", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        (
            "SELECT groupArray(number) FROM numbers(9000000) SETTINGS max_memory_usage = 1000000",
            241,
            "MEMORY_LIMIT_EXCEEDED",
        ),
        (ENDLESS + " SETTINGS max_execution_time = 0.2", 159, "TIMEOUT_EXCEEDED"),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", 358, "INTO_OUTFILE_NOT_ALLOWED"),
        ("INSERT INTO t FROM INFILE '/etc/passwd' FORMAT LineAsString", 78, "UNKNOWN_TYPE_OF_QUERY"),
    ],
)
def test_answers_a_failed_statement_with_code_and_name(client: Client, sql: str, code: int, name: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        client.command(sql)
    assert (caught.value.code, caught.value.name) == (code, name)


def test_an_unreadable_row_fails_the_insert_and_leaves_nothing(client: Client) -> None:
    with pytest.raises(DatabaseError, match="CANNOT_PARSE"):
        client.raw_insert("t", ["a", "b"], b'{"a":1,"b":"x"}\n{"a":"q","b":"z"}\n', fmt="JSONEachRow")
    assert count(client) == 0


def test_kill_query_sync_returns_when_the_query_has_ended(client: Client) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.query, ENDLESS, settings={"query_id": "victim"})
        processes = "SELECT query_id FROM system.processes WHERE query_id = 'victim'"
        while not client.query(processes).result_rows:
            assert not running.done()
        assert client.command("KILL QUERY WHERE query_id = 'victim' SYNC")[:2] == ["finished", "victim"]  # type: ignore[index]
        assert not client.query(processes).result_rows
        with pytest.raises(DatabaseError, match="QUERY_WAS_CANCELLED"):
            running.result()


def test_refuses_a_second_query_with_the_same_id(client: Client, clickhouse_front: ClickHouseFront) -> None:
    clickhouse_front.faults.add(Fault(kind="stall"))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.query, "SELECT 1", settings={"query_id": "same"})
        clickhouse_front.faults.wait_stalled()
        with pytest.raises(DatabaseError, match="QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING"):
            client.query("SELECT 2", settings={"query_id": "same"})
        clickhouse_front.faults.release()
        assert first.result().result_rows == [(1,)]


async def test_serves_the_async_client(clickhouse_front: ClickHouseFront) -> None:
    parts = urlsplit(clickhouse_front.url)
    client = await clickhouse_connect.get_async_client(host=parts.hostname, port=parts.port)
    await client.command("CREATE OR REPLACE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
    await client.insert("t", [[1], [2]], column_names=["a"])
    assert (await client.query("SELECT sum(a) FROM t")).result_rows == [(3,)]
    await client.close()


# ---- killed and restarted --------------------------------------------------


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_keeps_its_data_and_port_over_a_restart(
    client: Client,
    clickhouse_front: ClickHouseFront,
    end: str,
) -> None:
    insert(client)
    url = clickhouse_front.url
    getattr(clickhouse_front, end)()
    with pytest.raises(OperationalError, match="refused"):
        client.query("SELECT 1")
    assert clickhouse_front.start() == url
    assert count(client) == 3


# ---- misbehaving -----------------------------------------------------------


def test_stalls_an_insert_until_released(client: Client, clickhouse_front: ClickHouseFront) -> None:
    clickhouse_front.faults.add(Fault(kind="stall", statement="insert"))
    with ThreadPoolExecutor(1) as pool:
        inserting = pool.submit(insert, client)
        clickhouse_front.faults.wait_stalled()
        assert count(client) == 0
        clickhouse_front.faults.release()
        inserting.result()
    assert count(client) == 3


def test_kills_a_stalled_insert_before_it_runs(client: Client, clickhouse_front: ClickHouseFront) -> None:
    clickhouse_front.faults.add(Fault(kind="stall", statement="insert"))
    with ThreadPoolExecutor(1) as pool:
        inserting = pool.submit(insert, client)
        clickhouse_front.faults.wait_stalled()
        client.command("KILL QUERY WHERE query ILIKE 'insert into%' SYNC")
        with pytest.raises(DatabaseError, match="QUERY_WAS_CANCELLED"):
            inserting.result()
    assert count(client) == 0


def test_runs_an_insert_to_its_end_though_the_client_has_left(
    client: Client,
    clickhouse_front: ClickHouseFront,
) -> None:
    impatient = client_of(clickhouse_front, send_receive_timeout=1)
    clickhouse_front.faults.add(Fault(kind="stall", statement="insert"))
    with pytest.raises(OperationalError, match="timed out"):
        insert(impatient)
    assert len(clickhouse_front.faults.wait_stalled().stalled) == 1
    clickhouse_front.faults.release()
    client.command("KILL QUERY WHERE query ILIKE 'insert into%' SYNC")
    assert count(client) in (0, 3)
    impatient.close()


def test_drops_the_response_after_the_commit(client: Client, clickhouse_front: ClickHouseFront) -> None:
    clickhouse_front.faults.add(Fault(kind="drop_response", statement="insert", times=0))
    with pytest.raises(OperationalError):
        client.raw_insert("t", ["a", "b"], b'{"a":1,"b":"x"}', fmt="JSONEachRow")
    fired = clickhouse_front.faults.report().fired["drop_response"]
    assert fired >= 1
    assert count(client) == fired


def test_resets_the_connection_inside_the_body_and_keeps_nothing(
    client: Client,
    clickhouse_front: ClickHouseFront,
) -> None:
    clickhouse_front.faults.add(Fault(kind="reset_request", statement="insert", after_bytes=200_000, times=0))
    with pytest.raises(Error):
        insert(client, 200_000)
    clickhouse_front.faults.clear()
    assert count(client) == 0


def test_cuts_an_answer_short(client: Client, clickhouse_front: ClickHouseFront) -> None:
    clickhouse_front.faults.add(Fault(kind="cut_response", contains="numbers(100000)", after_bytes=5000, times=0))
    with pytest.raises(Error):
        client.raw_query("SELECT number FROM numbers(100000)", fmt="CSV")


@pytest.mark.parametrize(("when", "rows"), [("before", 0), ("after", 3)])
def test_answers_the_next_inserts_with_an_error_by_name(
    client: Client,
    clickhouse_front: ClickHouseFront,
    when: Any,
    rows: int,
) -> None:
    clickhouse_front.faults.add(Fault(kind="error", error="TOO_MANY_PARTS", statement="insert", when=when))
    with pytest.raises(DatabaseError) as caught:
        insert(client)
    assert caught.value.code == 252
    assert count(client) == rows
    insert(client)
    assert count(client) == rows + 3


def test_is_down_until_told_otherwise(client: Client, clickhouse_front: ClickHouseFront) -> None:
    clickhouse_front.faults.add(Fault(kind="down", times=0))
    with pytest.raises(OperationalError):
        client.command("SELECT 1")
    assert not client.ping()
    clickhouse_front.faults.clear()
    assert client.ping()


def test_refuses_a_fault_it_does_not_know(clickhouse_front: ClickHouseFront) -> None:
    with pytest.raises(ValueError, match="NO_SUCH_ERROR"):
        clickhouse_front.faults.add(Fault(kind="error", error="NO_SUCH_ERROR"))


def test_ends_when_its_parent_is_gone(clickhouse_front: ClickHouseFront) -> None:
    assert clickhouse_front.leave() == 0


# ---- the parts -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b"INSERT INTO t (`a`, `FORMAT`) FORMAT Native\n\x01\x02", b"\x01\x02"),
        (b"insert into t /* FORMAT x */ format JSONEachRow {}", b"{}"),
        (b"INSERT INTO t FORMAT CSV \t\r\n\n1", b"\n1"),
        (b"-- FORMAT CSV\nINSERT INTO `a;b`.t SETTINGS x = 'FORMAT y' FORMAT TSV\n1;2", b"1;2"),
    ],
)
def test_finds_where_the_data_of_an_insert_begins(text: bytes, data: bytes) -> None:
    assert text[outline(text).data_at :] == data


def test_puts_the_file_before_the_settings() -> None:
    text = b"INSERT INTO t (a) SETTINGS x = 1 FORMAT CSV\n1"
    assert (
        outline(text).insert_from_file(text, "/it's")
        == b"INSERT INTO t (a)  FROM INFILE '/it\\'s' SETTINGS x = 1  FORMAT CSV"
    )


def test_finds_the_answers_format_outside_quotes_and_subqueries() -> None:
    assert outline(b"SELECT 'FORMAT x', (SELECT 1 FORMAT) FORMAT JSON;").format == "JSON"
    assert outline(b"SELECT format('{}', 1)").format == ""


def test_undoes_the_engines_nested_exceptions() -> None:
    error = from_engine("Code: 27. DB::Exception: Code: 27. DB::Exception: Bad (row 2). (NAME) (version 1.2). (NAME)")
    assert (error.number, error.name, error.message) == (27, "NAME", "Bad (row 2)")
    assert isinstance(error, EngineError)


def test_answers_many_queries_at_once(client: Client, clickhouse_front: ClickHouseFront) -> None:
    """Eight queries meet at a barrier only the server holds: they must all be running together."""
    clickhouse_front.faults.add(Fault(kind="stall", contains="together", times=8))
    local = threading.local()

    def ask(number: int) -> int:
        local.client = getattr(local, "client", None) or client_of(clickhouse_front)
        return int(local.client.query(f"SELECT {number} AS together").result_rows[0][0])

    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(ask, range(8))
        assert len(clickhouse_front.faults.wait_stalled(8).stalled) == 8
        clickhouse_front.faults.release()
        assert list(answers) == list(range(8))

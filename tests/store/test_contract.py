"""The contract of `Store`, held against both engines."""

from __future__ import annotations

import asyncio
import csv
import gc
import io
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest

from analytics_server.errors import StoreFatal, StoreRetryable, StoreTimeout
from analytics_server.model import COLUMN_NAMES, COLUMNS
from analytics_server.store import Store, make_store
from tests.server import wait_for
from tests.store.conftest import Engines
from tests.store.rows import HARD_TEXTS, NOON, as_columns, event

ENDLESS = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1"
RUNNING = "SELECT count() FROM system.processes WHERE query LIKE '%1000000000000%' AND query NOT LIKE '%processes%'"


async def scalar(store: Store, sql: str, **parameters: object) -> object:
    return (await store.query(sql, parameters)).rows[0][0]


async def insert_events(store: Store, rows: Sequence[dict[str, object]], batch_id: int) -> None:
    names, data = as_columns(rows, batch_id)
    await store.insert("events", names, data)


# ---- life ------------------------------------------------------------------


async def test_says_which_engine_answers(engines: Engines) -> None:
    store = make_store(engines.config())
    info = await store.open()
    assert info.kind == engines.kind
    assert int(info.version.split(".")[0]) >= 24
    assert await store.ping()
    await store.close()
    assert not await store.ping()


async def test_its_location_names_no_password(engines: Engines) -> None:
    url = engines.url.replace("://", "://default:@", 1) if engines.kind == "server" else engines.url
    info = await make_store(Engines(engines.kind, url, engines._data_dir).config()).open()
    assert "@" not in info.location


async def test_refuses_calls_after_close(engines: Engines) -> None:
    store = make_store(engines.config())
    await store.open()
    await store.close()
    with pytest.raises(StoreRetryable, match="closed"):
        await store.query("SELECT 1")


async def test_can_be_opened_again_on_the_same_data(engines: Engines) -> None:
    config = engines.config()
    first = make_store(config)
    await first.open()
    await first.command("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    await first.insert("t", ("a",), [[7]])
    await first.close()
    second = make_store(config)
    await second.open()
    assert await scalar(second, "SELECT a FROM t") == 7
    await second.close()


async def test_two_databases_do_not_see_each_other(engines: Engines) -> None:
    one, other = make_store(engines.config()), make_store(engines.config())
    await one.open()
    await other.open()
    await one.command("CREATE TABLE only_here (a UInt8) ENGINE = MergeTree ORDER BY a")
    with pytest.raises(StoreFatal, match="only_here"):
        await other.query("SELECT a FROM only_here")
    await one.close()
    await other.close()


# ---- query -----------------------------------------------------------------


@pytest.mark.parametrize("text", HARD_TEXTS)
async def test_carries_any_text_as_a_parameter(store: Store, text: str) -> None:
    assert await scalar(store, "SELECT {text:String}", text=text) == text


@pytest.mark.parametrize("text", HARD_TEXTS)
async def test_carries_any_text_inside_an_array_parameter(store: Store, text: str) -> None:
    assert await scalar(store, "SELECT {texts:Array(String)}", texts=[text, "x", text]) == [text, "x", text]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Int64", -(2**63)),
        ("UInt64", 2**64 - 1),
        ("Float64", 0.1),
        ("Float64", -1e300),
        ("Bool", True),
        ("Array(UInt64)", [1, 2**64 - 1]),
        ("Array(String)", []),
        ("Array(Array(String))", [["a'"], []]),
        ("Nullable(String)", None),
        ("DateTime64(6, 'UTC')", NOON),
        ("DateTime('UTC')", NOON.replace(microsecond=0)),
        ("Date", NOON.date()),
        ("Decimal(18, 4)", Decimal("-12.3400")),
    ],
)
async def test_carries_parameters_of_every_type(store: Store, kind: str, value: object) -> None:
    assert await scalar(store, f"SELECT {{value:{kind}}}", value=value) == value


async def test_reads_a_time_parameter_in_another_zone_as_the_same_instant(store: Store) -> None:
    tokyo = NOON.astimezone(ZoneInfo("Asia/Tokyo"))
    assert await scalar(store, "SELECT {at:DateTime64(6, 'UTC')}", at=tokyo) == NOON


async def test_returns_python_values(store: Store) -> None:
    answer = await store.query(
        "SELECT toUInt64(18446744073709551615) AS big, toDateTime64('2026-11-05 12:00:00.123456', 6, 'UTC') AS ts,"
        " toDateTime('2026-11-05 12:00:00', 'UTC') AS second, toDate('2026-11-05') AS day,"
        " CAST('x' AS LowCardinality(String)) AS low, CAST(NULL AS Nullable(Int8)) AS nothing,"
        " (1, 'a') AS pair, map('k', 'v') AS kv, toDecimal64('1.5000', 4) AS money, 0.5 AS half,"
        " toIPv4('127.0.0.1') AS ip, CAST('a' AS Enum8('a' = 1)) AS choice"
    )
    assert answer.columns == (
        *("big", "ts", "second", "day", "low", "nothing"),
        *("pair", "kv", "money", "half", "ip", "choice"),
    )
    second = datetime(2026, 11, 5, 12, tzinfo=UTC)
    assert answer.rows == [
        (2**64 - 1, NOON, second, NOON.date(), "x", None, (1, "a"), {"k": "v"}, Decimal("1.5"), 0.5,
         ip_address("127.0.0.1"), "a")
    ]  # fmt: skip
    assert all(isinstance(value, datetime) and value.utcoffset() == timedelta(0) for value in answer.rows[0][1:3])


async def test_an_empty_answer_has_no_rows(store: Store) -> None:
    assert (await store.query("SELECT number FROM numbers(10) WHERE number > 99")).rows == []


async def test_counts_what_was_read(store: Store) -> None:
    answer = await store.query("SELECT sum(number) FROM numbers(100000)")
    assert answer.rows_read == 100_000
    assert answer.bytes_read >= 800_000
    assert answer.elapsed_ms > 0


async def test_a_percent_sign_is_only_a_percent_sign(store: Store) -> None:
    assert await scalar(store, "SELECT 'a%sb' LIKE {p:String}", p="a%b") == 1


async def test_applies_settings_to_one_query_only(store: Store) -> None:
    sql = "SELECT getSetting('max_block_size')"
    usual = await scalar(store, sql)
    answer = await store.query(sql, settings={"max_block_size": 1234})
    assert answer.rows == [(1234,)]
    assert await scalar(store, sql) == usual != 1234


async def test_returns_many_rows(store: Store) -> None:
    answer = await store.query("SELECT number, toString(number) FROM numbers(300000)")
    assert len(answer.rows) == 300_000
    assert answer.rows[-1] == (299_999, "299999")


async def test_answers_twenty_queries_at_once(engines: Engines) -> None:
    store = make_store(engines.config(threads=8))
    await store.open()
    answers = await asyncio.gather(
        *(scalar(store, "SELECT sum(number) + {n:UInt64} FROM numbers(100000)", n=n) for n in range(20))
    )
    assert answers == [4_999_950_000 + n for n in range(20)]
    await store.close()


async def test_a_query_does_not_block_the_loop(store: Store) -> None:
    asking = asyncio.create_task(store.query("SELECT sleep(1)"))
    await asyncio.sleep(0)
    assert not asking.done()
    await asking


async def test_an_insert_does_not_wait_for_a_query(store: Store) -> None:
    await store.command("CREATE TABLE IF NOT EXISTS beside (a UInt8) ENGINE = MergeTree ORDER BY a")
    asking = asyncio.create_task(store.query("SELECT sleep(3)"))
    await store.insert("beside", ("a",), [[1]])
    assert not asking.done()
    await asking


# ---- errors ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELEC 1", 62),
        ("SELECT 1 FROM no_such_table", 60),
        ("SELECT no_such_column FROM events", 47),
        ("SELECT throwIf(1)", 395),
        ("SELECT {missing:String}", 456),
        ("SELECT 1 SETTINGS no_such_setting = 1", 115),
    ],
)
async def test_what_can_never_work_is_fatal(store: Store, sql: str, code: int) -> None:
    with pytest.raises(StoreFatal) as caught:
        await store.query(sql)
    assert caught.value.engine_code == code


async def test_a_statement_that_can_never_work_is_fatal(store: Store) -> None:
    with pytest.raises(StoreFatal) as caught:
        await store.command("CREATE TABLE broken (a NoSuchType) ENGINE = MergeTree ORDER BY a")
    assert caught.value.engine_code == 50


async def test_too_little_memory_is_retryable(store: Store) -> None:
    with pytest.raises(StoreRetryable) as caught:
        await store.query("SELECT groupArray(number) FROM numbers(10000000)", settings={"max_memory_usage": 1_000_000})
    assert caught.value.engine_code == 241


async def test_a_slow_query_times_out_and_has_ended_then(store: Store) -> None:
    started = time.perf_counter()
    with pytest.raises(StoreTimeout):
        await store.query(ENDLESS, timeout_s=0.5)
    assert time.perf_counter() - started < 20
    assert await scalar(store, RUNNING) == 0


async def test_a_failed_query_leaves_nothing_in_the_next_answer(store: Store) -> None:
    """The handle must not hand what a failed query had already produced to the next query."""
    for _ in range(3):
        with pytest.raises(StoreFatal):
            await store.query(
                "SELECT number, throwIf(number = 300000) FROM numbers(1000000)", settings={"max_threads": 1}
            )
        answer = await store.query("SELECT 'mine' AS whose")
        assert (answer.columns, answer.rows) == (("whose",), [("mine",)])


async def test_a_timed_out_query_leaves_nothing_in_the_next_answer(store: Store) -> None:
    with pytest.raises(StoreTimeout):
        await store.query(
            "SELECT number, sleepEachRow(0.1) FROM numbers(25)", settings={"max_block_size": 1}, timeout_s=0.5
        )
    assert (await store.query("SELECT 'mine' AS whose")).rows == [("mine",)]


# ---- insert ----------------------------------------------------------------


async def test_stores_every_column_of_an_event_unchanged(store: Store) -> None:
    rows = [event(number, site_id="whole.example") for number in range(2 * len(HARD_TEXTS))]
    await insert_events(store, rows, batch_id=1)
    answer = await store.query(
        f"SELECT {', '.join(COLUMN_NAMES)} FROM events WHERE site_id = 'whole.example' ORDER BY visitor_id DESC"
    )
    for found, given in zip(answer.rows, rows, strict=True):
        assert dict(zip(COLUMN_NAMES, found, strict=True)) == given


async def test_the_columns_of_the_model_are_those_of_the_table(store: Store) -> None:
    answer = await store.query(
        "SELECT name, type FROM system.columns"
        " WHERE database = currentDatabase() AND table = 'events' ORDER BY position"
    )
    computed = [("batch_id", "UInt64"), ("session_key", "UInt64")]
    assert answer.rows == [(column.name, column.type) for column in COLUMNS] + computed


async def test_takes_times_as_microseconds_and_ids_as_integers(store: Store) -> None:
    micros = int(NOON.timestamp()) * 1_000_000 + 123_456
    row = event(1, site_id="micros.example", ts=micros, session_start=micros, event_id=5)
    await insert_events(store, [row], batch_id=2)
    answer = await store.query("SELECT ts, event_id FROM events WHERE site_id = 'micros.example'")
    assert answer.rows[0][0] == NOON
    assert str(answer.rows[0][1]).endswith("-000000000005")


async def test_fills_columns_that_are_left_out(store: Store) -> None:
    row = event(0, site_id="few.example")
    names = ("site_id", "ts", "name", "event_id", "session_id", "session_start", "visitor_id", "batch_id")
    await store.insert("events", names, [[row.get(name, 3)] for name in names])
    answer = await store.query("SELECT path, country, revenue_amount, props FROM events WHERE site_id = 'few.example'")
    assert answer.rows == [("", "", Decimal(0), {})]


async def test_one_insert_makes_one_part(store: Store) -> None:
    await insert_events(store, [event(n, site_id="part.example") for n in range(150_000)], batch_id=4)
    answer = await store.query("SELECT count(), uniqExact(_part) FROM events WHERE batch_id = 4")
    assert answer.rows == [(150_000, 1)]


async def test_the_same_insert_twice_is_stored_twice(store: Store) -> None:
    """Nothing is deduplicated in silence: exactly-once rests on verification by batch id."""
    for _ in range(2):
        await insert_events(store, [event(1, site_id="twice.example")], batch_id=5)
    assert await scalar(store, "SELECT count() FROM events WHERE batch_id = 5") == 2
    assert await scalar(store, "SELECT sum(events) FROM sessions WHERE site_id = 'twice.example'") == 2


async def test_inserts_into_views_targets_before_it_returns(store: Store) -> None:
    site = "views.example"
    later = NOON + timedelta(minutes=20)
    rows = [
        event(0, site_id=site, session_id="s", path="/in", visitor_id=1, user_id=""),
        event(1, site_id=site, session_id="s", path="/", name="click", visitor_id=1, user_id="u"),
        event(2, site_id=site, session_id="s", path="/out", visitor_id=1, ts=later, user_id=""),
    ]
    await insert_events(store, rows, batch_id=6)
    sessions = await store.query(
        "SELECT started_at, ended_at, pageviews, events, interactions, entry.2, exit.2, user_id, visitor_ids"
        " FROM sessions FINAL WHERE site_id = {site:String}",
        {"site": site},
    )
    assert sessions.rows == [(NOON, later, 2, 3, 1, "/in", "/out", "u", [1])]
    traffic = await store.query(
        "SELECT bucket, name, sum(events), uniqIfMerge(visitors) FROM traffic WHERE site_id = {site:String}"
        " GROUP BY bucket, name ORDER BY bucket, name",
        {"site": site},
    )
    quarter = NOON.replace(minute=0, second=0, microsecond=0)
    assert traffic.rows == [
        (quarter, "click", 1, 1),
        (quarter, "pageview", 1, 1),
        (quarter + timedelta(minutes=15), "pageview", 1, 1),
    ]


async def test_finds_a_batch_by_its_id(store: Store) -> None:
    await insert_events(store, [event(n, site_id="batch.example") for n in range(10)], batch_id=7)
    found = await scalar(
        store,
        "SELECT count() FROM events WHERE batch_id = {id:UInt64} AND toYYYYMM(ts) = {month:UInt32}",
        id=7,
        month=202611,
    )
    assert found == 10


@pytest.mark.parametrize(("value", "batch_id"), [("not a number", 81), (None, 82), (2**70, 83)])
async def test_a_value_that_does_not_fit_is_fatal_and_stores_nothing(
    store: Store, value: object, batch_id: int
) -> None:
    counting = f"SELECT count() FROM events WHERE batch_id = {batch_id}"
    rows = [event(0, site_id="bad.example"), event(1, site_id="bad.example", engagement_ms=value)]
    with pytest.raises(StoreFatal):
        await insert_events(store, rows, batch_id=batch_id)
    assert await scalar(store, counting) == 0
    await insert_events(store, [event(0, site_id="bad.example")], batch_id=batch_id)
    assert await scalar(store, counting) == 1


async def test_an_insert_into_nothing_is_fatal(store: Store) -> None:
    with pytest.raises(StoreFatal):
        await store.insert("no_such_table", ("a",), [[1]])


async def test_inserts_while_others_read(store: Store) -> None:
    async def write() -> None:
        for number in range(10):
            await insert_events(store, [event(number, site_id="busy.example")], batch_id=9)

    async def read() -> list[int]:
        sql = "SELECT count() FROM events WHERE site_id = 'busy.example'"
        return [int(str(await scalar(store, sql))) for _ in range(10)]

    _, first, second = await asyncio.gather(write(), read(), read())
    assert first == sorted(first)
    assert second == sorted(second)
    assert await scalar(store, "SELECT count() FROM events WHERE site_id = 'busy.example'") == 10


# ---- stream ----------------------------------------------------------------


async def gather(store: Store, sql: str, format: str, **options: Any) -> bytes:
    return b"".join([piece async for piece in store.stream(sql, format=format, **options)])


async def test_streams_csv(store: Store) -> None:
    sql = "SELECT number, {text:String} FROM numbers(3)"
    body = await gather(store, sql, "CSV", parameters={"text": 'a"b,c'})
    assert list(csv.reader(io.StringIO(body.decode()))) == [[str(number), 'a"b,c'] for number in range(3)]


async def test_streams_rows_as_json(store: Store) -> None:
    body = await gather(store, "SELECT number AS n, 'é' AS t FROM numbers(100000)", "JSONEachRow")
    lines = [orjson.loads(line) for line in body.splitlines()]
    assert len(lines) == 100_000
    assert lines[-1] == {"n": 99_999, "t": "é"}


async def test_streams_parquet(store: Store) -> None:
    body = await gather(store, "SELECT number AS n FROM numbers(100000)", "Parquet")
    table = pyarrow.parquet.read_table(io.BytesIO(body))
    assert table.column("n").to_pylist() == list(range(100_000))


async def test_streams_in_pieces(store: Store) -> None:
    sizes = [len(piece) async for piece in store.stream("SELECT number FROM numbers(500000)", format="CSV")]
    assert len(sizes) > 1
    assert max(sizes) <= 1_048_576


async def test_a_stream_may_be_left_early(store: Store) -> None:
    stream = store.stream("SELECT number FROM numbers(3000000)", format="CSV")
    assert (await anext(stream)).startswith(b"0\n1\n")
    await stream.aclose()
    assert await scalar(store, "SELECT 1") == 1


@pytest.mark.parametrize(
    ("format", "rows"),
    [
        ("CSV", "sum(a.number + b.number) FROM numbers(1000000) AS a, numbers(1000000) AS b"),
        ("Parquet", "number FROM numbers(100000000000)"),
        ("CSV", "number FROM numbers(100000000000)"),
    ],
)
async def test_a_stream_that_is_left_ends_the_statement(store: Store, format: str, rows: str) -> None:
    """Long before its time limit: while its first rows are worked out, or between its pieces."""
    running = "SELECT count() FROM system.processes WHERE query LIKE '%''left''%' AND query NOT LIKE '%processes%'"
    stream = store.stream(f"SELECT 'left', {rows}", format=format, timeout_s=600.0)
    first = asyncio.ensure_future(anext(stream))

    async def runs() -> bool:
        return await scalar(store, running) == 1

    await wait_for(runs, what="the statement")
    first.cancel()
    await asyncio.wait({first})
    await stream.aclose()

    async def has_ended() -> bool:
        return await scalar(store, running) == 0

    await wait_for(has_ended, what="the statement's end")
    assert await scalar(store, "SELECT 1") == 1


def test_a_stream_whose_loop_ends_leaves_nothing_behind(engines: Engines, events_database: str) -> None:
    """What the thread that reads it would still say is not awaited."""
    opened = make_store(engines.config(database=events_database))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(opened.open())
    stream = opened.stream("SELECT number FROM numbers(30000000)", format="CSV")
    assert loop.run_until_complete(anext(stream)).startswith(b"0\n1\n")
    loop.close()
    asyncio.run(opened.close())  # waits for the thread
    assert not opened.is_left
    ending = stream.aclose()
    ending.send(None)  # it waits for what the ended loop can't tell it any more
    ending.close()
    gc.collect()  # a coroutine that is not awaited would be told here, which fails the test


async def test_a_stream_of_bad_sql_is_fatal(store: Store) -> None:
    with pytest.raises(StoreFatal):
        await gather(store, "SELECT nothing", "CSV")
    assert await scalar(store, "SELECT 1") == 1


async def test_a_slow_stream_times_out(store: Store) -> None:
    with pytest.raises(StoreTimeout):
        await gather(store, ENDLESS, "CSV", timeout_s=0.5)
    assert await scalar(store, RUNNING) == 0

"""What the server backend makes of a server that is away, slow, or answers with errors.

Needs the front, which can be told to misbehave: a genuine server can't.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from analytics_server.config import ClickhouseSection, Config, ServerSection
from analytics_server.errors import StoreAmbiguous, StoreError, StoreFatal, StoreRetryable
from analytics_server.store import Store, make_store
from tests.clickhouse import ClickHouseFront
from tests.clickhouse_front.faults import Fault


def config(front: ClickHouseFront, tmp_path: Path, *, insert_timeout_s: float = 60.0) -> Config:
    return Config(
        server=ServerSection(data_dir=str(tmp_path)),
        clickhouse=ClickhouseSection(url=front.url, connect_timeout_s=2.0, insert_timeout_s=insert_timeout_s),
    )


@pytest.fixture
async def store(clickhouse_front: ClickHouseFront, tmp_path: Path) -> AsyncIterator[Store]:
    """A store on the front, with an empty table `t`."""
    made = make_store(config(clickhouse_front, tmp_path))
    await made.open()
    await made.command("CREATE OR REPLACE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    await made.insert("t", ("a",), [[0]])
    await made.command("TRUNCATE TABLE t")
    clickhouse_front.faults.clear()
    yield made
    await made.close()


async def insert(store: Store, rows: int = 5) -> None:
    await store.insert("t", ("a",), [list(range(rows))])


async def count(store: Store) -> int:
    return int(str((await store.query("SELECT count() FROM t")).rows[0][0]))


async def test_a_server_that_is_not_there_is_retryable(tmp_path: Path, unused_tcp_port: int) -> None:
    absent = make_store(
        Config(clickhouse=ClickhouseSection(url=f"http://127.0.0.1:{unused_tcp_port}", connect_timeout_s=1.0))
    )
    with pytest.raises(StoreRetryable):
        await absent.open()
    assert not await absent.ping()
    await absent.close()


async def test_every_call_is_retryable_while_the_server_is_gone_and_works_again_after(
    store: Store, clickhouse_front: ClickHouseFront
) -> None:
    await asyncio.to_thread(clickhouse_front.kill)
    for call in (store.query("SELECT 1"), insert(store), store.command("SELECT 1")):
        with pytest.raises(StoreRetryable):
            await call
    with pytest.raises(StoreRetryable):
        _ = [piece async for piece in store.stream("SELECT 1", format="CSV")]
    assert not await store.ping()
    await asyncio.to_thread(clickhouse_front.start)
    assert await store.ping()
    await insert(store)
    assert await count(store) == 5


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("TOO_MANY_PARTS", StoreRetryable),
        ("MEMORY_LIMIT_EXCEEDED", StoreRetryable),
        ("TOO_MANY_SIMULTANEOUS_QUERIES", StoreRetryable),
        ("TABLE_IS_READ_ONLY", StoreRetryable),
        ("NOT_ENOUGH_SPACE", StoreRetryable),
        ("TYPE_MISMATCH", StoreFatal),
        ("UNKNOWN_TABLE", StoreFatal),
        ("ACCESS_DENIED", StoreFatal),
        ("AUTHENTICATION_FAILED", StoreFatal),
    ],
)
async def test_an_insert_refused_by_name_is_of_the_right_kind(
    store: Store, clickhouse_front: ClickHouseFront, name: str, kind: type[StoreError]
) -> None:
    clickhouse_front.faults.add(Fault(kind="error", error=name, statement="insert"))
    with pytest.raises(kind) as caught:
        await insert(store)
    assert type(caught.value) is kind
    assert caught.value.engine_code > 0
    assert clickhouse_front.faults.report().inserts == 1
    await insert(store)
    assert await count(store) == 5


async def test_an_insert_whose_response_is_lost_is_ambiguous_and_sent_once(
    store: Store, clickhouse_front: ClickHouseFront
) -> None:
    """clickhouse-connect would quietly send it again; the contract is at most one attempt."""
    clickhouse_front.faults.add(Fault(kind="drop_response", statement="insert"))
    with pytest.raises(StoreAmbiguous):
        await insert(store)
    assert await count(store) == 5
    assert clickhouse_front.faults.report().inserts == 1


async def test_an_insert_reset_inside_its_body_is_ambiguous_sent_once_and_stores_nothing(
    store: Store, clickhouse_front: ClickHouseFront
) -> None:
    clickhouse_front.faults.add(Fault(kind="reset_request", statement="insert"))
    with pytest.raises(StoreAmbiguous):
        await insert(store, 500_000)
    assert await count(store) == 0
    assert clickhouse_front.faults.report().inserts == 1


async def test_an_insert_into_a_server_that_dies_is_ambiguous(store: Store, clickhouse_front: ClickHouseFront) -> None:
    clickhouse_front.faults.add(Fault(kind="stall", statement="insert"))
    inserting = asyncio.create_task(insert(store))
    await asyncio.to_thread(clickhouse_front.faults.wait_stalled)
    await asyncio.to_thread(clickhouse_front.kill)
    with pytest.raises(StoreAmbiguous):
        await inserting
    await asyncio.to_thread(clickhouse_front.start)
    assert await count(store) == 0


async def test_an_insert_that_gets_no_answer_in_time_is_ambiguous(
    clickhouse_front: ClickHouseFront, store: Store, tmp_path: Path
) -> None:
    impatient = make_store(config(clickhouse_front, tmp_path, insert_timeout_s=1.0))
    await impatient.open()
    await impatient.insert("t", ("a",), [[1]])
    clickhouse_front.faults.add(Fault(kind="stall", statement="insert"))
    with pytest.raises(StoreAmbiguous):
        await insert(impatient)
    clickhouse_front.faults.release()
    await impatient.close()


async def test_a_query_cut_short_raises(store: Store, clickhouse_front: ClickHouseFront) -> None:
    clickhouse_front.faults.add(Fault(kind="cut_response", contains="numbers(90000)", after_bytes=1000, times=0))
    with pytest.raises(StoreError):
        await store.query("SELECT number FROM numbers(90000)")
    with pytest.raises(StoreError):
        _ = [piece async for piece in store.stream("SELECT number FROM numbers(90000)", format="CSV")]
    clickhouse_front.faults.clear()
    assert await count(store) == 0

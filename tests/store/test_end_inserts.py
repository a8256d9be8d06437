"""An insert whose client has gone must have ended before its rows are counted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from analytics_server.config import ClickhouseSection, Config, ServerSection
from analytics_server.errors import StoreError, StoreFatal
from analytics_server.store import Store, make_store
from tests.clickhouse import ClickHouseFront
from tests.clickhouse_front.faults import Fault


async def opened(front: ClickHouseFront, tmp_path: Path) -> Store:
    store = make_store(
        Config(server=ServerSection(data_dir=str(tmp_path)), clickhouse=ClickhouseSection(url=front.url))
    )
    await store.open()
    await store.command("CREATE OR REPLACE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    return store


async def rows_of(store: Store) -> int:
    return int(str((await store.query("SELECT count() FROM t")).rows[0][0]))


async def test_an_insert_of_another_client_is_ended_by_its_id(
    clickhouse_front: ClickHouseFront, tmp_path: Path
) -> None:
    crashed, store = await opened(clickhouse_front, tmp_path), await opened(clickhouse_front, tmp_path)
    await crashed.insert("t", ("a",), [[0]])
    clickhouse_front.faults.add(Fault(kind="stall", statement="insert"))
    under_way = asyncio.create_task(crashed.insert("t", ("a",), [[1, 2, 3]], query_id="77-202511-1"))
    await asyncio.to_thread(clickhouse_front.faults.wait_stalled)

    await store.end_inserts("78-", timeout_s=5.0)
    assert not under_way.done()
    await store.end_inserts("77-", timeout_s=20.0)
    with pytest.raises(StoreError):
        await under_way
    assert await rows_of(store) == 1
    await crashed.close()
    await store.close()


async def test_a_column_that_is_missing_is_no_fault_of_the_rows(
    clickhouse_front: ClickHouseFront, tmp_path: Path
) -> None:
    store = await opened(clickhouse_front, tmp_path)
    with pytest.raises(StoreFatal, match="migrate") as raised:
        await store.insert("t", ("a", "b"), [[0], [1]])
    assert raised.value.engine_code == 16
    await store.close()

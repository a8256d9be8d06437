"""3. SIGKILL between ClickHouse's deduplication record and its rename.

Verification finds 0, the batch is sent again, all rows are there.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from analytics_server.config import ClickhouseSection, Config
from analytics_server.errors import StoreAmbiguous
from analytics_server.store import make_store
from tests.clickhouse import ClickHouseFront
from tests.faults.conftest import Place
from tests.faults.trap import RENAMES, trap
from tests.server import Client


async def test_a_batch_whose_rename_never_happened_is_sent_again(place: Place, tmp_path: Path) -> None:
    await place.start("a.example")
    async with Client(place.server) as client:
        await place.settled(client)
        async with trap(place.engine_pid, tmp_path, RENAMES) as sprung:
            assert await place.send(client, "a.example", 50) == 202
        assert sprung.commits(place.engine_dir) == ([], "events")
    await place.restart_what_was_killed()
    await place.assert_every_event_stored_once(51)


async def test_a_token_instead_of_verification_would_lose_the_batch(
    clickhouse_front: ClickHouseFront, tmp_path: Path
) -> None:
    """The control: the same kill does hit the window. Why nothing here rests on the engine's deduplication."""
    store = make_store(Config(clickhouse=ClickhouseSection(url=clickhouse_front.url, connect_timeout_s=2.0)))
    await store.open()
    await store.command(
        "CREATE TABLE with_tokens (a UInt32) ENGINE = MergeTree ORDER BY a "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    tokens: dict[str, str | int] = {"insert_deduplicate": 1, "insert_deduplication_token": "batch-1"}
    await store.insert("with_tokens", ("a",), [[0]], settings={**tokens, "insert_deduplication_token": "batch-0"})
    async with trap(clickhouse_front.pid, tmp_path, RENAMES) as sprung:
        with contextlib.suppress(StoreAmbiguous):
            await store.insert("with_tokens", ("a",), [[1, 2, 3]], settings=tokens)
    assert sprung.commits(clickhouse_front.path / "engine") == ([], "with_tokens")
    await asyncio.to_thread(clickhouse_front.kill)
    await asyncio.to_thread(clickhouse_front.start)
    await store.insert("with_tokens", ("a",), [[1, 2, 3]], settings=tokens)  # the engine says it is done
    rows = (await store.query("SELECT a FROM with_tokens ORDER BY a")).rows
    await store.close()

    assert rows == [(0,)], "the engine has become safer: the facts in docs/reliability.md are out of date"

"""What was acknowledged is there exactly once, however the process ends."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.e2e.conftest import assert_clean
from tests.e2e.load import Load, assert_books_balance
from tests.server import Client, RunningServer, wait_for

OFTEN = {"ingest_flush_interval_ms": "50"}


async def test_kill_under_load_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    moments = random.Random(tmp_path.name)
    server = RunningServer(tmp_path, OFTEN)
    load = Load(server)
    for _ in range(3):
        await asyncio.to_thread(server.start)
        async with load:
            await load.until_acknowledged(len(load.acknowledged) + moments.randint(300, 3_000))
            server.kill()
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        await client.flushed()
    assert server.terminate() == 0

    assert_books_balance(server, load)
    assert_clean(server.log)

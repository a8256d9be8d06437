"""Questions that ClickHouse can't be made to end: other sites, beacons and the stop do not wait for them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.server import Client, RunningServer

MINE, THEIRS = "heavy.example", "light.example"
GRACE_S = 10.0
SEARCHES = " + ".join(f"position(repeat('a', 9999), concat('aaab{n}', toString(n)))" for n in range(170))
ENDLESS = f"SELECT sum(c) FROM (SELECT arrayJoin(range(99999)) AS n, {SEARCHES} AS c)"
"""Minutes in one block of rows, between which alone the engine looks at the clock."""


@pytest.mark.parametrize("same", ["site", "token"])
async def test_one_who_asks_what_never_ends_is_alone_in_waiting(
    tmp_path: Path, request: pytest.FixtureRequest, same: str
) -> None:
    server = RunningServer(
        tmp_path,
        {
            "sql_timeout_s": "1",
            "sql_wait_s": "4",
            "sql_memory_mb": "4096",
            "server_shutdown_grace_s": str(GRACE_S),
        },
    )
    request.addfinalizer(server.kill)  # a failed test must not leave its questions running
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        for site in (MINE, THEIRS):
            assert (await client.send({"site": site, "name": "pageview", "url": f"https://{site}/"})).status == 202
        await client.flushed()
        tokens = [
            (await client.call("POST", "/api/v1/tokens", {"role": "read", "name": str(n)})).json["token"]
            for n in range(3)
        ]

        async def ask(site: str, query: str, token: str) -> tuple[int, str]:
            reply = await client.call("POST", "/api/v1/sql", {"site_id": site, "query": query}, token=token)
            return reply.status, "" if reply.status == 200 else reply.code

        heavy = [
            asyncio.create_task(
                ask(MINE if same == "site" else f"{THEIRS}", ENDLESS, tokens[n % 2 if same == "site" else 0])
            )
            for n in range(4)
        ]
        await asyncio.sleep(0)
        other = MINE if same == "token" else THEIRS
        for _ in range(3):
            assert await ask(other, "SELECT count() FROM events", tokens[2]) == (200, "")
            assert await client.count(other) == 1
            assert await client.count(MINE) == 1  # the own questions of other kinds go on, too
        refused = [await each for each in heavy]
        assert {code for _, code in refused} <= {"sql_timeout", "busy", "too_many_queries"}
        assert ("sql_timeout" in {code for _, code in refused}) is True
        assert await ask(other, "SELECT count() FROM events", tokens[2]) == (200, "")
        assert (await client.send({"site": THEIRS, "name": "x"})).status == 202

    began = time.monotonic()
    assert await asyncio.to_thread(server.terminate) == 0
    assert time.monotonic() - began < GRACE_S + 2
    assert "still running in ClickHouse and is left" in server.log
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        await client.kept(THEIRS, 2)
    server.kill()

"""SIGTERM: not ready at once, 503 while the log is flushed, an end within the grace period, and nothing lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from tests.clickhouse import ClickHouseFront
from tests.clickhouse_front.faults import Fault
from tests.e2e.conftest import assert_clean
from tests.server import USER_AGENT, Client, RunningServer, wait_for

SITE = "stop.example"
EVENT = {"site": SITE, "name": "x"}
HALF = f"POST /track HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {USER_AGENT}\r\nContent-Length: 500\r\n\r\n".encode()
GRACE_S = 5.0
EXIT_S = GRACE_S + 3.0


def settings(front: ClickHouseFront, database: str) -> dict[str, str]:
    return {
        "clickhouse_url": front.url,
        "clickhouse_database": database,
        "ingest_flush_interval_ms": "100",
        "server_shutdown_grace_s": str(GRACE_S),
    }


async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> int:
    """The status of a GET on a connection that stays open."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    return int(head.split(b" ", 2)[1])


async def test_while_the_log_is_flushed_all_is_answered_with_503(
    clickhouse_front: ClickHouseFront, tmp_path: Path
) -> None:
    server = RunningServer(tmp_path, settings(clickhouse_front, "stop_slowly"))
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        assert (await client.send(EVENT)).status == 202
        await client.flushed()
        clickhouse_front.faults.add(Fault(kind="stall", statement="insert", contains="INTO events"))
        assert (await client.send(EVENT)).status == 202
        await asyncio.to_thread(clickhouse_front.faults.wait_stalled)
        probe = await asyncio.open_connection("127.0.0.1", server.port)
        assert await asked(*probe, "/readyz") == 200

        os.kill(server.pid, signal.SIGTERM)

        async def not_ready() -> bool:
            return await asked(*probe, "/readyz") == 503

        await wait_for(not_ready, 5, "that it is not ready")
        assert await asked(*probe, "/healthz") == 200
        beacon = await client.send(EVENT)
        unusual = await client.send(EVENT, headers={"Proxy-Connection": "keep-alive"})
        async with Client(server) as late:
            pixel = await late.get(f"/track/pixel.gif?site={SITE}&name=x")
        stored = await client.count(SITE)

        clickhouse_front.faults.release()
        assert await asyncio.to_thread(server.wait) == 0
        probe[1].close()

    for refused in (beacon, unusual, pixel):
        assert (refused.status, int(refused.headers["Retry-After"]) > 0) == (503, True)
    assert stored == 1, "questions are still answered"
    assert not list((server.data_dir / "wal").glob("*.wal"))
    await asyncio.to_thread(server.restart)
    async with Client(server) as client:
        assert await client.count(SITE) == 2
    assert await asyncio.to_thread(server.terminate) == 0
    assert_clean(server.log)


async def test_a_clickhouse_that_is_away_and_a_client_that_never_ends_do_not_keep_it_from_stopping(
    clickhouse_front: ClickHouseFront, tmp_path: Path
) -> None:
    server = RunningServer(tmp_path, settings(clickhouse_front, "stop_alone"))
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        assert (await client.send(EVENT)).status == 202
        await client.flushed()
        clickhouse_front.faults.add(Fault(kind="down", times=0))
        assert (await client.send(EVENT)).status == 202
        _, slow = await asyncio.open_connection("127.0.0.1", server.port)
        slow.write(HALF)
        await slow.drain()
        assert (await client.get("/readyz")).status == 200, "ClickHouse alone makes no server unready"
        started = time.monotonic()
        code = await asyncio.to_thread(server.terminate)
        took_s = time.monotonic() - started
        slow.close()

    assert (code, took_s < EXIT_S) == (0, True)
    assert len(list((server.data_dir / "wal").glob("*.wal"))) == 1, "what was not delivered stays in the log"
    clickhouse_front.faults.clear()
    await asyncio.to_thread(server.restart)
    async with Client(server) as client:
        await client.flushed()
        assert await client.count(SITE) == 2
    assert await asyncio.to_thread(server.terminate) == 0

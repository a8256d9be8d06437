"""What a server does of its own accord, and how it ends work that was begun."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from analytics_server import housekeeping
from analytics_server.app import Server
from analytics_server.collect.identity.undelivered import Undelivered
from analytics_server.config import Config, IngestSection, ServerSection
from tests.doctor.place import segment_bytes
from tests.ingest.rows import row

PATIENCE_S = 30.0


def server_on(directory: Path) -> Server:
    return Server(Config(server=ServerSection(data_dir=str(directory)), ingest=IngestSection(ack="os")))


@pytest.mark.parametrize(
    ("answers", "flushes", "shown"), [(True, True, 1), (True, False, 0), (False, True, 0), (False, False, 0)]
)
async def test_clickhouse_is_up_when_it_answers_and_takes_what_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool, flushes: bool, shown: int
) -> None:
    server = server_on(tmp_path)
    asked = asyncio.Semaphore(0)

    async def ping() -> bool:
        asked.release()
        return answers

    monkeypatch.setattr(housekeeping, "STORE_CHECK_S", 0.001)
    monkeypatch.setattr(server.store, "ping", ping)
    server.ingest.flusher._recent._delivery.store_is_up = flushes
    server.http.clickhouse_up.set(1 - shown)
    keeping = asyncio.create_task(server.housekeeping.run())
    for _ in range(2):  # the second question comes after the first answer was shown
        await asyncio.wait_for(asked.acquire(), PATIENCE_S)
    keeping.cancel()

    assert f"\nclickhouse_up {shown}.0\n".encode() in bytes(server.http.expose().body)  # type: ignore[arg-type]
    await server.stop()


async def test_a_stop_breaks_off_the_reading_of_a_long_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for batch_id in (1 << 40, 2 << 40, 3 << 40):
        path = tmp_path / "wal" / f"{batch_id:020d}.wal"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(segment_bytes([[row()]], batch_id))
    begun, stopped, read = threading.Event(), threading.Event(), list[str]()

    def slowly(self: Undelivered, sealed: Any, wanted: object) -> None:
        read.append(sealed.path.name)
        begun.set()
        assert stopped.wait(PATIENCE_S)

    monkeypatch.setattr(Undelivered, "_read_segment", slowly)
    server = server_on(tmp_path)
    server.reading = asyncio.create_task(server.collect.read_log(server.ingest.wal.open()))
    await asyncio.to_thread(begun.wait, PATIENCE_S)
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    assert server.collect._undelivered.stop
    assert not stopping.done()
    stopped.set()
    await asyncio.wait_for(stopping, PATIENCE_S)

    assert len(read) == 1
    assert len(list((tmp_path / "wal").glob("*.wal"))) == 3

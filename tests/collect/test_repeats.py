"""A repeated event is acknowledged only when the one before it is on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from analytics_server.app import Server
from analytics_server.collect.collector import Answer
from analytics_server.config import Config, IngestSection, ServerSection

BEACON = b'{"site":"a.example","name":"x","event_id":"6f9619ff-8b86-4d01-b42d-00cf4fc964ff"}'
HEADERS = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36"}


async def test_a_repeat_shares_the_fate_of_an_event_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(Config(server=ServerSection(data_dir=str(tmp_path)), ingest=IngestSection(ack="os")))
    collector, wal = server._collector, server._wal
    wal.open()
    answers: list[Answer] = []
    write, fails = os.writev, True

    def failing(fd: int, pieces: list[bytes]) -> int:
        if fails:
            raise OSError(28, "No space left on device")
        return write(fd, pieces)

    monkeypatch.setattr("analytics_server.ingest.wal.os.writev", failing)
    collector.take_fast(BEACON, HEADERS, "192.0.2.1", answers.append)
    collector.take_fast(BEACON, HEADERS, "192.0.2.1", answers.append)
    assert answers == []
    wal.start()
    assert (await collector.collect("track", BEACON, HEADERS, "192.0.2.1")).status == 503
    assert [answer.status for answer in answers] == [503, 503]

    fails = False
    assert (await collector.collect("track", BEACON, HEADERS, "192.0.2.1")).status == 202
    assert (await collector.collect("track", BEACON, HEADERS, "192.0.2.1")).status == 202
    await wal.close()

"""What every answer and every background task has in common, and how the process ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from analytics_server.http.serving import raise_file_limit
from analytics_server.lifecycle import cancel, keep_running
from tests.clickhouse import ClickHouseFront
from tests.clickhouse_front.faults import Fault
from tests.server import Client, RunningServer, raw

BEACON = b'{"site":"a.example","name":"pageview","url":"https://a.example/"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("serving")) as running:
        yield running


def request(start: str, *headers: bytes, body: bytes = b"") -> bytes:
    lines = [start.encode(), b"Host: localhost", b"Content-Length: %d" % len(body), *headers, b"Connection: close"]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def test_bytes_in_headers_that_are_no_text_are_answered(server: RunningServer) -> None:
    wrong = b"\xff\xfe"
    for status, sent in [
        (401, request("POST /track HTTP/1.1", b"Authorization: Bearer " + wrong, body=BEACON)),
        (401, request("GET /api/v1/sites HTTP/1.1", b"Authorization: Bearer " + wrong)),
        (200, request("GET /track/pixel.gif?site=a.example HTTP/1.1", b"Referer: https://a.example/" + wrong)),
        (415, request("POST /track HTTP/1.1", b"Content-Encoding: " + wrong, body=BEACON)),
        (202, request("POST /track HTTP/1.1", b"User-Agent: " + wrong, b"Accept-Language: " + wrong, body=BEACON)),
    ]:
        answer = await raw(server, sent, enough=b"\0")
        assert answer.split()[1] == str(status).encode(), answer
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        (b"hello\r\n\r\n", "can't be read as HTTP"),
        (b"POST /track HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n", "can't be read as HTTP"),
        (
            b"POST /track HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
            "can't be read as HTTP",
        ),
        (b"GET /api/v1/trends?site_id=" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", "8190 bytes"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 9_000 + b"\r\n\r\n", "8190 bytes"),
    ],
)
async def test_what_is_no_readable_http_is_refused_like_everything_else(
    server: RunningServer, sent: bytes, named: str
) -> None:
    head, _, body = (await raw(server, sent, enough=b"\0")).partition(b"\r\n\r\n")

    error = json.loads(body)["error"]
    assert head.split()[1] == b"400"
    assert b"Content-Type: application/json" in head
    assert error["code"] == "bad_request"
    assert named in error["message"]
    assert b"secret" not in body


async def kept(server: RunningServer) -> int:
    """Events of the site that are stored."""
    async with Client(server) as client:
        await client.flushed()
        return await client.count("a.example")


async def test_every_connection_gets_its_answer_when_the_server_stops_under_load(server: RunningServer) -> None:
    beacon = b"POST /track HTTP/1.1\r\nHost: localhost\r\nUser-Agent: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        b"Mozilla/5.0 (X11; Linux x86_64) Chrome/142.0.0.0 Safari/537.36",
        len(BEACON),
        BEACON,
    )
    statuses: list[int] = []
    before = await kept(server)
    stopping = asyncio.Event()
    enough = asyncio.Event()

    async def keep_sending() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            while True:
                writer.write(beacon)
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
                statuses.append(int(head.split()[1]))
                if len(statuses) > 500:
                    enough.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            assert stopping.is_set()
        finally:
            writer.close()

    senders = [asyncio.create_task(keep_sending()) for _ in range(20)]
    await asyncio.wait_for(enough.wait(), 30)
    stopping.set()
    ended = asyncio.create_task(asyncio.to_thread(server.terminate))
    await asyncio.wait_for(asyncio.gather(*senders), 20)
    assert await ended == 0
    assert set(statuses) <= {202, 503}
    assert "drained=True" in server.log

    await asyncio.to_thread(server.start)
    counted = await kept(server)
    accepted = statuses.count(202)
    assert accepted <= counted - before <= accepted + len(senders)


async def test_ends_in_time_though_clickhouse_does_not_answer_and_loses_nothing(
    tmp_path: Path, clickhouse_front: ClickHouseFront
) -> None:
    settings = {"clickhouse_url": clickhouse_front.url, "server_shutdown_grace_s": "1"}
    server = RunningServer(tmp_path, settings)
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        assert (await client.send(BEACON)).status == 202
        await client.flushed()
        clickhouse_front.faults.add(Fault(kind="stall", statement="insert", contains="events", times=0))
        assert (await client.send(BEACON)).status == 202
        await asyncio.to_thread(clickhouse_front.faults.wait_stalled)
    assert await asyncio.to_thread(server.terminate) == 0
    assert "did not stop in time" in server.log

    clickhouse_front.faults.clear()
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        await client.kept("a.example", 2)
    server.kill()


async def test_a_background_task_that_fails_is_reported_and_started_again(caplog: pytest.LogCaptureFixture) -> None:
    runs = 0
    again = asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise RuntimeError
        again.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(keep_running(work, "sweeping", 0.0))
    with caplog.at_level(logging.ERROR):
        await asyncio.wait_for(again.wait(), 5)
    task.cancel()
    assert [record.__dict__["task"] for record in caplog.records] == ["sweeping"]


def test_as_many_files_as_the_hard_limit_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(300, before[1]), before[1]))
    try:
        allowed = raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == allowed >= 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_waiting_for_a_task_that_does_not_end_can_be_given_up() -> None:
    ends = asyncio.Event()

    async def deaf() -> None:
        while not ends.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await ends.wait()

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    stopping = asyncio.create_task(cancel([task]))
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait({stopping}, timeout=5.0)
    given_up, was_deaf = stopping.done(), not task.done()
    ends.set()
    await asyncio.wait({task, stopping})
    assert (given_up, was_deaf) == (True, True)


async def test_no_tasks_have_ended() -> None:
    await cancel([])

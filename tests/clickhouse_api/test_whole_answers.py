"""`wait_end_of_query=1`: an answer is held back until it is whole, so that a late fault has its status."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientError
from pytest_aiohttp.plugin import AiohttpClient

from analytics_server.config import Config
from analytics_server.sql.service import MB
from analytics_server.store import Store
from tests.clickhouse_api.conftest import ONE, Asking, serve
from tests.server import wait_for
from tests.sql.conftest import make_service

WHOLE = {"wait_end_of_query": "1"}
ROWS = "SELECT number, toString(number) AS t FROM numbers(50000) FORMAT TSV"
TOO_BIG = "SELECT number AS `a long name` FROM numbers(100000) FORMAT JSONEachRow"
"""Longer as a text than in memory: it is refused behind its first rows."""


async def serving(aiohttp_client: AiohttpClient, store: Store, *, held_mb: int, answer_mb: int = 1) -> Asking:
    service = make_service(store, rows=200_000, answer_mb=answer_mb, timeout_s=20.0)
    return await serve(aiohttp_client, service, held_mb=held_mb)


@pytest.fixture
async def whole(aiohttp_client: AiohttpClient, filled: tuple[str, Store]) -> AsyncIterator[Asking]:
    asking = await serving(aiohttp_client, filled[1], held_mb=4)
    yield asking
    assert asking.held.left == 4 * MB


async def broken_off(asking: Asking, params: dict[str, str]) -> tuple[int, bytes]:
    """The status, and as much of the body as there was."""
    body = b""
    async with asking.http.post(
        "/clickhouse/", params=params, data=TOO_BIG, headers={"X-ClickHouse-Key": ONE}
    ) as answer:
        with contextlib.suppress(ClientError):
            async for piece in answer.content.iter_any():
                body += piece
    return answer.status, body


@pytest.mark.parametrize("name", ["wait_end_of_query", "http_wait_end_of_query"])
async def test_a_late_fault_is_the_status(whole: Asking, name: str) -> None:
    reply = await whole.ask(TOO_BIG, **{name: "1"})
    assert (reply.status, reply.code) == (400, "396")
    assert reply.text.startswith("Code: 396. DB::Exception: ")
    assert "a long name" not in reply.text
    assert [entry.outcome for entry in whole.noted] == ["sql_answer_too_big"]


@pytest.mark.parametrize("params", [{}, {"wait_end_of_query": "0"}])
async def test_without_it_the_fault_comes_behind_the_rows(whole: Asking, params: dict[str, str]) -> None:
    status, body = await broken_off(whole, params)
    assert (status, body[:17]) == (200, b'{"a long name":0}')
    assert b"\nCode: 396. DB::Exception: " in body


async def test_the_answer_is_the_same(whole: Asking) -> None:
    for text in (ROWS, "SELECT 1 AS n FORMAT RowBinaryWithNamesAndTypes", "SELECT path FROM events WHERE 0 FORMAT TSV"):
        plain = await whole.ask(text)
        held = await whole.ask(text, **WHOLE)
        assert (held.status, held.body) == (200, plain.body)
        assert held.headers["X-ClickHouse-Summary"] == plain.headers["X-ClickHouse-Summary"]
        assert "X-ClickHouse-Dropped-Settings" not in held.headers
        packed = await whole.ask(text, **WHOLE, compress="1")
        assert packed.body == (await whole.ask(text, compress="1")).body


async def test_what_has_no_room_is_sent_as_it_comes(aiohttp_client: AiohttpClient, filled: tuple[str, Store]) -> None:
    asking = await serving(aiohttp_client, filled[1], held_mb=0)
    assert (await asking.ask(ROWS, **WHOLE)).body == (await asking.ask(ROWS)).body
    status, body = await broken_off(asking, WHOLE)
    assert (status, body[:17]) == (200, b'{"a long name":0}')
    assert b"\nCode: 396. DB::Exception: " in body


async def test_what_has_room_for_its_first_pieces_alone_is_sent_whole(
    aiohttp_client: AiohttpClient, filled: tuple[str, Store]
) -> None:
    asking = await serving(aiohttp_client, filled[1], held_mb=1, answer_mb=8)
    rows = ROWS.replace("50000", "200000")
    plain, held = await asking.ask(rows), await asking.ask(rows, **WHOLE)
    assert (held.status, len(held.body) > MB) == (200, True)
    assert held.body == plain.body
    assert asking.held.left == MB


async def test_a_client_that_does_not_read_gives_its_room_back(whole: Asking) -> None:
    """It leaves in the middle of an answer that is whole."""
    text = ROWS.encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", whole.http.port)
    head = (
        b"POST /clickhouse/?wait_end_of_query=1 HTTP/1.1\r\nHost: localhost\r\nX-ClickHouse-Key: %b\r\n" % ONE.encode()
    )
    writer.write(head + b"Content-Length: %d\r\n\r\n" % len(text) + text)
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.transport.abort()

    async def is_noted() -> bool:
        return bool(whole.noted) and whole.held.left == 4 * MB

    await wait_for(is_noted, what="the end of the answer")


def test_by_default_an_answer_of_the_largest_size_has_room() -> None:
    config = Config()
    assert config.clickhouse_api.held_mb >= config.sql.answer_mb

"""Reading a request on aiohttp: bodies in pieces, bodies that stall, and what is never waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from analytics_server.collect.address import AddressResolver
from analytics_server.collect.routes import CollectRoutes
from tests.collect.world import World
from tests.http.authorizer import public_routes

BODY = b'{"site":"a.example","name":"x"}'
AGENT = b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36\r\n"


@asynccontextmanager
async def serving(world: World, held_bytes: int = 1_000_000, body_timeout_s: float = 30.0) -> AsyncIterator[TestServer]:
    made = CollectRoutes(
        world.collector,
        AddressResolver(()),
        b"script",
        "/track",
        "/a.js",
        held_bytes=held_bytes,
        body_timeout_s=body_timeout_s,
    )
    app = web.Application()
    app.router.add_routes(public_routes(made.endpoints()))
    server = TestServer(app, auto_decompress=False)
    await server.start_server()
    try:
        yield server
    finally:
        await server.close()


async def ask(server: TestServer, *pieces: bytes) -> tuple[int, bytes]:
    """Send pieces, each after the one before has been taken; the status and all that came."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        return int(head.split(b" ")[1]), head
    finally:
        writer.close()


def head(length: int) -> bytes:
    return b"POST /track HTTP/1.1\r\nHost: a\r\n" + AGENT + b"Content-Length: %d\r\n\r\n" % length


async def test_a_body_in_pieces_is_put_together() -> None:
    world = World()
    async with serving(world) as server:
        status, _ = await ask(server, head(len(BODY)), *(bytes([byte]) for byte in BODY))

    assert status == 202
    assert len(world.events) == 1


async def test_a_body_that_stalls_is_given_up() -> None:
    world = World()
    async with serving(world, body_timeout_s=0.05) as server:
        status, answer = await ask(server, head(len(BODY)), BODY[:10])

    assert status == 408
    assert b"Access-Control-Allow-Origin: *" in answer
    assert world.events == []


async def test_a_body_that_is_announced_too_large_is_not_waited_for() -> None:
    async with serving(World()) as server:
        status, _ = await ask(server, head(10_000_000_000))

    assert status == 413


@pytest.mark.parametrize(("token", "status"), [(b"unknown", 401), (b"read", 403)])
async def test_the_body_of_a_token_that_may_not_collect_is_not_waited_for(token: bytes, status: int) -> None:
    world = World()
    announced = head(5 << 20).replace(b"Content-Length", b"Authorization: Bearer " + token + b"\r\nContent-Length")
    async with serving(world) as server:
        given, answer = await ask(server, announced)

    assert (given, b"WWW-Authenticate: Bearer\r\n" in answer) == (status, status == 401)


async def test_a_body_that_grows_too_large_is_cut_off() -> None:
    start = b"POST /track HTTP/1.1\r\nHost: a\r\n" + AGENT + b"Transfer-Encoding: chunked\r\n\r\n"
    async with serving(World(batch_bytes=10_000)) as server:
        status, _ = await ask(server, start, *(b"1000\r\n" + b" " * 4_096 + b"\r\n" for _ in range(4)))

    assert status == 413


async def test_unfinished_bodies_together_hold_no_more_than_they_may() -> None:
    world = World()
    large = BODY + b" " * 2 * len(BODY)
    async with serving(world, held_bytes=3 * len(BODY)) as server:
        begun = [await asyncio.open_connection(server.host, server.port) for _ in range(4)]
        for _, writer in begun:
            writer.write(head(len(large)) + BODY)
        answers = [asyncio.ensure_future(reader.readuntil(b"\r\n\r\n")) for reader, _ in begun]
        done, waiting = await asyncio.wait(answers, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        refused = done.pop().result()
        short, _ = await ask(server, head(len(BODY)) + BODY)
        assert not any(answer.done() for answer in waiting)
        for _, writer in begun:
            writer.close()
        await asyncio.wait(waiting)
        for answer in waiting:
            assert answer.exception() is not None
        async with asyncio.timeout(10):  # the server notices in a moment that they have gone
            later = 0
            while later != 202:
                later, _ = await ask(server, head(len(large)), large[:20], large[20:])

    assert b" 503 " in refused
    assert b"Retry-After: " in refused
    assert short == 202
    assert len(world.events) == 2


async def test_two_answers_do_not_share_their_headers() -> None:
    async with serving(World(batch_bytes=100, site_events_per_s=1)) as server:
        first = (await ask(server, head(len(BODY)), BODY))[1]
        too_large = (await ask(server, head(200), b" " * 200))[1]
        again = (await ask(server, head(len(BODY)), BODY))[1]
        for _ in range(5):
            status, limited = await ask(server, head(len(BODY)), BODY)
        after = (await ask(server, head(200), b" " * 200))[1]

    assert b"Content-Length: 41\r\n" in first
    assert first.split(b"Date")[0] == again.split(b"Date")[0]
    assert (status, b"Retry-After: 1\r\n" in limited) == (429, True)
    assert b"Access-Control-Expose-Headers: Retry-After\r\n" in limited
    assert b"Expose" not in first
    assert too_large.split(b"Date")[0] == after.split(b"Date")[0]

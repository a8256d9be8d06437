"""The fast way in: what it takes, what it leaves to aiohttp, and what it bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from analytics_server.access.principals import Principal, Role
from analytics_server.access.tokens import Token
from analytics_server.collect.address import AddressResolver
from analytics_server.collect.answer import BeaconAnswer
from analytics_server.collect.collector import Collector
from analytics_server.collect.formats.table import Format
from analytics_server.collect.front.flow_control import MAX_HELD_BYTES
from analytics_server.collect.protocol import (
    CLOGGED_S,
    IDLE_S,
    MOST_TRUSTED_BYTES,
    BeaconProtocol,
    Front,
)
from tests.server import wait_for

BODY = b'{"site":"a.example"}'
ANSWER = BeaconAnswer(202, b"{}")


def post(path: str = "/track", body: bytes = BODY, more: bytes = b"") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: a.example\r\nContent-Length: {len(body)}\r\n".encode()
    return head + more + b"\r\n" + body


GET = b"GET /page HTTP/1.1\r\nHost: a.example\r\n\r\n"


COLLECT = Token(token_id="known", role=Role.COLLECT).principal()


class Taker:
    """Stands where the collector stands; answers at once, or when told to."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.principals: list[Principal | None] = []
        self.waiting: list[Callable[[BeaconAnswer], None]] = []
        self.at_once = True
        self.took = asyncio.Event()

    def known(self, authorization: str) -> Principal | None:
        return COLLECT if authorization == "Bearer known" else None

    def take_fast(
        self,
        format: Format,
        body: bytes,
        headers: Mapping[str, str],
        address: str,
        respond: Callable[[BeaconAnswer], None],
        principal: Principal | None = None,
    ) -> None:
        self.bodies.append(body)
        self.principals.append(principal)
        self.took.set()
        if self.at_once:
            respond(ANSWER)
        else:
            self.waiting.append(respond)

    def answer(self) -> None:
        self.waiting.pop(0)(ANSWER)


class Listening:
    """A real socket with the front on it; what aiohttp gets is kept as (path, header X-A, body)."""

    def __init__(self) -> None:
        self.taker = Taker()
        self.framework: list[tuple[str, str, bytes]] = []
        self.front: Front
        self.port = 0

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.framework.append((request.path, request.headers.get("X-A", ""), await request.read()))
        return web.Response(text="framework")


@asynccontextmanager
async def listening(most_connections: int = 10) -> AsyncIterator[Listening]:
    made = Listening()
    inner = web.Server(made.handle)
    made.front = Front(
        cast(Collector, made.taker),
        AddressResolver(()),
        "/track",
        inner,
        lambda status, seconds: None,
        most_connections=most_connections,
    )
    server = await asyncio.get_running_loop().create_server(made.front, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await inner.shutdown(1.0)


class Caller:
    """A client that says exactly which bytes go when."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> tuple[int, bytes]:
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            return int(head.split()[1]), await self.reader.readexactly(int(lines["content-length"]))

    async def ask(self, data: bytes) -> tuple[int, bytes]:
        self.writer.write(data)
        return await self.answer()

    async def closed(self) -> bool:
        async with asyncio.timeout(5):
            return await self.reader.read() == b""


@asynccontextmanager
async def calling(server: Listening) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()


async def test_beacons_and_other_requests_take_turns_on_one_connection() -> None:
    async with listening() as server, calling(server) as caller:
        for _ in range(2):
            assert await caller.ask(post()) == (202, b"{}")
            assert await caller.ask(GET) == (200, b"framework")
            assert await caller.ask(post("/other")) == (200, b"framework")
        assert await caller.ask(post()) == (202, b"{}")
        assert server.taker.bodies == [BODY] * 3


async def test_a_token_that_memory_knows_is_fast_and_any_other_waits_for_the_framework() -> None:
    async with listening() as server, calling(server) as caller:
        known, unknown = (b"Authorization: Bearer %s\r\n" % token for token in (b"known", b"unknown"))
        assert await caller.ask(post(more=known)) == (202, b"{}")
        assert await caller.ask(post()) == (202, b"{}")
        assert await caller.ask(post(more=unknown)) == (200, b"framework")
        assert await caller.ask(post(more=known + known)) == (200, b"framework")
        assert server.taker.principals == [COLLECT, None]


async def test_what_may_hold_many_events_of_a_trusted_sender_is_the_framework_s() -> None:
    known = b"Authorization: Bearer known\r\n"
    async with listening() as server, calling(server) as caller:
        assert await caller.ask(post(more=known + b"Content-Encoding: identity\r\n")) == (200, b"framework")
        assert await caller.ask(post(body=b"x" * (MOST_TRUSTED_BYTES + 1), more=known)) == (200, b"framework")
        assert not server.taker.bodies


async def test_a_beacon_is_fast_again_after_a_body_in_pieces() -> None:
    async with listening() as server, calling(server) as caller:
        whole = post("/other", b"x" * 50)
        caller.writer.write(whole[:-20])
        await _until(lambda: len(server.front.connections) == 1 and _only(server.front)._owed == 20)
        assert await caller.ask(whole[-20:]) == (200, b"framework")
        assert await caller.ask(post()) == (202, b"{}")
        assert server.taker.bodies == [BODY]
        assert server.framework == [("/other", "", b"x" * 50)]


async def test_the_rest_of_a_request_is_never_read_as_a_beacon() -> None:
    async with listening() as server, calling(server) as caller:
        half = b"POST /other HTTP/1.1\r\nX-A: "
        assert await caller.ask(GET + half) == (200, b"framework")
        assert await caller.ask(post(body=b"{}")) == (200, b"framework")
        assert server.taker.bodies == []
        assert server.framework[-1] == ("/other", "POST /track HTTP/1.1", b"{}")


async def test_a_body_that_looks_like_a_beacon_stays_a_body() -> None:
    async with listening() as server, calling(server) as caller:
        whole = post("/other", post())
        at = whole.index(b"POST /track")
        caller.writer.write(whole[:at])
        await _until(lambda: len(server.front.connections) == 1 and _only(server.front)._owed > 0)
        assert await caller.ask(whole[at:]) == (200, b"framework")
        assert server.taker.bodies == []


async def test_a_client_that_has_closed_its_sending_side_gets_its_answer() -> None:
    async with listening() as server, calling(server) as caller:
        server.taker.at_once = False
        caller.writer.write(post())
        caller.writer.write_eof()
        await server.taker.took.wait()
        await _until(lambda: _only(server.front)._client_done)
        server.taker.answer()
        assert await caller.answer() == (202, b"{}")
        assert await caller.closed()


async def test_at_the_end_each_connection_gets_its_answer_and_is_closed() -> None:
    async with listening() as server, calling(server) as busy, calling(server) as idle:
        assert await idle.ask(post()) == (202, b"{}")
        server.taker.at_once = False
        server.taker.took.clear()
        busy.writer.write(post())
        await server.taker.took.wait()
        settling = asyncio.create_task(server.front.settle(5.0))
        assert await idle.closed()
        assert not settling.done()
        server.taker.answer()
        assert await busy.answer() == (202, b"{}")
        assert await busy.closed()
        await settling
        assert server.front.under_way == 0


async def test_one_connection_too_many_is_closed_at_once() -> None:
    async with listening(most_connections=1) as server, calling(server) as first:
        assert await first.ask(post()) == (202, b"{}")
        async with calling(server) as second:
            with suppress(ConnectionError):
                assert await second.closed()
        assert await first.ask(post()) == (202, b"{}")


class FakeTransport(asyncio.Transport):
    """Counts what is written and remembers whether reading is paused."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        self.paused = False
        self.ended = ""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += 1

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Idle:
    """aiohttp's protocol as the front sees it while it waits for a request."""

    def __init__(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        self._messages: list[object] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...

    def data_received(self, data: bytes) -> None:
        self._messages.append(data)

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def keep_alive(self, keep: bool) -> None: ...


def connected() -> tuple[BeaconProtocol, FakeTransport, Taker]:
    taker = Taker()
    front = Front(
        cast(Collector, taker),
        AddressResolver(()),
        "/track",
        lambda: cast(RequestHandler, Idle()),
        lambda status, seconds: None,
        most_connections=10,
    )
    protocol, transport = front(), FakeTransport()
    protocol.connection_made(transport)
    return protocol, transport, taker


async def test_takes_no_more_from_a_client_that_reads_no_answers() -> None:
    protocol, transport, taker = connected()
    protocol.data_received(post())
    protocol.pause_writing()
    sent = 0
    while sent <= MAX_HELD_BYTES:
        protocol.data_received(post())
        sent += len(post())
    assert len(taker.bodies) == transport.written == 1
    assert transport.paused
    protocol.resume_writing()
    assert not transport.paused


async def test_goes_on_when_the_client_reads_again() -> None:
    protocol, transport, taker = connected()
    protocol.pause_writing()
    protocol.data_received(post())
    assert taker.bodies == []
    protocol.resume_writing()
    assert taker.bodies == [BODY]
    assert transport.written == 1


async def test_cuts_a_client_off_that_leaves_its_answers_unread() -> None:
    protocol, transport, _ = connected()
    protocol.pause_writing()
    protocol.close_if_idle(time.monotonic() + CLOGGED_S - 1)
    assert transport.ended == ""
    protocol.close_if_idle(time.monotonic() + CLOGGED_S + 1)
    assert transport.ended == "aborted"


async def test_closes_a_connection_on_which_nothing_happens() -> None:
    protocol, transport, _ = connected()
    protocol.data_received(post())
    protocol.close_if_idle(time.monotonic() + IDLE_S - 1)
    assert transport.ended == ""
    protocol.close_if_idle(time.monotonic() + IDLE_S + 1)
    assert transport.ended == "closed"


def _only(front: Front) -> BeaconProtocol:
    (connection,) = front.connections
    return connection


async def _until(condition: Callable[[], bool]) -> None:
    await wait_for(_later(condition), 5.0)


def _later(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return condition()

    return ask

"""What is no ordinary request is refused as HTTP and WebSocket say, in JSON, and no answer tells versions."""

from __future__ import annotations

import asyncio
import json
import re
import struct
from collections.abc import Iterator

import pytest

from analytics_server.http.serving import MOST_SLASHES
from analytics_server.http.websocket_frames import MaskedFrames
from tests.server import ADMIN_TOKEN, RunningServer, raw

HOST = b"Host: localhost\r\n"
VERSIONS = re.compile(rb"(?i)^server:.*(python|aiohttp|\d)", re.M)
BEACON = b'{"site":"a.example","name":"x"}'
UPGRADE = (
    HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {
        "limits_body_timeout_s": "0.5",
        "limits_live_sockets": "2",
        "limits_live_sockets_without_token": "4",
        "limits_address_sockets_without_token": "3",
        "server_trusted_proxies": "127.0.0.1",
    }
    with RunningServer(tmp_path_factory.mktemp("strict"), settings) as running:
        yield running
        assert running.terminate() == 0
    assert "Traceback" not in running.log


def split(answer: bytes) -> tuple[int, bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, body


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"OPTIONS * HTTP/1.1\r\n" + HOST, 405, "method_not_allowed"),
        (b"CONNECT a.example:443 HTTP/1.1\r\n" + HOST, 501, "not_implemented"),
        (b"CONNECT / HTTP/1.1\r\n" + HOST, 501, "not_implemented"),
        (b"TRACE / HTTP/1.1\r\n" + HOST, 405, "method_not_allowed"),
        (b"PUT /track HTTP/1.1\r\n" + HOST, 405, "method_not_allowed"),
        (b"BREW /track HTTP/1.1\r\n" + HOST, 501, "not_implemented"),
        (b"get /healthz HTTP/1.1\r\n" + HOST, 501, "not_implemented"),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"Expect: foo\r\n", 417, "expectation_failed"),
        (b"POST /track HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nExpect: foo\r\n", 417, "expectation_failed"),
        (b"GET /nowhere HTTP/1.1\r\n" + HOST + b"Expect: foo\r\n", 417, "expectation_failed"),
        (b"GET http://a.example/nowhere HTTP/1.1\r\n" + HOST, 404, "not_found"),
        (b"PUT http://a.example HTTP/1.1\r\n" + HOST, 405, "method_not_allowed"),
        (b"GET /" + b"a/" * 64 + b" HTTP/1.1\r\n" + HOST, 404, "not_found"),
        (b"GARBAGE\r\n", 400, "bad_request"),
        (b"GET /healthz HTTP/3.0\r\n" + HOST, 400, "bad_request"),
    ],
    ids=lambda value: value[:30].decode().split(" HTTP")[0].strip() if isinstance(value, bytes) else str(value),
)
async def test_refusals_are_json_with_the_status_of_the_standard(
    server: RunningServer, sent: bytes, status: int, code: str
) -> None:
    found, head, body = split(await raw(server, sent + b"Connection: close\r\n\r\n", enough=b"\0", timeout_s=3.0))

    assert (found, json.loads(body)["error"]["code"]) == (status, code)
    assert b"application/json" in head
    assert not VERSIONS.search(head)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n" + HOST, 200),
        (b"GET http://a.example/healthz HTTP/1.1\r\n" + HOST, 200),
        (b"GET / HTTP/1.1\r\n" + HOST, 302),
        (b"GET http://a.example HTTP/1.1\r\n" + HOST, 302),
        (b"GET http://a.example?x=1 HTTP/1.1\r\n" + HOST, 302),
        (b"OPTIONS /track HTTP/1.1\r\n" + HOST, 204),
        (b"GET /a.js HTTP/1.1\r\n" + HOST, 200),
        (b"GET /track/pixel.gif?site=a.example HTTP/1.1\r\n" + HOST, 200),
    ],
)
async def test_no_answer_tells_versions(server: RunningServer, sent: bytes, status: int) -> None:
    found, head, _ = split(await raw(server, sent + b"Connection: close\r\n\r\n", enough=b"\0", timeout_s=3.0))

    assert found == status
    assert not VERSIONS.search(head)


async def test_a_client_that_waits_for_100_gets_it(server: RunningServer) -> None:
    sent = b"POST /track HTTP/1.1\r\n" + HOST + b"Expect: 100-Continue\r\nContent-Length: %d\r\n\r\n" % len(BEACON)
    answer = await raw(server, sent + BEACON, enough=b"rejected")

    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 ")


async def test_a_client_of_http_1_0_gets_no_100(server: RunningServer) -> None:
    sent = b"POST /track HTTP/1.0\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BEACON)
    answer = await raw(server, sent + BEACON, enough=b"rejected")

    assert answer.startswith(b"HTTP/1.0 202 ")


@pytest.mark.parametrize(("slashes", "looked_for"), [(MOST_SLASHES, True), (MOST_SLASHES + 1, False), (8_000, False)])
async def test_no_route_is_looked_for_under_a_path_of_very_many_parts(
    server: RunningServer, slashes: int, looked_for: bool
) -> None:
    """The search costs the square of the slashes: 25 requests a second of 8,000 took the whole process."""
    answer = await raw(server, b"GET " + b"/" * slashes + b"x HTTP/1.1\r\n" + HOST + b"\r\n", enough=b"}}")

    assert answer.startswith(b"HTTP/1.1 404 ")
    assert (b"so many parts" in answer) != looked_for


# ---- bodies that never end --------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/track",
        "/track/batch",
        "/api/v1/query",
        "/api/v1/sql",
        "/api/v1/sites",
        "/api/v1/tokens",
        "/api/v1/cohorts",
        "/api/v1/paths",
        "/api/v1/sessions",
        "/api/v1/funnels",
    ],
)
@pytest.mark.parametrize("way", ["stalled", "dripping"])
async def test_a_body_that_never_ends_is_answered_408(server: RunningServer, path: str, way: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n"
    head += "Transfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode() + b"1\r\n{\r\n")

    async def drip() -> None:
        while True:
            await asyncio.sleep(0.05)
            writer.write(b"1\r\n \r\n")

    dripping = asyncio.create_task(drip()) if way == "dripping" else None
    try:
        async with asyncio.timeout(10.0):
            found, _, body = split(await reader.readuntil(b"}}"))
        assert (found, json.loads(body)["error"]["code"]) == (408, "request_timeout")
    finally:
        if dripping is not None:
            dripping.cancel()
        writer.close()


# ---- WebSockets -------------------------------------------------------------


def frame(payload: bytes, *, masked: bool = True, opcode: int = 1, fin: bool = True) -> bytes:
    mask = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | opcode])
    if len(payload) < 126:
        head += bytes([mask | len(payload)])
    elif len(payload) < 65_536:
        head += bytes([mask | 126]) + struct.pack(">H", len(payload))
    else:
        head += bytes([mask | 127]) + struct.pack(">Q", len(payload))
    return head + (bytes(4) if masked else b"") + payload


async def connect(server: RunningServer, *, token: str = "", address: str = "192.0.2.1", then: bytes = b""):  # type: ignore[no-untyped-def]
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    extra = f"Authorization: Bearer {token}\r\n" if token else ""
    head = b"GET /api/v1/live?site_id=live.example HTTP/1.1\r\n" + UPGRADE
    writer.write(head + f"X-Forwarded-For: {address}\r\n{extra}\r\n".encode() + then)
    async with asyncio.timeout(10.0):
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def closing(reader: asyncio.StreamReader) -> int:
    """The code of the close frame."""
    async with asyncio.timeout(10.0):
        while True:
            head = await reader.readexactly(2)
            length = head[1] & 0x7F
            if length == 126:
                length = struct.unpack(">H", await reader.readexactly(2))[0]
            payload = await reader.readexactly(length)
            if head[0] & 0x0F == 8:
                return int(struct.unpack(">H", payload[:2])[0])


HELLO = json.dumps({"token": ADMIN_TOKEN}).encode()


@pytest.mark.parametrize("opcode", [1, 2, 8, 9, 10])
@pytest.mark.parametrize("at_once", [True, False])
async def test_an_unmasked_frame_closes_with_1002(server: RunningServer, opcode: int, at_once: bool) -> None:
    unmasked = frame(HELLO if opcode < 8 else b"\x03\xe8", masked=False, opcode=opcode)
    reader, writer = await connect(server, then=unmasked if at_once else b"")
    if not at_once:
        writer.write(unmasked)
    assert await closing(reader) == 1002
    writer.close()


def test_frames_are_checked_wherever_they_are_cut() -> None:
    class Parser:
        def __init__(self) -> None:
            self.fed = b""

        def feed_data(self, data: bytes) -> tuple[bool, bytes]:
            self.fed += data
            return False, b""

        def feed_eof(self) -> None:
            pass

    good = b"".join(frame(b"x" * size) for size in (0, 1, 125, 126, 300, 70_000, 3))
    for step in (1, 2, 3, 7, 14, 1_000, len(good)):
        parser = Parser()
        guard = MaskedFrames(parser, None)
        assert not any(guard.feed_data(good[at : at + step])[0] for at in range(0, len(good), step))
        assert parser.fed == good
        assert [guard.feed_data(frame(b"y", masked=False)[at : at + 1])[0] for at in range(2)] == [False, True]
        assert guard.feed_data(frame(b"z")) == (True, b"")
        assert len(parser.fed) == len(good) + 1


async def test_sockets_without_a_token_take_no_place_of_those_with_one(server: RunningServer) -> None:
    await raw(
        server,
        b"POST /track HTTP/1.1\r\n" + HOST + b"User-Agent: Mozilla/5.0 (X11; Linux) Firefox/140.0\r\n"
        b"Content-Length: 34\r\n\r\n" + b'{"site":"live.example","name":"x"}',
        enough=b"rejected",
    )
    silent = [await connect(server, address=f"192.0.2.{number % 3}") for number in range(30)]
    by_header, writer_1 = await connect(server, token=ADMIN_TOKEN, address="192.0.2.1")
    by_message, writer = await connect(server, address="192.0.2.2")
    writer.write(frame(HELLO))
    for reader in (by_header, by_message):
        async with asyncio.timeout(10.0):
            assert (await reader.readexactly(1)) == b"\x81"  # a snapshot
    third, writer_3 = await connect(server, token=ADMIN_TOKEN)
    assert await closing(third) == 1013  # live_sockets = 2
    for _, one in [*silent, (None, writer), (None, writer_1), (None, writer_3)]:
        one.close()
        await one.wait_closed()


@pytest.mark.parametrize(("sockets", "gone"), [(3, 0), (4, 1)])
async def test_the_oldest_of_an_address_goes_past_its_share(server: RunningServer, sockets: int, gone: int) -> None:
    address = f"198.51.100.{sockets}"
    opened = [await connect(server, address=address) for _ in range(sockets)]
    async with asyncio.timeout(60):
        assert [await closing(reader) for reader, _ in opened[:gone]] == [1013] * gone
    assert not any(await asyncio.gather(*(_closed_soon(reader) for reader, _ in opened[gone:])))
    for _, writer in opened:
        writer.close()
        await writer.wait_closed()


async def _closed_soon(reader: asyncio.StreamReader) -> int:
    try:
        async with asyncio.timeout(1.5):
            return await closing(reader)
    except TimeoutError:
        return 0

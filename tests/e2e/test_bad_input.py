"""Whatever a client sends: the right answer, no crash, no unbounded work, and a server that goes on."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.server import USER_AGENT, Client, RunningServer, raw

GOOD = b'{"site":"bad.example","name":"x"}'
HEAD = b"POST /track HTTP/1.1\r\nHost: bad.example\r\nUser-Agent: " + USER_AGENT.encode() + b"\r\n"
DEEP = 100_000


@pytest_asyncio.fixture(autouse=True)
async def still_well(client: Client) -> AsyncIterator[None]:
    """After every test the server takes a beacon as if nothing had been."""
    yield
    assert (await client.send(GOOD)).json == {"accepted": 1, "dropped": {}, "rejected": []}


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


# ---- JSON ------------------------------------------------------------------

BROKEN = [
    pytest.param(b"[" * DEEP, id="open brackets"),
    pytest.param(b"[" * DEEP + b"]" * DEEP, id="nested arrays"),
    pytest.param(b'{"events":' * DEEP, id="nested envelopes"),
    pytest.param(b'{"site":"a","name":"x","props":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}", id="nested props"),
    pytest.param(b'{"site":"a","name":"x","k":' + b"[" * DEEP + b"]" * DEEP + b"}", id="nested unknown key"),
    pytest.param(b'{"site":"a","name":"x","timestamp":NaN}', id="NaN"),
    pytest.param(b'{"site":"a","name":"x","timestamp":Infinity}', id="Infinity"),
    pytest.param(b'{"site":"a","name":"\xff\xfe"}', id="invalid UTF-8"),
    pytest.param(b'{"site":"a","name":"\xed\xa0\x80"}', id="surrogate as UTF-8"),
    pytest.param(b"\x00\x00\x00\x00", id="NUL bytes"),
    pytest.param(b'{"site":"a","name":"x\x00"}', id="bare NUL in a string"),
    pytest.param('{"site":"a","name":"x"}'.encode("utf-16"), id="UTF-16"),
    pytest.param(b"1", id="number"),
    pytest.param(b'"text"', id="text"),
    pytest.param(b"true", id="true"),
    pytest.param(GOOD + GOOD, id="two documents"),
    pytest.param(GOOD + b"\n" + GOOD, id="lines"),
    pytest.param(b"site=a&name=x", id="a form"),
]


@pytest.mark.parametrize("body", BROKEN)
async def test_what_is_no_json_is_a_400(client: Client, body: bytes) -> None:
    reply = await client.send(body)

    assert reply.status == 400, reply.body[:300]
    assert reply.code in ("bad_json", "bad_body")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (b'"timestamp":1e999', "bad_timestamp"),
        (b'"timestamp":' + b"9" * 400, "bad_timestamp"),
        (b'"timestamp":' + b"9" * 10_000, "bad_timestamp"),
        (b'"timestamp":18446744073709551616', "bad_timestamp"),
        (b'"timestamp":-1e300', "bad_timestamp"),
        (b'"url":"data:text/html;base64,PGI+"', "bad_url"),
        (b'"url":"javascript:alert(1)"', "bad_url"),
        (b'"url":"file:///etc/passwd"', "bad_url"),
        (b'"url":"https://"', "bad_url"),
        (b'"url":"https://[::1"', "bad_url"),
        (b'"url":"https://a.example:99999999/"', "bad_url"),
        (b'"url":"' + b"x" * 50_000 + b'"', "bad_url"),
        (b'"site":"a\\u0000"', "bad_site"),
        (b'"site":"../../etc"', "bad_site"),
        (b'"site":"a\'; DROP TABLE events; --"', "bad_site"),
    ],
)
async def test_a_value_out_of_range_is_rejected_by_its_name(client: Client, fields: bytes, code: str) -> None:
    # A later key wins over an earlier one of the same name, so a case may replace any.
    body = b'{"site":"bad.example","name":"x","url":"https://bad.example/",' + fields + b"}"

    reply = await client.send(body)

    assert reply.status == 202, reply.body[:300]
    assert reply.rejected == [(0, code)]


@pytest.mark.parametrize(
    "fields",
    [
        b'"title":"a\\u0000b\\r\\nc"',
        b'"title":"\\ud83d"',
        b'"title":"\\ude00\\ud83d"',
        b'"props":{"k":"\\udfff"}',
        b'"k":"\\ud800"',
        b'"name":"y","name":"z"',
        b'"title":"\\ud83d\\ude00"',
        b'"title":"' + b"\\\\ud800" * 20 + b'"',
        b'"referrer":"javascript:alert(1)"',
        b'"referrer":"https://[::1"',
        b'"referrer":"\\u0000"',
        b'"language":"\\u0000\\ud800, \xc3\xa4"',
        b'"screen":{"width":1e300,"height":-1}',
        b'"element":{"href":"javascript:alert(1)","text":"\\u202e"}',
        b'"event_id":"00000000-0000-0000-0000-000000000000"',
        b'"timestamp":"1900-01-01"',
        b'"timestamp":"9999-12-31T23:59:59.999999+14:00"',
        b'"timestamp":"0001-01-01T00:00:00+14:00"',
        b'"timestamp":-1e15',
        b'"timestamp":0',
        b'"timestamp":1.5',
        b'"url":"https://\xf0\x9f\x98\x80.example/\\u202e?q=%ff%00"',
        b'"revenue":{"amount":0.1,"currency":" eur "}',
        b'"k":[' + b",".join([b"1"] * 20_000) + b"]",
        b'"k":' + b"[" * 100 + b"]" * 100,
    ],
)
async def test_odd_values_are_taken(client: Client, fields: bytes) -> None:
    body = b'{"site":"odd.example","name":"x","url":"https://odd.example/",' + fields + b"}"

    reply = await client.send(body)

    assert reply.json == {"accepted": 1, "dropped": {}, "rejected": []}


async def test_odd_values_can_be_asked_for(client: Client) -> None:
    """Whatever was taken above has reached ClickHouse: nothing was set aside."""
    await client.flushed()

    assert await client.metric("dead_letter_events_total") == 0
    assert sum(count for (count,) in (await client.query("odd.example", ["events"], ["event:title"])).values()) >= 1


async def test_half_a_surrogate_pair_spares_the_neighbours(client: Client) -> None:
    reply = await client.send(b"[" + GOOD + b',{"site":"bad.example","name":"cut\\ud83d"},' + GOOD + b"]")

    assert reply.json == {"accepted": 3, "dropped": {}, "rejected": []}


async def test_invalid_utf8_in_one_event_spares_the_neighbours(client: Client) -> None:
    events = GOOD + b',{"site":"bad.example","name":"\xff"},' + GOOD

    for body in (b"[" + events + b"]", b'{"events":[' + events + b"]}"):
        reply = await client.send(body)

        assert (reply.json["accepted"], reply.rejected) == (2, [(1, "bad_event")])


async def test_a_byte_order_mark_is_read_over(client: Client) -> None:
    assert (await client.send(b"\xef\xbb\xbf" + GOOD)).json["accepted"] == 1


@pytest.mark.parametrize("outer", [b"%s", b'{"events":[%s]}'], ids=["single", "envelope"])
async def test_a_hundred_thousand_keys(client: Client, outer: bytes) -> None:
    keys = b",".join(b'"%d":1' % number for number in range(100_000))

    reply = await client.send(outer % (b'{"site":"a","name":"x",' + keys + b"}"))

    assert reply.status in (202, 413)


# ---- compression -----------------------------------------------------------


def squeezed(value: bytes, times: int = 1) -> bytes:
    for _ in range(times):
        value = gzip.compress(value)
    return value


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(squeezed(b" " * 50_000_000), 413, id="bomb"),
        pytest.param(squeezed(b'{"site":"' + b"a" * 20_000_000), 413, id="bomb of one event"),
        pytest.param(squeezed(b""), 400, id="nothing"),
        pytest.param(squeezed(b"") * 63 + squeezed(GOOD), 202, id="63 empty members before"),
        pytest.param(squeezed(b"") * 64 + squeezed(GOOD), 400, id="64 empty members before"),
        pytest.param(squeezed(b"") * 40_000, 400, id="40,000 empty members"),
        pytest.param(squeezed(GOOD)[:-1], 400, id="without its last byte"),
        pytest.param(squeezed(GOOD)[:-8], 400, id="without its end"),
        pytest.param(squeezed(GOOD)[:12], 400, id="head only"),
        pytest.param(squeezed(GOOD) + b"garbage", 400, id="garbage behind"),
        pytest.param(squeezed(GOOD, 2), 400, id="twice"),
        pytest.param(b"not gzip at all", 400, id="no gzip"),
        pytest.param(b"", 400, id="empty body"),
    ],
)
async def test_compressed_nonsense(client: Client, body: bytes, status: int) -> None:
    reply = await client.send(body, headers={"Content-Encoding": "gzip"})

    assert reply.status == status, reply.body[:200]


async def test_two_members_are_one_body(client: Client) -> None:
    body = gzip.compress(GOOD[:10]) + gzip.compress(GOOD[10:])

    assert (await client.send(body, headers={"Content-Encoding": "gzip"})).json["accepted"] == 1


async def test_deflate_bomb(client: Client) -> None:
    reply = await client.send(zlib.compress(b" " * 50_000_000), headers={"Content-Encoding": "deflate"})

    assert (reply.status, reply.code) == (413, "too_large")


async def test_a_bomb_with_a_token_is_bounded_too(client: Client) -> None:
    bomb = squeezed(b" " * 50_000_000)

    assert (await client.send(bomb, headers={"Content-Encoding": "gzip"}, trusted=True)).status == 413


# ---- HTTP ------------------------------------------------------------------


async def test_a_length_that_is_too_large_is_refused_before_the_body_comes(server: RunningServer) -> None:
    answer = await raw(server, HEAD + b"Connection: close\r\nContent-Length: 999999999999\r\n\r\n", timeout_s=10)

    assert status_of(answer) == 413


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"0x10", b"1, 2", b"", b"99999999999999999999999999"])
async def test_a_length_that_is_no_number_is_refused(server: RunningServer, length: bytes) -> None:
    answer = await raw(
        server, HEAD + b"Connection: close\r\nContent-Length: " + length + b"\r\n\r\n" + GOOD, timeout_s=5
    )

    assert status_of(answer) in (400, 413)


async def test_a_length_and_chunks_together_are_refused(server: RunningServer) -> None:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)
    head = HEAD + b"Connection: close\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert status_of(await raw(server, head + body, timeout_s=10)) == 400


async def test_two_lengths_are_refused(server: RunningServer) -> None:
    head = HEAD + b"Connection: close\r\nContent-Length: 5\r\nContent-Length: 33\r\n\r\n"

    assert status_of(await raw(server, head + GOOD, timeout_s=10)) == 400


async def test_a_body_shorter_than_its_length_is_not_kept(server: RunningServer, client: Client, site: str) -> None:
    head = HEAD + b"Content-Length: 500\r\n\r\n"
    body = msgspec.json.encode({"site": site, "name": "x"})
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head + body)
    await writer.drain()
    writer.write_eof()
    await asyncio.wait_for(reader.read(), 10)
    writer.close()

    await client.kept(site, 0)


async def test_a_chunked_body_is_read(server: RunningServer) -> None:
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD) + b"0\r\n\r\n"
    head = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"

    answer = await raw(server, head + body)

    assert status_of(answer) == 202
    assert answer.endswith(b'{"accepted":1,"dropped":{},"rejected":[]}')


async def test_an_endless_chunked_body_is_cut_off(server: RunningServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    answer = asyncio.create_task(reader.read(4_096))
    sent = 0
    try:
        while not answer.done() and sent < 100_000_000:
            writer.write(chunk)
            sent += len(chunk)
            await asyncio.wait_for(writer.drain(), 5)
            await asyncio.sleep(0)
    except (ConnectionError, TimeoutError):
        pass
    assert status_of(await asyncio.wait_for(answer, 5)) == 413
    writer.close()
    assert sent < 20_000_000


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"POST /track HTTP/9.9\r\nHost: a\r\n\r\n",
        b"POST /track HTTP/1.1\r\nHost: a\r\nBad Header\r\n\r\n",
        b"POST /track HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"POST /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /track HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(50_000)) + b"\r\n",
        b"POST /track HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /track HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /track\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /track HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=range(12),
)
async def test_what_is_no_http_gets_a_400_or_nothing(server: RunningServer, request_bytes: bytes) -> None:
    answer = await raw(server, request_bytes, timeout_s=2)

    assert status_of(answer) in (0, 400, 404, 413, 414, 431), answer[:200]


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": "{};--<script>"},
        {"User-Agent": "M" * 8_000},
        {"Accept-Language": "x" * 5_000},
        {"X-Forwarded-For": "1.2.3.4," * 900},
        {"X-Forwarded-For": "not an address"},
        {"Content-Encoding": "gzip" * 100},
        {"DNT": "x" * 1_000, "Sec-GPC": "y" * 1_000},
        {"Sec-Purpose": ";;;;", "Purpose": "\t", "X-Moz": ","},
    ],
    ids=range(8),
)
async def test_strange_headers(client: Client, headers: dict[str, str]) -> None:
    reply = await client.send(GOOD, headers=headers)

    assert reply.status in (202, 400, 415)


@pytest.mark.parametrize("trusted", [False, True])
async def test_header_bytes_that_are_no_utf8(server: RunningServer, trusted: bool) -> None:
    head = b"POST /track HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUser-Agent: Mozilla/5.0 (X11) \xff\xfe\xf0\r\n"
    head += b"Accept-Language: \xff\r\nReferer: \xff\r\nContent-Length: %d\r\n" % len(GOOD)
    if trusted:
        head += f"Authorization: Bearer {server.token}\r\n".encode()

    assert status_of(await raw(server, head + b"\r\n" + GOOD)) == 202


async def test_slow_headers_and_stalled_bodies_do_not_hold_up_others(server: RunningServer, client: Client) -> None:
    stalled = []
    for number in range(100):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(HEAD if number % 2 else HEAD + b"Content-Length: 33\r\n\r\n" + GOOD[:10])
        await writer.drain()
        stalled.append((reader, writer))

    started = asyncio.get_running_loop().time()
    replies = [await client.send(GOOD) for _ in range(20)]
    took = asyncio.get_running_loop().time() - started

    assert [reply.status for reply in replies] == [202] * 20
    assert took < 10
    for _, writer in stalled:
        writer.close()


async def test_many_bad_requests_among_good_ones(client: Client, site: str) -> None:
    """Fault and good traffic together: every good event is counted, every bad one answered."""
    bad: list[Any] = [parameters.values[0] for parameters in BROKEN]
    good = msgspec.json.encode({"site": site, "name": "x"})
    bodies = [body for fault in bad * 4 for body in (fault, good)]

    replies = await asyncio.gather(*(client.send(body) for body in bodies))

    assert [reply.status for reply in replies] == [400, 202] * (len(bodies) // 2)
    await client.kept(site, len(bodies) // 2)

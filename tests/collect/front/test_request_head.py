"""Which heads are read, and where a request ends."""

from __future__ import annotations

import pytest

from analytics_server.collect.front.request_head import MAX_HEAD_BYTES, parse, size_of

HEAD = b"POST /track HTTP/1.1\r\nHost: a\r\n"


def request(*headers: bytes, body: bytes = b"{}") -> bytes:
    return HEAD + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def test_an_ordinary_request_is_read() -> None:
    assert parse(request(b"Content-Length: 2", b"X-A:  b ")) == (
        {"host": "a", "content-length": "2", "x-a": "b"},
        b"{}",
    )


@pytest.mark.parametrize(
    "data",
    [
        request(),
        request(b"Content-Length: 3"),
        request(b"Content-Length: 1"),
        request(b"Content-Length: +2"),
        request(b"Content-Length: 000000002"),
        request(b"Content-Length: 2", b"Content-Length: 2"),
        request(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
        request(b"Content-Length: 2", b"Expect: 100-continue"),
        request(b"Content-Length: 2", b"Connection: close"),
        request(b"Content-Length: 2", b"X-A : b"),
        request(b"Content-Length: 2", b"X-A: \xe4"),
        request(b"Content-Length: 2", b"X-A: b\tc"),
        request(b"Content-Length: 2", b"X-A: " + b"a" * MAX_HEAD_BYTES),
        request(b"Content-Length: 2").replace(b"Host", b"X-Host"),
        request(b"Content-Length: 2")[:-4],
    ],
)
def test_anything_unusual_is_left_to_the_framework(data: bytes) -> None:
    assert parse(data) is None


@pytest.mark.parametrize(
    ("data", "more"),
    [
        (request(body=b""), 0),
        (request(b"Content-Length: 10"), 8),
        (request(b"Content-Length: 2"), 0),
    ],
)
def test_the_size_of_a_request_is_told_by_content_length(data: bytes, more: int) -> None:
    assert size_of(data) == len(data) + more


@pytest.mark.parametrize(
    "data",
    [
        request(b"Transfer-Encoding: chunked"),
        request(b"Upgrade: websocket"),
        request(b"Content-Length: x"),
        HEAD,
        b"BREW /track HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_where_a_request_ends_is_never_guessed(data: bytes) -> None:
    assert size_of(data) == 0

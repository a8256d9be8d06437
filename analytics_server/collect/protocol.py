"""The fast way in: a plain `POST /track` is answered without the web framework.

One protocol stands before aiohttp's on every connection. When the framework is idle
and the bytes that arrive are exactly one complete, ordinary beacon, the core gets it
at once and its answer is written straight to the transport; everything else — other
paths, unknown tokens, chunked or partial bodies, anything unusual in the head — goes to
aiohttp unchanged. Nothing is parsed twice, nothing is guessed: in doubt it is aiohttp's.
Where one request ends and the next begins is known by Content-Length alone; a connection
on which that can't be told is aiohttp's for good, so that no bytes of one request are
ever read as the start of another. It costs a third of the framework's time per beacon
(benchmarks/).

Also bounds what a client can make the process hold: connections that idle too long, never
finish their request's head or don't read their answers are closed, and so are too many.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol, cast

from aiohttp.web_protocol import RequestHandler

from analytics_server.collect.address import AddressResolver, bare
from analytics_server.collect.answer import Answer, refuse
from analytics_server.collect.collector import Collector
from analytics_server.errors import AnalyticsError, NotImplementedHere

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 8_192
MAX_LENGTH_DIGITS = 8
MAX_HELD_BYTES = 262_144
MOST_TRUSTED_BYTES = 65_536
"""A larger body of a trusted sender may hold so many events that they are better taken in pieces."""

IDLE_S = 75.0
HEAD_S = 20.0
CLOGGED_S = 60.0
"""How long a client may leave its answers unread."""
SWEEP_S = 10.0

_UNUSUAL = frozenset({"transfer-encoding", "expect", "upgrade", "te", "trailer", "proxy-connection", "content-range"})
_CONNECT = b"CONNECT "
_FRAMED_OTHERWISE = frozenset({"transfer-encoding", "upgrade"})
_ANSWER_HEAD = (
    "HTTP/1.1 {status} {phrase}\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: application/json\r\n"
    "X-Content-Type-Options: nosniff\r\n{more}Content-Length: {length}\r\n\r\n"
)


class Observe(Protocol):
    """Counts one answered request: status and seconds."""

    def __call__(self, status: int, seconds: float) -> None: ...


class Front:
    """Makes the protocols of one listening socket and knows all its connections."""

    def __init__(
        self,
        collector: Collector,
        addresses: AddressResolver,
        path: str,
        make_inner: Callable[[], RequestHandler],
        observe: Observe,
        *,
        most_connections: int,
    ) -> None:
        self.collector = collector
        self.addresses = addresses
        self.start_line = f"POST {path} HTTP/1.1\r\n".encode()
        self.observe = observe
        self._make_inner = make_inner
        self.connections: set[BeaconProtocol] = set()
        self.most_connections = most_connections
        self.under_way = 0
        self.stopping = False
        self._settled = asyncio.Event()
        self._last: Answer | None = None
        self._last_bytes = b""

    def __call__(self) -> BeaconProtocol:
        return BeaconProtocol(self, self._make_inner())

    async def sweep(self) -> None:
        """Close idle connections for ever."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            for connection in list(self.connections):
                connection.close_if_idle(now)

    async def settle(self, timeout_s: float) -> None:
        """Stop: each connection closes after its answer; wait until all taken here are answered."""
        self.stopping = True
        for connection in list(self.connections):
            connection.close_when_answered()
        self._settled.clear()
        if self.under_way:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._settled.wait()

    def answered(self) -> None:
        """One beacon less is under way."""
        self.under_way -= 1
        if not self.under_way:
            self._settled.set()

    def encode(self, answer: Answer) -> bytes:
        """The answer as bytes; the usual one, which is always the same object, is encoded once."""
        if answer is self._last:
            return self._last_bytes
        more = f"Retry-After: {answer.retry_after_s}\r\n" if answer.retry_after_s is not None else ""
        head = _ANSWER_HEAD.format(
            status=answer.status, phrase=HTTPStatus(answer.status).phrase, more=more, length=len(answer.body)
        )
        encoded = head.encode() + answer.body
        self._last, self._last_bytes = answer, encoded
        return encoded


class BeaconProtocol(asyncio.Protocol):
    """One connection: beacons are taken here, the rest is aiohttp's."""

    __slots__ = ("_active_at", "_busy", "_clogged_at", "_ended", "_front", "_half", "_held", "_held_bytes", "_inner",
                 "_owed", "_paused", "_peer", "_started", "_theirs", "_transport", "_untouched")  # fmt: skip

    def __init__(self, front: Front, inner: RequestHandler) -> None:
        self._front = front
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._busy = False
        self._theirs = False
        """For good: where the next request begins can't be told any more."""
        self._untouched = True
        self._half = False
        self._owed = 0
        """Bytes of a request's body that are still to come for aiohttp."""
        self._ended = False
        self._clogged_at = 0.0
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._paused = False
        self._active_at = 0.0
        self._started = 0.0

    # ---- asyncio.Protocol ----------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        front = self._front
        if front.stopping or len(front.connections) >= front.most_connections:
            cast(asyncio.Transport, transport).abort()
            return
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._peer = bare(peer[0]) if isinstance(peer, tuple) else ""
        self._active_at = time.monotonic()
        front.connections.add(self)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._transport is None:
            return
        self._transport = None
        self._held.clear()
        self._front.connections.discard(self)
        self._inner.connection_lost(exc)

    def eof_received(self) -> bool:
        """The client has sent all it will send: a beacon under way still gets its answer."""
        self._ended = True
        if self._transport is not None:
            self._inner.eof_received()
        return self._busy

    def pause_writing(self) -> None:
        self._clogged_at = time.monotonic()
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._clogged_at = 0.0
        self._inner.resume_writing()
        if self._held and not self._busy:
            self._release()

    def data_received(self, data: bytes) -> None:
        if self._busy or self._clogged_at:
            self._hold(data)
            return
        if not self._theirs and not self._owed and self._framework_is_idle():
            self._active_at = started = time.monotonic()
            if data.startswith(self._front.start_line):
                beacon = parse(data)
                if beacon is not None and self._take(beacon, started):
                    return
            elif data.startswith(_CONNECT):  # its target is no address, so no route of aiohttp's takes it
                self._refuse(NotImplementedHere("This server is no proxy."))
                return
        self._hand_over(data)

    # ---- inside --------------------------------------------------------

    def _hand_over(self, data: bytes) -> None:
        """Give bytes to aiohttp, keeping count of where its request ends."""
        if not self._theirs:
            size = self._owed or size_of(data)
            self._owed = size - len(data)
            self._theirs = not size or self._owed < 0
        idle = self._framework_is_idle()
        self._untouched = False
        self._inner.data_received(data)
        if idle:
            self._half = not self._inner._messages
            if not self._half:
                self._active_at = time.monotonic()

    def _refuse(self, error: AnalyticsError) -> None:
        """Answer and close."""
        transport = self._transport
        if transport is not None:
            transport.write(self._front.encode(refuse(error)))
            transport.close()

    def _framework_is_idle(self) -> bool:
        """Is aiohttp waiting for a request on this connection? (With `_messages`, all that is asked of its inside.)"""
        if self._untouched:
            return True
        waiter = self._inner._waiter
        return waiter is not None and not waiter.done()

    def _take(self, beacon: tuple[dict[str, str], bytes], started: float) -> bool:
        """Hand it to the core; False when it is aiohttp's all the same."""
        headers, body = beacon
        if "content-encoding" in headers:  # may be large, and then waits for its turn
            return False
        principal = None
        authorization = headers.get("authorization")
        if authorization is not None:
            principal = self._front.collector.known(authorization)
            if principal is None or len(body) > MOST_TRUSTED_BYTES:
                return False
        address = self._peer
        forwarded = headers.get("x-forwarded-for")
        if forwarded is not None:
            address = self._front.addresses.resolve(address, (forwarded,))
        self._busy = True
        self._started = started
        self._front.under_way += 1
        try:
            self._front.collector.take_fast(body, headers, address, self._respond, principal)
        except Exception:
            log.exception("request crashed", extra={"route": "fast"})
            if self._busy:
                self._respond(refuse(AnalyticsError("Something went wrong here; the server's log says what.")))
        return True

    def _respond(self, answer: Answer) -> None:
        self._busy = False
        self._front.answered()
        transport = self._transport
        if transport is None:
            return
        transport.write(self._front.encode(answer))
        now = time.monotonic()
        self._active_at = now
        self._front.observe(answer.status, now - self._started)
        if self._held and not self._clogged_at:
            self._release()
        if (self._ended or self._front.stopping) and not self._busy:
            transport.close()

    def _release(self) -> None:
        """Go on with what was held."""
        data = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        transport = self._transport
        if self._paused and transport is not None and not transport.is_closing():
            self._paused = False
            transport.resume_reading()
        self.data_received(data)

    def _hold(self, data: bytes) -> None:
        """The client sends on before it has read its answer: wait with it, within bounds."""
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > MAX_HELD_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def close_if_idle(self, now: float) -> None:
        """Close the connection when nothing happens on it, its head never ends, or answers are never read."""
        transport = self._transport
        if transport is None:
            return
        if self._clogged_at and now - self._clogged_at > CLOGGED_S:
            transport.abort()
        elif self._busy or not self._framework_is_idle():
            self._active_at = now
        elif now - self._active_at > (HEAD_S if self._half else IDLE_S):
            transport.close()
        elif not self._half:
            self._inner.keep_alive(True)  # its own timer knows nothing of the beacons taken here

    def close_when_answered(self) -> None:
        """Close the connection now if nothing is under way on it."""
        if self._transport is not None and not self._busy and not self._owed and self._framework_is_idle():
            self._transport.close()


def parse(data: bytes) -> tuple[dict[str, str], bytes] | None:
    """Headers (lower-case names) and body of exactly one ordinary request, or None: then it's aiohttp's."""
    found = _read_head(data)
    if found is None:
        return None
    headers, start = found
    body = data[start:]
    length = headers.get("content-length", "")
    if (
        not _is_length(length)
        or int(length) != len(body)
        or not _UNUSUAL.isdisjoint(headers)
        or "host" not in headers
        or headers.get("connection", "keep-alive").lower() != "keep-alive"
    ):
        return None
    return headers, body


def size_of(data: bytes) -> int:
    """Bytes of the request that begins here, head and body; 0 when that can't be told for certain."""
    found = _read_head(data)
    if found is None or _START_LINE.match(data) is None:
        return 0
    headers, start = found
    if not _FRAMED_OTHERWISE.isdisjoint(headers):
        return 0
    length = headers.get("content-length", "0")
    return start + int(length) if _is_length(length) else 0


def _read_head(data: bytes) -> tuple[dict[str, str], int] | None:
    """Headers of an ordinary head, none of them twice, and where the body begins; None for any other."""
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
    if end < 0 or (not data.isascii() and not data[:end].isascii()):
        return None
    lines = data[:end].decode("ascii").split("\r\n")
    if not "".join(lines).isprintable():  # a tab, which is allowed, is rare
        return None
    del lines[0]
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        known = _NAMES.get(name) or _learn_name(name)
        if not known or not colon:
            return None
        headers[known] = value.strip(" ")
    return (headers, end + 4) if headers and len(headers) == len(lines) else None


def _learn_name(name: str) -> str:
    """A header's name in lower case, remembered while they are few; empty when it is none."""
    if _NAME.fullmatch(name) is None:
        return ""
    lowered = name.lower()
    if len(_NAMES) < MOST_NAMES and len(name) <= MOST_NAME_CHARS:
        _NAMES[name] = lowered
    return lowered


def _is_length(text: str) -> bool:
    return text.isdecimal() and len(text) <= MAX_LENGTH_DIGITS


_START_LINE = re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS) [!-~]+ HTTP/1\.1\r\n")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_NAMES: dict[str, str] = {}
"""Headers' names as clients spell them, in lower case: they are few."""
MOST_NAMES = 1_000
MOST_NAME_CHARS = 64

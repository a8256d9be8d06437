"""The fast protocol handler: an ordinary beacon is answered without the web framework.

One protocol stands before aiohttp's on every connection. When the framework is idle
and the bytes that arrive are exactly one complete, ordinary beacon, the core gets it
at once and its answer is written straight to the transport; everything else — other
paths, unknown tokens, chunked or partial bodies, anything unusual in the head — goes to
aiohttp unchanged. Nothing is parsed twice, nothing is guessed: in doubt it is aiohttp's.
A connection on which can't be told where the next request begins (`request_head`) is
aiohttp's until it is closed. It costs a third of the framework's time per beacon
(benchmarks/).

Also bounds what a client can make the process hold: connections that idle too long, never
finish their request's head or don't read their answers are closed, and so are too many.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from enum import Enum, auto
from http import HTTPStatus
from typing import Protocol, cast

from aiohttp.web_protocol import RequestHandler

from analytics_server.collect.address import AddressResolver, bare
from analytics_server.collect.answer import BeaconAnswer, refuse
from analytics_server.collect.collector import Collector
from analytics_server.collect.formats.table import FORMATS, Format
from analytics_server.collect.front.flow_control import FlowControl
from analytics_server.collect.front.request_head import MAX_HEAD_BYTES, parse, size_of
from analytics_server.errors import AnalyticsError, NotImplementedHere

log = logging.getLogger(__name__)

MOST_TRUSTED_BYTES = 65_536
"""A larger body of a trusted sender may hold so many events that they are better taken in pieces."""

IDLE_S = 75.0
HEAD_S = 20.0
CLOGGED_S = 60.0
"""How long a client may leave its answers unread."""
SWEEP_S = 10.0

_CONNECT = b"CONNECT "
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
        self._fast = {
            f"{format.method} {path}{format.suffix} HTTP/1.1\r\n".encode(): format for format in FORMATS if format.fast
        }
        self.observe = observe
        self._make_inner = make_inner
        self.connections: set[BeaconProtocol] = set()
        self.most_connections = most_connections
        self.under_way = 0
        self.stopping = False
        self._settled = asyncio.Event()
        self._last: BeaconAnswer | None = None
        self._last_bytes = b""

    def __call__(self) -> BeaconProtocol:
        return BeaconProtocol(self, self._make_inner())

    async def sweep(self) -> None:
        """Close idle connections, every few seconds until it is cancelled."""
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

    def format_of(self, data: bytes) -> Format | None:
        """The format of a request that may be answered without aiohttp, by its first line."""
        return self._fast.get(data[: data.find(b"\n", 0, MAX_HEAD_BYTES) + 1])

    def answered(self) -> None:
        """One beacon less is under way."""
        self.under_way -= 1
        if not self.under_way:
            self._settled.set()

    def encode(self, answer: BeaconAnswer) -> bytes:
        """The answer as bytes; the usual one, which is always the same object, is encoded once."""
        if answer is self._last:
            return self._last_bytes
        more = ""
        if answer.retry_after_s is not None:
            more = f"Retry-After: {answer.retry_after_s}\r\nAccess-Control-Expose-Headers: Retry-After\r\n"
        head = _ANSWER_HEAD.format(
            status=answer.status, phrase=HTTPStatus(answer.status).phrase, more=more, length=len(answer.body)
        )
        encoded = head.encode() + answer.body
        self._last, self._last_bytes = answer, encoded
        return encoded


class FrontState(Enum):
    """Where a connection is. aiohttp's own state is asked of its handler (`_framework_is_idle`)."""

    CLOSED = auto()
    """Not made yet, or lost."""
    READY = auto()
    """The next byte begins a request."""
    BEACON = auto()
    """A beacon that was taken here waits for its answer."""
    BODY = auto()
    """Bytes of a request's body are still to come for aiohttp."""
    FRAMEWORK = auto()
    """aiohttp's until it is closed: where the next request begins can't be told any more."""


class BeaconProtocol(asyncio.Protocol):
    """One connection: beacons are taken here, the rest is aiohttp's."""

    __slots__ = (
        *("_flow", "_front", "_inner", "_is_tls", "_peer", "_transport"),
        *("_active_at", "_client_done", "_head_unfinished", "_inner_used", "_owed", "_started", "_state"),
    )

    def __init__(self, front: Front, inner: RequestHandler) -> None:
        # of the connection
        self._front = front
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._flow: FlowControl | None = None
        self._peer = ""
        self._is_tls = False
        self._inner_used = False
        """Has aiohttp got any bytes?"""
        self._client_done = False
        """The client will send no more."""
        # of the request
        self._state = FrontState.CLOSED
        self._owed = 0
        """In `BODY`: so many bytes are still to come."""
        self._head_unfinished = False
        """Has aiohttp got the beginning of a request's head, and not its end?"""
        self._active_at = 0.0
        self._started = 0.0

    # ---- asyncio.Protocol ----------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, unless there are too many or the server is stopping."""
        front = self._front
        if front.stopping or len(front.connections) >= front.most_connections:
            cast(asyncio.Transport, transport).abort()
            return
        self._transport = made = cast(asyncio.Transport, transport)
        self._flow = FlowControl(made)
        self._state = FrontState.READY
        peer = transport.get_extra_info("peername")
        self._peer = bare(peer[0]) if isinstance(peer, tuple) else ""
        self._is_tls = transport.get_extra_info("sslcontext") is not None
        self._active_at = time.monotonic()
        front.connections.add(self)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection; a beacon under way is still made durable."""
        if self._transport is None or self._flow is None:
            return
        self._transport = None
        self._flow.clear()
        if self._state is not FrontState.BEACON:
            self._state = FrontState.CLOSED
        self._front.connections.discard(self)
        self._inner.connection_lost(exc)

    def eof_received(self) -> bool:
        """The client has sent all it will send: a beacon under way still gets its answer."""
        self._client_done = True
        if self._transport is not None:
            self._inner.eof_received()
        return self._state is FrontState.BEACON and not self._is_tls  # TLS has no half-closed connections

    def pause_writing(self) -> None:
        """The client leaves its answers unread."""
        if self._flow is not None:
            self._flow.clogged_at = time.monotonic()
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The client reads again: go on with what it sent meanwhile."""
        flow = self._flow
        if flow is not None:
            flow.clogged_at = 0.0
        self._inner.resume_writing()
        if flow is not None and flow.holds and self._state is not FrontState.BEACON:
            self.data_received(flow.release())

    def data_received(self, data: bytes) -> None:
        """A whole ordinary beacon is taken here at once; all else goes to aiohttp unchanged."""
        flow, state = self._flow, self._state
        if flow is None:
            return
        if state is FrontState.BEACON or flow.clogged_at:
            flow.hold(data)
            return
        if state is FrontState.READY and self._framework_is_idle():
            self._active_at = started = time.monotonic()
            format = self._front.format_of(data)
            if format is not None:
                beacon = parse(data)
                if beacon is not None and self._take(format, beacon, started):
                    return
            elif data.startswith(_CONNECT):  # its target is no address, so no route of aiohttp's takes it
                self._refuse(NotImplementedHere("This server is no proxy."))
                return
        self._hand_over(data)

    # ---- inside --------------------------------------------------------

    def _hand_over(self, data: bytes) -> None:
        """Give bytes to aiohttp, keeping count of where its request ends."""
        if self._state is not FrontState.FRAMEWORK:
            size = self._owed if self._state is FrontState.BODY else size_of(data)
            self._owed = size - len(data)
            if not size or self._owed < 0:
                self._state = FrontState.FRAMEWORK
            else:
                self._state = FrontState.BODY if self._owed else FrontState.READY
        idle = self._framework_is_idle()
        self._inner_used = True
        self._inner.data_received(data)
        if idle:
            self._head_unfinished = not self._inner._messages
            if not self._head_unfinished:
                self._active_at = time.monotonic()

    def _refuse(self, error: AnalyticsError) -> None:
        """Answer and close."""
        transport = self._transport
        if transport is not None:
            transport.write(self._front.encode(refuse(error)))
            transport.close()

    def _framework_is_idle(self) -> bool:
        """Is aiohttp waiting for a request on this connection? (With `_messages`, all that is asked of its inside.)"""
        if not self._inner_used:
            return True
        waiter = self._inner._waiter
        return waiter is not None and not waiter.done()

    def _take(self, format: Format, beacon: tuple[dict[str, str], bytes], started: float) -> bool:
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
        address, addresses = self._peer, self._front.addresses
        for name in addresses.headers:
            forwarded = headers.get(name)
            if forwarded is not None:
                address = addresses.resolve(address, (forwarded,), name)
                break
        self._state = FrontState.BEACON
        self._started = started
        self._front.under_way += 1
        try:
            self._front.collector.take_fast(format, body, headers, address, self._respond, principal)
        except Exception:
            log.exception("request crashed", extra={"route": "fast"})
            if self._state is FrontState.BEACON:
                self._respond(refuse(AnalyticsError("Something went wrong here; the server's log says what.")))
        return True

    def _respond(self, answer: BeaconAnswer) -> None:
        self._front.answered()
        transport, flow = self._transport, self._flow
        if transport is None or flow is None:
            self._state = FrontState.CLOSED
            return
        self._state = FrontState.READY
        transport.write(self._front.encode(answer))
        now = time.monotonic()
        self._active_at = now
        self._front.observe(answer.status, now - self._started)
        if flow.holds and not flow.clogged_at:
            self.data_received(flow.release())
        if (self._client_done or self._front.stopping) and self._is_answered:
            transport.close()

    @property
    def _is_answered(self) -> bool:
        """No beacon is under way here. (Asked anew: what was held may have begun another.)"""
        return self._state is not FrontState.BEACON

    def close_if_idle(self, now: float) -> None:
        """Close the connection when nothing happens on it, its head never ends, or answers are never read."""
        transport, flow = self._transport, self._flow
        if transport is None or flow is None:
            return
        if flow.clogged_at and now - flow.clogged_at > CLOGGED_S:
            transport.abort()
        elif self._state is FrontState.BEACON or not self._framework_is_idle():
            self._active_at = now
        elif now - self._active_at > (HEAD_S if self._head_unfinished else IDLE_S):
            transport.close()
        elif not self._head_unfinished:
            self._inner.keep_alive(True)  # its own timer knows nothing of the beacons taken here

    def close_when_answered(self) -> None:
        """Close the connection now if nothing is under way on it."""
        if self._transport is not None and self._state is FrontState.READY and self._framework_is_idle():
            self._transport.close()

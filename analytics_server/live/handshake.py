"""Authentication of a live socket: where its token stands, how long it is waited for, and how it is refused.

A WebSocket that is open can only be refused by a close code. Sockets whose token is not known to be valid yet are
bounded by address and together, and take no place of those that have shown one: past a limit the oldest is closed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import msgspec
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from analytics_server.config import LimitsSection

SUBPROTOCOL = "bearer"
COOKIE_SUBPROTOCOL = "session"
"""Offered alone: the session of the cookie authenticates, and no token is waited for."""
AUTH_TIMEOUT_S = 10.0
TOO_MANY = "Too many live sockets are open: try again later."
UNAUTHORIZED = 4401
FORBIDDEN = 4403
UNKNOWN_SITE = 4404
"""Close codes; 4000 to 4999 are an application's own (RFC 6455, 7.4.2)."""

_BARE_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,512}")
"""What a token may be made of (RFC 6750), sent without any JSON around it."""


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The first message, where the token did not come with the handshake."""

    token: str


class RefusedSocket(Exception):
    """The socket is to be closed with that code and reason."""

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(reason)
        self.close_code = close_code
        self.reason = reason

    @classmethod
    def too_many(cls) -> RefusedSocket:
        """For want of a place; the client may try again."""
        return cls(WSCloseCode.TRY_AGAIN_LATER, TOO_MANY)


class _Waiting:
    """A socket whose token is not known to be valid yet; `deadline` ends its waiting."""

    __slots__ = ("address", "deadline", "is_evicted")

    def __init__(self, address: str, deadline: asyncio.Timeout) -> None:
        self.address = address
        self.deadline = deadline
        self.is_evicted = False


class UnauthenticatedSockets:
    """The sockets whose token is still awaited or checked, within `[limits]`."""

    def __init__(self, limits: LimitsSection) -> None:
        self._limits = limits
        self._by_address: dict[str, list[_Waiting]] = {}
        """The oldest first."""

    @asynccontextmanager
    async def waiting(self, address: str) -> AsyncIterator[None]:
        """Hold a place while the token is awaited and checked, at most `AUTH_TIMEOUT_S`. Raises `RefusedSocket`."""
        own: _Waiting | None = None
        try:
            async with asyncio.timeout(AUTH_TIMEOUT_S) as deadline:
                own = self._add(_Waiting(address, deadline))
                yield
        except TimeoutError:
            if own is not None and own.is_evicted:
                raise RefusedSocket.too_many() from None
            raise RefusedSocket(UNAUTHORIZED, f"No token came within {AUTH_TIMEOUT_S:g} s.") from None
        finally:
            if own is not None and not own.is_evicted:
                self._remove(own)

    def _add(self, one: _Waiting) -> _Waiting:
        """Past a limit the oldest of its address, or of the address with most, is evicted."""
        limits, waiting = self._limits, self._by_address
        own = waiting.setdefault(one.address, [])
        if len(own) >= limits.address_sockets_without_token:
            self._evict(own[0])
        elif sum(map(len, waiting.values())) >= limits.live_sockets_without_token:
            self._evict(max(waiting.values(), key=len)[0])
        waiting.setdefault(one.address, []).append(one)
        return one

    def _evict(self, one: _Waiting) -> None:
        one.is_evicted = True
        if not one.deadline.expired():
            one.deadline.reschedule(asyncio.get_running_loop().time())
        self._remove(one)

    def _remove(self, one: _Waiting) -> None:
        own = self._by_address[one.address]
        own.remove(one)
        if not own:
            del self._by_address[one.address]


def handshake_token(request: web.Request) -> tuple[str | None, str]:
    """The `Authorization` value the handshake brought, and the subprotocol to answer with: browsers insist on one."""
    offered = _protocols(request.headers.getall("Sec-WebSocket-Protocol", ()))
    if offered == [COOKIE_SUBPROTOCOL]:
        return None, COOKIE_SUBPROTOCOL
    if offered and offered[0] == SUBPROTOCOL:
        return f"Bearer {offered[1] if len(offered) > 1 else ''}", SUBPROTOCOL
    authorization = request.headers.get("Authorization")
    if authorization is None and len(offered) == 1:
        return f"Bearer {offered[0]}", offered[0]
    return authorization, ""


async def first_message_token(socket: web.WebSocketResponse) -> str:
    """The `Authorization` value that the first message brings. Raises `RefusedSocket`."""
    message: WSMessage = await socket.receive()
    if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
        raise RefusedSocket(UNAUTHORIZED, "The socket closed without a token.")
    if message.type is WSMsgType.TEXT and _BARE_TOKEN.fullmatch(message.data):
        return f"Bearer {message.data}"
    try:
        hello = msgspec.json.decode(message.data, type=Hello)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise RefusedSocket(UNAUTHORIZED, 'The first message must be {"token":"…"}.') from None
    return f"Bearer {hello.token}"


def _protocols(values: Iterable[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]

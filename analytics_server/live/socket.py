"""`GET /api/v1/live`: one WebSocket per open live view, a snapshot each second.

Owns the open sockets and the one task that feeds them. Constraints: a site's snapshot
is taken and encoded once a second however many sockets watch it; nothing is ever
queued for a reader: one that has not taken the previous snapshot is skipped, and
dropped after `MAX_MISSED` of them; a site that is not watched costs nothing. The token
comes in the `Authorization` header, as a subprotocol (the second after `bearer`, or the
only one), or in the first message: never in the URL, where logs would keep it. A person's cookie does as well,
where the subprotocol `session` asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import orjson
from aiohttp import WSCloseCode, web

from analytics_server.access.actions import QUERY_SITE
from analytics_server.config import LimitsSection
from analytics_server.errors import AnalyticsError, Forbidden, NotFound, RequestError, Unauthorized
from analytics_server.http.audit import OK, AuditTrail, Recorder, outcome_of
from analytics_server.http.authorization import Authorizer, Caller, Resource
from analytics_server.http.declaration import Parameter, Reply
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.security.session_cookie import SessionCookies
from analytics_server.live.handshake import (
    COOKIE_SUBPROTOCOL,
    FORBIDDEN,
    UNAUTHORIZED,
    UNKNOWN_SITE,
    RefusedSocket,
    UnauthenticatedSockets,
    first_message_token,
    handshake_token,
)
from analytics_server.live.hub import Hub, Snapshot
from analytics_server.model import DropCount, Site, stored_site_id
from analytics_server.profiles.tables import profile_of

NAME = "watch_live"
HEARTBEAT_S = 30.0
CLOSE_TIMEOUT_S = 2.0
MAX_MESSAGE_BYTES = 4_096
MAX_REASON_BYTES = 123
MAX_MISSED = 15
SOCKETS_PER_SLICE = 100
RECHECK_TICKS = 1

ABOUT = (
    "A WebSocket upgrade. The token comes in the `Authorization` header, as the second subprotocol after "
    '`bearer` or as the only one, or as the first message `{"token": "…"}`; never in the address. '
    "With `session` as the only subprotocol a person's cookie stands for it. A snapshot "
    "comes at once and then every second (the schema of 101 is that of a message). Close codes: 4401 token "
    "unknown, 4403 not for this site, 4404 no such site, 1013 too many sockets, 1001 the server stops."
)

log = logging.getLogger(__name__)


class KnownSites(Protocol):
    """Which sites there are."""

    def get(self, site_id: str) -> Site | None:
        """The site, or None."""


class _Watcher:
    """One admitted socket. Identity counts, so sets of them are cheap."""

    __slots__ = ("authorization", "missed", "site_id", "socket", "transport")

    def __init__(
        self, socket: web.WebSocketResponse, transport: asyncio.Transport, site_id: str, authorization: str
    ) -> None:
        self.socket = socket
        self.transport = transport
        self.site_id = site_id
        self.authorization = authorization
        self.missed = 0


class LiveSockets:
    """All live sockets of this process; `run` feeds them until `close`."""

    def __init__(
        self,
        hub: Hub,
        tokens: Authorizer[Any],
        sites: KnownSites,
        limits: LimitsSection,
        *,
        drops_of: Callable[[str], list[DropCount]] = lambda site_id: [],
        interval_s: float = 1.0,
        address_of: Callable[[web.Request], str] = lambda request: request.remote or "",
        recorder: Recorder | None = None,
        cookies: SessionCookies | None = None,
    ) -> None:
        """`drops_of`: what was dropped and rejected of a site, for its snapshot. `recorder` takes audit entries."""
        self._recorder = recorder
        self._hub = hub
        self._drops_of = drops_of
        self._tokens = tokens
        self._sites = sites
        self._limits = limits
        self._interval_s = interval_s
        self._watchers: dict[str, set[_Watcher]] = {}
        self._address_of = address_of
        self._cookies = cookies or SessionCookies()
        self._open: set[web.WebSocketResponse] = set()
        self._unauthenticated = UnauthenticatedSockets(limits)
        self._admitted = 0
        self._closing = False
        self._snapshots: dict[str, tuple[float, str]] = {}

    def endpoints(self) -> list[Endpoint]:
        """The live socket. It authenticates by itself: it refuses by close codes, not by statuses."""
        return [
            Endpoint(
                method="GET",
                path="/api/v1/live",
                name=NAME,
                summary="WebSocket: who is there now",
                tag="live",
                about=ABOUT,
                action=QUERY_SITE,
                serve=self._handle,
                parameters=(Parameter(name="site_id", about="The site.", required=True, example="example.com"),),
                replies=(Reply(status=101, about="Switching to WebSocket.", type=Snapshot),),
                errors={400: ("missing_site_id", "websocket_required"), 403: ("bad_origin",)},
            )
        ]

    @property
    def open_sockets(self) -> int:
        """Sockets open now, those that have not shown their token yet included."""
        return len(self._open)

    async def run(self) -> None:
        """Send each watched site's snapshot once per interval; runs until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        ticks = 0
        while True:
            due = max(due + self._interval_s, loop.time())
            await asyncio.sleep(due - loop.time())
            ticks += 1
            await self.tick()
            if ticks % RECHECK_TICKS == 0:
                await self.recheck()

    async def tick(self) -> None:
        """Send one snapshot to everyone who can take it."""
        for site_id, watchers in list(self._watchers.items()):
            text = self._encode(site_id)
            for position, watcher in enumerate(list(watchers)):
                if position % SOCKETS_PER_SLICE == SOCKETS_PER_SLICE - 1:
                    await asyncio.sleep(0)
                await self._send(watcher, text)

    async def recheck(self) -> None:
        """Close the sockets whose token has been revoked or narrowed since."""
        verdicts: dict[tuple[str, str], RefusedSocket | None] = {}
        for site_id, watchers in list(self._watchers.items()):
            for watcher in list(watchers):
                key = (watcher.authorization, site_id)
                if key not in verdicts:
                    verdicts[key] = await self._refusal(*key)
                refused = verdicts[key]
                if refused is not None:
                    self._leave(watcher)
                    await self._close_one(watcher.socket, refused.close_code, refused.reason)

    async def close(self) -> None:
        """Close every socket with 1001 (going away); new ones are refused with 1013."""
        self._closing = True
        sockets = list(self._open)
        await asyncio.gather(
            *(self._close_one(socket, WSCloseCode.GOING_AWAY, "The server is stopping.") for socket in sockets)
        )

    def snapshot_of(self, site_id: str) -> str | None:
        """What a socket would be sent now, for one who only asks once; None where there is no such site."""
        known = self._sites.get(site_id)
        if known is None:
            return None
        text = self._encode(known.site_id)
        if known.site_id not in self._watchers:
            self._snapshots.pop(known.site_id, None)
        return text

    def _encode(self, site_id: str) -> str:
        """The site's snapshot as text, taken anew at most once per interval."""
        now = time.monotonic()
        cached = self._snapshots.get(site_id)
        if cached is not None and now - cached[0] < self._interval_s / 2:
            return cached[1]
        drops = [msgspec.structs.asdict(found) for found in self._drops_of(site_id)]
        snapshot = self._hub.snapshot(site_id)
        site = self._sites.get(site_id)
        if site is not None and "source" in profile_of(site.profile).hidden_columns:
            snapshot["sources"] = []
        text = orjson.dumps({**snapshot, "drops": drops}).decode()
        self._snapshots[site_id] = (now, text)
        return text

    async def _send(self, watcher: _Watcher, text: str) -> None:
        if watcher.transport.get_write_buffer_size() > 0:
            watcher.missed += 1
            if watcher.missed >= MAX_MISSED:
                self._leave(watcher)
                watcher.transport.abort()
            return
        watcher.missed = 0
        with contextlib.suppress(ConnectionError, RuntimeError):
            await watcher.socket.send_str(text)

    async def _close_one(self, socket: web.WebSocketResponse, code: int, reason: str) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await socket.close(code=code, message=_reason(reason))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        site_id = stored_site_id(request.query.get("site_id", ""))
        if not site_id:
            raise RequestError("site_id is missing: ask for /api/v1/live?site_id=example.com.", code="missing_site_id")
        if (known := self._sites.get(site_id)) is not None:
            site_id = known.site_id
        authorization, chosen = handshake_token(request)
        if chosen == COOKIE_SUBPROTOCOL:
            authorization = await self._of_cookie(request, site_id)
        socket = web.WebSocketResponse(
            protocols=(chosen,) if chosen else (),
            heartbeat=HEARTBEAT_S,
            timeout=CLOSE_TIMEOUT_S,
            max_msg_size=MAX_MESSAGE_BYTES,
            compress=False,
        )
        if not socket.can_prepare(request):
            raise RequestError("This address is a WebSocket: connect with ws:// or wss://.", code="websocket_required")
        self._open.add(socket)
        try:
            await socket.prepare(request)
            if self._closing:
                raise RefusedSocket.too_many()
            authorization = await self._admit(request, socket, site_id, authorization)
            await self._serve(request, socket, site_id, authorization)
        except RefusedSocket as refused:
            await self._close_one(socket, refused.close_code, refused.reason)
        finally:
            self._open.discard(socket)
        return socket

    async def _of_cookie(self, request: web.Request, site_id: str) -> str:
        """The cookie as an `Authorization` value. Raises `Forbidden` for another page, and notes for whom."""
        try:
            return self._cookies.credential(request) or ""
        except Forbidden as error:
            caller: Caller | None = None
            with contextlib.suppress(AnalyticsError):
                caller = await self._tokens.authenticate(self._cookies.stated(request) or "")
            self._note(caller, site_id if caller is not None and caller.covers(site_id) else "", error.code)
            raise

    async def _admit(
        self, request: web.Request, socket: web.WebSocketResponse, site_id: str, authorization: str | None
    ) -> str:
        """The `Authorization` value with which the socket may watch the site. Raises `RefusedSocket`."""
        async with self._unauthenticated.waiting(self._address_of(request)):
            if authorization is None:
                authorization = await first_message_token(socket)
            await self._check(authorization, site_id, is_opening=True)
        if self._admitted >= self._limits.live_sockets:
            raise RefusedSocket.too_many()
        return authorization

    async def _serve(
        self, request: web.Request, socket: web.WebSocketResponse, site_id: str, authorization: str
    ) -> None:
        if request.transport is None:
            return
        self._admitted += 1
        watcher = _Watcher(socket, request.transport, site_id, authorization)
        try:
            await socket.send_str(self._encode(site_id))
            self._watchers.setdefault(site_id, set()).add(watcher)
            async for _ in socket:
                pass
        except ConnectionError:
            log.debug("a live socket went away before its first snapshot")
        finally:
            self._admitted -= 1
            self._leave(watcher)

    async def _refusal(self, authorization: str, site_id: str) -> RefusedSocket | None:
        """Why this token may not watch this site any more, or None."""
        try:
            await self._check(authorization, site_id, is_opening=False)
        except RefusedSocket as refused:
            return refused
        return None

    async def _check(self, authorization: str, site_id: str, *, is_opening: bool) -> None:
        """Raises `RefusedSocket` where this token may not watch this site. An opening leaves an audit entry."""
        caller: Caller | None = None
        try:
            caller = await self._tokens.authenticate(authorization)
            self._tokens.authorize(caller, QUERY_SITE, Resource.site(site_id))
            if caller.narrowed_by is not None and caller.narrowed_by.is_restricted:
                who = caller.narrowed_by.who
                raise Forbidden(f"{who} shows a part of the site's numbers, and the live numbers are of all.")
            if self._sites.get(site_id) is None:
                raise NotFound("There is no such site.", code="unknown_site")
        except AnalyticsError as error:
            if is_opening:
                self._note(caller, site_id, outcome_of(error))
            raise RefusedSocket(_close_code(error), error.message) from error
        if is_opening:
            self._note(caller, site_id, OK)

    def _note(self, caller: Caller | None, site_id: str, outcome: str) -> None:
        if self._recorder is not None:
            trail = AuditTrail()
            trail.caller, trail.site_id = caller, site_id
            self._recorder.note(trail.entry(QUERY_SITE.name, NAME, outcome))

    def _leave(self, watcher: _Watcher) -> None:
        watchers = self._watchers.get(watcher.site_id)
        if watchers is None:
            return
        watchers.discard(watcher)
        if not watchers:
            del self._watchers[watcher.site_id]
            self._snapshots.pop(watcher.site_id, None)


def _close_code(error: AnalyticsError) -> int:
    if isinstance(error, Unauthorized):
        return UNAUTHORIZED
    if isinstance(error, Forbidden):
        return FORBIDDEN
    return UNKNOWN_SITE if isinstance(error, NotFound) else WSCloseCode.TRY_AGAIN_LATER


def _reason(text: str) -> bytes:
    """At most what a close frame can carry, cut at a whole character."""
    return text.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()

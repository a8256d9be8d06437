"""The live WebSocket: how to get in, what comes, how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import orjson
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from analytics_server.access.actions import QUERY_SITE
from analytics_server.access.principals import Principal, Role
from analytics_server.access.tokens import Token
from analytics_server.config import LimitsSection
from analytics_server.errors import AnalyticsError, Forbidden, Unauthorized
from analytics_server.http.authorization import Action, Resource
from analytics_server.live import handshake
from analytics_server.live import socket as live_socket
from analytics_server.live.hub import Hub
from analytics_server.live.socket import LiveSockets
from analytics_server.model import Site
from tests.http.authorizer import public_routes
from tests.live.rows import Clock, event_row
from tests.server import wait_for

TOKEN = "t0ken"
URL = "/api/v1/live?site_id=a.example"


@dataclass(slots=True)
class FakeTokens:
    tokens: dict[str, str] = field(default_factory=lambda: {TOKEN: "a.example", "all": "*"})
    calls: int = 0

    async def authenticate(self, authorization: str | None) -> Principal:
        self.calls += 1
        kind, _, token = (authorization or "").partition(" ")
        if kind != "Bearer" or token not in self.tokens:
            raise Unauthorized("The token is unknown. " + "Make a new one. " * 20)
        site_id = self.tokens[token]
        sites = () if site_id == "*" else (site_id,)
        return Token(token_id=f"id of {token}", role=Role.READ, sites=sites).principal()

    def authorize(self, caller: Principal, action: Action, resource: Resource) -> None:
        assert action is QUERY_SITE
        if not caller.covers(resource.site_id):
            raise Forbidden(f"This token may not read {resource.site_id}.")


@dataclass(slots=True)
class FakeSites:
    known: tuple[str, ...] = ("a.example",)

    def get(self, site_id: str) -> Site | None:
        return Site(site_id=site_id) if site_id in self.known else None


Client = TestClient[web.Request, web.Application]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class LiveServer:
    hub: Hub
    tokens: FakeTokens
    sockets: LiveSockets
    client: Client


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except AnalyticsError as error:
        return web.json_response({"error": {"code": error.code}}, status=error.status)


@asynccontextmanager
async def live_server(live_sockets: int = 100, interval_s: float = 3600.0) -> AsyncIterator[LiveServer]:
    hub, tokens = Hub(Clock()), FakeTokens()
    limits = LimitsSection(live_sockets=live_sockets, live_sockets_without_token=4, address_sockets_without_token=4)
    sockets = LiveSockets(hub, tokens, FakeSites(), limits, interval_s=interval_s)
    app = web.Application(middlewares=[errors_as_json])
    app.add_routes(public_routes(sockets.endpoints()))
    async with TestClient(TestServer(app)) as client:
        yield LiveServer(hub, tokens, sockets, client)


async def snapshot_of(socket: aiohttp.ClientWebSocketResponse) -> dict[str, object]:
    async with asyncio.timeout(60):
        decoded = orjson.loads(await socket.receive_str())
    assert isinstance(decoded, dict)
    return decoded


async def close_code(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    async with asyncio.timeout(60):
        message = await socket.receive()
    assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED)
    return socket.close_code


async def test_token_in_first_message_brings_a_snapshot_at_once() -> None:
    async with live_server() as h, h.client.ws_connect(URL) as socket:
        h.hub.record([event_row()])
        await socket.send_str('{"token":"t0ken"}')
        assert (await snapshot_of(socket))["visitors"] == 1


async def test_token_as_subprotocol_is_accepted_and_bearer_is_echoed() -> None:
    async with live_server() as h, h.client.ws_connect(URL, protocols=("bearer", TOKEN)) as socket:
        assert socket.protocol == "bearer"
        assert (await snapshot_of(socket))["visitors"] == 0


async def test_token_as_the_only_subprotocol_is_accepted_and_echoed() -> None:
    async with live_server() as h, h.client.ws_connect(URL, protocols=(TOKEN,)) as socket:
        assert socket.protocol == TOKEN
        assert (await snapshot_of(socket))["visitors"] == 0


async def test_a_first_message_may_be_the_bare_token() -> None:
    async with live_server() as h, h.client.ws_connect(URL) as socket:
        await socket.send_str(TOKEN)
        assert (await snapshot_of(socket))["visitors"] == 0


async def test_a_site_is_found_in_any_spelling() -> None:
    async with live_server() as h, h.client.ws_connect(URL.replace("a.example", "A.Example")) as socket:
        await socket.send_str(TOKEN)
        assert (await snapshot_of(socket))["visitors"] == 0


async def test_token_in_the_authorization_header_is_accepted() -> None:
    async with live_server() as h, h.client.ws_connect(URL, headers={"Authorization": f"Bearer {TOKEN}"}) as socket:
        assert (await snapshot_of(socket))["visitors"] == 0


async def test_token_in_the_url_is_not_looked_at() -> None:
    async with live_server() as h, h.client.ws_connect(f"{URL}&token={TOKEN}") as socket:
        await socket.send_str("{}")
        assert await close_code(socket) == 4401
        assert h.tokens.calls == 0


@pytest.mark.parametrize("first", ['{"token":"wrong"}', '{"token":7}', "nonsense", "[]", '{"token":""}'])
async def test_unknown_or_unreadable_token_closes_with_4401(first: str) -> None:
    async with live_server() as h, h.client.ws_connect(URL) as socket:
        await socket.send_str(first)
        assert await close_code(socket) == 4401


async def test_unreadable_bytes_as_token_close_with_4401() -> None:
    async with live_server() as h, h.client.ws_connect(URL) as socket:
        await socket.send_bytes(b"\xff\xfe\x00")
        assert await close_code(socket) == 4401


async def test_bearer_without_a_token_closes_with_4401() -> None:
    async with live_server() as h, h.client.ws_connect(URL, protocols=("bearer",)) as socket:
        assert await close_code(socket) == 4401


async def test_silence_closes_with_4401(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "AUTH_TIMEOUT_S", 0.01)
    async with live_server() as h, h.client.ws_connect(URL) as socket:
        assert await close_code(socket) == 4401


async def test_token_of_another_site_closes_with_4403() -> None:
    async with (
        live_server() as h,
        h.client.ws_connect("/api/v1/live?site_id=b.example", protocols=("bearer", TOKEN)) as socket,
    ):
        assert await close_code(socket) == 4403


async def test_unknown_site_closes_with_4404() -> None:
    async with (
        live_server() as h,
        h.client.ws_connect("/api/v1/live?site_id=b.example", protocols=("bearer", "all")) as socket,
    ):
        assert await close_code(socket) == 4404


async def test_one_socket_too_many_closes_with_1013_and_a_free_place_is_given_again() -> None:
    async with live_server(live_sockets=1) as h:

        async def no_socket_open() -> bool:
            return h.sockets.open_sockets == 0

        async with h.client.ws_connect(URL, protocols=("bearer", TOKEN)) as first:
            await snapshot_of(first)
            async with h.client.ws_connect(URL, protocols=("bearer", TOKEN)) as second:
                assert await close_code(second) == 1013
        await wait_for(no_socket_open, what="the end of both sockets")
        async with h.client.ws_connect(URL, protocols=("bearer", TOKEN)) as third:
            assert (await snapshot_of(third))["visitors"] == 0


async def test_first_message_over_the_limit_is_refused() -> None:
    async with live_server() as h, h.client.ws_connect(URL) as socket:
        await socket.send_str('{"token":"' + "x" * live_socket.MAX_MESSAGE_BYTES + '"}')
        assert await close_code(socket) == 1009


async def test_plain_request_is_told_to_use_a_websocket() -> None:
    async with live_server() as h, h.client.get(URL) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "websocket_required"


async def test_missing_site_is_refused_before_the_upgrade() -> None:
    async with live_server() as h, h.client.get("/api/v1/live") as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "missing_site_id"


async def test_every_interval_brings_a_new_snapshot() -> None:
    async with live_server(interval_s=0.01) as h:
        ticker = asyncio.create_task(h.sockets.run())
        async with h.client.ws_connect(URL, protocols=("bearer", TOKEN)) as socket:
            await snapshot_of(socket)
            h.hub.record([event_row()])
            while (await snapshot_of(socket))["visitors"] != 1:
                pass
        ticker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ticker


async def test_all_sockets_of_a_site_share_one_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    real = Hub.snapshot

    def counted(self: Hub, site_id: str) -> dict[str, object]:
        taken.append(site_id)
        return real(self, site_id)

    monkeypatch.setattr(Hub, "snapshot", counted)
    async with live_server(interval_s=3600.0) as h:
        sockets = [await h.client.ws_connect(URL, protocols=("bearer", TOKEN)) for _ in range(5)]
        for socket in sockets:
            await snapshot_of(socket)
        await h.sockets.tick()
        for socket in sockets:
            await snapshot_of(socket)
        assert taken == ["a.example"]
        for socket in sockets:
            await socket.close()


async def test_revoked_token_closes_its_sockets_with_4401() -> None:
    async with live_server() as h, h.client.ws_connect(URL, protocols=("bearer", TOKEN)) as socket:
        await snapshot_of(socket)
        h.tokens.tokens.clear()
        closing = asyncio.create_task(h.sockets.recheck())
        assert await close_code(socket) == 4401
        await closing


async def test_reader_that_takes_nothing_is_skipped_then_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    async with live_server() as h, h.client.ws_connect(URL, protocols=("bearer", TOKEN)) as socket:
        await snapshot_of(socket)
        (watcher,) = h.sockets._watchers["a.example"]
        monkeypatch.setattr(type(watcher.transport), "get_write_buffer_size", lambda _self: 1, raising=False)
        for _ in range(live_socket.MAX_MISSED - 1):
            await h.sockets.tick()
        assert not socket.closed
        await h.sockets.tick()
        message = await socket.receive()
        assert message.type in (WSMsgType.CLOSED, WSMsgType.ERROR)
        assert "a.example" not in h.sockets._watchers


async def test_stopping_closes_every_socket_with_1001_and_takes_no_more() -> None:
    async with live_server() as h:
        waiting = await h.client.ws_connect(URL)
        watching = await h.client.ws_connect(URL, protocols=("bearer", TOKEN))
        await snapshot_of(watching)
        closing = asyncio.create_task(h.sockets.close())
        assert await close_code(watching) == 1001
        assert await close_code(waiting) == 1001
        await closing
        late = await h.client.ws_connect(URL, protocols=("bearer", TOKEN))
        assert await close_code(late) == 1013

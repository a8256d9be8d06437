"""The listening sockets of one server and the aiohttp application behind them.

Owns the order of their start and stop. The protocol of a connection is made by the caller, around aiohttp's own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from analytics_server.config import Config
from analytics_server.http.address_file import AddressFile
from analytics_server.http.audit import Recorder
from analytics_server.http.authorization import Authorizer, C
from analytics_server.http.body import BODY_TIMEOUT_S
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.metrics import HttpMetrics
from analytics_server.http.routing.routes import route_table
from analytics_server.http.security.headers import HSTS
from analytics_server.http.security.host_check import OPEN_TAGS, HostCheck
from analytics_server.http.security.session_cookie import SessionCookies
from analytics_server.http.security.tls import HANDSHAKE_TIMEOUT_S, faults, tls_of
from analytics_server.http.serving import HttpProtocol, add_rest, before_routes, wrap
from analytics_server.lifecycle import BackgroundTasks
from analytics_server.listening import BACKLOG, Address, addresses_of, open_sockets, reachable

log = logging.getLogger(__name__)

MakeProtocol = Callable[[], asyncio.Protocol]


class Listener:
    """`trusts`: is this peer a trusted proxy? `answer_share`: of the grace period, for requests under way."""

    def __init__(
        self, config: Config, metrics: HttpMetrics, *, trusts: Callable[[str], bool], answer_share: float
    ) -> None:
        self.hosts = HostCheck(config.server, trusts)
        """By which names this server may be asked."""
        self.tls = tls_of(config.server)
        """Certificate and key, if the server itself speaks TLS."""
        self._tasks = BackgroundTasks()
        self._config = config
        self._metrics = metrics
        self._shutdown_timeout_s = config.server.shutdown_grace_s * answer_share
        self._runner: web.AppRunner | None = None
        self._sockets: list[asyncio.Server] = []
        self.address_file = AddressFile(config.data_dir)
        self.address: Address = (config.server.host, config.server.port)
        """Where a client on this machine reaches it, once it listens."""

    @property
    def is_open(self) -> bool:
        """Has it listened?"""
        return bool(self._sockets)

    async def open(
        self,
        endpoints: Sequence[Endpoint],
        authorizer: Authorizer[C],
        recorder: Recorder,
        wrap_protocol: Callable[[Callable[[], RequestHandler]], MakeProtocol],
    ) -> None:
        """Listen. `recorder` takes audit entries, `wrap_protocol` makes the connections' protocol around aiohttp's.

        Raises `ConfigError`.
        """
        app = web.Application()
        app[BODY_TIMEOUT_S] = self._config.limits.body_timeout_s
        app.router.add_routes(
            wrap(
                self._routes(
                    endpoints,
                    route_table(endpoints, authorizer, recorder, SessionCookies(self._config.server.public_url)),
                ),
                self._metrics,
            )
        )
        add_rest(app, self._metrics)
        if self.tls is not None:
            app.on_response_prepare.append(_say_https_only)
            self._tasks.start(self.tls.watch, "tls-files")
            if fault := faults(self.tls, time.time()):
                log.warning(fault)
        self.hosts.tell_start()
        self._runner = web.AppRunner(
            app,
            access_log=None,
            auto_decompress=False,
            handle_signals=False,
            shutdown_timeout=self._shutdown_timeout_s,
        )
        await self._runner.setup()
        inner = self._runner.server
        assert inner is not None
        inner.request_handler = before_routes(inner.request_handler, self._metrics)
        loop = asyncio.get_running_loop()
        make = wrap_protocol(lambda: HttpProtocol(inner, loop=loop, **inner._kwargs))
        sockets = open_sockets(self._config.server.host, self._config.server.port)
        bound = addresses_of(sockets)
        for bound_socket in sockets:
            listening = loop.create_server(make, sock=bound_socket, backlog=BACKLOG, **self._tls_arguments())
            self._sockets.append(await listening)
        self.address = reachable(bound)[0]
        self.address_file.write(bound, tls=self.tls is not None)

    def _routes(self, endpoints: Sequence[Endpoint], routes: list[web.RouteDef]) -> list[web.RouteDef]:
        """The routes; those that are not open for any host behind the host check, if there are names to check."""
        if not self.hosts.is_on:
            return routes
        return [
            route
            if endpoint.tag in OPEN_TAGS and endpoint.role in ("", "collect")
            else web.RouteDef(
                route.method,
                route.path,
                self.hosts.guard(route.handler, needs_token=bool(endpoint.role)),
                route.kwargs,
            )
            for endpoint, route in zip(endpoints, routes, strict=True)
        ]

    def _tls_arguments(self) -> dict[str, Any]:
        if self.tls is None:
            return {}
        return {"ssl": self.tls.context, "ssl_handshake_timeout": HANDSHAKE_TIMEOUT_S}

    def stop_listening(self) -> None:
        """Take no new connection."""
        for listening in self._sockets:
            listening.close()
        if self._sockets:
            self.address_file.remove()

    async def close(self) -> None:
        """Wait for the requests under way, and close all connections."""
        await self._tasks.cancel()
        if self._runner is not None:
            await self._runner.cleanup()


async def _say_https_only(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HSTS)

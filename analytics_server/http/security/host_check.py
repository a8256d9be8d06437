"""Host check: refuses requests for the dashboard and the API that come by a name which is not this server's.

Against DNS rebinding: a foreign page lets its own name point to this server's address, and its scripts then count as
same-origin. Such a request names the foreign host, so it is answered 421. An attack needs a name, so an IP address as
host is always accepted, and so are the names of loopback. Beacons, the tracker, health and metrics are
open for any host: a site's own proxy may pass them on.

Constraint: where only the operator can know the names, nothing is refused (no `public_url`, not on loopback only).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from analytics_server.config import ServerSection
from analytics_server.errors import Misdirected
from analytics_server.listening import without_brackets
from analytics_server.spelling.host_names import AllowedHosts

OPEN_TAGS = frozenset({"collect", "experiments", "operations"})
"""What sites' visitors and monitoring ask for, if it needs no more than the right to send."""
ANY_HOST = "*"
LOOPBACK_NAMES = ("localhost", "*.localhost")
FORWARDED_HOST = "X-Forwarded-Host"
SHOWN_CHARS = 200
REMEMBERED = 1_000

RouteHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HostCheck:
    """`trusts`: is this peer a proxy whose `X-Forwarded-Host` is believed?"""

    def __init__(self, settings: ServerSection, trusts: Callable[[str], bool]) -> None:
        self._trusts = trusts
        own = urlsplit(settings.public_url).hostname or ""
        self._names = AllowedHosts([*LOOPBACK_NAMES, *([own] if own else []), *settings.allowed_hosts])
        self._known: dict[str, bool] = {}
        self.is_on = ANY_HOST not in settings.allowed_hosts and bool(
            own or settings.allowed_hosts or _is_loopback(settings.host)
        )
        """Are there names to compare with?"""

    def guard(self, handler: RouteHandler) -> RouteHandler:
        """The handler, which then raises `Misdirected` for another server's name."""

        async def handle(request: web.Request) -> web.StreamResponse:
            if not self.accepts(request):
                shown = request.headers.get("Host", "")[:SHOWN_CHARS]
                raise Misdirected(
                    f"This server does not answer for the host {shown!r}: set [server] public_url to the address that "
                    "you use, or name the host in [server] allowed_hosts."
                )
            return await handler(request)

        return handle

    def accepts(self, request: web.Request) -> bool:
        """Is the request for one of the names? A client without a Host (HTTP/1.0) is no browser."""
        host = request.headers.get("Host")
        if not host or self._holds(host):
            return True
        forwarded: list[str] = request.headers.getall(FORWARDED_HOST, [])
        return bool(forwarded) and self._trusts(request.remote or "") and self._holds(forwarded[-1].rpartition(",")[2])

    def _holds(self, host: str) -> bool:
        known = self._known.get(host)
        if known is None:
            name = _without_port(host.strip())
            known = _is_address(name) or self._names.hold(name)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[host] = known
        return known


def _without_port(host: str) -> str:
    if host.startswith("["):
        return without_brackets(host[: host.find("]") + 1])
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    name = without_brackets(host).lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback

"""Host check: refuses requests for the dashboard and the API that come by a name which is not this server's.

Against DNS rebinding: a foreign page lets its own name point to this server's address, and its scripts then count as
same-origin. Such a request names the foreign host, so it is answered 421. An attack needs a name, so an IP address as
host is always accepted, and so are the names of loopback. Beacons, the tracker, health and metrics are
open for any host: a site's own proxy may pass them on.

A request with `Authorization` is not checked where a token is needed: such a page knows none, and no browser adds one
by itself. So a program's access by whatever name goes on.

Constraint: where only the operator can know the names, nothing is refused (no `public_url`, not on loopback only).
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from analytics_server.config import ServerSection
from analytics_server.errors import Misdirected
from analytics_server.listening import without_brackets
from analytics_server.spelling.host_names import AllowedHosts, is_loopback

log = logging.getLogger(__name__)

OPEN_TAGS = frozenset({"collect", "experiments", "operations"})
"""What sites' visitors and monitoring ask for, if it needs no more than the right to send."""
ANY_HOST = "*"
LOOPBACK_NAMES = ("localhost", "*.localhost")
FORWARDED_HOST = "X-Forwarded-Host"
SHOWN_CHARS = 200
REMEMBERED = 1_000
MOST_LOGGED = 20
"""So many refused hosts are named in the log of one start: strangers choose them."""
REMEDY = "Set [server] public_url to the address that you use, or name the host in [server] allowed_hosts."

RouteHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HostCheck:
    """`trusts`: is this peer a proxy whose `X-Forwarded-Host` is believed?"""

    def __init__(self, settings: ServerSection, trusts: Callable[[str], bool]) -> None:
        self._trusts = trusts
        own = urlsplit(settings.public_url).hostname or ""
        self._names = AllowedHosts([*LOOPBACK_NAMES, *([own] if own else []), *settings.allowed_hosts])
        self._known: dict[str, bool] = {}
        self._logged: set[str] = set()
        self.is_on = ANY_HOST not in settings.allowed_hosts and bool(
            own or settings.allowed_hosts or is_loopback(settings.host)
        )
        """Are there names to compare with?"""
        self.is_guess = self.is_on and not own and not settings.allowed_hosts
        """Is it on by the loopback address alone? A proxy on this machine may pass on a name that is not set here."""

    def tell_start(self) -> None:
        """Say in the log that a proxy's name would be refused, where none is set."""
        if self.is_guess:
            log.warning(
                "requests for the dashboard and the API by another name than localhost are refused, as behind a proxy",
                extra={"remedy": REMEDY},
            )

    def guard(self, handler: RouteHandler, *, needs_token: bool) -> RouteHandler:
        """The handler, which then raises `Misdirected` for another server's name."""

        async def handle(request: web.Request) -> web.StreamResponse:
            if not (needs_token and "Authorization" in request.headers) and not self.accepts(request):
                self._tell(request.headers.get("Host", ""))
                shown = request.headers.get("Host", "")[:SHOWN_CHARS]
                raise Misdirected(f"This server does not answer for the host {shown!r}. {REMEDY}")
            return await handler(request)

        return handle

    def accepts(self, request: web.Request) -> bool:
        """Is the request for one of the names? A client without a Host (HTTP/1.0) is no browser."""
        host = request.headers.get("Host")
        if not host or self._holds(host):
            return True
        forwarded: list[str] = request.headers.getall(FORWARDED_HOST, [])
        return bool(forwarded) and self._trusts(request.remote or "") and self._holds(forwarded[-1].rpartition(",")[2])

    def _tell(self, host: str) -> None:
        """One line for each host that is refused, as far as so many."""
        name = _without_port(host.strip())[:SHOWN_CHARS]
        if name in self._logged or len(self._logged) >= MOST_LOGGED:
            return
        self._logged.add(name)
        log.warning("refused a request for another host", extra={"host": name, "remedy": REMEDY})
        if len(self._logged) == MOST_LOGGED:
            log.warning("further hosts that are refused are not logged")

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

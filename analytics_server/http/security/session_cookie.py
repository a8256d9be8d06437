"""The cookie of a person's session: its name and attributes, and when it may change anything.

Over TLS it is `__Host-analytics_session`: Secure, of this host alone, never set by a subdomain or over plain HTTP. A
browser takes that name over TLS only; over plain HTTP, as on one's own machine, it is `analytics_session`. Both are
HttpOnly and SameSite=Strict. A request with one that changes anything, or opens a WebSocket, has to come from a page of
this server: its `Origin` is the server's own. Beside an `Authorization` header the cookie counts for nothing.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from aiohttp import web

from analytics_server.errors import Forbidden

SCHEME = "Session\0"
"""Of an `Authorization` value that stands for a cookie, inside this program. No header can hold its last character."""

SECURE_NAME = "__Host-analytics_session"
PLAIN_NAME = "analytics_session"
PASSING = "_begun"
"""What the name of a sign-in under way ends in."""
READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OTHER_PAGES = ("cross-site", "same-site")
"""Values of `Sec-Fetch-Site`, which browsers send: `same-site` is another host of the same domain."""
_VALUE = re.compile(r"[A-Za-z0-9_-]{1,128}")


class SessionCookies:
    """`public_url`: the server's address as browsers know it, or "" for that of the `Host` header."""

    def __init__(self, public_url: str = "") -> None:
        parts = urlsplit(public_url)
        self._origin = f"{parts.scheme}://{parts.netloc}".lower() if public_url else ""

    def credential(self, request: web.Request) -> str | None:
        """The `Authorization` header, else the same for the cookie, else None. Raises `Forbidden` (bad_origin)."""
        changes = request.method not in READING_METHODS or "Upgrade" in request.headers
        if changes and "Authorization" not in request.headers and self.secret(request):
            self.check_origin(request)
        return self.stated(request)

    def stated(self, request: web.Request) -> str | None:
        """The same wherever the request comes from: to tell who was refused."""
        authorization = request.headers.get("Authorization")
        if authorization is not None:
            return authorization
        secret = self.secret(request)
        return f"{SCHEME} {secret}" if secret else None

    def secret(self, request: web.Request) -> str:
        """The cookie's value, or ""."""
        value = request.cookies.get(self._name(request), "")
        return value if _VALUE.fullmatch(value) else ""

    def check_origin(self, request: web.Request, *, may_lack: bool = False) -> None:
        """Raises `Forbidden` unless the request comes from a page of this server."""
        origin = request.headers.get("Origin", "").lower()
        if not origin and may_lack:
            return
        if not origin or not self._is_own(origin, request):
            raise Forbidden(
                "A request with a cookie needs an Origin of this server. Behind a proxy, set [server] public_url.",
                code="bad_origin",
            )

    def check_page(self, request: web.Request) -> None:
        """Raises `Forbidden` for a page of another address: a browser adds a password that it has kept for this one."""
        origin = request.headers.get("Origin", "").lower()
        by_other = request.headers.get("Sec-Fetch-Site", "").lower() in OTHER_PAGES
        if by_other or (origin and not self._is_own(origin, request)):
            raise Forbidden(
                "A page of another address may not ask here. Behind a proxy, set [server] public_url.",
                code="bad_origin",
            )

    def set(self, request: web.Request, response: web.Response, secret: str, max_age_s: int) -> None:
        """Give the browser the cookie."""
        response.set_cookie(
            self._name(request),
            secret,
            max_age=max_age_s,
            path="/",
            secure=self._is_secure(request),
            httponly=True,
            samesite="Strict",
        )

    def set_passing(self, request: web.Request, response: web.Response, value: str, max_age_s: int) -> None:
        """Give the browser the cookie of a sign-in under way: it comes back with it from another site."""
        response.set_cookie(
            f"{self._name(request)}{PASSING}",
            value,
            max_age=max_age_s,
            path="/",
            secure=self._is_secure(request),
            httponly=True,
            samesite="Lax",
        )

    def passing(self, request: web.Request) -> str:
        """The value of a sign-in under way, or ""."""
        return str(request.cookies.get(f"{self._name(request)}{PASSING}", ""))

    def clear(self, request: web.Request, response: web.Response) -> None:
        """Take the cookie away."""
        self.set(request, response, "", 0)

    def _is_own(self, origin: str, request: web.Request) -> bool:
        return origin == self._origin or _is_of_host(origin, request.host.lower())

    def _name(self, request: web.Request) -> str:
        return SECURE_NAME if self._is_secure(request) else PLAIN_NAME

    def _is_secure(self, request: web.Request) -> bool:
        """Does the browser speak TLS? A proxy may end it and says so; who invents that only spoils their own cookie."""
        if self._origin.startswith("https:"):
            return True
        forwarded = request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip().lower()
        return request.secure or forwarded == "https"


def _is_of_host(origin: str, host: str) -> bool:
    try:
        name = urlsplit(origin).netloc
    except ValueError:  # as of "http://["
        return False
    return bool(name) and name == host

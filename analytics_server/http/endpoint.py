"""Endpoints: a route declared once, with its action, body, replies and errors; the handler follows from it.

From one declaration come the handler (authentication, reading and decoding the body, authorization, the JSON answer),
the operation of the API description, and the tests that try every role on every route. A route without an action can't
be declared: what anyone may call says `PUBLIC`.

Order of a request (`routing/routes.py`): authentication, then the role, then the body, then the right to the site, then
the handler. Nothing is read for a caller who could not use it, and nothing is looked up of a site that the caller may
not see.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

from aiohttp import web

from analytics_server.errors import AnalyticsError, Forbidden
from analytics_server.http.audit import AuditTrail
from analytics_server.http.authorization import (
    Action,
    Caller,
    Narrowing,
    Public,
    Resource,
    ResourceKind,
)
from analytics_server.http.body import SMALL_BODY, BodyLimits
from analytics_server.http.declaration import Body, Parameter, Reply, plain_path
from analytics_server.http.security.session_cookie import READING_METHODS
from analytics_server.model import stored_site_id

B = TypeVar("B")


class SiteFrom(Enum):
    """Where a request names the site that its action is done to."""

    BODY = "`site_id` of the body, or of what `parse` has made of the address"
    PATH = "the path's part `site_id`"
    HANDLER = "the handler finds it, and calls `Call.authorize`"


class Call(Generic[B]):
    """One request on its way through its endpoint: the authenticated caller and the decoded body.

    Of an endpoint without a body, `body` is what `parse` has made of the address. `trail`: what the call's audit entry
    will say; a handler adds what only it knows, such as the id of what it made.
    """

    __slots__ = ("_authorize", "_named", "body", "caller", "is_authorized", "request", "trail")

    def __init__(
        self,
        request: web.Request,
        caller: Caller,
        body: B,
        authorize: Callable[[Resource], None],
        is_authorized: bool,
        trail: AuditTrail,
        named: Mapping[str, str],
    ) -> None:
        self._named = named
        self.request = request
        self.caller = caller
        self.body = body
        self.trail = trail
        self.is_authorized = is_authorized
        self._authorize = authorize

    def path(self, name: str) -> str:
        """A variable part of the path, decoded."""
        return self._named[name]

    def authorize(self, site_id: str) -> None:
        """Raises `Forbidden` unless the caller may do the endpoint's action on the site."""
        self.trail.site_id = stored_site_id(site_id)
        self._authorize(Resource.site(stored_site_id(site_id)))
        self.is_authorized = True

    def may(self, resource: Resource) -> bool:
        """Is the endpoint's action allowed on the resource, too?"""
        try:
            self._authorize(resource)
        except Forbidden:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerQuestion:
    """What one endpoint asks of another within a request: the body, and the variable parts of the path.

    The query string is that of the request that goes with it.
    """

    body: bytes = b""
    named: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call[Any]], Awaitable[object]]
"""Answers a call: with a value to be encoded as JSON, None for an empty body, or a response of its own."""

RawHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class InnerHandler(Protocol):
    """Answers a request; or, within one, what is asked in place of its body and path."""

    async def __call__(self, request: web.Request, inner: InnerQuestion | None = None) -> web.StreamResponse:
        """The answer. Raises `AnalyticsError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignProtocol:
    """How an endpoint that speaks another system's protocol reads a credential, and answers an error.

    `credential`: the request's, as an `Authorization` value; cookies count for nothing then, and the address, which may
    hold it, is not recorded. Pages of other addresses are refused (bad_origin). `refuse`: the answer for an error of
    which nothing was sent yet, of the type `errors`.
    """

    credential: Callable[[web.Request], str | None]
    refuse: Callable[[web.Request, AnalyticsError], web.Response]
    errors: str = "text/plain"
    challenge: str = "Basic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A method of a path: what it is for, what a caller must be allowed to do, and who answers.

    `name` is unique among all, `tag` one of `openapi.document.TAGS`. Parameters whose names stand in the path belong
    there, all others to the query string. The first reply is the one whose status a handler's value is sent with.

    `handle` gets an authorized call. `serve` gets the request as it is: for pages, and for what authenticates by other
    means than a status (beacons, the live socket); its action is then declared for the description and the tests.
    `site` is needed by actions on a site. `parse` reads path and query string, and raises `RequestError`.

    `narrow` makes of what is asked, and of what a share link shows, what may be answered; without it, a share link may
    not call this. `keeps_threshold`: it answers a link or token with a threshold; without it, `narrow` refuses them.

    `errors`: the codes of each status beyond those that follow from `action`, `body` and `asks_store`, and from
    `takes_turns` where a site's questions wait for each other.

    `protocol`: of another system that the endpoint speaks. `otherwise` then answers at its path what lacks a required
    parameter, and HEAD: a page.

    `is_question`: a POST that changes nothing. Its audit entry is written in the background, with a hash of the body;
    that of a change is durable before the change is answered.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    action: Action | Public
    replies: tuple[Reply, ...]
    handle: Handler | None = None
    serve: RawHandler | None = None
    site: SiteFrom | None = None
    parameters: tuple[Parameter, ...] = ()
    parse: Callable[[web.Request], Any] | None = None
    body: Body | None = None
    reading: BodyLimits = SMALL_BODY
    about: str = ""
    errors: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    narrow: Callable[[Any, Narrowing], Any] | None = None
    keeps_threshold: bool = False
    asks_store: bool = False
    takes_turns: bool = False
    is_question: bool = False
    allow_head: bool = True
    protocol: ForeignProtocol | None = None
    otherwise: RawHandler | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` for a declaration that contradicts itself."""
        if (self.handle is None) == (self.serve is None):
            raise ValueError(f"{self.route} needs one of handle and serve.")
        if self.otherwise is not None and self.protocol is None:
            raise ValueError(f"{self.route} shares its path, which needs a protocol of its own.")
        if self.body is not None and self.handle is not None and (len(self.body.types) != 1 or self.parse is not None):
            raise ValueError(f"{self.route} needs one type of body, and no other way to read what is asked.")
        if isinstance(self.action, Public):
            if self.handle is not None:
                raise ValueError(f"{self.route} is public: it has no caller, so it needs serve.")
        elif self.handle is not None and (self.action.resource is ResourceKind.SITE) != (self.site is not None):
            raise ValueError(f"{self.route}: an action on a site, and no other, says where the site stands.")

    @property
    def route(self) -> tuple[str, str]:
        """Method and path as OpenAPI writes it: `{name:.+}` becomes `{name}`."""
        return self.method.upper(), plain_path(self.path)

    @property
    def changes(self) -> bool:
        """Does it change what the server keeps?"""
        return self.method not in ("GET", "HEAD", "OPTIONS") and not self.is_question

    @property
    def role(self) -> str:
        """The role that it needs: `read`, `admin`, `collect` where a token is optional, or empty if it is public."""
        return "" if isinstance(self.action, Public) else self.action.role

    @property
    def status(self) -> int:
        """The status of its first reply: that of a value that the handler returns."""
        return self.replies[0].status

    def all_errors(self) -> dict[int, tuple[str, ...]]:
        """The codes of each status that it may answer with, sorted."""
        found: dict[int, set[str]] = {status: set(codes) for status, codes in self.errors.items()}

        def add(status: int, *codes: str) -> None:
            found.setdefault(status, set()).update(codes)

        if self.role and all(reply.status != 101 for reply in self.replies):  # a WebSocket says so by its close code
            add(401, "unauthorized")
            add(403, "forbidden")
            if self.method.upper() not in READING_METHODS or self.protocol is not None:
                add(403, "bad_origin")
        if self.narrow not in (None, not_narrowed, for_tokens):
            add(403, "segment_gone")
        if self.body is not None:
            add(400, "bad_body")
            add(408, "request_timeout")
            add(413, "too_large")
        if self.asks_store:
            add(503, "store_error", "store_unavailable", "store_ambiguous")
            add(504, "query_timeout")
        if self.takes_turns:
            add(429, "too_many_queries")
        if self.handle is not None and self.changes:
            add(503, "audit_unavailable")
        return {status: tuple(sorted(codes)) for status, codes in sorted(found.items())}


def not_narrowed(body: Any, narrowing: Narrowing) -> Any:
    """For what is the same whatever a share link shows."""
    return body


def for_tokens(body: Any, narrowing: Narrowing) -> Any:
    """For what asks other endpoints with the rights of the caller: not for share links. Raises `Forbidden`."""
    if narrowing.is_link:
        raise Forbidden(narrowing.refusal)
    return body

"""Request handlers on aiohttp: errors as JSON, times counted, answers to what no route takes.

Handlers are wrapped one by one instead of by a middleware, so that beacons pass no
layer that they do not need. Nothing a client sends ends in a stack trace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import resource
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import HttpVersion11, web, web_response
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from analytics_server.errors import (
    AnalyticsError,
    ExpectationFailed,
    MethodNotAllowed,
    NotFound,
    NotImplementedHere,
    RequestError,
)
from analytics_server.http.answer import error_response
from analytics_server.http.metrics import HttpMetrics
from analytics_server.http.security.headers import secure_page
from analytics_server.http.websocket_frames import MaskedFrames

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
AnyHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
MOST_FILES = 65_536
RESERVED_FILES = 512
"""Of the files this process may have open: for the engine, the log and outgoing connections."""
EVERYTHING_ELSE = "/{tail}"
EVERYTHING_PATH = "/{tail:.*}"
SERVER_NAME = "analytics-server"
MOST_LINE_BYTES = 8_190
"""aiohttp's own limit for the first line and for each header."""

MOST_SLASHES = 64
"""In a path: aiohttp looks for a route under each of its beginnings, which costs the square of their number."""


def wrap(routes: Iterable[web.RouteDef], metrics: HttpMetrics) -> list[web.RouteDef]:
    """The same routes, answering errors as JSON and counting."""
    return [
        web.RouteDef(
            route.method,
            route.path,
            _wrapped(route.handler, route.path, metrics),
            {**route.kwargs, "expect_handler": expect_continue},
        )
        for route in routes
    ]


async def expect_continue(request: web.Request) -> web.StreamResponse | None:
    """RFC 9110, 10.1.1: the only expectation there is, or 417."""
    if request.headers.get("Expect", "").strip().lower() != "100-continue":
        return error_response(ExpectationFailed("Expect can only be 100-continue."))
    if request.version < HttpVersion11:  # knows no answers before the answer: the expectation is to be ignored
        return None
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # nothing of the answer is written yet
    return None


class UnmatchedPath(web.DynamicResource):
    """The resource of what no other one took, also of the target that is no path: `*`."""

    def __init__(self) -> None:
        super().__init__(EVERYTHING_PATH)

    def _match(self, path: str) -> dict[str, str]:
        return {"tail": path}


def add_rest(app: web.Application, metrics: HttpMetrics) -> None:
    """Answer what no route takes. Last."""
    rest = UnmatchedPath()
    rest.add_route("*", _wrapped(nothing_here, EVERYTHING_PATH, metrics), expect_handler=expect_continue)
    app.router.register_resource(rest)


def before_routes(handle: AnyHandler, metrics: HttpMetrics) -> AnyHandler:
    """`handle` finds the route: without paths that it would look for too long, or could not look for."""
    observe = metrics.route(EVERYTHING_PATH)

    async def look(request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.path_safe
        if path.count("/") > MOST_SLASHES:
            observe(404, 0.0)
            return error_response(NotFound("There is nothing at an address of so many parts."))
        if not path:  # http://stats.example.com: RFC 9110, 4.2.3
            return await handle(request.clone(rel_url=request.rel_url.with_path("/", keep_query=True)))
        return await handle(request)

    return look


def _wrapped(handler: Handler, path: str, metrics: HttpMetrics) -> Handler:
    observe = metrics.route(path)

    async def handle(request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        try:
            response = await handler(request)
        except AnalyticsError as error:
            log.log(error.log_level, "request failed", extra={"route": path, "code": error.code})
            response = error_response(error)
            if error.status == 408:  # the rest of the body would be read as the next request
                response.force_close()
        except web.HTTPException as error:
            if error.status < 400:  # a redirect: aiohttp wants it raised
                observe(error.status, time.perf_counter() - started)
                secure_page(error)
                raise
            response = _plain_error(error)
        except asyncio.CancelledError:
            raise
        except (ConnectionError, web.RequestPayloadError, HttpProcessingError):
            response = error_response(RequestError("The request's body did not arrive whole.", code="bad_body"))
        except Exception:
            log.exception("request crashed", extra={"route": path})
            response = error_response(AnalyticsError("Something went wrong here; the server's log says what."))
        secure_page(response)
        if response.status != 101:  # a WebSocket's life is no answering time
            observe(response.status, time.perf_counter() - started)
        return response

    return handle


class HttpProtocol(RequestHandler):
    """aiohttp's protocol, that answers what is no readable HTTP in the form of every other error."""

    __slots__ = ()

    def set_parser(self, parser: Any, data_received_cb: Callable[[], None] | None = None) -> None:
        """Begin to read a WebSocket's frames."""
        super().set_parser(MaskedFrames(parser, self.transport), data_received_cb)  # type: ignore[arg-type]

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what can't be read as a request. Raises where an answer has begun."""
        super().handle_error(request, status, exc, message)  # logs, and raises when the answer has begun
        if status >= 500:
            return self._last_answer(AnalyticsError("Something went wrong here; the server's log says what."), status)
        if isinstance(exc, BadHttpMethod) and _REQUEST_LINE.search(exc.message):
            return self._last_answer(NotImplementedHere("There is no such method here."), 501)
        if isinstance(exc, LineTooLong):
            text = f"The request's address or a header is longer than {MOST_LINE_BYTES} bytes: ask for less at a time."
        else:
            text = "The request can't be read as HTTP: its first line, a header or its length is malformed."
        return self._last_answer(RequestError(text), status)

    def _last_answer(self, error: AnalyticsError, status: int) -> web.StreamResponse:
        error.status = status
        answer = error_response(error)
        answer.force_close()
        return answer


_REQUEST_LINE = re.compile(r"b'[!-~]+ [!-~]+ HTTP/1\.[01]")
"""In the parser's message: what is readable but for its method."""

web_response.SERVER_SOFTWARE = SERVER_NAME  # type: ignore[attr-defined]  # else every answer tells versions


def _plain_error(error: web.HTTPException) -> web.Response:
    known = {
        404: ("not_found", "There is nothing at this address."),
        405: ("method_not_allowed", "Use another method."),
    }
    code, message = known.get(error.status, ("bad_request", error.reason))
    answer = AnalyticsError(message, code=code)
    answer.status = error.status
    return error_response(answer)


async def nothing_here(request: web.Request) -> web.StreamResponse:
    """The last route: whatever no other one took. A path that answers other methods says which."""
    if not request.path.startswith("/"):  # OPTIONS * asks about the server as a whole
        response = error_response(MethodNotAllowed(f"{request.method} needs an address here."))
        response.headers["Allow"] = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
        return response
    fitting = [place for place in request.app.router.resources() if place.canonical != EVERYTHING_ELSE]
    exact = [place for place in fitting if place.canonical == request.path]  # counts before {patterns} that fit, too
    allowed: set[str] = set().union(*[(await place.resolve(request))[1] for place in exact or fitting])
    if allowed:
        wanted = ", ".join(sorted(allowed))
        response = error_response(MethodNotAllowed(f"{request.method} is nothing here: use {wanted}."))
        response.headers["Allow"] = wanted
        return response
    raise NotFound(f"There is nothing at {request.method} {request.path[:200]}: docs/ lists the addresses.")


def connection_limit() -> int:
    """How many connections may be open, after the limit of open files was raised."""
    return max(RESERVED_FILES, raise_file_limit() - RESERVED_FILES)


def raise_file_limit() -> int:
    """Let this process open as many files as its hard limit allows; returns how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return MOST_FILES if soft == resource.RLIM_INFINITY else soft

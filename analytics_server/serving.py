"""What every HTTP answer needs: errors as JSON, counters, health.

Handlers are wrapped one by one instead of by a middleware, so that the way of a
beacon has no layer it does not need. Nothing a client sends ends in a stack trace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from analytics_server import __version__
from analytics_server.errors import AnalyticsError, NotFound

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
LAG_CHECK_S = 1.0


class HttpMetrics:
    """Requests, latency, loop lag and build of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.requests = Counter("http_requests_total", "HTTP requests.", ["route", "code"], registry=registry)
        self.seconds = Histogram(
            "http_request_duration_seconds",
            "Time to answer a request.",
            ["route"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.loop_lag = Gauge("event_loop_lag_seconds", "How late the event loop runs.", registry=registry)
        self.clickhouse_up = Gauge("clickhouse_up", "1 when the last flush or check succeeded.", registry=registry)
        build = Gauge("build_info", "The program's version.", ["version"], registry=registry)
        build.labels(__version__).set(1)
        ProcessCollector(registry=registry)

    async def watch_loop(self) -> None:
        """Measure the loop's lag for ever."""
        while True:
            started = time.perf_counter()
            await asyncio.sleep(LAG_CHECK_S)
            self.loop_lag.set(max(0.0, time.perf_counter() - started - LAG_CHECK_S))

    def expose(self) -> web.Response:
        response = web.Response(body=generate_latest(self.registry))
        response.headers["Content-Type"] = CONTENT_TYPE_LATEST
        return response


def wrap(routes: Iterable[web.RouteDef], metrics: HttpMetrics) -> list[web.RouteDef]:
    """The same routes, answering errors as JSON and counting."""
    return [
        web.RouteDef(route.method, route.path, _wrapped(route.handler, route.path, metrics), route.kwargs)  # type: ignore[arg-type]
        for route in routes
    ]


def _wrapped(handler: Handler, path: str, metrics: HttpMetrics) -> Handler:
    observe = metrics.seconds.labels(path).observe
    counters: dict[int, Counter] = {}

    async def handle(request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        try:
            response = await handler(request)
        except AnalyticsError as error:
            log.log(error.log_level, "request failed", extra={"route": path, "code": error.code})
            response = error_response(error)
        except web.HTTPException as error:
            response = _plain_error(error)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("request crashed", extra={"route": path})
            response = error_response(AnalyticsError("Something went wrong here; the server's log says what."))
        status = response.status
        counter = counters.get(status)
        if counter is None:
            counter = counters[status] = metrics.requests.labels(path, str(status))
        counter.inc()
        observe(time.perf_counter() - started)
        return response

    return handle


def error_response(error: AnalyticsError) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        body=msgspec.json.encode({"error": {"code": error.code, "message": error.message}}),
        status=error.status,
        content_type="application/json",
        headers=headers,
    )


def _plain_error(error: web.HTTPException) -> web.StreamResponse:
    if error.status < 400:
        return error
    known = {404: ("not_found", "There is nothing at this address."), 405: ("method_not_allowed", "Use another method.")}
    code, message = known.get(error.status, ("bad_request", error.reason))
    answer = AnalyticsError(message, code=code)
    answer.status = error.status
    return error_response(answer)


async def nothing_here(request: web.Request) -> web.StreamResponse:
    """The last route: whatever no other one took."""
    raise NotFound(f"There is nothing at {request.method} {request.path[:200]}: docs/ lists the addresses.")


async def cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task

"""HTTP metrics of one process: requests by route and status, their times, the event loop's lag, the build."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, Metric, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from analytics_server import __version__
from analytics_server.http.security.headers import SECURITY_HEADERS

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
LAG_CHECK_S = 1.0


class RouteTimes:
    """Answers of one route, by status and time: plain numbers, since only the loop writes them."""

    __slots__ = ("buckets", "by_status", "seconds")

    def __init__(self) -> None:
        self.by_status: dict[int, int] = {}
        self.buckets = [0] * (len(LATENCY_BUCKETS) + 1)
        self.seconds = 0.0

    def __call__(self, status: int, seconds: float) -> None:
        self.by_status[status] = self.by_status.get(status, 0) + 1
        self.buckets[bisect_left(LATENCY_BUCKETS, seconds)] += 1
        self.seconds += seconds


class HttpMetrics:
    """Requests, latency, loop lag and build of one process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self.registry = registry or CollectorRegistry()
        self._routes: dict[str, RouteTimes] = {}
        registry.register(self)
        self.loop_lag = Gauge("event_loop_lag_seconds", "How late the event loop runs.", registry=registry)
        self.clickhouse_up = Gauge("clickhouse_up", "1 when the last flush or check succeeded.", registry=registry)
        build = Gauge("build_info", "The program's version.", ["version"], registry=registry)
        build.labels(__version__).set(1)
        ProcessCollector(registry=registry)

    def route(self, path: str) -> RouteTimes:
        """The counters of one route."""
        return self._routes.setdefault(path, RouteTimes())

    def collect(self) -> Iterator[Metric]:
        """For the registry: requests and their times."""
        requests = CounterMetricFamily("http_requests", "HTTP requests.", labels=["route", "code"])
        seconds = HistogramMetricFamily("http_request_duration_seconds", "Time to answer.", labels=["route"])
        for path, times in self._routes.items():
            for status, count in times.by_status.items():
                requests.add_metric([path, str(status)], count)
            if times.by_status:
                buckets, total = [], 0
                for bound, count in zip((*LATENCY_BUCKETS, "+Inf"), times.buckets, strict=True):
                    total += count
                    buckets.append((str(bound), total))
                seconds.add_metric([path], buckets, times.seconds)
        yield requests
        yield seconds

    async def watch_loop(self) -> None:
        """Measure how late the event loop runs, until cancelled."""
        while True:
            started = time.perf_counter()
            await asyncio.sleep(LAG_CHECK_S)
            self.loop_lag.set(max(0.0, time.perf_counter() - started - LAG_CHECK_S))

    def expose(self) -> web.Response:
        """All metrics in Prometheus' text format."""
        headers = {**SECURITY_HEADERS, "Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=generate_latest(self.registry), headers=headers)

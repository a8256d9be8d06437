"""Single beacons: the full server against a bare aiohttp handler, in turns, in one run.

Every acknowledged beacon was enriched and is on disk. The ratio is what counts: both
sides meet the same load generator on the same cores within the same minute. A third
server with `[ingest] ack = "os"` takes its turn, so that the price of the sync is known.
"""

from __future__ import annotations

import statistics
import sys
import urllib.request

from benchmarks import geo
from benchmarks.count import count_stored
from benchmarks.process import Running, running, server
from benchmarks.report import Figure, Result, at_least, below, exactly
from benchmarks.settings import Settings
from benchmarks.traffic import templates
from benchmarks.wrk import WrkReport, run_wrk, write_requests


def run(settings: Settings) -> Result:
    """A B C A B C …, then count what was kept."""
    directory = settings.directory
    requests = directory / "beacons.tsv"
    write_requests(requests, templates(settings.beacon_templates))
    environment = {
        "ANALYTICS_SERVER_TRUSTED_PROXIES": "127.0.0.1",
        "ANALYTICS_GEO_DATABASE": str(geo.database(directory)),
    }
    full: list[WrkReport] = []
    unsynced: list[WrkReport] = []
    bare: list[WrkReport] = []
    data_dir = directory / "beacons"
    with (
        server(data_dir, environment) as ours,
        server(directory / "unsynced", {**environment, "ANALYTICS_INGEST_ACK": "os"}) as page_cache,
        running([sys.executable, "-m", "benchmarks.bare"], {}, directory / "bare.log") as yardstick,
    ):
        number = 0

        def load(target: Running, seconds: float) -> WrkReport:
            nonlocal number
            number += 1
            return run_wrk(
                f"{target.url}/track", requests, run=number, seconds=seconds, connections=settings.connections
            )

        warm_up = []
        if settings.beacon_warm_up_seconds:
            warm_up.append(load(ours, settings.beacon_warm_up_seconds))
            load(page_cache, settings.beacon_warm_up_seconds)
            load(yardstick, settings.beacon_warm_up_seconds)
        before = ours.cpu_s(), yardstick.cpu_s()
        for _ in range(settings.rounds):
            full.append(load(ours, settings.beacon_seconds))
            unsynced.append(load(page_cache, settings.beacon_seconds))
            bare.append(load(yardstick, settings.beacon_seconds))
        cpu_us = _cpu_us(ours.cpu_s() - before[0], full), _cpu_us(yardstick.cpu_s() - before[1], bare)
        accepted, dropped = _accepted(ours)
    answered = sum(one.requests - one.status_errors for one in (*warm_up, *full))
    stored = count_stored(data_dir)
    return _result(full, unsynced, bare, answered, accepted, dropped, stored.rows, stored.event_ids, cpu_us)


def _result(
    full: list[WrkReport],
    unsynced: list[WrkReport],
    bare: list[WrkReport],
    answered: int,
    accepted: int,
    dropped: int,
    rows: int,
    event_ids: int,
    cpu_us: tuple[float, float],
) -> Result:
    ours, theirs = (statistics.median(one.per_second for one in side) for side in (full, bare))
    ratios = [a.per_second / b.per_second for a, b in zip(full, bare, strict=True)]
    price = [1 - a.per_second / b.per_second for a, b in zip(full, unsynced, strict=True)]
    errors = sum(one.status_errors + one.socket_errors for one in full)
    figures = [
        Figure(name="full server", value=ours, unit="beacons/s"),
        Figure(name="bare handler", value=theirs, unit="requests/s"),
        Figure(name="ratio (median of rounds)", value=statistics.median(ratios), unit="×", target=at_least(0.6)),
        Figure(name="price of the sync", value=100 * statistics.median(price), unit="%", target=below(25)),
        Figure(name="full server, p50", value=_ms(full, "p50_us"), unit="ms"),
        Figure(name="full server, p99", value=_ms(full, "p99_us"), unit="ms", target=below(50)),
        Figure(name="bare handler, p50", value=_ms(bare, "p50_us"), unit="ms"),
        Figure(name="bare handler, p99", value=_ms(bare, "p99_us"), unit="ms"),
        Figure(name="full server, processor time", value=cpu_us[0], unit="µs/beacon"),
        Figure(name="bare handler, processor time", value=cpu_us[1], unit="µs/request"),
        Figure(name="ratio by processor time", value=cpu_us[1] / cpu_us[0] if cpu_us[0] else 0.0, unit="×"),
        Figure(name="errors", value=errors, unit="", target=exactly(0)),
        Figure(name="acknowledged", value=accepted, unit="events"),
        Figure(name="in events afterwards", value=rows, unit="rows"),
        Figure(name="lost", value=accepted - rows, unit="events", target=exactly(0)),
        Figure(name="stored twice", value=rows - event_ids, unit="events", target=exactly(0)),
    ]
    details = {
        "full": full,
        "unsynced": unsynced,
        "bare": bare,
        "ratios": ratios,
        "answered_as_wrk_saw": answered,
        "dropped_events": dropped,
    }
    return Result(benchmark="beacons", figures=figures, details=details)


def _cpu_us(seconds: float, reports: list[WrkReport]) -> float:
    """Processor time per request, microseconds: says more than the clock on a busy machine."""
    return seconds / max(1, sum(one.requests for one in reports)) * 1e6


def _ms(reports: list[WrkReport], field: str) -> float:
    """Median over the rounds, milliseconds."""
    return float(statistics.median(getattr(one, field) for one in reports)) / 1000


def _accepted(running_server: Running) -> tuple[int, int]:
    """Events the server says it has acknowledged, and those it dropped, from its metrics."""
    with urllib.request.urlopen(f"{running_server.url}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))

    def outcome(name: str) -> int:
        return int(float(values.get(f'ingest_events_total{{outcome="{name}"}}', "0")))

    return outcome("accepted"), outcome("dropped")

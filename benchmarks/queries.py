"""The dashboard's queries on 10 million events of one site over 30 days.

Asked over HTTP of the running server, as the browser asks. Each query alone: least and
median time, warm. The whole dashboard: everything one view of a site asks, over six
connections (what a browser opens), until the last answer, once in UTC and once in a
site's zone whose days don't begin at midnight UTC.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta

import aiohttp
import msgspec

from benchmarks.dashboard import Query, View, details, opening, tabs
from benchmarks.million import SITE
from benchmarks.process import TOKEN, Running, server
from benchmarks.report import Figure, Result, below
from benchmarks.settings import Settings

RANGE = "30d"
ZONES = ("UTC", "Europe/Berlin")
CONNECTIONS = 6
FILTERS: dict[str, list[object]] = {
    "filtered by country": [["is", "visit:country", ["BA"]]],
    "filtered by page": [["is", "event:page", ["/articles/1/how-to-brew-better-coffee"]]],
}
ONE_MS = 300
WHOLE_MS = 1_000
TOTALS_TIMEOUT_S = 600.0
TOTALS_POLL_S = 1.0
PATIENCE_MS = 10_000


class _Meta(msgspec.Struct):
    date_range: list[str]
    table: str
    rows_read: int = 0


class _Answer(msgspec.Struct):
    results: list[msgspec.Raw]
    meta: _Meta


_TIMED_OUT = _Answer([], _Meta(["1970-01-01", "1970-01-02"], "none: the query ran into its time limit"))


def run(settings: Settings) -> Result:
    """Fill, start the server on it, ask."""
    data_dir = settings.query_data or settings.directory / "queries"
    began = time.perf_counter()
    if settings.query_data is None:
        size = [str(data_dir), str(settings.query_rows), str(settings.query_inserts)]
        subprocess.run([sys.executable, "-m", "benchmarks.million", *size], check=True, timeout=3_600)
    filled_s = time.perf_counter() - began
    with server(data_dir) as running:
        figures, answered = asyncio.run(_ask(running, settings.query_repeats))
        resident = running.resident_mb()
    figures.append(Figure(name="resident memory afterwards", value=resident, unit="MiB"))
    details_ = {"filling_seconds": round(filled_s, 1), "rows": settings.query_rows, "queries": answered}
    return Result(benchmark="queries", figures=figures, details=details_)


async def _ask(running: Running, repeats: int) -> tuple[list[Figure], dict[str, object]]:
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    timeout = aiohttp.ClientTimeout(total=120)
    figures: list[Figure] = []
    answered: dict[str, object] = {}
    async with aiohttp.ClientSession(running.url, connector=connector, headers=headers, timeout=timeout) as client:
        for zone in ZONES:
            await _set_zone(client, zone)
            if repeats > 1:  # A run that measures nothing doesn't wait.
                await _totals_built(client)
            for name, query in _queries(zone).items():
                times, cpu_ms, answer = await _times(client, query, repeats, running)
                figures.append(_figure(f"{name} ({zone})", times, cpu_ms, ONE_MS))
                print(f"  {name} ({zone}): {figures[-1].value:.0f} ms, {figures[-1].note}", file=sys.stderr, flush=True)
                answered[f"{name} ({zone})"] = {
                    "times_ms": [round(value, 1) for value in times],
                    "processor_ms": round(cpu_ms, 1),
                    "rows": len(answer.results),
                    "table": answer.meta.table,
                    "rows_read": answer.meta.rows_read,
                }
            for name, filters in {"whole dashboard": [], **FILTERS}.items():
                view = View(SITE, RANGE, filters)
                await _whole(client, view)
                cpu_s = running.cpu_s()
                times = [await _whole(client, view) for _ in range(repeats)]
                cpu_ms = (running.cpu_s() - cpu_s) * 1000 / repeats
                label = name if name == "whole dashboard" else f"whole dashboard, {name}"
                figures.append(_figure(f"{label} ({zone})", times, cpu_ms, WHOLE_MS))
    return figures, answered


async def _times(
    client: aiohttp.ClientSession, query: Query, repeats: int, running: Running
) -> tuple[list[float], float, _Answer]:
    """Of each warm answer the milliseconds, the mean processor time, and the last one; a slow query is asked less."""
    answer = await _query(client, query)
    times: list[float] = []
    cpu_s = running.cpu_s()
    while len(times) < repeats and (not times or sum(times) < PATIENCE_MS):
        started = time.perf_counter()
        answer = await _query(client, query)
        times.append((time.perf_counter() - started) * 1000)
    return times, (running.cpu_s() - cpu_s) * 1000 / len(times), answer


def _queries(zone: str) -> dict[str, Query]:
    """Everything the dashboard asks in UTC; elsewhere what one view asks."""
    view = View(SITE, RANGE)
    if zone != ZONES[0]:
        return opening(view)
    filtered = {
        f"{name}, {label}": query
        for label, filters in FILTERS.items()
        for name, query in opening(View(SITE, RANGE, filters)).items()
    }
    return opening(view) | tabs(view) | details(view) | filtered


def _figure(name: str, times: list[float], cpu_ms: float, limit: float) -> Figure:
    note = f"least {min(times):.0f}, most {max(times):.0f}; processor time {cpu_ms:.0f}"
    return Figure(name=name, value=statistics.median(times), unit="ms", target=below(limit), note=note)


async def _whole(client: aiohttp.ClientSession, view: View) -> float:
    """Milliseconds until everything that one view asks is answered."""

    async def chart(query: Query) -> None:
        answer = await _query(client, query)
        if answer is not _TIMED_OUT:
            await _query(client, view.series(date_range=_before(answer.meta.date_range)))

    started = time.perf_counter()
    queries = opening(view)
    first = queries.pop("chart by day")
    await asyncio.gather(chart(first), *(_query(client, query) for query in queries.values()))
    return (time.perf_counter() - started) * 1000


def _before(date_range: list[str]) -> list[str]:
    """The same number of days before a range, as two dates."""
    start, end = (date.fromisoformat(text[:10]) for text in date_range)
    return [str(start - (end - start)), str(start - timedelta(days=1))]


async def _query(client: aiohttp.ClientSession, query: Query) -> _Answer:
    async with client.post("/api/v1/query", json=query) as response:
        body = await response.read()
        if response.status == 504:
            return _TIMED_OUT
        if response.status != 200:
            raise RuntimeError(f"{query} → {response.status}: {body[:500]!r}")
        return msgspec.json.decode(body, type=_Answer)


async def _totals_built(client: aiohttp.ClientSession) -> None:
    """Wait until the server has the totals of all days that are over, as it would after a quiet minute."""
    today = datetime.now(UTC).date()
    over = [str(today - timedelta(days=28)), str(today - timedelta(days=2))]
    deadline = time.monotonic() + TOTALS_TIMEOUT_S
    while (await _query(client, View(SITE, over).headline())).meta.table != "day_totals":
        if time.monotonic() > deadline:
            raise RuntimeError("The totals of the days that are over were not built in time.")
        await asyncio.sleep(TOTALS_POLL_S)


async def _set_zone(client: aiohttp.ClientSession, zone: str) -> None:
    async with client.put(f"/api/v1/sites/{SITE}", json={"timezone": zone}) as response:
        response.raise_for_status()

"""Questions of a product team over a year: a hundred million events of one site beside fifty others.

Each question is asked over HTTP of the running server, warm; then, with the server stopped, the same
question as hand-written SQL on the raw table, in the same engine with the same number of threads. Per
question: time, rows and bytes read, both ways, and how far the two answers lie apart.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import aiohttp
import msgspec

from benchmarks.million import SITE
from benchmarks.process import TOKEN, server
from benchmarks.report import Figure, Result, below, exactly
from benchmarks.settings import Settings
from benchmarks.worker import ask
from benchmarks.year_questions import SAVED, STEPS, Question, questions

MODULE = "benchmarks.year"
TOTALS_TIMEOUT_S = 3_600.0
POLL_S = 2.0
FEWER_BYTES = 10.0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One question's cost: what the engine read, the milliseconds of each repeat, and its leading number."""

    times_ms: list[float]
    rows_read: int
    bytes_read: int
    table: str
    number: float


class RawCosts(msgspec.Struct, frozen=True, kw_only=True):
    """The hand-written SQL's costs, by question."""

    costs: dict[str, Asked]


def run(settings: Settings) -> Result:
    """Fill, ask over HTTP, stop, ask by hand."""
    data_dir = settings.year_data or settings.directory / "year"
    began = time.perf_counter()
    if settings.year_data is None:
        size = [str(data_dir), str(settings.year_rows), str(settings.year_inserts), str(settings.year_days)]
        subprocess.run([sys.executable, "-m", "benchmarks.million", *size], check=True, timeout=7_200)
    filled_s = time.perf_counter() - began
    last = datetime.now(UTC).date() - timedelta(days=1)
    first = last - timedelta(days=settings.year_days - 2)
    with server(data_dir) as running:
        asked = asyncio.run(_ask_all(running.url, first, last, settings))
        resident = running.resident_mb()
    raw = ask(MODULE, data_dir, (first.toordinal(), last.toordinal(), settings.query_repeats), RawCosts).costs
    figures = _figures(asked, raw, questions(first, last))
    figures.append(Figure(name="resident memory afterwards", value=resident, unit="MiB"))
    details: dict[str, object] = {
        "filling_seconds": round(filled_s, 1),
        "asked": msgspec.to_builtins(asked),
        "by_hand": msgspec.to_builtins(raw),
    }
    return Result(benchmark="year", figures=figures, details=details)


def _figures(asked: dict[str, Asked], raw: dict[str, Asked], known: list[Question]) -> list[Figure]:
    figures = []
    for question in known:
        ours = asked[question.name]
        hand = raw.get(question.raw_as or question.name)
        note = f"{ours.table}, {ours.rows_read:,} rows, {ours.bytes_read / 1e6:,.1f} MB"
        if hand is not None:
            note += (
                f"; by hand {statistics.median(hand.times_ms):,.0f} ms, {hand.rows_read:,} rows, "
                f"{hand.bytes_read / 1e6:,.1f} MB"
            )
        limit = None if question.limit_ms is None else below(question.limit_ms)
        value = statistics.median(ours.times_ms)
        figures.append(Figure(name=question.name, value=value, unit="ms", target=limit, note=note))
        if hand is None:
            continue
        if question.fewer_bytes:
            figures.append(
                Figure(
                    name=f"{question.name}: fewer bytes read",
                    value=hand.bytes_read / max(1, ours.bytes_read),
                    unit="times",
                    target=msgspec.structs.replace(below(FEWER_BYTES), kind="at least"),
                )
            )
        apart = abs(ours.number - hand.number) / max(1.0, hand.number) * 100
        is_wrong = float(apart > question.tolerance_percent)
        figures.append(
            Figure(
                name=f"{question.name}: answers that differ",
                value=is_wrong,
                unit="",
                target=exactly(0),
                note=f"{ours.number:,.1f} and {hand.number:,.1f}",
            )
        )
    return figures


async def _ask_all(url: str, first: date, last: date, settings: Settings) -> dict[str, Asked]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(url, headers=headers, timeout=timeout) as client:
        await _save_funnel(client, settings)
        if settings.query_repeats > 1:  # A run that measures nothing doesn't wait.
            await _totals_built(client, first, last)
        found = {}
        for question in questions(first, last):
            found[question.name] = await _ask(client, question, settings.query_repeats)
            print(f"  {question.name}: {statistics.median(found[question.name].times_ms):.0f} ms", file=sys.stderr)
        return found


async def _ask(client: aiohttp.ClientSession, question: Question, repeats: int) -> Asked:
    times: list[float] = []
    answer: dict[str, object] = {}
    for repeat in range(repeats + 1):
        started = time.perf_counter()
        async with client.post(question.path, json=question.body) as response:
            body = await response.read()
            if response.status != 200:
                raise RuntimeError(f"{question.name} → {response.status}: {body[:500]!r}")
        if repeat:
            times.append((time.perf_counter() - started) * 1000)
        answer = msgspec.json.decode(body)
    meta = answer["meta"]
    assert isinstance(meta, dict)
    return Asked(
        times_ms=times,
        rows_read=int(meta.get("rows_read", 0)),
        bytes_read=int(meta.get("bytes_read", 0)),
        table=str(meta.get("table", "")),
        number=question.number(answer),
    )


async def _save_funnel(client: aiohttp.ClientSession, settings: Settings) -> None:
    """Save the funnel and wait until its history is there."""
    body = {"site_id": SITE, "name": SAVED, "steps": STEPS, "window": "1h", "by": "session"}
    async with client.get("/api/v1/funnels/saved", params={"site_id": SITE}) as response:
        known = SAVED in await response.text()
    if not known:
        async with client.post("/api/v1/funnels/saved", json=body) as response:
            if response.status != 201:
                raise RuntimeError(f"The funnel was not saved: {await response.text()}")
    deadline = time.monotonic() + TOTALS_TIMEOUT_S
    while True:
        async with client.get("/api/v1/funnels/saved", params={"site_id": SITE}) as response:
            text = await response.text()
        if '"ready"' in text:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"The saved funnel was not ready in time: {text}")
        await asyncio.sleep(POLL_S if settings.query_repeats > 1 else 0.1)


async def _totals_built(client: aiohttp.ClientSession, first: date, last: date) -> None:
    """Wait until the server has the totals of all days that are over."""
    query = {"site_id": SITE, "metrics": ["visitors"], "date_range": [str(first), str(last)]}
    deadline = time.monotonic() + TOTALS_TIMEOUT_S
    while True:
        async with client.post("/api/v1/query", json=query) as response:
            answer = await response.json()
        if answer.get("meta", {}).get("table") == "day_totals":
            return
        if time.monotonic() > deadline:
            raise RuntimeError("The totals of the days that are over were not built in time.")
        await asyncio.sleep(POLL_S)


async def work(directory: Path, first: int, last: int, repeats: int) -> RawCosts:
    """For `benchmarks.worker`: the hand-written SQL, in the engine without the server."""
    from analytics_server.config import Config, ServerSection
    from analytics_server.store import make_store

    store = make_store(Config(server=ServerSection(data_dir=str(directory))))
    await store.open()
    costs: dict[str, Asked] = {}
    try:
        for question in questions(date.fromordinal(first), date.fromordinal(last)):
            if not question.sql:
                continue
            times = []
            for repeat in range(min(repeats, 3) + 1):
                started = time.perf_counter()
                answer = await store.query(question.sql, timeout_s=300)
                if repeat:
                    times.append((time.perf_counter() - started) * 1000)
            costs[question.name] = Asked(
                times_ms=times,
                rows_read=answer.rows_read,
                bytes_read=answer.bytes_read,
                table="events",
                number=float(str(answer.rows[0][0] or 0)),
            )
    finally:
        await store.close()
    return RawCosts(costs=costs)

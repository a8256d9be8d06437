"""ClickHouse's interface: answers of a million rows, beside the same statement sent to the engine directly.

"The same" is what the interface makes of it, which `EXPLAIN SYNTAX` shows: the site's rows, dictionary-encoded columns
made plain. "Directly" is nothing but a socket in front of the engine (`wire_bare`), read by the same client. The engine
in process has one user at a time, so both ways take turns in blocks. For comparison: the columns as they are stored.

Then fifty clients ask without a pause while visitors send beacons.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from benchmarks.process import TOKEN, Running, running, server
from benchmarks.report import Figure, Result, below
from benchmarks.settings import Settings
from benchmarks.traffic import SITE
from benchmarks.visitors import p99_ms
from benchmarks.wire_clients import clients

WAYS = (("Native", ""), ("Native", "compress=1"), ("RowBinary", ""), ("RowBinary", "compress=1"))
"""Formats, and what asks for LZ4 blocks."""
MOST_ADDED = 10.0
MOST_GROWTH_MB = 150.0
MOST_RATIO = 2.0
SAMPLE_S = 0.05
BLOCKS = 2
COLUMNS = "ts, name, session_id, visitor_id, path, source, country, browser"
LIMITS = {
    "ANALYTICS_SQL_ROWS": "20000000",
    "ANALYTICS_SQL_ANSWER_MB": "100000",
    "ANALYTICS_SQL_MEMORY_MB": "4000",
    "ANALYTICS_SQL_TIMEOUT_S": "600",
    "ANALYTICS_SQL_SEND_S": "600",
}


def run(settings: Settings) -> Result:
    """Fill, ask both ways in turns, fetch the longest answer for the memory, and let fifty clients ask."""
    data_dir = settings.directory / "wire"
    size = [str(data_dir), str(settings.wire_rows), str(settings.wire_inserts)]
    subprocess.run([sys.executable, "-m", "benchmarks.million", *size], check=True, timeout=3_600)
    rows, times = settings.wire_answer, settings.rounds
    statement = f"SELECT {COLUMNS} FROM events LIMIT {rows}"
    with server(data_dir, LIMITS) as running_server:
        guarded = asyncio.run(_guarded(running_server, statement))
    stored = statement.replace("LIMIT", f"WHERE site_id = '{SITE}' LIMIT")
    seconds: dict[str, list[float]] = {}
    growth = 0.0
    for block in range(BLOCKS):
        with _bare(data_dir) as bare:
            for format_, packed in WAYS:
                for name, sql in (("alone", guarded), ("as stored", stored)):
                    found = seconds.setdefault(f"{_called(format_, packed)}: the engine, {name}", [])
                    found += (asyncio.run(_direct(bare, format_, sql, packed)) for _ in range(times))
        with server(data_dir, LIMITS) as running_server:
            for format_, packed in WAYS:
                found = seconds.setdefault(f"{_called(format_, packed)}: by the interface", [])
                found += (asyncio.run(_fetch(running_server, format_, statement, packed))[0] for _ in range(times))
            if block == BLOCKS - 1:
                whole = f"SELECT {COLUMNS} FROM events LIMIT {settings.wire_rows}"
                before = running_server.resident_mb()
                growth = asyncio.run(_fetch(running_server, "Native", whole, ""))[1] - before
    figures = []
    for format_, packed in WAYS:
        called = _called(format_, packed)
        through = statistics.median(seconds[f"{called}: by the interface"])
        alone = statistics.median(seconds[f"{called}: the engine, alone"])
        stored_s = statistics.median(seconds[f"{called}: the engine, as stored"])
        figures += [
            Figure(name=f"{called}: the engine alone", value=alone, unit="s"),
            Figure(name=f"{called}: by the interface", value=through, unit="s"),
            Figure(
                name=f"{called}: the interface adds",
                value=100 * (through / alone - 1),
                unit="%",
                target=below(MOST_ADDED),
            ),
            Figure(name=f"{called}: the engine alone, columns as stored", value=stored_s, unit="s"),
        ]
    figures.append(
        Figure(name="Native: memory grows by, all rows", value=growth, unit="MiB", target=below(MOST_GROWTH_MB))
    )
    with server(data_dir) as running_server:
        figures += asyncio.run(_beside(running_server, settings))
    return Result(benchmark="wire", figures=figures, details={"seconds": seconds, "guarded": guarded})


def _called(format_: str, packed: str) -> str:
    return f"{format_}{' in LZ4 blocks' if packed else ''}"


@contextlib.contextmanager
def _bare(data_dir: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.wire_bare", str(data_dir)]
    with running(command, {}, data_dir.with_suffix(".bare.log")) as bare:
        yield bare.url


async def _guarded(running_server: Running, statement: str) -> str:
    params = {"database": SITE, "default_format": "TSVRaw"}
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}, raise_for_status=True) as session,
        session.post(f"{running_server.url}/clickhouse/", params=params, data=f"EXPLAIN SYNTAX {statement}") as answer,
    ):
        text = await answer.text()
    return text.strip().replace(f"`{SITE}`.", "").replace("{site:String}", f"'{SITE}'")


async def _direct(url: str, format_: str, statement: str, packed: str) -> float:
    """Seconds until the whole answer of the engine was read."""
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        began = time.perf_counter()
        async with session.post(f"{url}/?{packed}", data=f"{format_}\n{statement}") as response:
            async for _ in response.content.iter_any():
                pass
        return time.perf_counter() - began


async def _fetch(running_server: Running, format_: str, statement: str, packed: str) -> tuple[float, float]:
    """Seconds until the whole answer was read, and the most memory that the server had meanwhile, MiB."""
    most, looked = running_server.resident_mb(), time.perf_counter()
    address = f"{running_server.url}/clickhouse/?database={SITE}&default_format={format_}&{packed}"
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {TOKEN}"}, timeout=aiohttp.ClientTimeout(total=None), raise_for_status=True
    ) as session:
        began = time.perf_counter()
        async with session.post(address, data=statement) as response:
            async for _ in response.content.iter_any():
                if (now := time.perf_counter()) - looked > SAMPLE_S:
                    most, looked = max(most, running_server.resident_mb()), now
        return time.perf_counter() - began, most


async def _beside(running_server: Running, settings: Settings) -> list[Figure]:
    """The p99 of beacons alone, and while clients ask, in turns."""
    alone: list[float] = []
    beside: list[float] = []
    await p99_ms(running_server.url, settings.slow_seconds / 2)
    for _ in range(settings.rounds):
        alone.append(await p99_ms(running_server.url, settings.slow_seconds))
        async with clients(running_server.url, settings.wire_clients):
            beside.append(await p99_ms(running_server.url, settings.slow_seconds))
    normal, slowed = statistics.median(alone), statistics.median(beside)
    return [
        Figure(name="beacons alone: p99", value=normal, unit="ms"),
        Figure(name=f"beside {settings.wire_clients} clients: p99", value=slowed, unit="ms"),
        Figure(
            name=f"beside {settings.wire_clients} clients: ratio of p99",
            value=slowed / normal,
            unit="",
            target=below(MOST_RATIO),
        ),
    ]

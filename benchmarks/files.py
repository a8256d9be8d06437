"""Files of events: a site's rows as Parquet, NDJSON and CSV over HTTP, how fast, and how much memory meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import aiohttp

from benchmarks.million import SITE
from benchmarks.process import TOKEN, Running, server
from benchmarks.report import Figure, Result, at_least, below, exactly
from benchmarks.settings import Settings

LEAST_RATE = 300_000
MOST_GROWTH_MB = 150.0
SAMPLE_S = 0.1
NEW_LINE = ord("\n")


def run(settings: Settings) -> Result:
    """Fill, then fetch each format once."""
    data_dir = settings.directory / "files"
    size = [str(data_dir), str(settings.file_rows), str(settings.file_inserts)]
    subprocess.run([sys.executable, "-m", "benchmarks.million", *size], check=True, timeout=3_600)
    figures: list[Figure] = []
    with server(data_dir) as running:
        rows = asyncio.run(_count(running.url))
        for format_ in ("parquet", "ndjson", "csv"):
            asyncio.run(_fetch(running, format_, "from=2000-01-01&to=2000-01-02"))  # the engine is awake
            before = running.resident_mb()
            began = time.perf_counter()
            lines, received, most = asyncio.run(_fetch(running, format_, "date_range=all"))
            seconds = time.perf_counter() - began
            target = at_least(LEAST_RATE) if format_ == "parquet" else None
            figures.append(Figure(name=f"{format_}: events", value=rows / seconds, unit="events/s", target=target))
            figures.append(Figure(name=f"{format_}: size", value=received / max(rows, 1), unit="bytes/event"))
            growth = Figure(
                name=f"{format_}: memory grows by", value=most - before, unit="MiB", target=below(MOST_GROWTH_MB)
            )
            figures.append(growth)
            if format_ == "ndjson":
                figures.append(Figure(name=f"{format_}: lost", value=rows - lines, unit="events", target=exactly(0)))
    return Result(benchmark="files", figures=figures, details={"rows": rows})


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {TOKEN}"}, timeout=aiohttp.ClientTimeout(total=None)
    )


async def _count(url: str) -> int:
    body = {"site_id": SITE, "query": "SELECT count() FROM events"}
    async with _client() as client, client.post(f"{url}/api/v1/sql", json=body) as response:
        return int((await response.json())["rows"][0][0])


async def _fetch(running: Running, format_: str, range_: str) -> tuple[int, int, float]:
    """Lines and bytes of the file, and the most memory that the server had meanwhile, MiB."""
    lines = received = 0
    most, looked = running.resident_mb(), time.perf_counter()
    address = f"{running.url}/api/v1/export/events?site_id={SITE}&format={format_}&csv=raw&{range_}"
    async with _client() as client, client.get(address) as response:
        response.raise_for_status()
        async for piece in response.content.iter_any():
            received += len(piece)
            lines += piece.count(NEW_LINE)
            if (now := time.perf_counter()) - looked > SAMPLE_S:
                most, looked = max(most, running.resident_mb()), now
    return lines, received, most

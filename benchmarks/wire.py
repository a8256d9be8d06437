"""ClickHouse's interface: answers of a million rows, beside the same statement sent to the engine directly.

The engine in process has one user at a time, so both ways take turns in blocks: `python -m benchmarks.wire DIR FORMAT
ROWS TIMES` opens it alone, streams the answer as often, and prints the seconds of each.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import aiohttp

from analytics_server.config import Config, ServerSection
from analytics_server.store import make_store
from benchmarks.million import SITE
from benchmarks.process import TOKEN, Running, server
from benchmarks.report import Figure, Result, below
from benchmarks.settings import Settings

FORMATS = ("Native", "RowBinary")
MOST_ADDED = 10.0
MOST_GROWTH_MB = 150.0
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
    """Fill, then ask both ways in turns; at last the longest answer, for the memory."""
    data_dir = settings.directory / "wire"
    size = [str(data_dir), str(settings.wire_rows), str(settings.wire_inserts)]
    subprocess.run([sys.executable, "-m", "benchmarks.million", *size], check=True, timeout=3_600)
    direct: dict[str, list[float]] = {format_: [] for format_ in FORMATS}
    plain: dict[str, list[float]] = {format_: [] for format_ in FORMATS}
    packed: dict[str, list[float]] = {format_: [] for format_ in FORMATS}
    rows, times = settings.wire_answer, settings.rounds
    growth = 0.0
    for block in range(BLOCKS):
        for format_ in FORMATS:
            command = [sys.executable, "-m", "benchmarks.wire", str(data_dir), format_, str(rows), str(times)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=3_600)
            direct[format_] += map(float, done.stdout.split())
        with server(data_dir, LIMITS) as running:
            for format_ in FORMATS:
                for _ in range(times):
                    plain[format_].append(asyncio.run(_fetch(running, format_, rows))[0])
                    packed[format_].append(asyncio.run(_fetch(running, format_, rows, compress="1"))[0])
            if block == BLOCKS - 1:
                before = running.resident_mb()
                growth = asyncio.run(_fetch(running, "Native", settings.wire_rows))[1] - before
    figures = []
    for format_ in FORMATS:
        alone = statistics.median(direct[format_])
        through, by_blocks = statistics.median(plain[format_]), statistics.median(packed[format_])
        figures += [
            Figure(name=f"{format_}: the engine alone", value=alone, unit="s"),
            Figure(name=f"{format_}: by the interface", value=through, unit="s"),
            Figure(
                name=f"{format_}: the interface adds",
                value=100 * (through / alone - 1),
                unit="%",
                target=below(MOST_ADDED),
            ),
            Figure(name=f"{format_}: by the interface in LZ4 blocks", value=by_blocks, unit="s"),
        ]
    figures.append(
        Figure(name="Native: memory grows by, all rows", value=growth, unit="MiB", target=below(MOST_GROWTH_MB))
    )
    details: dict[str, object] = {"direct": direct, "plain": plain, "packed": packed}
    return Result(benchmark="wire", figures=figures, details=details)


def _statement(rows: int) -> str:
    return f"SELECT {COLUMNS} FROM events LIMIT {rows}"


async def _fetch(running: Running, format_: str, rows: int, **more: str) -> tuple[float, float]:
    """Seconds until the whole answer was read, and the most memory that the server had meanwhile, MiB."""
    most, looked = running.resident_mb(), time.perf_counter()
    params = {"database": SITE, "default_format": format_, **more}
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {TOKEN}"}, timeout=aiohttp.ClientTimeout(total=None)
    ) as client:
        began = time.perf_counter()
        async with client.post(f"{running.url}/clickhouse/", params=params, data=_statement(rows)) as response:
            response.raise_for_status()
            async for _ in response.content.iter_any():
                if (now := time.perf_counter()) - looked > SAMPLE_S:
                    most, looked = max(most, running.resident_mb()), now
        return time.perf_counter() - began, most


async def _stream(data_dir: Path, format_: str, rows: int, times: int) -> None:
    store = make_store(Config(server=ServerSection(data_dir=str(data_dir))))
    await store.open()
    sql = _statement(rows).replace("LIMIT", f"WHERE site_id = '{SITE}' LIMIT")
    for _ in range(times):
        began = time.perf_counter()
        async with aclosing(store.stream(sql, format=format_, timeout_s=600.0)) as pieces:
            async for _piece in pieces:
                pass
        print(time.perf_counter() - began, flush=True)
    await store.close()


if __name__ == "__main__":
    asyncio.run(_stream(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))

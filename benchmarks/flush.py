"""Sealed WAL segments into the engine in process: rows a second of the flusher.

Real segments, made through the log by its own rules; each is handed to the flusher by
itself, and the time runs until its segment is deleted, which is when ClickHouse has it
and the rollups with it. Nothing else runs, so this is the ceiling of a single process.
"""

from __future__ import annotations

import random
import statistics
import time
from datetime import date
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from analytics_server.config import Config, IngestSection, ServerSection
from analytics_server.demo.rows import RowMaker
from analytics_server.demo.traffic import TrafficOrder, planned_sessions
from analytics_server.ingest.flush.flusher import Flusher
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal.log import Wal
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.store import make_store, migrate
from benchmarks.report import Figure, Result, exactly
from benchmarks.settings import Settings
from benchmarks.worker import ask

EVENTS_PER_SESSION = 5
GROUP_ROWS = 1_000
HOUR_MS = 3_600_000
MODULE = "benchmarks.flush"


class Flushed(msgspec.Struct, frozen=True, kw_only=True):
    """What the other process measured."""

    rows: int
    seconds: list[float]
    stored: int


def run(settings: Settings) -> Result:
    """Fill segments, flush them."""
    sizes = (settings.flush_rows, settings.flush_batches)
    found = ask(MODULE, settings.directory / "flush", sizes, Flushed)
    rates = [settings.flush_rows / seconds for seconds in found.seconds]
    figures = [
        Figure(
            name=f"batches of {settings.flush_rows:,} rows",
            value=statistics.median(rates),
            unit="rows/s",
            note=f"least {min(rates):,.0f}, most {max(rates):,.0f}",
        ),
        Figure(name="missing afterwards", value=found.rows - found.stored, unit="rows", target=exactly(0)),
    ]
    return Result(benchmark="flush", figures=figures, details={"seconds": found.seconds})


async def work(directory: Path, rows_per_batch: int, batches: int) -> Flushed:
    """Runs where the engine may be opened."""
    config = Config(
        server=ServerSection(data_dir=str(directory)),
        ingest=IngestSection(
            batch_events=rows_per_batch, batch_mb=1_024, flush_interval_ms=HOUR_MS, pending_events=10 * rows_per_batch
        ),
    )
    store = make_store(config)
    await store.open()
    await migrate(store)
    metrics = IngestMetrics(CollectorRegistry())
    sealed: list[Sealed] = []
    wal = Wal(config.wal_dir, config.ingest, metrics, on_sealed=sealed.append, on_broken=lambda reason: None)
    flusher = Flusher(
        store, config.ingest, metrics, directory / "dead", insert_timeout_s=120.0, jitter=random.Random(1)
    )
    flusher.start(wal, wal.open())
    wal.start()
    rows = demo_rows(rows_per_batch * batches)
    for start in range(0, len(rows), GROUP_ROWS):
        await wal.durable(rows[start : start + GROUP_ROWS])
    total = len(rows)
    rows.clear()
    await wal.close()
    seconds = []
    for one in list(sealed):
        started = time.perf_counter()
        flusher.add(one)
        if not await flusher.drain(600.0):
            raise RuntimeError("A batch was not flushed in time.")
        seconds.append(time.perf_counter() - started)
    await flusher.close()
    answer = await store.query("SELECT count() FROM events")
    await store.close()
    return Flushed(rows=total, seconds=seconds, stored=int(str(answer.rows[0][0])))


def demo_rows(count: int) -> list[tuple[object, ...]]:
    """Rows of the demo's traffic within one month, in order of time."""
    maker = RowMaker("bench.example", Config(), 1)
    made: list[tuple[object, ...]] = []
    order = TrafficOrder(
        site="bench.example",
        days=20,
        sessions=max(1, count // EVENTS_PER_SESSION),
        seed=1,
        end=date(2026, 10, 25),
        timezone="UTC",
    )
    while len(made) < count:
        for session in planned_sessions(order):
            made.extend(map(tuple, maker.rows(session)))
            if len(made) >= count:
                break
    return made[:count]

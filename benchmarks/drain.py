"""A backlog in the write-ahead log, drained by the full server into the engine in process.

How long the start takes (it reads the log, newest first), events a second from then on, the server's
greatest memory, how it answers a visitor meanwhile, how long the engine merges afterwards what it put
off, and that nothing is lost or doubled. The time is taken from the server's own metrics, polled.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import msgspec

from analytics_server.app import LONG_BACKLOG_EVENTS
from analytics_server.config import Config, ServerSection
from analytics_server.store import make_store
from benchmarks.backlog import MODULE, Backlog
from benchmarks.process import Running, server
from benchmarks.report import Figure, Result, at_least, exactly
from benchmarks.settings import Settings
from benchmarks.worker import ask

POLL_S = 0.2
BEACON_EVERY_S = 0.05
START_TIMEOUT_S = 600.0
DRAIN_TIMEOUT_S = 1_800.0
MEMORY_POLL_S = 0.25
QUIET_SHARE = 0.2
"""Of a core: with less than that in QUIET_S seconds the engine has merged what there was."""
QUIET_S = 3.0
MERGE_TIMEOUT_S = 600.0
BEACON = (
    b'{"site":"visitor.example","name":"pageview","url":"https://visitor.example/"}',
    {
        "Content-Type": "text/plain",
        "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
    },
)


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What is there of the backlog's site afterwards."""

    rows: int
    event_ids: int
    rollups: dict[str, int]


def run(settings: Settings) -> Result:
    """Fill a log, start the server on it, watch, count."""
    data_dir = settings.directory / "drain"
    backlog = ask(MODULE, data_dir / "wal", (settings.drain_events,), Backlog)
    environment = {"ANALYTICS_INGEST_WAL_MAX_MB": "65536"}
    with server(data_dir, environment, start_timeout_s=START_TIMEOUT_S) as found:
        began = time.perf_counter()
        left = min(backlog.segments, _metric(found, "wal_segments"))
        visitor = Visitor(found)
        visitor.start()
        seconds = _wait_until_drained(found, began)
        visitor.stop()
        merging_s = _wait_until_quiet(found)
        peak_mb, lag_s = visitor.peak_mb, _metric(found, "event_loop_lag_seconds")
    counted = _count(data_dir)
    events = backlog.events * left / backlog.segments
    if backlog.events <= LONG_BACKLOG_EVENTS:  # the start has waited for it
        events, seconds = backlog.events, found.started_s + seconds
    figures = [
        Figure(
            name="listening after",
            value=found.started_s,
            unit="s",
            note=f"{backlog.events:,} events in {backlog.segments} segments, {backlog.bytes >> 20:,} MiB",
        ),
        Figure(
            name="events drained",
            value=events / seconds,
            unit="events/s",
            target=at_least(100_000),
            note=f"{events:,.0f} events in {seconds:.1f} s, while it takes beacons",
        ),
        Figure(name="peak resident memory", value=peak_mb, unit="MiB"),
        Figure(name="beacons meanwhile, p50", value=statistics.median(visitor.answers_ms or [0.0]), unit="ms"),
        Figure(name="beacons meanwhile, slowest", value=max(visitor.answers_ms, default=0.0), unit="ms"),
        Figure(name="beacons meanwhile: refused", value=visitor.refused, unit="", target=exactly(0)),
        Figure(name="merging afterwards", value=merging_s, unit="s"),
        Figure(name="lost", value=backlog.events - counted.event_ids, unit="events", target=exactly(0)),
        Figure(name="stored twice", value=counted.rows - counted.event_ids, unit="events", target=exactly(0)),
    ]
    figures += [
        Figure(name=f"missing in {name}: lost", value=counted.rows - events, unit="events", target=exactly(0))
        for name, events in counted.rollups.items()
    ]
    details = {"backlog": backlog, "counted": counted, "beacons": len(visitor.answers_ms), "loop_lag_s": lag_s}
    return Result(benchmark="drain", figures=figures, details=details)


class Visitor(threading.Thread):
    """Sends a beacon now and then, and watches the server's memory."""

    def __init__(self, target: Running) -> None:
        super().__init__(name="visitor")
        self._target = target
        self._stopping = threading.Event()
        self.answers_ms: list[float] = []
        self.refused = 0
        self.peak_mb = 0.0

    def run(self) -> None:
        looked_at = 0.0
        while not self._stopping.wait(BEACON_EVERY_S):
            body, headers = BEACON
            started = time.perf_counter()
            try:
                request = urllib.request.Request(f"{self._target.url}/track", body, headers)
                with urllib.request.urlopen(request, timeout=30) as answer:
                    answer.read()
            except urllib.error.URLError:
                self.refused += 1
            self.answers_ms.append((time.perf_counter() - started) * 1000)
            if started - looked_at > MEMORY_POLL_S:
                looked_at = started
                self.peak_mb = max(self.peak_mb, self._target.resident_mb())

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        self.join()


def _wait_until_drained(found: Running, began: float) -> float:
    """Seconds from `began` until no old segment is left; the visitor's own is never old."""
    while _metric(found, "wal_oldest_age_seconds") > 3.0 or _metric(found, "wal_segments") > 2:
        if time.perf_counter() - began > DRAIN_TIMEOUT_S:
            raise RuntimeError("The backlog was not drained in time.")
        time.sleep(POLL_S)
    return time.perf_counter() - began


def _wait_until_quiet(found: Running) -> float:
    """Seconds until the process has little left to do."""
    began = quiet_since = time.perf_counter()
    used = found.cpu_s()
    while (now := time.perf_counter()) - quiet_since < QUIET_S:
        if now - began > MERGE_TIMEOUT_S:
            raise RuntimeError("The engine did not end its merges in time.")
        time.sleep(1.0)
        used, before = found.cpu_s(), used
        if used - before > QUIET_SHARE:
            quiet_since = time.perf_counter()
    return quiet_since - began


def _metric(found: Running, name: str) -> float:
    with urllib.request.urlopen(f"{found.url}/metrics", timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            sample, _, value = line.rpartition(" ")
            if sample == name:
                return float(value)
    return 0.0


def _count(data_dir: Path) -> Counted:
    """Ask a fresh process, after the server has ended."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.drain", str(data_dir)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Counted)


async def _counted(data_dir: str) -> Counted:
    store = make_store(Config(server=ServerSection(data_dir=data_dir)))
    await store.open()
    site = {"site": "bench.example"}

    async def ask_store(sql: str) -> tuple[object, ...]:
        return (await store.query(f"{sql} WHERE site_id = {{site:String}}", site, timeout_s=600.0)).rows[0]

    rows, ids = await ask_store("SELECT count(), uniqExact(event_id) FROM events")
    rollups = {name: await ask_store(f"SELECT sum(events) FROM {name}") for name in ("traffic", "sessions", "openings")}
    await store.close()
    sums = {name: int(str(found[0])) for name, found in rollups.items()}
    return Counted(rows=int(str(rows)), event_ids=int(str(ids)), rollups=sums)


if __name__ == "__main__":
    print(msgspec.json.encode(asyncio.run(_counted(sys.argv[1]))).decode())

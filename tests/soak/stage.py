"""One stage of the soak: a server on one backend, traffic and troubles for a while, then the audit."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.clickhouse import ClickHouseFront
from tests.server import Client, RunningServer
from tests.soak.audit import Verdict, read_stored
from tests.soak.chaos import Chaos
from tests.soak.ledger import Ledger
from tests.soak.malice import Malice
from tests.soak.traffic import Traffic

LOOK_S = 0.5
DRAIN_S = 120.0
PATIENCE_S = 60.0
"""More than any one trouble takes."""
SETTINGS = {
    "ingest_flush_interval_ms": "500",
    "server_trusted_proxies": "127.0.0.1",
    "server_shutdown_grace_s": "15",
    "clickhouse_insert_timeout_s": "4",
    "ingest_retry_max_s": "2",
    "log_level": "info",
}
DATABASE = "analytics"
COUNTED = re.compile(
    r"^(flush_attempts_total\{outcome=\"(\w+)\"\}|flush_ambiguous_total|dead_letter_events_total) (\S+)$"
)
RESIDENT = re.compile(r"^process_resident_memory_bytes (\S+)$")
LAG = re.compile(r"^event_loop_lag_seconds (\S+)$", re.MULTILINE)
FAULTY = ("Traceback", "crashed", "Error handling request", "Unclosed", "Warning:")


@dataclass(slots=True)
class Watch:
    """Looks at a running server now and then: what its metrics say, how much memory it takes."""

    server: RunningServer
    lags: list[float] = field(default_factory=list)
    own_lag_s: float = 0.0
    """Of this process: tells a stall of the machine from one of the server."""
    peak_rss_mb: float = 0.0
    counted: Counter[str] = field(default_factory=Counter)
    _latest: dict[str, float] = field(default_factory=dict)

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.look()
            started = time.monotonic()
            await asyncio.sleep(LOOK_S)
            self.own_lag_s = max(self.own_lag_s, time.monotonic() - started - LOOK_S)

    async def look(self) -> None:
        """Read once, if a server answers. Counters begin anew with each process."""
        try:
            async with Client(self.server) as client, asyncio.timeout(5):
                text = (await client.get("/metrics")).body.decode()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return
        if found := LAG.search(text):
            self.lags.append(float(found[1]))
        for line in text.splitlines():
            if counted := COUNTED.match(line):
                self._count(counted[2] or counted[1], float(counted[3]))
            elif resident := RESIDENT.match(line):
                self.peak_rss_mb = max(self.peak_rss_mb, float(resident[1]) / 1_048_576)

    def _count(self, name: str, value: float) -> None:
        before = self._latest.get(name, 0.0)
        self.counted[name] += int(value - before if value >= before else value)
        self._latest[name] = value


async def run_stage(backend: str, directory: Path, *, seconds: float, events_per_s: float, seed: int) -> Verdict:
    """Soak one backend, "embedded" or "server", and judge."""
    front = ClickHouseFront(directory / "clickhouse") if backend == "server" else None
    settings = dict(SETTINGS)
    if front is not None:
        settings["clickhouse_url"] = f"{await asyncio.to_thread(front.start)}/{DATABASE}"
    server = RunningServer(directory / "server", settings)
    try:
        return await _soak(backend, server, front, seconds=seconds, events_per_s=events_per_s, seed=seed)
    finally:
        await asyncio.to_thread(server.kill)
        if front is not None:
            await asyncio.to_thread(front.stop)


async def _soak(
    backend: str,
    server: RunningServer,
    front: ClickHouseFront | None,
    *,
    seconds: float,
    events_per_s: float,
    seed: int,
) -> Verdict:
    rng = random.Random(f"{seed} {backend}")
    ledger = Ledger()
    chaos = Chaos(server, front, random.Random(rng.random()))
    watch = Watch(server)
    chaos.before_end(watch.look)
    await asyncio.to_thread(server.start)
    stop, trouble_over = asyncio.Event(), asyncio.Event()
    traffic = Traffic(server, ledger, random.Random(rng.random()), events_per_s=events_per_s)
    malice = Malice(server, ledger, random.Random(rng.random()))
    started = time.monotonic()
    works: tuple[Callable[[asyncio.Event], Coroutine[None, None, None]], ...] = (traffic.run, malice.run, watch.run)
    senders = [asyncio.create_task(work(stop)) for work in works]
    trouble = asyncio.create_task(chaos.run(trouble_over))
    await asyncio.wait({trouble, *senders}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    trouble_over.set()
    await asyncio.wait_for(trouble, PATIENCE_S * 2)
    stop.set()
    await asyncio.wait_for(asyncio.gather(*senders), PATIENCE_S)
    took_s = time.monotonic() - started
    await chaos.recover()
    stuck = await _drain(server)
    await chaos.stop_server()
    stored = await asyncio.to_thread(read_stored, server, front)
    dead = [path.name for name in ("dead-letters", "wal/quarantine") for path in (server.data_dir / name).glob("*")]
    crashes = sum(server.log.count(words) for words in FAULTY)
    return Verdict(
        backend=backend,
        seconds=took_s,
        ledger=ledger,
        stored=stored,
        troubles=chaos.done,
        bad_ends=[*chaos.bad_exits, *stuck],
        lags=watch.lags,
        own_lag_s=watch.own_lag_s,
        longest=chaos.longest,
        peak_rss_mb=watch.peak_rss_mb,
        counted=watch.counted,
        set_aside=dead,
        crashes=crashes,
    )


async def _drain(server: RunningServer) -> list[str]:
    """Wait until ClickHouse has all; says what is in the way if that takes too long."""
    async with Client(server) as client:
        try:
            await client.flushed(DRAIN_S)
        except AssertionError as error:
            return [f"the log was not drained: {line}" for line in str(error).splitlines() if "bucket" not in line]
    return []

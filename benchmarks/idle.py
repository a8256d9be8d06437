"""What a server without requests costs: memory, and processor time over a minute.

Once with ClickHouse in process, once against a server (the tests' front, a process of
its own, which isn't counted: any ClickHouse would stand there). Linux only: /proc.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.process import Running, running, server
from benchmarks.report import Figure, Result, below
from benchmarks.settings import Settings

SAMPLE_S = 1.0
EMBEDDED_MB = 400
AGAINST_SERVER_MB = 120
CPU_PERCENT = 1.0


def run(settings: Settings) -> Result:
    """Start, let it lie, look."""
    if not Path("/proc/self/stat").exists():
        return Result(benchmark="idle", figures=[], details={"left_out": "needs /proc"})
    figures = _watch("embedded", settings.directory / "idle", {}, settings.idle_seconds, EMBEDDED_MB)
    command = [sys.executable, "-m", "tests.clickhouse_front", "--print-url"]
    with running(
        [*command, "--path", str(settings.directory / "idle-front")], {}, settings.directory / "front.log"
    ) as front:
        figures += _watch(
            "against a server",
            settings.directory / "idle-server",
            {"ANALYTICS_CLICKHOUSE_URL": f"{front.url}/analytics"},
            settings.idle_seconds,
            AGAINST_SERVER_MB,
        )
    return Result(benchmark="idle", figures=figures, details={"idle_seconds": settings.idle_seconds})


def _watch(name: str, data_dir: Path, environment: Mapping[str, str], seconds: float, most_mb: float) -> list[Figure]:
    with server(data_dir, environment) as idle:
        cpu, memory = _measure(idle, seconds)
        return [
            Figure(name=f"{name}: ready after", value=idle.started_s, unit="s"),
            Figure(name=f"{name}: resident memory, most", value=memory, unit="MiB", target=below(most_mb)),
            Figure(name=f"{name}: processor time", value=cpu, unit="% of one core", target=below(CPU_PERCENT)),
        ]


def _measure(idle: Running, seconds: float) -> tuple[float, float]:
    """Per cent of a core, and the largest resident memory seen, MiB."""
    began, cpu_s = time.perf_counter(), idle.cpu_s()
    memory = idle.resident_mb()
    while (left := began + seconds - time.perf_counter()) > 0:
        time.sleep(min(SAMPLE_S, left))
        memory = max(memory, idle.resident_mb())
    return (idle.cpu_s() - cpu_s) / (time.perf_counter() - began) * 100, memory

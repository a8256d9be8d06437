"""What the numbers were measured on: processor, memory, disk, versions, and how busy it was.

A figure without its machine says nothing; every result file carries this.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from importlib import metadata
from pathlib import Path

import msgspec

PACKAGES = ("aiohttp", "uvloop", "msgspec", "clickhouse-connect", "chdb-core-lite", "ua-parser-rs")
SYNCS = 100


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where and on what a benchmark ran."""

    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    packages: dict[str, str]
    load_average: tuple[float, float, float]
    fdatasync_ms: float
    """Median time of writing 4 KiB and making it durable, where the data lie."""


def describe(directory: Path) -> Machine:
    """Look at this machine; `directory` is where the benchmarks keep their data."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: _version(name) for name in PACKAGES},
        load_average=tuple(round(value, 2) for value in os.getloadavg()),  # type: ignore[arg-type]
        fdatasync_ms=round(_sync_ms(directory), 3),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _sync_ms(directory: Path) -> float:
    path = directory / "sync-probe"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    sync = getattr(os, "fdatasync", os.fsync)
    times = []
    try:
        for _ in range(SYNCS):
            started = time.perf_counter()
            os.write(fd, bytes(4096))
            sync(fd)
            times.append(time.perf_counter() - started)
    finally:
        os.close(fd)
        path.unlink()
    return statistics.median(times) * 1000

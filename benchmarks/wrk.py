"""Runs wrk, the load generator of the single-beacon benchmark, and reads its report."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec

from benchmarks.process import ToolMissing
from benchmarks.traffic import Template

SCRIPT = Path(__file__).with_name("beacons.lua")


class WrkMissing(ToolMissing):
    """The load generator isn't installed."""

    def __init__(self) -> None:
        super().__init__("wrk is not installed: apt-get install wrk (Debian, Ubuntu) or brew install wrk (macOS).")


class WrkReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of wrk saw. `requests` were answered, whatever the status."""

    requests: int
    duration_us: int
    p50_us: int
    p99_us: int
    max_us: int
    status_errors: int
    socket_errors: int

    @property
    def per_second(self) -> float:
        return self.requests / (self.duration_us / 1e6)


def write_requests(path: Path, templates: list[Template]) -> None:
    """The file that `beacons.lua` reads."""
    lines = (
        "\t".join((template.user_agent, template.language, *template.address, *template.body)) for template in templates
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_wrk(url: str, requests: Path, *, run: int, seconds: float, connections: int) -> WrkReport:
    """One run; `run` (0 to 65,535) must differ between runs against the same server. Raises `WrkMissing`."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise WrkMissing
    duration = max(1, round(seconds))
    command = [wrk, "-t1", f"-c{connections}", f"-d{duration}s", "--timeout", "10s", "-s", str(SCRIPT), url]
    done = subprocess.run(
        [*command, "--", str(requests), f"{run:04x}"],
        capture_output=True,
        text=True,
        timeout=duration + 60,
        check=False,
    )
    report = next((line for line in reversed(done.stdout.splitlines()) if line.startswith("{")), "")
    if not report:
        raise RuntimeError(f"wrk failed:\n{done.stdout[-1000:]}\n{done.stderr[-1000:]}")
    return msgspec.json.decode(report, type=WrkReport)

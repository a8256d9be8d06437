"""The processes under test: started on a free port, watched, and always ended.

The server runs as its users run it (`python -m analytics_server serve`), in a process
of its own, configured by the environment alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

TOKEN = "benchmark"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
ROOT = Path(__file__).resolve().parent.parent
_URL = re.compile(r"http://127\.0\.0\.1:\d+")


class ToolMissing(RuntimeError):
    """What a benchmark needs beside the server isn't installed; the message says how to install it."""


class Running:
    """A process that answers at `url`."""

    def __init__(self, process: subprocess.Popen[str], url: str, started_s: float) -> None:
        self._process = process
        self.url = url
        self.started_s = started_s

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """SIGTERM, and wait until it has drained; SIGKILL if it never does."""
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise RuntimeError("The server did not stop in time.") from None

    def cpu_s(self) -> float:
        """Processor time used so far, user and system."""
        with open(f"/proc/{self.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Resident memory, MiB."""
        with open(f"/proc/{self.pid}/status", encoding="utf-8") as file:
            found = re.search(r"^VmRSS:\s+(\d+) kB", file.read(), re.MULTILINE)
        return int(found[1]) / 1024 if found else 0.0


@contextlib.contextmanager
def server(
    data_dir: Path, settings: Mapping[str, str] | None = None, *, start_timeout_s: float = START_TIMEOUT_S
) -> Iterator[Running]:
    """The full server on a free port with its data under `data_dir`."""
    with running(
        [sys.executable, "-m", "analytics_server", "serve", "--host", "127.0.0.1", "--port", "0"],
        {"ANALYTICS_SERVER_DATA_DIR": str(data_dir), "ANALYTICS_ADMIN_TOKEN": TOKEN, **(settings or {})},
        data_dir.with_suffix(".log"),
        start_timeout_s,
    ) as found:
        yield found


@contextlib.contextmanager
def running(
    command: list[str], environment: Mapping[str, str], log: Path, start_timeout_s: float = START_TIMEOUT_S
) -> Iterator[Running]:
    """Start a process that prints its address, and end it when the block is left."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANALYTICS_")}
    inherited["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), str(ROOT)]))
    started = time.perf_counter()
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command, env={**inherited, **environment}, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            url = _address(process, log, start_timeout_s)
            found = Running(process, url, time.perf_counter() - started)
            yield found
            found.stop()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _address(process: subprocess.Popen[str], log: Path, timeout_s: float) -> str:
    assert process.stdout is not None
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        if found := _URL.search(line):
            return found[0]
        if not line and process.poll() is not None:
            break
    raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")

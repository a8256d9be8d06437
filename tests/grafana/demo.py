"""A server that `demo` has filled, as a panel's queries need one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.server import RunningServer


def filled_by_demo(directory: Path, *options: str) -> RunningServer:
    """A server on a directory with made-up traffic, not yet started. `options` are the command's."""
    server = RunningServer(directory, {"ingest_flush_interval_ms": "100"})
    command = [sys.executable, "-m", "analytics_server", "demo", *options]
    done = subprocess.run(command, env=server.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return server

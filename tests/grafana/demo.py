"""A server that `demo` has filled, as a panel's queries need one."""

from __future__ import annotations

from pathlib import Path

from tests.server import RunningServer


def filled_by_demo(directory: Path, *options: str) -> RunningServer:
    """A server on a directory with made-up traffic, not yet started. `options` are the command's."""
    server = RunningServer(directory, {"ingest_flush_interval_ms": "100"})
    done = server.command("demo", *options)
    assert done.returncode == 0, done.stderr
    return server

"""Counts what really lies in `events`: `python -m benchmarks.count DIR` prints rows and distinct ids.

Runs in a process of its own after the server has ended (the engine in process is
locked by one process), and reads the table itself, no rollup.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec

from analytics_server.config import Config, ServerSection
from analytics_server.store import make_store


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of all sites."""

    rows: int
    event_ids: int


def count_stored(data_dir: Path) -> Stored:
    """Ask a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.count", str(data_dir)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Stored)


async def main(data_dir: str) -> None:
    """Print the counts as JSON."""
    store = make_store(Config(server=ServerSection(data_dir=data_dir)))
    await store.open()
    answer = await store.query("SELECT count(), uniqExact(event_id) FROM events", timeout_s=240.0)
    rows, ids = answer.rows[0]
    await store.close()
    print(msgspec.json.encode(Stored(rows=int(str(rows)), event_ids=int(str(ids)))).decode())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

"""ClickHouse in process as a server's first start leaves it, to begin with: `python -m tests.migrated DIRECTORY`.

To make the tables takes a server more processor time than all the rest of its start, and most tests start one on an
empty directory. Here the tables are made once for each worker, by the program's own migrations, and copied. Tests whose
subject is the first start ask for an empty directory (`RunningServer(…, executed=True)`).
"""

from __future__ import annotations

import asyncio
import functools
import shutil
import sys
import tempfile
import weakref
from pathlib import Path

from analytics_server.config import Config, ServerSection
from analytics_server.store import make_store, migrate
from tests import preloaded


class _Template:
    """The directory that copies are made of; it goes with the process."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="migrated-"))
        weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)
        done = preloaded.run("tests.migrated", [str(self.directory)], timeout=60)
        assert done.returncode == 0, done.stderr


@functools.cache
def _template() -> _Template:
    return _Template()


def lay_tables(data_dir: Path) -> None:
    """Make a server's data directory whose engine has all tables, and nothing in them."""
    data_dir.mkdir(mode=0o700, parents=True)
    copy_tables(data_dir / "clickhouse")


def copy_tables(to: Path) -> None:
    """Fill an empty directory with an engine's files: all tables in the database `analytics`, and nothing in them."""
    shutil.copytree(_template().directory / "clickhouse", to, symlinks=True, dirs_exist_ok=True)


async def _make(data_dir: str) -> None:
    store = make_store(Config(server=ServerSection(data_dir=data_dir)))
    await store.open()
    await migrate(store)
    await store.close()


if __name__ == "__main__":
    asyncio.run(_make(sys.argv[1]))

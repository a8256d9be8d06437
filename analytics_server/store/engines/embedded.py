"""ClickHouse in this process, through chdb: one directory per process, the engine's own rule.

chdb is imported only when it is used: against a server it costs no memory.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error as DriverError

from analytics_server.config import Config
from analytics_server.errors import ConfigError, StoreFatal
from analytics_server.store.data_directory import make_private
from analytics_server.store.engines.engine_files import examine
from analytics_server.store.engines.quoting import quoted_name
from analytics_server.store.engines.threaded import ThreadedStore
from analytics_server.store.errors_map import plain
from analytics_server.store.protocol import IN_PROCESS
from analytics_server.store.settings import UNSOUND

EMBEDDED_SETTINGS: dict[str, str] = {"allow_introspection_functions": "0", **UNSOUND}


def embedded_store(config: Config, path: Path) -> ThreadedStore:
    """The engine in this process with its files in `path`, not yet opened. Raises `ConfigError` if it is not there."""
    if importlib.util.find_spec("chdb") is None:
        raise ConfigError(
            "The engine in process is not installed: pip install chdb-core-lite, or set [clickhouse] url."
        )
    if "?" in str(path):
        raise ConfigError(f"The engine in process can't have its files in {path}: it reads options behind a '?'.")
    database = config.clickhouse.database

    def connect(name: str | None) -> Client:
        client = clickhouse_connect.get_client(
            interface="chdb", path=str(path), database=name, settings=dict(EMBEDDED_SETTINGS), tz_mode="aware"
        )
        # The library reports the answer's rows as rows read; the engine's result knows both.
        client._backend._summary = _embedded_summary  # type: ignore[attr-defined]
        return client

    def prepare() -> Client:
        """The first handle stays open as an anchor: when the last one closes, the engine stops.

        The engine's files can be read by anyone who reaches them, the day's salts included, with which a visitor's
        hash leads back to an address: no other user of the machine may enter the directory.
        """
        examine(path, database)
        try:
            make_private(path)
        except OSError as error:
            raise StoreFatal(
                f"The directory {path} can't be made: {error.strerror}. "
                "Make its parent writable, or set [server] data_dir to another."
            ) from error
        try:
            anchor = connect(None)
        except (DriverError, RuntimeError) as error:
            raise StoreFatal(f"The engine in {path} can't be opened: {plain(str(error))}. {_OPENING}") from error
        anchor.command(f"CREATE DATABASE IF NOT EXISTS {quoted_name(database)}")
        _keep_inserts_in(path / "inserts")
        return anchor

    return ThreadedStore(
        kind="embedded",
        capabilities=IN_PROCESS,
        location=str(path),
        database=database,
        make_client=lambda: connect(database),
        prepare=prepare,
        threads=config.clickhouse.threads,
        site_waiting=config.limits.site_waiting,
        scratch=path / "inserts",
    )


_OPENING = (
    "Is another process using it (stop it, or use its HTTP API), is the disk full, or was it written by a newer "
    "version (run that one)? Otherwise restore it from a backup."
)


class _InsertFiles:
    """Where clickhouse-connect puts a block on its way into the engine: a directory of the engine's own, so that
    no event is ever written outside the data directory, and what a killed process left goes at the next start."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def NamedTemporaryFile(self, suffix: str, delete: bool) -> Any:
        return tempfile.NamedTemporaryFile(suffix=suffix, delete=delete, dir=self._directory)


def _keep_inserts_in(directory: Path) -> None:
    """The engine is open, so no other process uses the directory."""
    from clickhouse_connect.driver._backend import chdb_backend  # loads chdb, which a server needs not

    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    chdb_backend.tempfile = _InsertFiles(directory)  # type: ignore[assignment, attr-defined]


def _embedded_summary(result: Any) -> dict[str, str]:
    return {
        "read_rows": str(result.storage_rows_read()),
        "read_bytes": str(result.storage_bytes_read()),
        "elapsed_ns": str(int(result.elapsed() * 1_000_000_000)),
    }

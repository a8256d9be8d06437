"""The two ways to ClickHouse, and the choice between them by URL.

`chdb:///absolute/path` opens the engine in this process (one path per process, the
engine's own rule); `http(s)://user:password@host:port/database` talks to a server.
chdb is imported only when it is used: against a server it costs no memory.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error as DriverError
from clickhouse_connect.driver.httputil import get_pool_manager_options
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError, ProtocolError

from analytics_server.config import Config
from analytics_server.errors import ConfigError, StoreFatal, StoreRetryable
from analytics_server.listening import address_text
from analytics_server.store.engines.engine_files import examine
from analytics_server.store.errors_map import plain
from analytics_server.store.protocol import IN_PROCESS, OVER_HTTP, Capabilities, Store, StoreInfo
from analytics_server.store.threaded import ThreadedStore

log = logging.getLogger(__name__)

OPEN_RETRY_S = 1.0
EMBEDDED_SETTINGS: dict[str, str] = {"allow_introspection_functions": "0"}


def make_store(config: Config) -> Store:
    """The store that `[clickhouse] url` names, not yet opened. Raises `ConfigError`."""
    url = config.clickhouse_url
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"[clickhouse] url is no address: {error}.") from error
    if parts.scheme == "chdb":
        return _embedded(config, Path(unquote(parts.netloc + parts.path)))
    if parts.scheme in ("http", "https"):
        return _server(config)
    raise ConfigError(
        f"[clickhouse] url = {parts.scheme}://… is not supported: "
        "use chdb:///path for the engine in process or http(s)://host:port/database for a server."
    )


async def open_store(store: Store, *, timeout_s: float) -> StoreInfo:
    """Open it, waiting so long for a ClickHouse that does not answer yet. Raises a store error."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return await store.open()
        except StoreRetryable as error:
            if time.monotonic() > deadline:
                raise
            log.warning("waiting for ClickHouse", extra={"reason": error.message[:200]})
            await asyncio.sleep(OPEN_RETRY_S)


def capabilities_of(config: Config) -> Capabilities:
    """What the engine that `[clickhouse] url` names can do, also while it can't be opened."""
    return IN_PROCESS if config.clickhouse_url.startswith("chdb:") else OVER_HTTP


def check_store(config: Config) -> None:
    """Is `[clickhouse] url` sound, and could the engine in process open its files? Raises an `AnalyticsError`."""
    make_store(config)
    parts = urlsplit(config.clickhouse_url)
    if parts.scheme == "chdb":
        examine(Path(unquote(parts.netloc + parts.path)), config.clickhouse.database)


def _embedded(config: Config, path: Path) -> ThreadedStore:
    if importlib.util.find_spec("chdb") is None:
        raise ConfigError(
            "The engine in process is not installed: pip install chdb-core-lite, or set [clickhouse] url."
        )
    database = config.clickhouse.database

    def connect(name: str | None) -> Client:
        client = clickhouse_connect.get_client(
            dsn=f"chdb://{path}", database=name, settings=dict(EMBEDDED_SETTINGS), tz_mode="aware"
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
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreFatal(
                f"The directory {path} can't be made: {error.strerror}. "
                "Make its parent writable, or set [server] data_dir to another."
            ) from error
        try:
            anchor = connect(None)
        except (DriverError, RuntimeError) as error:
            raise StoreFatal(f"The engine in {path} can't be opened: {plain(str(error))}. {_OPENING}") from error
        anchor.command(f"CREATE DATABASE IF NOT EXISTS {_identifier(database)}")
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
    )


_OPENING = (
    "Is another process using it (stop it, or use its HTTP API), is the disk full, or was it written by a newer "
    "version (run that one)? Otherwise restore it from a backup."
)


def _server(config: Config) -> ThreadedStore:
    parts = urlsplit(config.clickhouse_url)
    database = parts.path.strip("/") or config.clickhouse.database
    on_cluster = f" ON CLUSTER {_identifier(config.clickhouse.cluster)}" if config.clickhouse.cluster else ""

    def connect(name: str) -> Client:
        return clickhouse_connect.get_client(
            host=parts.hostname or "localhost",
            port=parts.port or (8443 if parts.scheme == "https" else 8123),
            username=unquote(parts.username) if parts.username else "default",
            password=unquote(parts.password) if parts.password else "",
            interface=parts.scheme,
            database=name,
            connect_timeout=int(config.clickhouse.connect_timeout_s) or 1,
            send_receive_timeout=int(config.clickhouse.insert_timeout_s) + 5,
            query_retries=0,
            compress="zstd",
            pool_mgr=OneAttemptPool(**get_pool_manager_options()),
            autogenerate_session_id=False,
            tz_mode="aware",
        )

    def prepare() -> Client:
        client = connect("default")
        client.command(f"CREATE DATABASE IF NOT EXISTS {_identifier(database)}{on_cluster}")
        return client

    return ThreadedStore(
        kind="server",
        capabilities=OVER_HTTP,
        location=f"{parts.scheme}://{address_text(parts.hostname or '', parts.port or 8123)}/{database}",
        database=database,
        make_client=lambda: connect(database),
        prepare=prepare,
        threads=config.clickhouse.threads,
        site_waiting=config.limits.site_waiting,
        cluster=config.clickhouse.cluster,
    )


class OneAttemptPool(PoolManager):
    """Hides from clickhouse-connect that a connection was closed, upon which it would quietly send an
    INSERT a second time: only the store's caller may decide that, after verifying the outcome."""

    def urlopen(self, *args: Any, **kwargs: Any) -> Any:
        """The base's `urlopen`, with a closed connection as an error that is not repeated."""
        try:
            return super().urlopen(*args, **kwargs)
        except ProtocolError as error:
            raise HTTPError(str(error)) from None


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


def _identifier(name: str) -> str:
    if not name.replace("_", "").isalnum() or not name.isascii():
        raise ConfigError(f"{name!r} can't be the name of a database or cluster: use letters, digits and underscores.")
    return f"`{name}`"

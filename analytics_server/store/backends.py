"""The choice between the two engines by URL.

`chdb:///absolute/path` opens the engine in this process; `http(s)://user:password@host:port/database` talks to a
server.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

from analytics_server.config import Config
from analytics_server.errors import ConfigError, StoreRetryable
from analytics_server.settings.engine_address import engine_directory
from analytics_server.store.engines.embedded import embedded_store
from analytics_server.store.engines.engine_files import examine
from analytics_server.store.engines.server import server_store
from analytics_server.store.protocol import IN_PROCESS, OVER_HTTP, Capabilities, Store, StoreInfo

log = logging.getLogger(__name__)

OPEN_RETRY_S = 1.0


def make_store(config: Config) -> Store:
    """The store that `[clickhouse] url` names, not yet opened. Raises `ConfigError`."""
    if (directory := config.engine_dir) is not None:
        _check_place(config, directory)
        return embedded_store(config, directory)
    url = config.clickhouse.url
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"[clickhouse] url is no address: {error}.") from error
    if parts.scheme in ("http", "https"):
        return server_store(config)
    raise ConfigError(
        f"[clickhouse] url = {parts.scheme}://… is not supported: "
        "use chdb:///path for the engine in process or http(s)://host:port/database for a server."
    )


def _check_place(config: Config, directory: Path) -> None:
    """Until 0.1 a path ended at `#` or `?`, and in a data directory's `%20` was a space: its files must not be passed
    over."""
    definition = Path("metadata") / f"{config.clickhouse.database}.sql"
    named = engine_directory(config.clickhouse.url or f"chdb://{directory}")
    former = Path(re.split("[#?]", str(named or directory))[0])
    if former == directory or (directory / definition).exists() or not (former / definition).exists():
        return
    target = f"to {directory}" if "?" not in str(directory) else "into a directory without a '?' in its path"
    raise ConfigError(
        f"An earlier version kept ClickHouse's files of {directory} in {former}. Move what belongs to ClickHouse there"
        f" (metadata, store, data and the rest) {target}, then start again."
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
    return OVER_HTTP if config.engine_dir is None else IN_PROCESS


def check_store(config: Config) -> None:
    """Is `[clickhouse] url` sound, and could the engine in process open its files? Raises an `AnalyticsError`."""
    make_store(config)
    if (directory := config.engine_dir) is not None:
        examine(directory, config.clickhouse.database)

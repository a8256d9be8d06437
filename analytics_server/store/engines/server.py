"""ClickHouse as a server of its own, or a cluster, over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.httputil import get_pool_manager_options
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError, ProtocolError

from analytics_server.config import Config
from analytics_server.listening import address_text
from analytics_server.store.engines.quoting import quoted_name
from analytics_server.store.engines.threaded import ThreadedStore
from analytics_server.store.protocol import OVER_HTTP
from analytics_server.store.settings import UNSOUND


def server_store(config: Config) -> ThreadedStore:
    """The ClickHouse server that `[clickhouse] url` names, not yet opened. Raises `ConfigError`."""
    parts = urlsplit(config.clickhouse.url)
    database = parts.path.strip("/") or config.clickhouse.database
    on_cluster = f" ON CLUSTER {quoted_name(config.clickhouse.cluster)}" if config.clickhouse.cluster else ""

    def connect(name: str) -> Client:
        client = clickhouse_connect.get_client(
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
        for setting, value in UNSOUND.items():
            if setting in client.server_settings:
                client.set_client_setting(setting, value)
        return client

    def prepare() -> Client:
        client = connect("default")
        client.command(f"CREATE DATABASE IF NOT EXISTS {quoted_name(database)}{on_cluster}")
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

"""What a store says to a cluster: every replica is asked, and one that doesn't answer is an error.

The statements are held against a client that notes them; no cluster was at hand to run them on.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from analytics_server.config import ClickhouseSection, Config
from analytics_server.errors import ConfigError, StoreRetryable
from analytics_server.store import make_store
from analytics_server.store.engines.threaded import ThreadedStore
from analytics_server.store.errors_map import RETRYABLE_CODES
from analytics_server.store.protocol import OVER_HTTP

OURS = "WHERE startsWith(query_id, {prefix:String})"
PROCESSES = f"SELECT count() FROM clusterAllReplicas('near', system.processes) {OURS}"
KILL = f"KILL QUERY ON CLUSTER `near` {OURS} ASYNC"


class NotingClient:
    """Notes statements with their settings; `running` are the answers to how many queries run."""

    def __init__(self, *running: int) -> None:
        self.running = list(running)
        self.said: list[tuple[str, dict[str, Any]]] = []

    def query(self, sql: str, *, parameters: object, settings: dict[str, Any]) -> SimpleNamespace:
        chosen = {name: value for name, value in settings.items() if "execution" not in name}
        self.said.append((sql, chosen))
        return SimpleNamespace(summary={}, column_names=("count",), result_rows=[(self.running.pop(0),)])

    def command(self, sql: str, *, parameters: object, settings: dict[str, Any]) -> None:
        self.said.append((sql, settings))

    def close(self) -> None:
        """Nothing to close."""


def on_cluster(client: NotingClient, cluster: str = "near") -> ThreadedStore:
    def make() -> Client:
        return cast(Client, client)

    return ThreadedStore(
        kind="server",
        capabilities=OVER_HTTP,
        location="",
        database="db",
        make_client=make,
        prepare=make,
        threads=1,
        cluster=cluster,
    )


async def test_inserts_are_ended_on_every_replica() -> None:
    client = NotingClient(2, 1, 0)
    store = on_cluster(client)
    await store.end_inserts("77-", timeout_s=10.0)
    await store.close()

    asked, killed = (PROCESSES, {"skip_unavailable_shards": 0}), (KILL, {"distributed_ddl_task_timeout": 0})
    assert client.said == [asked, killed, asked, killed, asked]


async def test_an_insert_that_goes_on_is_an_error() -> None:
    store = on_cluster(NotingClient(*[1] * 10))
    with pytest.raises(StoreRetryable, match="still runs"):
        await store.end_inserts("77-", timeout_s=0.3)
    await store.close()


async def test_one_server_is_asked_alone() -> None:
    client = NotingClient(1, 0)
    store = on_cluster(client, cluster="")
    await store.end_inserts("77-", timeout_s=10.0)
    await store.catch_up(["events"])
    await store.close()

    assert [sql for sql, _ in client.said] == [
        f"SELECT count() FROM system.processes {OURS}",
        f"KILL QUERY {OURS} ASYNC",
        f"SELECT count() FROM system.processes {OURS}",
    ]


async def test_every_replica_catches_up_before_rollups_are_compared() -> None:
    client = NotingClient()
    store = on_cluster(client)
    await store.catch_up(["events", "traffic"], timeout_s=20.0)
    await store.close()

    settings = {"receive_timeout": 20, "distributed_ddl_task_timeout": 20, "distributed_ddl_output_mode": "throw"}
    assert client.said == [
        (f"SYSTEM SYNC REPLICA ON CLUSTER `near` `db`.`{table}` LIGHTWEIGHT", settings)
        for table in ("events", "traffic")
    ]


async def test_a_table_that_was_dropped_has_nothing_to_catch_up_with() -> None:
    client = NotingClient()
    store = on_cluster(client)
    said = client.command

    def failing(sql: str, *, parameters: object, settings: dict[str, Any]) -> None:
        said(sql, parameters=parameters, settings=settings)
        code = 60 if "`gone`" in sql else 999 if "`stuck`" in sql else 0
        if code:
            raise DatabaseError(f"Code: {code}. DB::Exception: no", code=code)

    client.command = failing  # type: ignore[method-assign]
    await store.catch_up(["gone", "events"])
    with pytest.raises(StoreRetryable):
        await store.catch_up(["stuck", "events"])
    await store.close()

    assert [sql.split("`")[5] for sql, _ in client.said] == ["gone", "events", "stuck"]


def test_the_cluster_s_name_comes_from_the_settings() -> None:
    def made(cluster: str) -> Any:
        return make_store(Config(clickhouse=ClickhouseSection(url="http://127.0.0.1:1/db", cluster=cluster)))

    assert (made("near")._cluster, made("")._cluster) == ("near", "")
    with pytest.raises(ConfigError):
        made("near', system.one)")


def test_what_a_cluster_may_refuse_for_a_while_is_tried_again() -> None:
    """Too few live replicas, a quorum not met, an insert of unknown status, no replica that answers, Keeper."""
    assert {279, 285, 286, 319, 519, 999} <= RETRYABLE_CODES

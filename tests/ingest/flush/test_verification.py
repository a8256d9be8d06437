"""When a batch counts as stored, and when it may be sent again: on one server, and on a cluster of replicas."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from analytics_server.errors import StoreFatal, StoreRetryable
from analytics_server.ingest.flush.verification import Verification
from analytics_server.store.protocol import Parameters, ResultSet, Settings, Store
from analytics_server.store.settings import READ_NOW

EXPECTED = 40
DEAD = -1


class Replicas:
    """A cluster: how many rows of the batch each replica has; `DEAD` answers nothing.

    `end_inserts` lets what still runs come to its end.
    """

    def __init__(self, rows: Sequence[int], *, ending: Sequence[int] = (), own_shard: int | None = None) -> None:
        self.rows = list(rows)
        self._ending = ending
        self._own_shard = len(rows) if own_shard is None else own_shard
        self.statements: list[str] = []
        self.settings: list[Settings | None] = []

    async def query(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        settings: Settings | None = None,
        timeout_s: float = 30.0,
    ) -> ResultSet:
        self.statements.append(sql)
        self.settings.append(settings)
        if "system.clusters" in sql:
            return ResultSet(columns=("own", "all"), rows=[(self._own_shard, len(self.rows))])
        assert settings is not None
        if "clusterAllReplicas" not in sql:
            return ResultSet(columns=("rows",), rows=[(self.rows[0],)])
        if DEAD in self.rows and not settings["skip_unavailable_shards"]:
            raise StoreRetryable("All connection tries failed.")
        held: list[tuple[object, ...]] = [(f"host{at}", 9000, rows) for at, rows in enumerate(self.rows) if rows > 0]
        return ResultSet(columns=("host", "port", "rows"), rows=held)

    async def end_inserts(self, id_prefix: str, *, timeout_s: float = 60.0) -> None:
        self.statements.append(f"end {id_prefix}")
        if DEAD in self.rows:
            raise StoreRetryable("All connection tries failed.")
        self.rows = list(self._ending) or self.rows

    async def stored(self, cluster: str = "near") -> int:
        return await Verification(cast(Store, self), cluster=cluster, timeout_s=5.0).stored(7, 202511, EXPECTED)


@pytest.mark.parametrize(
    ("rows", "stored"),
    [
        ([40, 40, 40], 40),
        ([40, 40, 0], 40),
        ([0, 40, 40], 40),
        ([40, DEAD, 40], 40),
        ([40, 40], 40),
        ([40], 40),
        ([0, 0, 0], 0),
        ([0], 0),
        ([13, 0, 0], 13),
        ([13, 40, 0], 13),
    ],
)
async def test_a_majority_that_holds_it_or_all_that_do_not_decide(rows: list[int], stored: int) -> None:
    assert await Replicas(rows).stored() == stored


@pytest.mark.parametrize(
    "rows", [[40, 0, 0], [40, 0], [0, DEAD], [0, 0, DEAD], [40, DEAD, DEAD], [40, DEAD], [DEAD], [40, 40, 0, 0]]
)
async def test_anything_between_is_no_answer_yet(rows: list[int]) -> None:
    with pytest.raises(StoreRetryable):
        await Replicas(rows).stored()


async def test_nothing_is_sent_again_before_what_runs_has_ended_everywhere() -> None:
    replicas = Replicas([0, 0, 0], ending=[40, 40, 0])

    assert await replicas.stored() == 40
    assert [line[:20] for line in replicas.statements] == [
        "SELECT countIf(shard",
        "SELECT hostName() AS",
        "end 7-",
        "SELECT hostName() AS",
    ]


async def test_a_replica_that_has_it_alone_is_waited_for() -> None:
    """ClickHouse itself may not know yet whether it will keep what that one shows."""
    replicas = Replicas([0, 0, 0], ending=[0, 40, 0])
    with pytest.raises(StoreRetryable, match="Only 1 of 3 replicas"):
        await replicas.stored()
    replicas.rows = [40, 40, 0]

    assert await replicas.stored() == 40


async def test_replicas_of_other_shards_hold_nothing_of_it() -> None:
    assert await Replicas([40, 40, 0, 0], own_shard=2).stored() == 40


async def test_a_url_outside_the_cluster_counts_all_of_it() -> None:
    assert await Replicas([40, 40, 0], own_shard=0).stored() == 40


async def test_a_cluster_that_clickhouse_does_not_know_is_waited_for() -> None:
    with pytest.raises(StoreRetryable, match="knows no cluster near"):
        await Replicas([]).stored()


async def test_every_setting_that_the_answer_rests_on_is_sent() -> None:
    """And one server is asked only after its inserts have ended."""
    one, many = Replicas([40]), Replicas([0, 0])
    await one.stored(cluster="")
    await many.stored()

    assert one.statements[0] == "end 7-"
    assert one.settings == [READ_NOW]
    assert many.settings == [
        None,
        {**READ_NOW, "skip_unavailable_shards": 1},
        {**READ_NOW, "skip_unavailable_shards": 0},
    ]
    assert dict(READ_NOW) == {
        "use_query_cache": 0,
        "select_sequential_consistency": 0,
        "max_parallel_replicas": 1,
        "max_replica_delay_for_distributed_queries": 0,
    }


def test_a_name_that_is_no_cluster_s_is_refused() -> None:
    with pytest.raises(StoreFatal):
        Verification(cast(Store, None), cluster="a', system.one)", timeout_s=5.0)


CLUSTERS = """
<clickhouse>
    <tcp_port>9000</tcp_port>
    <remote_servers>
        <alone><shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard></alone>
        <half><shard>
            <replica><host>127.0.0.1</host><port>9000</port></replica>
            <replica><host>127.0.0.1</host><port>1</port></replica>
        </shard></half>
    </remote_servers>
</clickhouse>
"""

ON_THE_ENGINE = """
import asyncio, sys
import chdb
from analytics_server.config import ClickhouseSection, Config
from analytics_server.rollups.between_inserts import InsertWatch
from analytics_server.errors import StoreRetryable
from analytics_server.rollups.reconcile import Reconciler
from analytics_server.ingest.flush.verification import Verification
from analytics_server.store import make_store, migrate
from tests.rollups.test_reconcile import insert, rows_of

async def main():
    anchor = chdb.connect(f"{sys.argv[1]}?config-file={sys.argv[2]}")  # the first handle says where clusters are
    store = make_store(Config(clickhouse=ClickhouseSection(url=f"chdb://{sys.argv[1]}", database="d", threads=1)))
    await store.open()
    await migrate(store)
    ((month,),) = (await insert(store, 1), await rows_of(store, "SELECT min(toYYYYMM(ts)) FROM events"))[1]
    ((there,),) = await rows_of(store, f"SELECT count() FROM events WHERE toYYYYMM(ts) = {month}")

    alone, half = (Verification(store, cluster=name, timeout_s=20.0) for name in ("alone", "half"))
    assert await alone.stored(1, month, there) == there
    assert await alone.stored(2, month, there) == 0
    assert await alone.stored(1, month, there + 1) == there
    for batch in (1, 2):  # half of it doesn't answer: neither there for good, nor surely absent
        try:
            print(await half.stored(batch, month, there))
        except StoreRetryable as error:
            assert error.engine_code in (0, 279, 519), error.message
        else:
            raise AssertionError("half a cluster has decided")

    await insert(store, 3)
    await store.command("TRUNCATE TABLE openings")
    try:
        await Reconciler(store, timeout_s=20.0, cluster="half").reconcile(3)
    except StoreRetryable:
        pass
    else:
        raise AssertionError("half a cluster was quiet")
    assert await rows_of(store, "SELECT sum(events) FROM openings") == [(0,)]
    for batch in (1, 3):
        await Reconciler(store, timeout_s=20.0, cluster="alone").reconcile(batch)
    assert await rows_of(store, "SELECT sum(events) FROM openings") == [(80,)]
    watch = InsertWatch(store, cluster="alone", timeout_s=20.0, settings={})
    assert not await watch.is_inserting(["openings"])
    await store.close()
    anchor.close()

asyncio.run(main())
"""


def test_the_statements_do_that_on_a_real_engine_with_one_replica_and_a_dead_one(tmp_path: Path) -> None:
    """A cluster whose only living replica is the engine itself; what runs on several can't be tried here."""
    (tmp_path / "clusters.xml").write_text(CLUSTERS)
    done = subprocess.run(
        [sys.executable, "-c", ON_THE_ENGINE, str(tmp_path / "engine"), str(tmp_path / "clusters.xml")],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + done.stdout

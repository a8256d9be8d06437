"""Idempotency of inserts: verifies how many rows of a batch are stored, before any is sent again.

One server: once none of the batch's inserts runs any more, a count says it. One insert is one
part, so the rows of a month are there all or not at all.

A cluster of replicas: what one replica shows proves little. Another may have taken the insert, and
have it alone for a while; and if Keeper's answer to a commit was lost, ClickHouse shows the part on the
replica that wrote it and decides minutes later whether to keep it. So a majority of the replicas must
hold all rows: they can have them only through Keeper, where the commit is. And none may be sent again
before every replica has answered that no such insert runs there and that it holds no row. Anything
between is no answer yet (`StoreRetryable`): ask again later. Quorum inserts, ClickHouse's own way, would
settle it only with `insert_quorum_parallel = 0`, which refuses an insert into `events` or a rollup while
any server's insert into the same table is under way.
"""

from __future__ import annotations

import re

from analytics_server.batch_ids import OF_BATCH
from analytics_server.errors import StoreFatal, StoreRetryable
from analytics_server.store.protocol import ResultSet, Settings, Store
from analytics_server.store.settings import READ_NOW

_WHERE = f"WHERE {OF_BATCH} AND toYYYYMM(ts) = {{month:UInt32}}"
_WORD = re.compile(r"\w+")


class Verification:
    """Counts; `cluster` is "" for one server."""

    def __init__(self, store: Store, *, cluster: str, timeout_s: float) -> None:
        if cluster and not _WORD.fullmatch(cluster):
            raise StoreFatal(f"{cluster!r} can't be the name of a cluster.")
        self._store = store
        self._cluster = cluster
        self._timeout_s = timeout_s

    async def stored(self, batch_id: int, month: int, expected: int) -> int:
        """How many rows of one month of a batch are stored: nothing of it is under way any more, or all is there.

        Raises a store error as long as that can't be said.
        """
        if not self._cluster:
            await self._store.end_inserts(f"{batch_id}-", timeout_s=self._timeout_s)
            answer = await self._ask(f"SELECT count() FROM events {_WHERE}", batch_id, month, READ_NOW)
            return int(str(answer.rows[0][0]))
        replicas = await self._replicas()
        held = await self._held(batch_id, month, all_must_answer=False)
        if _most(held, expected, replicas):
            return expected
        await self._store.end_inserts(f"{batch_id}-", timeout_s=self._timeout_s)
        held = await self._held(batch_id, month, all_must_answer=True)
        if not held:
            return 0
        if others := [rows for rows in held if rows != expected]:
            return max(others)
        if _most(held, expected, replicas):
            return expected
        raise StoreRetryable(f"Only {len(held)} of {replicas} replicas hold the batch yet.")

    async def _replicas(self) -> int:
        """How many replicas the shard has that we talk to."""
        answer = await self._store.query(
            "SELECT countIf(shard_num IN (SELECT shard_num FROM system.clusters "
            "WHERE cluster = {cluster:String} AND is_local)), count() "
            "FROM system.clusters WHERE cluster = {cluster:String}",
            {"cluster": self._cluster},
            timeout_s=self._timeout_s,
        )
        own, all_of_it = (int(str(number)) for number in answer.rows[0])
        if not all_of_it:
            raise StoreRetryable(f"ClickHouse knows no cluster {self._cluster} ([clickhouse] cluster).")
        return own or all_of_it

    async def _held(self, batch_id: int, month: int, *, all_must_answer: bool) -> list[int]:
        """The numbers of rows on the replicas that have any."""
        answer = await self._ask(
            "SELECT hostName() AS host, tcpPort() AS port, count() "
            f"FROM clusterAllReplicas('{self._cluster}', currentDatabase(), events) {_WHERE} GROUP BY host, port",
            batch_id,
            month,
            {**READ_NOW, "skip_unavailable_shards": int(not all_must_answer)},
        )
        return [int(str(rows)) for _, _, rows in answer.rows]

    async def _ask(self, sql: str, batch_id: int, month: int, settings: Settings) -> ResultSet:
        parameters = {"batch": batch_id, "month": month}
        return await self._store.query(sql, parameters, settings=settings, timeout_s=self._timeout_s)


def _most(held: list[int], expected: int, replicas: int) -> bool:
    return sum(rows == expected for rows in held) * 2 > replicas

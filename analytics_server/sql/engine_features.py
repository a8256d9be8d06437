"""Asks the engine what it has that other builds of ClickHouse lack.

Two of the questions are statements that fail on an engine without the feature: no table of the engine tells.
"""

from __future__ import annotations

from analytics_server.errors import StoreFatal
from analytics_server.sql.features import EngineFeatures
from analytics_server.store import Store

WIDE_DECIMALS = "SELECT CAST(1, 'Decimal(38, 4)') + materialize(1)"
RARE_JOINS = (
    "SELECT count() FROM (SELECT 1 AS a) AS l ANTI LEFT JOIN (SELECT 1 AS a) AS r ON l.a = r.a"
    " SETTINGS join_algorithm = 'hash'"  # the parallel kind never ends where the join is lacking
)


async def ask_features(store: Store, *, timeout_s: float) -> EngineFeatures:
    """What the engine has. Raises a `StoreError` other than `StoreFatal`."""
    answer = await store.query("SELECT name FROM system.functions", timeout_s=timeout_s)
    return EngineFeatures(
        functions=frozenset(str(name) for (name,) in answer.rows),
        wide_decimals=await _runs(store, WIDE_DECIMALS, timeout_s),
        rare_joins=await _runs(store, RARE_JOINS, timeout_s),
    )


async def _runs(store: Store, sql: str, timeout_s: float) -> bool:
    try:
        await store.query(sql, timeout_s=timeout_s)
    except StoreFatal:
        return False
    return True

"""Whose data parts are recorded: those of an engine whose files belong to this process alone."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from prometheus_client import CollectorRegistry

from analytics_server.store.integrity import Integrity
from analytics_server.store.parts import record_path
from analytics_server.store.protocol import IN_PROCESS, OVER_HTTP, Capabilities, ResultSet, Store

PARTS = {
    "202611_1_1_0": ("events", "202611_1_1_0", "202611", 1, 1, 7, "hash of one"),
    "202611_2_2_0": ("events", "202611_2_2_0", "202611", 2, 2, 9, "hash of another"),
}


class FakeStore:
    """Knows the parts that are there, and no tables to be read."""

    def __init__(self, capabilities: Capabilities, *names: str) -> None:
        self.capabilities = capabilities
        self._names = names

    async def query(self, sql: str, *_: object, **__: object) -> ResultSet:
        if "FROM system.tables" in sql:
            return ResultSet(columns=(), rows=[(0,)])
        if "hash_of_all_files" in sql:
            return ResultSet(columns=(), rows=[PARTS[name] for name in self._names])
        return ResultSet(columns=(), rows=[])


async def lost_rows(directory: Path, capabilities: Capabilities, *names: str) -> float:
    """What a start says that finds these parts."""
    registry = CollectorRegistry()
    store = cast(Store, FakeStore(capabilities, *names))
    integrity = Integrity(store, (), directory, registry, lambda: 0)
    await integrity.inspect()
    await integrity.close()
    assert integrity.has_lost("events") == bool(registry.get_sample_value("clickhouse_lost_parts", {"table": "events"}))
    return registry.get_sample_value("clickhouse_lost_rows", {"table": "events"}) or 0.0


async def test_a_part_that_is_gone_at_the_next_start_is_a_loss(tmp_path: Path) -> None:
    assert await lost_rows(tmp_path, IN_PROCESS, *PARTS) == 0
    assert b"202611_2_2_0" in record_path(tmp_path).read_bytes()
    assert await lost_rows(tmp_path, IN_PROCESS, "202611_1_1_0") == 9


async def test_parts_of_a_clickhouse_server_are_not_recorded(tmp_path: Path) -> None:
    assert await lost_rows(tmp_path, OVER_HTTP, *PARTS) == 0
    assert await lost_rows(tmp_path, OVER_HTTP) == 0
    assert not record_path(tmp_path).exists() or b"202611" not in record_path(tmp_path).read_bytes()

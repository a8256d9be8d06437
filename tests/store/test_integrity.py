"""The record of data parts: kept where the engine's files belong to this process, and only there."""

from __future__ import annotations

from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from analytics_server.store import Store
from analytics_server.store.integrity import Integrity
from analytics_server.store.parts import record_path


async def test_the_parts_that_are_there_are_recorded_where_the_engines_files_are_ones_own(
    store: Store, tmp_path: Path
) -> None:
    integrity = Integrity(store, tmp_path, CollectorRegistry(), lambda: 0)
    await integrity.inspect()

    path = record_path(tmp_path)
    found = msgspec.json.decode(path.read_bytes())["parts"] if path.exists() else []
    tables = {part["table"] for part in found}
    assert tables >= {"schema_migrations"} if store.capabilities.owns_files else not tables


async def test_a_part_that_is_gone_at_the_next_start_is_lost(store: Store, tmp_path: Path) -> None:
    await store.insert("tokens", ("token_hash", "document", "deleted"), [["hash"], ["{}"], [0]])
    await Integrity(store, tmp_path, CollectorRegistry(), lambda: 0).inspect()
    await store.command("TRUNCATE TABLE tokens")
    after = Integrity(store, tmp_path, CollectorRegistry(), lambda: 0)
    await after.inspect()

    assert after.has_lost("tokens") == store.capabilities.owns_files

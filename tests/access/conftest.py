"""A store of either engine with the schema, as the contract suite makes it; each test finds no people and no uses."""

from __future__ import annotations

import pytest

from analytics_server.store import Store
from tests.store.conftest import engines, events_database, store

__all__ = ["engines", "events_database", "store"]


@pytest.fixture
async def migrated(store: Store) -> Store:
    for table in ("people", "person_sessions", "credential_uses"):
        await store.command(f"TRUNCATE TABLE {table}")
    return store

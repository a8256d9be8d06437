"""A store of either engine with the schema, as the contract suite makes it; each test has a database of its own."""

from __future__ import annotations

import pytest

from analytics_server.store import Store, migrate
from tests.store.conftest import empty_store, engines

__all__ = ["empty_store", "engines"]


@pytest.fixture
async def migrated(empty_store: Store) -> Store:
    await migrate(empty_store)
    return empty_store

"""Installations on both engines."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from analytics_server.store import migrate
from tests.clickhouse import drop_database
from tests.doctor.place import Place

_numbers = itertools.count(1)


@pytest.fixture
async def place(embedded_tables: Path, tmp_path: Path) -> AsyncIterator[Place]:
    """On the engine in process: no server can be writing."""
    made = Place(tmp_path / "data", f"chdb://{embedded_tables}", "analytics")
    await made.store.open()
    yield made
    await made.store.close()


@pytest.fixture
async def server_place(clickhouse_server: str, tmp_path: Path) -> AsyncIterator[Place]:
    """On a ClickHouse server: others may be writing."""
    made = Place(tmp_path / "data", clickhouse_server, f"doctor_{next(_numbers)}")
    await made.store.open()
    await migrate(made.store)
    yield made
    await made.store.close()
    drop_database(clickhouse_server, made.config.clickhouse.database)


@pytest.fixture(params=["embedded", "server"])
def any_place(request: pytest.FixtureRequest) -> Place:
    """On either."""
    name = "place" if request.param == "embedded" else "server_place"
    found = request.getfixturevalue(name)
    assert isinstance(found, Place)
    return found

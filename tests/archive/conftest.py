"""Archives on both engines."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from analytics_server.store import migrate
from tests.archive.directory import Archiving
from tests.clickhouse import drop_database
from tests.doctor.place import Place

_numbers = itertools.count(1)


@pytest.fixture
async def archiving(embedded_path: Path, tmp_path: Path) -> AsyncIterator[Archiving]:
    """On the engine in process."""
    place = Place(tmp_path / "data", f"chdb://{embedded_path}", f"archive_{next(_numbers)}")
    await place.store.open()
    await migrate(place.store)
    made = Archiving(place, tmp_path / "lake")
    await made.prepare()
    yield made
    await place.store.command(f"DROP DATABASE `{place.config.clickhouse.database}`")
    await place.store.close()


@pytest.fixture
async def archiving_on_server(clickhouse_server: str, tmp_path: Path) -> AsyncIterator[Archiving]:
    """On a ClickHouse server."""
    place = Place(tmp_path / "data", clickhouse_server, f"archive_{next(_numbers)}")
    await place.store.open()
    await migrate(place.store)
    made = Archiving(place, tmp_path / "lake")
    await made.prepare()
    yield made
    await place.store.close()
    drop_database(clickhouse_server, place.config.clickhouse.database)


@pytest.fixture(params=["embedded", "server"])
def any_archiving(request: pytest.FixtureRequest) -> Archiving:
    """On either."""
    found = request.getfixturevalue("archiving" if request.param == "embedded" else "archiving_on_server")
    assert isinstance(found, Archiving)
    return found

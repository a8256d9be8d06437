"""A store on each engine, migrated once; every example uses a site of its own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from analytics_server.analyses.funnels.materialized.definitions import SavedFunnels
from analytics_server.analyses.funnels.materialized.maintenance import FunnelMaintenance
from analytics_server.analyses.funnels.service import FunnelService
from analytics_server.config import ClickhouseSection, Config, LimitsSection
from analytics_server.model import Site
from analytics_server.query.context import QueryContext
from analytics_server.saved.store import Saved
from analytics_server.store import Store, make_store, migrate
from tests.clickhouse import drop_database

DATABASE = "funnels"
NOW = datetime(2025, 11, 20, 12, tzinfo=UTC)


class Sites:
    """Whatever site is asked for exists; its zone follows from its name."""

    def get(self, site_id: str) -> Site | None:
        zone = {"b": "Europe/Berlin", "n": "America/New_York", "k": "Asia/Kolkata"}.get(site_id[:1], "UTC")
        return None if site_id.startswith("nowhere") else Site(site_id=site_id, timezone=zone)


@dataclass(slots=True)
class Place:
    """One engine, and what answers from it."""

    store: Store
    runner: asyncio.Runner
    saved: Saved
    funnels: SavedFunnels
    maintenance: FunnelMaintenance
    service: FunnelService
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new_site(self, letter: str = "u") -> str:
        return f"{letter}{next(self.numbers)}.example"


@pytest.fixture(scope="package", params=["embedded", "server"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """An engine with the schema, on a loop of its own: hypothesis runs its examples in plain functions."""
    # The engine in process allows one directory at a time: the one that all tests of questions use.
    in_process = request.param == "embedded"
    url = "" if in_process else str(request.getfixturevalue("clickhouse_server"))
    store = (
        request.getfixturevalue("store")
        if in_process
        else make_store(Config(clickhouse=ClickhouseSection(url=url, database=DATABASE, threads=2)))
    )
    saved = Saved(store)
    context = QueryContext(store, Sites(), lambda: NOW, LimitsSection(), saved)
    with asyncio.Runner() as runner:

        async def prepare() -> None:
            await store.open()
            await migrate(store)

        if not in_process:
            runner.run(prepare())
        funnels = SavedFunnels(saved)
        maintenance = FunnelMaintenance(store, funnels, Sites(), lambda: NOW, settle_s=0.0)
        yield Place(
            store, runner, saved, funnels, maintenance, FunnelService(context, funnels, maintenance, cache_s=0.0)
        )
        if not in_process:
            runner.run(store.close())
            drop_database(url, DATABASE)


def iso(at_us: int) -> str:
    """Microseconds since 1970 as text for a date range."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).isoformat()

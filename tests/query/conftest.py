"""One engine with the small world in it, and a service that answers from it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from analytics_server.config import ClickhouseSection, Config, LimitsSection
from analytics_server.model import COLUMN_NAMES, Site
from analytics_server.query.engine import QueryService
from analytics_server.saved.store import Kind, Saved
from analytics_server.store import Store, make_store, migrate
from tests.query.oracle import Oracle
from tests.query.questions import NOW
from tests.query.world import EMPTY_SITE, GOALS, SEGMENTS, SITES, Event, make_world

BATCHES = 4


@dataclass(slots=True)
class Directory:
    """Sites in a dictionary."""

    sites: dict[str, Site] = field(default_factory=lambda: {site.site_id: site for site in (*SITES, EMPTY_SITE)})

    def get(self, site_id: str) -> Site | None:
        return self.sites.get(site_id)


async def insert_events(store: Store, events: list[Event], seed: int) -> None:
    """Insert in several batches, so that sessions lie in several parts."""
    random_ = random.Random(seed)
    for number in range(BATCHES):
        rows = [event.row(random_) for event in events[number::BATCHES]]
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            await store.insert("events", [*COLUMN_NAMES, "batch_id"], [*columns, [number] * len(rows)])


@pytest.fixture(scope="package")
def world() -> list[Event]:
    return make_world(seed=11, sessions=350)


def fill_store(url: str, world: list[Event], database: str = "analytics") -> Store:
    """An open store with the world in it."""
    opened = make_store(Config(clickhouse=ClickhouseSection(url=url, database=database, threads=2)))

    async def prepare() -> None:
        await opened.open()
        await migrate(opened)
        await insert_events(opened, world, seed=12)

    asyncio.run(prepare())
    return opened


async def save_things(store: Store) -> Saved:
    """The goals and segments of every site of the world."""
    saved = Saved(store)
    for site in SITES:
        for name, (body, _) in GOALS.items():
            await saved.put(Kind.GOAL, site.site_id, name, body)
        for name, filters in SEGMENTS.items():
            await saved.put(Kind.SEGMENT, site.site_id, name, {"filters": filters})
    return saved


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory, world: list[Event]) -> Iterator[Store]:
    path: Path = tmp_path_factory.mktemp("query") / "clickhouse"
    opened = fill_store(f"chdb://{path}", world)
    yield opened
    asyncio.run(opened.close())


@pytest.fixture(scope="package")
def saved(store: Store) -> Saved:
    return asyncio.run(save_things(store))


@pytest.fixture(scope="package")
def oracles(world: list[Event]) -> dict[str, Oracle]:
    return {site.site_id: Oracle(world, site.site_id, site.timezone) for site in SITES}


@pytest.fixture(scope="package")
def service(store: Store, saved: Saved) -> QueryService:
    return QueryService(store, Directory(), lambda: NOW, LimitsSection(), saved)

"""A desk on each engine: the one in process that all query tests share, and a server over HTTP."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from analytics_server.config import ClickhouseSection, Config, LimitsSection
from analytics_server.model import Site
from analytics_server.query.desk import Desk
from analytics_server.store import Store, make_store, migrate
from tests.clickhouse import drop_database
from tests.query.experiments.stream import ZONE
from tests.query.world import moment

_numbers = itertools.count(1)


@dataclass(slots=True)
class Place:
    """A store with a site of its own for each stream of events; every site is in Berlin."""

    store: Store
    now: int = 0
    sites: dict[str, Site] = field(default_factory=dict)

    def get(self, site_id: str) -> Site | None:
        return self.sites.get(site_id)

    def new_site(self) -> Site:
        site = Site(site_id=f"experiments-{next(_numbers)}.example", timezone=ZONE)
        self.sites[site.site_id] = site
        return site

    def desk(self) -> Desk:
        return Desk(self.store, self, lambda: moment(self.now), LimitsSection())


@pytest.fixture(scope="module", params=["embedded", "server"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "embedded":
        yield Place(request.getfixturevalue("store"))
        return
    url = str(request.getfixturevalue("clickhouse_server"))
    name = f"test_{uuid.uuid4().hex[:12]}"
    store = make_store(Config(clickhouse=ClickhouseSection(url=url, database=name, threads=2)))

    async def prepare() -> None:
        await store.open()
        await migrate(store)

    asyncio.run(prepare())
    yield Place(store)
    asyncio.run(store.close())
    drop_database(url, name)

"""A context on each engine: the one in process that all query tests share, and a server over HTTP."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from analytics_server.access.actions import GateAuthorizer
from analytics_server.access.gate import Gate
from analytics_server.access.principals import Role
from analytics_server.analyses.experiments.directory import Directory
from analytics_server.analyses.experiments.routes import ExperimentRoutes
from analytics_server.analyses.experiments.saved_experiments import experiment_type
from analytics_server.config import ClickhouseSection, Config, LimitsSection
from analytics_server.http.metrics import HttpMetrics
from analytics_server.http.routing.routes import route_table
from analytics_server.http.serving import wrap
from analytics_server.model import Site
from analytics_server.query.context import QueryContext
from analytics_server.query.endpoint_parts import query_body
from analytics_server.saved.routes import endpoints
from analytics_server.saved.store import Kind, Saved
from analytics_server.store import Store, make_store, migrate
from tests.analyses.experiments.lab import FOREIGN, NOW, SITE, SITES, Lab
from tests.analyses.experiments.stream import ZONE
from tests.clickhouse import drop_database
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

    def context(self) -> QueryContext:
        return QueryContext(self.store, self, lambda: moment(self.now), LimitsSection())


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


@pytest_asyncio.fixture
async def lab(store: Store) -> AsyncIterator[Lab]:
    saved, gate = Saved(store), Gate(store)
    await saved.load()
    for site_id in SITES:
        for kind in (Kind.EXPERIMENT, Kind.GOAL):
            for thing in saved.all(kind, site_id):
                await saved.delete(kind, site_id, thing.id)
    tokens = {
        "admin": await gate.create(Role.ADMIN),
        "read": await gate.create(Role.READ),
        "collect": await gate.create(Role.COLLECT),
        "mine": await gate.create(Role.ADMIN, sites=(SITE,)),
        "foreign": await gate.create(Role.ADMIN, sites=(FOREIGN,)),
    }
    clock = [NOW]
    context = QueryContext(store, SITES, lambda: clock[0], LimitsSection(), saved)
    app = web.Application()
    directory = Directory(saved)
    declared = [
        *endpoints([experiment_type(context, directory)], saved, context.site, query_body(context.limits)),
        *ExperimentRoutes(context, directory).endpoints(),
    ]
    app.add_routes(wrap(route_table(declared, GateAuthorizer(gate)), HttpMetrics(CollectorRegistry())))
    async with TestClient(TestServer(app)) as client:
        yield Lab(client, saved, tokens, clock)

"""Two servers on one ClickHouse, and sites of their own for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec
import pytest
import pytest_asyncio

from analytics_server.access.gate import Gate
from analytics_server.access.principals import Role
from analytics_server.config import ClickhouseSection, Config
from analytics_server.store import make_store, migrate
from tests.saved.api import SITE, SITES, Api, Directory, serve


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(clickhouse_url: str) -> AsyncIterator[tuple[Directory, Gate, Api, Api]]:
    """Two servers on one ClickHouse."""
    url, _, database = clickhouse_url.rpartition("/")
    store = make_store(Config(clickhouse=ClickhouseSection(url=url, database=database, threads=2)))
    await store.open()
    await migrate(store)
    directory = Directory()
    both = await serve(store, directory), await serve(store, directory)
    yield directory, both[0].gate, *both
    for served in both:
        await served.client.close()
    await store.close()


@pytest_asyncio.fixture(loop_scope="module")
async def both(servers: tuple[Directory, Gate, Api, Api]) -> tuple[Api, Api]:
    directory, gate, *apis = servers
    own = f".t{len(directory.sites)}t"
    sites = {f"{site.site_id}{own}": msgspec.structs.replace(site, site_id=site.site_id + own) for site in SITES}
    directory.sites |= sites
    site_token = await gate.create(Role.ADMIN, sites=(SITE + own,))
    for api in apis:
        await api.gate.load()
    one, other = (replace(api, own=own, tokens=api.tokens | {"site": site_token}) for api in apis)
    return one, other


@pytest.fixture
def api(both: tuple[Api, Api]) -> Api:
    return both[0]


@pytest.fixture
def other(both: tuple[Api, Api]) -> Api:
    """Another server on the same ClickHouse."""
    return both[1]

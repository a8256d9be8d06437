"""One server for these tests, with a site for each profile that has data of before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from analytics_server.profiles.tables import PROFILES
from tests.profiles.sites import NAMES, columns, event, saved, site_of
from tests.server import Client, RunningServer


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    directory = tmp_path_factory.mktemp("profiles")
    with RunningServer(directory, settings(directory)) as server:
        yield server


def settings(directory: Path) -> dict[str, str]:
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True)
    place = {"country": {"iso_code": "FR"}, "subdivisions": [{"names": {"en": "Brittany"}}]}
    writer.insert_network(IPSet(["203.0.113.0/24"]), {**place, "city": {"names": {"en": "Brest"}}})
    path = directory / "geo.mmdb"
    writer.to_db_file(str(path))
    return {"ingest_flush_interval_ms": "100", "geo_database": str(path)}


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def client(server: RunningServer) -> AsyncIterator[Client]:
    """Of each profile a site with an event of before, when its profile was the standard one."""
    async with Client(server) as client:
        for name in NAMES:
            site = site_of(name)
            await client.call("POST", "/api/v1/sites", {"site_id": site})
            reply = await client.send([event(site), event(site, name="signup")], trusted=True)
            assert reply.json["accepted"] == 2
            exposure = {"experiment": {"id": "cta", "variant": "a"}, "name": "exposure"}
            assert (await client.send(event(site, **exposure), trusted=True)).json["accepted"] == 1
            await saved(client, site, PROFILES[name])
        await client.flushed()
        for name in NAMES:
            assert await columns(client, site_of(name), "old", PROFILES[name].hidden_columns)
            changed = await client.call("PUT", f"/api/v1/sites/{site_of(name)}", {"profile": name})
            assert changed.status == 200
            assert changed.json["hidden_columns"] == sorted(PROFILES[name].hidden_columns)
            assert changed.json["profile_note"]
        yield client

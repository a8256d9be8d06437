"""A profile set on a site with data: what is said of the data, by API and command line, is what becomes of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analytics_server.profiles.tables import PROFILES, STANDARD
from tests.privacy.test_expiry import Noted, an_expiry, opened
from tests.profiles.sites import NAMES, columns, event
from tests.server import Client, RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="package")

STAYS = "stays stored until it expires or is erased; under a profile that allows it, it shows again"


def says(note: str, profile: str) -> None:
    """Is everything said that happens to what is stored?"""
    table = PROFILES[profile]
    if not table.hidden_columns:
        assert "leaves out no column" in note
    else:
        assert note.startswith(f"From now on {', '.join(sorted(table.hidden_columns))} are neither stored nor answered")
        assert STAYS in note
    assert (f"older than {table.most_retention_days} days" in note) == bool(table.most_retention_days)
    assert ("share links have ended" in note) == (not table.sharing)


async def shared(client: Client, site: str) -> dict[str, Any]:
    """A share link of the site, which is public besides."""
    assert (await client.call("PUT", f"/api/v1/sites/{site}", {"public": True})).status == 200
    made = await client.call("POST", "/api/v1/share-links", {"site_id": site})
    assert made.status == 201
    return {"secret": made.json["link"].rpartition("/")[2]}


async def opens(client: Client, body: dict[str, Any]) -> bool:
    reply = await client.request("POST", "/api/v1/share/open", msgspec.json.encode(body), {"Authorization": ""})
    return reply.status == 200


async def assert_open(client: Client, site: str, link: dict[str, Any], *, is_open: bool) -> None:
    assert await opens(client, link) == await opens(client, {"secret": site}) == is_open


@pytest.mark.parametrize("profile", NAMES)
async def test_what_the_answer_says_is_what_becomes_of_the_data(client: Client, profile: str) -> None:
    site, table = f"switched-{profile}.example", PROFILES[profile]
    await client.call("POST", "/api/v1/sites", {"site_id": site})
    await client.send(event(site, session_id="before"), trusted=True)
    await client.flushed()
    link = await shared(client, site)
    before = await columns(client, site, "before", table.hidden_columns)
    assert before
    assert not (await client.call("PUT", f"/api/v1/sites/{site}", {"currency": "EUR"})).json.get("profile_note")

    changed = (await client.call("PUT", f"/api/v1/sites/{site}", {"profile": profile})).json
    says(changed["profile_note"], profile)
    assert changed["hidden_columns"] == sorted(table.hidden_columns)
    assert await columns(client, site, "before", table.hidden_columns) == {}
    await assert_open(client, site, link, is_open=table.sharing)
    assert (await client.send(event(site, session_id="under"), trusted=True)).json["accepted"] == 1
    await client.kept(site, 2)

    back = (await client.call("PUT", f"/api/v1/sites/{site}", {"profile": STANDARD})).json
    says(back["profile_note"], STANDARD)
    assert back["hidden_columns"] == []
    assert await columns(client, site, "before", table.hidden_columns) == before
    assert await columns(client, site, "under", table.hidden_columns) == {}
    await assert_open(client, site, link, is_open=table.sharing)


async def test_what_the_command_says_is_what_becomes_of_the_data(tmp_path: Path) -> None:
    """The commands work on the data while no server runs; what a profile keeps no longer goes with the next expiry."""
    most = max(table.most_retention_days for table in PROFILES.values())
    older = (datetime.now(UTC) - timedelta(days=most + 40)).isoformat()
    sites = {f"typed-{profile}.example": profile for profile in NAMES}
    before: dict[str, dict[str, list[Any]]] = {}
    links = {}
    with RunningServer(tmp_path, {"ingest_flush_interval_ms": "100"}) as server:
        async with Client(server) as client:
            for site in sites:
                await client.call("POST", "/api/v1/sites", {"site_id": site})
                sent = [event(site, session_id="before"), event(site, session_id="older", timestamp=older)]
                assert (await client.send(sent, trusted=True)).json["accepted"] == 2
                links[site] = await shared(client, site)
            await client.flushed()
            for site, profile in sites.items():
                before[site] = await columns(client, site, "before", PROFILES[profile].hidden_columns)
        assert server.terminate() == 0
        for site, profile in sites.items():
            done = await asyncio.to_thread(server.command, "site", "set", site, "--profile", profile)
            assert done.returncode == 0, done.stderr
            assert msgspec.json.decode(done.stdout)["profile"] == profile
            says(done.stderr.strip().splitlines()[-1], profile)
        tomorrow = datetime.now(UTC) + timedelta(days=1)  # what arrived within the last hour is left to the next day
        async with opened(server) as store:
            await (await an_expiry(store, server, tomorrow, Noted())).purge()

        server.restart()
        async with Client(server) as client:
            for site, profile in sites.items():
                table = PROFILES[profile]
                assert await client.count(site) == (1 if table.most_retention_days else 2)
                assert await columns(client, site, "before", table.hidden_columns) == {}
                await assert_open(client, site, links[site], is_open=table.sharing)
                await client.call("PUT", f"/api/v1/sites/{site}", {"profile": STANDARD})
                assert await columns(client, site, "before", table.hidden_columns) == before[site] != {}

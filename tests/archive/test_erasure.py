"""A person's rights and files of days: what an erasure writes again, and what it can only name."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.archive.directory import archived_manifests, duckdb
from tests.privacy.people import erased, exported
from tests.server import Client, RunningServer, wait_for

SITE, OTHER = "shop.example", "müller.example:8080"
ANNA, BEN = "user-anna", "user-ben"
DAYS = 8
SETTINGS = {"ingest_flush_interval_ms": "100", "export_after_hours": "0"}


def events(now: datetime) -> list[dict[str, Any]]:
    """Of both people on both sites each day, but for one day on which Anna is alone."""
    return [
        {
            "site": site,
            "name": "pageview",
            "url": f"https://{site}/",
            "timestamp": (now - timedelta(days=day, minutes=minute)).isoformat(),
            "user_id": user,
        }
        for site in (SITE, OTHER)
        for day in range(1, DAYS + 1)
        for user, minutes in ((ANNA, range(1, 4)), (BEN, range(4, 6)))
        for minute in minutes
        if user != BEN or day != 2
    ]


def users(lake: Path, site: str = SITE) -> dict[str, int]:
    """Events in the files, by user."""
    found = duckdb(
        f"SELECT user_id, count() FROM '{lake}/*/*/events.parquet' WHERE site_id = '{site}' GROUP BY user_id"
    )
    return {user: int(count) for user, count in found}


async def archived(server: RunningServer, client: Client, runs: int) -> None:
    async def is_done() -> bool:
        metrics = (await client.call("GET", "/metrics")).body.decode()
        return f'daily_work_total{{outcome="done",work="archive"}} {runs}.0' in metrics

    await wait_for(is_done, 60, "the files of days")


@pytest.mark.timeout(300)
async def test_an_erasure_writes_the_person_s_days_again_and_names_what_it_can_t_search(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    now = datetime.now(UTC).replace(hour=12)
    sent = events(now)
    with RunningServer(tmp_path / "server", {**SETTINGS, "export_directory": str(lake)}) as server:
        async with Client(server) as client:
            for site in (SITE, OTHER):
                assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status == 201
            assert (await client.send(sent, trusted=True)).json["accepted"] == len(sent)
            await client.flushed()
        assert server.terminate() == 0
        server.restart()
        async with Client(server) as client:
            await archived(server, client, 1)
            of_user = {user: sum(e["user_id"] == user and e["site"] == SITE for e in sent) for user in (ANNA, BEN)}
            assert users(lake) == users(lake, OTHER) == of_user
            assert {msgspec.json.decode(line)["table"] for line in await exported(client, ANNA)} == {
                *("events", "sessions", "activity")
            }

            # On one site: its files alone.
            made = await client.call("POST", "/api/v1/tokens", {"role": "admin", "sites": [OTHER]})
            body = {"user_id": ANNA, "confirm": True}
            begun = await client.call("POST", "/api/v1/privacy/erase", body, token=made.json["token"])

            async def certified() -> Any:
                reply = await client.call("GET", f"/api/v1/privacy/erasures/{begun.json['id']}")
                return reply.json.get("certificate") if reply.status == 200 else None

            certificate = await wait_for(certified, 60)
            assert certificate["not_searched"] == []
            assert users(lake, OTHER) == {BEN: of_user[BEN]}
            assert users(lake) == of_user
            _assert_whole(lake)
            alone = (now - timedelta(days=2)).date()
            manifests = {manifest.site_id: manifest for _, manifest in archived_manifests(lake)}
            assert (manifests[OTHER].by_date()[alone].name, manifests[OTHER].by_date()[alone].events) == ("", 0)
            assert manifests[SITE].by_date()[alone].events == 3
            audit = (await client.call("GET", "/api/v1/privacy/audit?limit=1000")).json["entries"]
            rewritten = [entry for entry in audit if entry["details"].get("state") == "rewritten"]
            assert [(entry["site_id"], entry["details"]["files"]) for entry in rewritten] == [(OTHER, str(DAYS))]

            # Of days whose events have expired the server can't tell whose they were.
            kept = {"retention_days": DAYS - 3}
            assert (await client.call("PUT", f"/api/v1/sites/{SITE}", kept)).status == 200
        assert server.terminate() == 0
        _make_old(server, now - timedelta(days=DAYS - 3))
        server.restart()
        async with Client(server) as client:
            await archived(server, client, 1)
            assert users(lake) == of_user
            left = [msgspec.json.decode(line) for line in await exported(client, ANNA)]
            (named,) = [line["not_searched"] for line in left if line["table"] == "archived_days"]
            certificate = await erased(client, ANNA)
            assert certificate["not_searched"] == [named]
            assert named.startswith("3 archived days of shop.example from ")
            assert named.endswith(f"to {(now - timedelta(days=DAYS - 2)).date()}")
            assert users(lake) == {ANNA: 9, BEN: of_user[BEN]}
            _assert_whole(lake)
        assert server.terminate() == 0
    with RunningServer(tmp_path / "server", SETTINGS) as server:  # one that writes no files, or elsewhere
        async with Client(server) as client:
            certificate = await erased(client, BEN)
            root = msgspec.json.decode((lake / "_archive.json").read_bytes())["id"]
            elsewhere = "archived days of {} in another directory, {}"
            assert certificate["not_searched"] == [elsewhere.format(site, root) for site in sorted((SITE, OTHER))]


REMOVE = """
from analytics_server.cli.context import read_config, with_store
from analytics_server.cli.audit import open_store
config = read_config(None)
async def work(store):
    await open_store(store, config)
    await store.command(
        "ALTER TABLE events DELETE WHERE site_id = 'shop.example' AND ts < '{before}' SETTINGS mutations_sync = 2"
    )
with_store(config, work)
"""
"""The purge leaves what came within the last hour, so the stopped server's events are removed as it does it."""


def _make_old(server: RunningServer, day: datetime) -> None:
    """Remove what lies before the day."""
    remove = REMOVE.replace("{before}", f"{day:%Y-%m-%d} 00:00:00")
    subprocess.run([sys.executable, "-c", remove], env=server.environment(), timeout=100, check=True)


def _assert_whole(lake: Path) -> None:
    for directory, manifest in archived_manifests(lake):
        named = {directory / file.name: file for file in manifest.files if file.name}
        assert set(directory.rglob("events.parquet")) == named.keys()
        for path, file in named.items():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256

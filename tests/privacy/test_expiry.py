"""Expiry on a real store: what is too old goes, the rest and every rollup stay exact, month after month."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analytics_server.access.sites import Sites
from analytics_server.config import Config, ServerSection
from analytics_server.http.audit import AuditEntry
from analytics_server.privacy.expiry import site_tables
from analytics_server.privacy.expiry.purge import Expiry
from analytics_server.store import Store, make_store
from tests.faults.books import assert_books_balance_everywhere
from tests.privacy.people import SITES, Traffic
from tests.server import Client, RunningServer

SHORT, LONG = SITES
KEPT = {SHORT: 90, LONG: 400}
FIRST = datetime(2024, 9, 29, 20, tzinfo=UTC)
MONTHS = 27


class Noted:
    """Takes audit entries."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def note(self, entry: AuditEntry) -> None:
        self.entries.append(entry)

    async def append(self, entry: AuditEntry) -> None:
        self.entries.append(entry)


async def filled(server: RunningServer) -> Traffic:
    """Events of 27 months on two sites, around the ends of months."""
    traffic = Traffic(7)
    async with Client(server) as client:
        for site in SITES:
            body = {"site_id": site, "retention_days": KEPT[site]}
            assert (await client.call("POST", "/api/v1/sites", body)).status == 201
        for month in range(MONTHS):
            await traffic.send(client, 15, first=FIRST + timedelta(days=30 * month))
        await client.flushed()
    return traffic


@asynccontextmanager
async def opened(server: RunningServer) -> AsyncIterator[Store]:
    store = make_store(Config(server=ServerSection(data_dir=str(server.data_dir))))
    await store.open()
    yield store
    await store.close()


async def an_expiry(store: Store, server: RunningServer, now: datetime, noted: Noted) -> Expiry:
    config = Config()
    sites = Sites(store, config.sites)
    await sites.load()
    return Expiry(
        store,
        sites.all,
        default_days=0,
        letters=server.data_dir / "dead-letters",
        cluster="",
        recorder=noted,
        holder="a test",
        clock=lambda: now,
    )


def left(traffic: Traffic, now: datetime) -> set[str]:
    """The ids of the events that are to be there."""

    def is_kept(event: dict[str, Any]) -> bool:
        before = now.date() - timedelta(days=KEPT[event["site"]])
        return datetime.fromisoformat(event["timestamp"]).date() >= before

    return {event["event_id"] for event in traffic.events if is_kept(event)}


async def stored_ids(store: Store) -> set[str]:
    answer = await store.query("SELECT event_id FROM events")
    return {str(row[0]) for row in answer.rows}


@pytest.mark.timeout(600)
async def test_over_27_months_what_is_too_old_goes_and_all_numbers_stay_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_tables, "SETTLED_S", -5e8)
    server = RunningServer(tmp_path, {"ingest_flush_interval_ms": "100"})
    server.start()
    traffic = await filled(server)
    assert server.terminate() == 0
    noted = Noted()
    async with opened(server) as store:
        for month in (3, 4, 20, MONTHS):
            now = FIRST + timedelta(days=30 * month + 2, hours=5)
            expiry = await an_expiry(store, server, now, noted)
            planned = await expiry.plan()
            before = await stored_ids(store)
            done = await expiry.purge()
            assert done is not None
            assert [(one.site_id, one.rows["events"]) for one in done] == [
                (one.site_id, one.rows["events"]) for one in planned
            ]
            assert {one.site_id: one.before for one in planned}.items() <= {
                site: now.date() - timedelta(days=days) for site, days in KEPT.items()
            }.items()
            assert await stored_ids(store) == left(traffic, now)
            gone = sum(one.rows.get("events", 0) for one in planned)
            assert gone == len(before) - len(left(traffic, now))
            assert await expiry.plan() == []
    assert {entry.site_id for entry in noted.entries} == set(SITES)
    assert all(entry.details["before"] for entry in noted.entries)
    kept = left(traffic, now)
    await assert_books_balance_everywhere(server, kept, kept)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("statement", [3, 8, 14])
async def test_a_purge_that_was_broken_off_anywhere_is_completed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: int
) -> None:
    monkeypatch.setattr(site_tables, "SETTLED_S", -5e8)
    server = RunningServer(tmp_path, {"ingest_flush_interval_ms": "100"})
    server.start()
    traffic = await filled(server)
    assert server.terminate() == 0
    now = FIRST + timedelta(days=500)
    noted = Noted()
    async with opened(server) as store:
        expiry = await an_expiry(store, server, now, noted)
        with monkeypatch.context() as patch:
            left_over = iter(range(statement))
            command = store.command

            async def breaking(sql: str, *arguments: Any, **named: Any) -> None:
                if "leases" not in sql and next(left_over, None) is None:
                    raise Broken
                await command(sql, *arguments, **named)

            patch.setattr(store, "command", breaking)
            with suppress(Broken):
                await expiry.purge()
        done = await (await an_expiry(store, server, now, noted)).purge()
        assert done is not None
        assert await stored_ids(store) == left(traffic, now)
        assert (await store.query("SELECT count() FROM erasure_keys")).rows == [(0,)]
    kept = left(traffic, now)
    await assert_books_balance_everywhere(server, kept, kept)


class Broken(Exception):
    """The process died here."""


@pytest.mark.timeout(300)
async def test_the_command_shows_what_would_go_and_removes_it(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, {"ingest_flush_interval_ms": "100"})
    server.start()
    async with Client(server) as client:
        assert (await client.call("POST", "/api/v1/sites", {"site_id": SHORT, "retention_days": 30})).status == 201
        assert (await client.call("PUT", f"/api/v1/sites/{SHORT}", {"retention_days": 20})).json["retention_days"] == 20
        assert (await client.call("PUT", f"/api/v1/sites/{SHORT}", {"retention_days": -1})).status == 400
    assert server.terminate() == 0
    done = command(server, "expire", "--dry-run", "--json")

    assert done.returncode == 0, done.stderr
    assert msgspec.json.decode(done.stdout) == []
    assert command(server, "expire").stdout == b"0 rows removed.\n"


def command(server: RunningServer, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "analytics_server", *arguments],
        env={**os.environ, **server.environment()},
        capture_output=True,
        check=False,
        timeout=100,
    )

"""Expiry on a real store: what is too old goes, the rest and every rollup stay exact, month after month."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from analytics_server.access.sites.sites import Sites
from analytics_server.batch_ids import created_ms, first_batch_id
from analytics_server.config import Config, PrivacySection, ServerSection
from analytics_server.http.audit import AuditEntry
from analytics_server.model import Site
from analytics_server.privacy.expiry import purge, site_tables
from analytics_server.privacy.expiry.purge import Expiry
from analytics_server.privacy.expiry.recording import OnPhase, unheard
from analytics_server.profiles.tables import UNKNOWN
from analytics_server.store import Store, make_store
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.privacy.people import SITES, Traffic
from tests.server import Client, RunningServer

SHORT, LONG = SITES
KEPT = {SHORT: 90, LONG: 400}
FIRST = datetime(2024, 9, 29, 20, tzinfo=UTC)
MONTHS = 27
FILLED = (0, 1, 3, 4, 7, 13, 15, 16, 20, 23, 26)
"""Months with events: those on both sides of the cuts below, and some that go, or stay, as a whole."""

STATEMENTS = (
    "INSERT INTO erasure_keys",
    "ALTER TABLE events",
    "ALTER TABLE sessions",
    "INSERT INTO traffic",
    "ALTER TABLE erasure_keys",
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Traffic]:
    """The data directory of a server that has ended, and what was sent to it: two sites, 27 months."""
    directory = tmp_path_factory.mktemp("filled")
    return directory, asyncio.run(_fill(directory))


async def _fill(directory: Path) -> Traffic:
    traffic = Traffic(7)
    with RunningServer(directory, {"ingest_flush_interval_ms": "100"}) as server:
        async with Client(server) as client:
            for site in SITES:
                body = {"site_id": site, "retention_days": KEPT[site]}
                assert (await client.call("POST", "/api/v1/sites", body)).status == 201
            for month in FILLED:
                await traffic.send(client, 30, first=FIRST + timedelta(days=30 * month))
            await client.flushed()
        assert server.terminate() == 0
    return traffic


@pytest.fixture
def server(filled: tuple[Path, Traffic], tmp_path: Path) -> RunningServer:
    """A server that does not run, on a copy of that directory."""
    shutil.copytree(filled[0], tmp_path, symlinks=True, dirs_exist_ok=True)
    return RunningServer(tmp_path)


@pytest.fixture
def traffic(filled: tuple[Path, Traffic]) -> Traffic:
    return filled[1]


class Noted:
    """Takes audit entries."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def note(self, entry: AuditEntry) -> None:
        self.entries.append(entry)

    async def append(self, entry: AuditEntry) -> None:
        self.entries.append(entry)


@asynccontextmanager
async def opened(server: RunningServer) -> AsyncIterator[Store]:
    store = make_store(Config(server=ServerSection(data_dir=str(server.data_dir))))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def an_expiry(
    store: Store, server: RunningServer, now: datetime, noted: Noted, on_phase: OnPhase = unheard
) -> Expiry:
    config = Config()
    sites = Sites(store, config.sites)
    await sites.load()
    return Expiry(
        store,
        sites.all,
        settings=PrivacySection(),
        letters=server.data_dir / "dead-letters",
        quarantine=server.data_dir / "wal" / "quarantine",
        cluster="",
        recorder=noted,
        holder="a test",
        clock=lambda: now,
        on_phase=on_phase,
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


@pytest.mark.timeout(300)
async def test_over_27_months_what_is_too_old_goes_and_all_numbers_stay_exact(
    server: RunningServer, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = Noted()
    async with opened(server) as store:
        just_arrived = await an_expiry(store, server, FIRST + timedelta(days=500), noted)
        assert await just_arrived.plan() == []
        monkeypatch.setattr(site_tables, "SETTLED_S", -5e8)
        for month in (4, 20, MONTHS):
            now = FIRST + timedelta(days=30 * month + 2, hours=5)
            expiry = await an_expiry(store, server, now, noted)
            planned = await expiry.plan()
            before = await stored_ids(store)
            assert await expiry.purge() == planned
            assert {one.site_id: one.before for one in planned}.items() <= {
                site: now.date() - timedelta(days=days) for site, days in KEPT.items()
            }.items()
            kept = left(traffic, now)
            assert await stored_ids(store) == kept
            assert sum(one.rows["events"] for one in planned) == len(before) - len(kept)
            assert await expiry.plan() == []
            entries, noted.entries = noted.entries, []
            assert {entry.site_id: entry.details["events"] for entry in entries} == {
                one.site_id: str(one.rows["events"]) for one in planned
            }
    assert {entry.site_id for entry in entries} == set(SITES)
    await assert_every_event_stored_once_everywhere(server, kept, kept)


@pytest.mark.timeout(300)
async def test_a_purge_that_was_broken_off_again_and_again_is_completed_by_the_next(
    server: RunningServer, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_tables, "SETTLED_S", -5e8)
    now = FIRST + timedelta(days=500)
    kept, noted = left(traffic, now), Noted()
    async with opened(server) as store:
        for statement in STATEMENTS:
            for is_done in (False, True):
                if (statement, is_done) == (STATEMENTS[-1], True):
                    noted.entries.clear()  # told before the keys are forgotten, it is told again
                expiry = await an_expiry(store, server, now, noted)
                with monkeypatch.context() as patch:
                    patch.setattr(store, "command", breaking(store.command, statement, is_done=is_done))
                    with pytest.raises(Broken):
                        await expiry.purge()
                if statement != STATEMENTS[-1]:
                    assert (await store.query("SELECT count() > 0 FROM erasure_keys")).rows == [(1,)]
        await (await an_expiry(store, server, now, noted)).purge()
        assert await stored_ids(store) == kept
        assert (await store.query("SELECT count() FROM erasure_keys")).rows == [(0,)]
    told = Counter[str]()
    for entry in noted.entries:
        told[entry.site_id] += int(entry.details.get("events", 0))
    assert told == Counter(event["site"] for event in traffic.events if event["event_id"] not in kept)
    await assert_every_event_stored_once_everywhere(server, kept, kept)


@pytest.mark.timeout(300)
async def test_what_a_broken_off_purge_has_removed_is_told_although_more_may_go_by_then(
    server: RunningServer, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other old events arrive within the hour before the purge; when it is completed, they may go as well."""
    now, noted = FIRST + timedelta(days=500), Noted()
    kept = left(traffic, now)
    late = f"FROM events WHERE ts < toDateTime({int((FIRST + timedelta(days=60)).timestamp())}, 'UTC')"
    async with opened(server) as store:
        ((newest,),) = (await store.query("SELECT max(batch_id) FROM events")).rows
        settled_s = created_ms(int(str(newest))) / 1000 + 1
        counted = (await store.query(f"SELECT site_id, count() {late} GROUP BY site_id")).rows
        later = f"batch_id + {first_batch_id(settled_s + 1) - first_batch_id(settled_s - 3_600)} AS batch_id"
        await store.command(f"INSERT INTO events SELECT * REPLACE (generateUUIDv4() AS event_id, {later}) {late}")
        monkeypatch.setattr(site_tables, "SETTLED_S", now.timestamp() - settled_s)
        for statement, is_done in (("ALTER TABLE events", False), ("ALTER TABLE events DELETE", True)):
            expiry = await an_expiry(store, server, now, noted)
            with monkeypatch.context() as patch:
                patch.setattr(store, "command", breaking(store.command, statement, is_done=is_done))
                with pytest.raises(Broken):
                    await expiry.purge()
        assert noted.entries == [], "nothing was removed by the first, so nothing is to be told"
        monkeypatch.setattr(site_tables, "SETTLED_S", -5e8)
        await (await an_expiry(store, server, now, noted)).purge()
        assert await stored_ids(store) == kept
    told: dict[str, list[int]] = {}
    for entry in noted.entries:
        told.setdefault(entry.site_id, []).append(int(entry.details["events"]))
    expired = Counter(event["site"] for event in traffic.events if event["event_id"] not in kept)
    assert told == {str(site): [expired[str(site)], count] for site, count in counted}
    assert told.keys() == set(SITES)
    await assert_every_event_stored_once_everywhere(server, kept, kept)


@pytest.mark.timeout(300)
async def test_many_sites_are_purged_in_parts(
    server: RunningServer, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_tables, "SETTLED_S", -5e8)
    monkeypatch.setattr(purge, "SITES_AT_ONCE", 1)
    now, phases = FIRST + timedelta(days=500), list[str]()
    kept = left(traffic, now)
    async with opened(server) as store:
        expiry = await an_expiry(store, server, now, Noted(), phases.append)
        assert await expiry.plan() == await expiry.purge()
        assert await stored_ids(store) == kept
    parts = [f"sites from {SHORT} on, 2 of 2 left: ", f"sites from {LONG} on, 1 of 2 left: "]
    assert phases == [part + phase for part in parts for phase in ("collect", "delete", "rollups", "builds")]
    await assert_every_event_stored_once_everywhere(server, kept, kept)


class Broken(Exception):
    """The process died here."""


def breaking(command: Callable[..., Awaitable[None]], statement: str, *, is_done: bool) -> Callable[..., Any]:
    """The process dies at its first statement that begins so, which ClickHouse carries out all the same or not."""

    async def run(sql: str, *arguments: Any, **named: Any) -> None:
        if not sql.startswith(statement):
            await command(sql, *arguments, **named)
            return
        if is_done:
            await command(sql, *arguments, **named)
        raise Broken

    return run


@pytest.mark.timeout(300)
async def test_the_command_shows_what_would_go_and_removes_it(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, {"ingest_flush_interval_ms": "100"})
    server.start()
    async with Client(server) as client:
        assert (await client.call("POST", "/api/v1/sites", {"site_id": SHORT, "retention_days": 30})).status == 201
        assert (await client.call("PUT", f"/api/v1/sites/{SHORT}", {"retention_days": 20})).json["retention_days"] == 20
        for setting in ("retention_days", "rollup_retention_days"):
            for days, status in ((-1, 400), (0, 200), (36_501, 400), (36_500, 200)):
                assert (await client.call("PUT", f"/api/v1/sites/{SHORT}", {setting: days})).status == status
    assert server.terminate() == 0
    done = server.command("expire", "--dry-run", "--json")

    assert done.returncode == 0, done.stderr
    assert msgspec.json.decode(done.stdout) == []
    assert server.command("expire").stdout == "0 rows removed.\n"


def test_a_site_whose_settings_nobody_can_read_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither by the default nor by a profile's limit: the document may say that the data is kept for longer."""
    sites = [Site(site_id="a.example"), Site(site_id="b.example", profile=UNKNOWN), Site(site_id="c", profile="x")]
    expiry = Expiry(
        cast(Store, None),  # it is not asked
        lambda: sites,
        settings=PrivacySection(retention_days=90),
        letters=tmp_path,
        quarantine=tmp_path,
        cluster="",
        recorder=Noted(),
        holder="a test",
    )
    assert list(expiry._cuts()) == ["a.example"]
    assert [record.sites for record in caplog.records if "settings" in record.message] == ["b.example, c"]  # type: ignore[attr-defined]

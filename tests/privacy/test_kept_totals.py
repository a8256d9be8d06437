"""Totals of days outlive their events where a site asks for it, and go at their own cut; deleted sites expire, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from analytics_server.access.sites.sites import Sites
from analytics_server.config import (
    ClickhouseSection,
    Config,
    LimitsSection,
    PrivacySection,
    ServerSection,
    SitesSection,
)
from analytics_server.doctor.day_totals import DayTotalsCheck
from analytics_server.model import Site
from analytics_server.privacy.erasure_jobs import ErasureJobs, ErasurePhase
from analytics_server.privacy.erasure_tables import DAYS_PART, ErasureTables
from analytics_server.privacy.expiry import kept_totals
from analytics_server.privacy.expiry.purge import NEWEST, Expiry, SiteExpiry
from analytics_server.privacy.expiry.recording import Around
from analytics_server.privacy.expiry.site_removal import SiteRemoval
from analytics_server.privacy.expiry.site_tables import DELETION_MARK
from analytics_server.privacy.scope import SiteScope
from analytics_server.query.answer import Answer
from analytics_server.query.day_totals import DayTotals
from analytics_server.query.engine import QueryService
from analytics_server.store import Store, make_store, migrate
from tests.privacy.test_expiry import Noted
from tests.privacy.test_site_removal import GONE, LEFT, put_beside, rows_beside
from tests.query.conftest import insert_events
from tests.query.oracle import COUNTING_METRICS, SESSION_METRICS
from tests.query.plan.test_coverage import SITE, around
from tests.query.world import make_world
from tests.server import RunningServer

DAYS = (datetime(2025, 3, 28, 23, tzinfo=UTC), datetime(2025, 3, 30, 22, tzinfo=UTC))
"""Two days in Berlin, the second with 23 hours."""
NOW = datetime(2025, 4, 10, 12, tzinfo=UTC)
BY_SOURCE: dict[str, Any] = {"metrics": [*COUNTING_METRICS, *SESSION_METRICS], "dimensions": ["visit:source"]}
BY_DAY = BY_SOURCE | {"dimensions": ["time:day"]}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    url = f"chdb://{tmp_path / 'engine'}"
    opened = make_store(Config(clickhouse=ClickhouseSection(url=url, threads=2)))
    await opened.open()
    await migrate(opened)
    yield opened
    await opened.close()


async def purge(store: Store, sites: Sites, directory: Path, now: datetime) -> list[SiteExpiry]:
    """What went, which is what was said before; nothing is left to go afterwards."""
    expiry = expiry_of(store, sites, directory, now)
    planned = await expiry.plan()
    assert await expiry.purge() == planned
    assert await expiry.plan() == []
    return planned


def expiry_of(store: Store, sites: Sites, directory: Path, now: datetime, around: Sequence[Around] = ()) -> Expiry:
    return Expiry(
        store,
        sites.all_stored,
        settings=PrivacySection(),
        letters=directory,
        quarantine=directory,
        cluster="",
        recorder=Noted(),
        holder="a test",
        around=around,
        clock=lambda: now,
    )


async def answer(service: QueryService, *span: datetime, **parts: Any) -> Answer:
    date_range: Any = [edge.isoformat() for edge in span] or "all"
    return await service.run(msgspec.json.encode({"site_id": SITE, "date_range": date_range} | parts))


async def test_totals_outlive_events_and_go_at_their_own_cut(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_totals, "SETTLE_S", 0.0)
    sites = Sites(store, SitesSection())
    site = await sites.put(Site(site_id=SITE, timezone="Europe/Berlin", retention_days=10, rollup_retention_days=60))
    events = [event for event in make_world(seed=3, sessions=300) if event.site_id == SITE]
    await insert_events(store, around(events, ("2025-03-28T12:00", "2025-04-03T12:00")), seed=4)
    service = QueryService(store, sites, lambda: NOW, LimitsSection(), cache_s=0.0)
    before = [await answer(service, *DAYS, **question) for question in (BY_SOURCE, BY_DAY)]
    assert all(one.results and not any("expired" in text for text in one.meta.warnings[1:]) for one in before)

    for _ in range(2):  # the second finds nothing to do
        planned = await purge(store, sites, tmp_path, NOW)
        after = [await answer(service, *DAYS, **question) for question in (BY_SOURCE, BY_DAY)]
        assert [one.results for one in after] == [one.results for one in before]
        assert {one.meta.table for one in after} == {"day_totals"}
    assert planned == []
    assert (await store.query("SELECT count() FROM events WHERE ts < '2025-03-31'")).rows == [(0,)]
    assert any("only totals are kept" in text for text in after[0].meta.warnings)
    assert (await answer(service, *DAYS, metrics=["scroll_depth"])).results[0].metrics in ([None], [0])
    assert (await answer(service, metrics=["events"])).meta.date_range[0].startswith("2025-03-28T00:00")
    late = next(event for event in events if event.at > DAYS[0].timestamp() * 1e6)
    await insert_events(store, [late], seed=5)  # it comes too late to be counted
    assert (await answer(service, *DAYS, **BY_DAY)).results == before[1].results
    assert (await DayTotalsCheck(store, lambda *_: None).examine()).status == "ok"

    await sites.delete(SITE)  # what it said last still holds
    assert sites.all() == []
    (gone,) = await purge(store, sites, tmp_path, NOW + timedelta(days=49))  # totals before the 30th of March
    assert (gone.site_id, gone.rows["events"] > 0, gone.rows["day_totals"] > 0) == (SITE, True, True)
    kept = ["2025-03-30", "2025-03-31", "2025-04-01", "2025-04-02", "2025-04-03", "2025-04-04"]
    assert await days_of_totals(store) == kept
    await sites.put(replace(site, rollup_retention_days=0))
    (gone,) = await purge(store, sites, tmp_path, NOW + timedelta(days=49))
    assert list(gone.rows) == ["day_totals"]
    assert await days_of_totals(store) == []


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC"])
async def test_daily_purges_leave_the_numbers_of_every_day(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """The cut falls into days that are over, and into sessions."""
    monkeypatch.setattr(kept_totals, "SETTLE_S", 0.0)
    sites = Sites(store, SitesSection())
    await sites.put(Site(site_id=SITE, timezone=zone, retention_days=10, rollup_retention_days=60))
    events = [event for event in make_world(seed=3, sessions=300) if event.site_id == SITE]
    await insert_events(store, around(events, ("2025-03-28T00:00", "2025-04-03T12:00")), seed=4)
    service = QueryService(store, sites, lambda: NOW, LimitsSection(), cache_s=0.0)
    asked = BY_DAY | {"date_range": ["2025-03-27", "2025-04-05"]}
    before = await answer(service, **asked)
    assert len(before.results) > 4
    for day in range(4):
        planned = await purge(store, sites, tmp_path, NOW + timedelta(days=day))
        assert [one.site_id for one in planned] == [SITE]
        assert (await answer(service, **asked)).results == before.results
    # Another zone reads none of them, and none is thrown away.
    kept = await days_of_totals(store)
    await sites.put(replace(sites.all()[0], timezone="Europe/London"))
    check = DayTotalsCheck(store, lambda *_: None)
    assert (await check.examine()).status == "ok"
    await check.repair()
    assert set(kept) <= set(await days_of_totals(store))


async def test_nothing_goes_while_the_totals_of_a_day_can_not_be_made(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_totals, "SETTLE_S", 0.0)
    sites = Sites(store, SitesSection())
    await sites.put(Site(site_id=SITE, retention_days=10, rollup_retention_days=60))
    events = [event for event in make_world(seed=3, sessions=300) if event.site_id == SITE]
    await insert_events(store, around(events, ("2025-03-29T00:00", "2025-03-30T12:00")), seed=4)
    count = await store.query("SELECT count() FROM events")

    async def changes_meanwhile(self: DayTotals, *_: object) -> int:
        return 0

    with monkeypatch.context() as patched:
        patched.setattr(DayTotals, "build_days", changes_meanwhile)
        expiry = expiry_of(store, sites, tmp_path, NOW)
        assert (await expiry.purge(), expiry.held_up) == ([], {SITE})
    assert (await store.query("SELECT count() FROM events")).rows == count.rows
    assert await purge(store, sites, tmp_path, NOW)


class TurnAfterAnErasure:
    """The turn that a purge waits for, while an erasure discards all totals of the site. `turns`: those taken."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.turns = 0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        self.turns += 1
        if self.turns == 2:  # the first one completes what an earlier purge had left
            await self._store.command(
                "INSERT INTO erasure_keys (id, part, site_id, day, key)"
                f" SELECT DISTINCT 'abc', '{DAYS_PART}', site_id, day, 0 FROM day_builds"
            )
            assert await days_of_totals(self._store)
            await ErasureTables(self._store, "abc", SiteScope(), cluster="").discard_builds()
            assert await days_of_totals(self._store) == []
        yield


async def test_totals_that_an_erasure_discards_before_the_events_go_are_made_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_totals, "SETTLE_S", 0.0)
    monkeypatch.setattr(kept_totals, "ATTEMPTS", 1)
    sites = Sites(store, SitesSection())
    await sites.put(Site(site_id=SITE, retention_days=10, rollup_retention_days=60))
    events = [event for event in make_world(seed=3, sessions=300) if event.site_id == SITE]
    await insert_events(store, around(events, ("2025-03-29T00:00", "2025-03-30T12:00")), seed=4)
    service = QueryService(store, sites, lambda: NOW, LimitsSection(), cache_s=0.0)
    asked = BY_DAY | {"date_range": ["2025-03-28", "2025-04-05"]}
    before, count = await answer(service, **asked), await store.query("SELECT count() FROM events")

    build, turn = DayTotals.build_days, TurnAfterAnErasure(store)

    async def before_the_turn_alone(self: DayTotals, *arguments: Any) -> int:
        return await build(self, *arguments) if turn.turns < 2 else 0

    with monkeypatch.context() as patched:  # can they not be made again, nothing goes
        patched.setattr(DayTotals, "build_days", before_the_turn_alone)
        assert await expiry_of(store, sites, tmp_path, NOW, [turn.taken]).purge() == []
    assert (await store.query("SELECT count() FROM events")).rows == count.rows

    turn = TurnAfterAnErasure(store)
    done = await expiry_of(store, sites, tmp_path, NOW, [turn.taken]).purge()
    assert done is not None
    (gone,) = done
    assert (turn.turns, gone.rows["events"] > 0) == (2, True)
    assert (await store.query("SELECT count() FROM events WHERE ts < '2025-03-31'")).rows == [(0,)]
    assert (await answer(service, **asked)).results == before.results


async def test_nothing_goes_before_an_erasure_that_was_broken_off_has_discarded_its_totals(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kept_totals, "SETTLE_S", 0.0)
    sites = Sites(store, SitesSection())
    await sites.put(Site(site_id=SITE, retention_days=10, rollup_retention_days=60))
    events = [event for event in make_world(seed=3, sessions=300) if event.site_id == SITE]
    await insert_events(store, around(events, ("2025-03-29T00:00", "2025-03-30T12:00")), seed=4)
    count = await store.query("SELECT count() FROM events")
    jobs = ErasureJobs(store)
    job = await jobs.create("hash", SiteScope(sites=(SITE,)), "ended", opted_out=False, follows="")
    for phase in (ErasurePhase.DELETE, ErasurePhase.ROLLUPS, ErasurePhase.BUILDS):
        job = await jobs.change(job, phase=phase)
        caplog.clear()
        expiry = expiry_of(store, sites, tmp_path, NOW)
        assert (await expiry.purge(), expiry.held_up) == ([], {SITE})
        assert [record.getMessage() for record in caplog.records if "erasure" in record.getMessage()] == [
            "expiry waits until an erasure that was broken off is done"
        ]
    assert (await store.query("SELECT count() FROM events")).rows == count.rows
    # One of other sites, or whose totals are discarded, holds up nothing.
    other = await jobs.create("hash", SiteScope(sites=("other.example",)), "ended", opted_out=False, follows="")
    await jobs.change(other, phase=ErasurePhase.BUILDS)
    job = await jobs.change(job, phase=ErasurePhase.LETTERS)
    assert await purge(store, sites, tmp_path, NOW)


async def test_an_erasure_that_was_broken_off_holds_up_no_site_without_totals(store: Store, tmp_path: Path) -> None:
    sites = Sites(store, SitesSection())
    await sites.put(Site(site_id=SITE, retention_days=10))
    events = [event for event in make_world(seed=3, sessions=50) if event.site_id == SITE]
    await insert_events(store, around(events, ("2025-03-29T00:00", "2025-03-30T12:00")), seed=4)
    jobs = ErasureJobs(store)
    job = await jobs.create("hash", SiteScope(), "ended", opted_out=False, follows="")
    await jobs.change(job, phase=ErasurePhase.BUILDS)
    assert await purge(store, sites, tmp_path, NOW)


async def test_an_erasure_waits_for_the_deletion_that_a_broken_off_purge_has_left(store: Store) -> None:
    """Else it would discard the kept totals of days whose events are gone a moment later."""
    events = [event for event in make_world(seed=3, sessions=300) if event.site_id == SITE]
    await insert_events(store, around(events, ("2025-03-29T00:00", "2025-03-30T12:00")), seed=4)
    answer = await store.query("SELECT any(user_id) FROM events WHERE user_id != ''")
    jobs = ErasureJobs(store)
    job = await jobs.create("hash", SiteScope(), "this", opted_out=False, follows="")
    await jobs.put_subject(job, str(answer.rows[0][0]))
    tables = ErasureTables(store, job.id, SiteScope(), cluster="")
    assert (await tables.collect(NEWEST)).removed["events"] > 0
    await store.command("SYSTEM STOP MERGES events")
    await store.command(f"ALTER TABLE events DELETE WHERE {DELETION_MARK} SETTINGS mutations_sync = 0")
    collecting = asyncio.create_task(tables.collect(NEWEST))
    await asyncio.sleep(0.3)
    assert not collecting.done()
    await store.command("SYSTEM START MERGES events")
    assert "events" not in (await collecting).removed


@asynccontextmanager
async def opened(server: RunningServer) -> AsyncIterator[Store]:
    """What a server that is stopped has stored."""
    store = make_store(Config(server=ServerSection(data_dir=str(server.data_dir))))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.timeout(300)
async def test_the_command_names_the_sites_that_wait_and_removes_what_is_too_old(tmp_path: Path) -> None:
    server = RunningServer(tmp_path)
    server.start()
    assert server.terminate() == 0
    site = Site(site_id=SITE, retention_days=10, rollup_retention_days=36_500)
    events = [event for event in make_world(seed=3, sessions=50) if event.site_id == SITE]
    async with opened(server) as store:
        await Sites(store, SitesSection()).put(site)
        await insert_events(store, around(events, ("2025-03-29T00:00", "2025-03-30T12:00")), seed=4)
        jobs = ErasureJobs(store)
        job = await jobs.create("hash", SiteScope(), "ended", opted_out=False, follows="")
        await jobs.change(job, phase=ErasurePhase.BUILDS)
    done = server.command("expire")
    assert (done.returncode, done.stdout) == (1, "0 rows removed.\n")
    assert f"Nothing was removed of {SITE}: " in done.stderr

    async with opened(server) as store:
        await Sites(store, SitesSection()).put(replace(site, rollup_retention_days=0))
    planned = server.command("expire", "--dry-run", "--json")
    done = server.command("expire", "--json")
    assert (done.returncode, done.stderr) == (0, "collect …\ndelete …\nrollups …\nbuilds …\n")
    (gone,) = msgspec.json.decode(done.stdout)
    assert msgspec.json.decode(planned.stdout) == [gone]
    assert (gone["site_id"], gone["rows"]["events"] > 0) == (SITE, True)
    async with opened(server) as store:
        assert (await store.query("SELECT count() FROM events")).rows == [(0,)]


async def days_of_totals(store: Store) -> list[str]:
    """Of which days there are totals, which is where builds are."""
    totals, builds = [
        [str(row[0]) for row in (await store.query(f"SELECT DISTINCT toString(day) FROM {table} ORDER BY 1")).rows]
        for table in ("day_totals", "day_builds")
    ]
    assert totals == builds
    return totals


async def test_a_server_looks_after_its_own_files_when_another_has_removed_a_site(store: Store, tmp_path: Path) -> None:
    sites, noted = Sites(store, SitesSection()), Noted()
    for site_id in (GONE, LEFT):
        await sites.put(Site(site_id=site_id))
    await sites.delete(GONE, erase=True)
    for name in ("one", "other"):
        put_beside(tmp_path / name)
        folders = tmp_path / name / "dead-letters", tmp_path / name / "wal" / "quarantine"
        removal = SiteRemoval(store, sites, letters=folders[0], quarantine=folders[1], recorder=noted, holder=name)
        assert await removal.remove()
        assert [rows_beside(folder) for folder in folders] == [[LEFT], [LEFT]]
    files = {"state": "done", "dead_letters": "1", "quarantined_segments": "1"}
    assert [entry.details for entry in noted.entries] == [{"state": "begun"}, files] * 2


async def test_a_removal_that_fails_again_and_again_is_told_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites, noted = Sites(store, SitesSection()), Noted()
    removal = SiteRemoval(
        store, sites, letters=tmp_path / "l", quarantine=tmp_path / "q", recorder=noted, holder="a test"
    )

    def refused(site_id: str) -> dict[str, int]:
        raise OSError("read-only")

    for _ in range(2):
        await sites.put(Site(site_id=GONE))
        await sites.delete(GONE, erase=True)
        with monkeypatch.context() as patch:
            patch.setattr(removal, "_clean_files", refused)
            for _ in range(3):
                with pytest.raises(OSError, match="read-only"):
                    await removal.remove()
        assert await removal.remove()
    assert [entry.details["state"] for entry in noted.entries] == ["begun", "done"] * 2


async def test_a_removal_that_another_server_ended_hides_no_later_one_of_the_site(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites, noted = Sites(store, SitesSection()), Noted()
    failing, other = (
        SiteRemoval(store, sites, letters=tmp_path / "l", quarantine=tmp_path / "q", recorder=noted, holder=name)
        for name in ("failing", "other")
    )

    def refused(site_id: str) -> dict[str, int]:
        raise OSError("read-only")

    await sites.put(Site(site_id=GONE))
    await sites.delete(GONE, erase=True)
    with monkeypatch.context() as patch:
        patch.setattr(failing, "_clean_files", refused)
        with pytest.raises(OSError, match="read-only"):
            await failing.remove()
    assert await other.remove()
    noted.entries.clear()
    await sites.put(Site(site_id=GONE))
    assert await failing.remove()  # it looks every second
    await sites.delete(GONE, erase=True)
    assert await failing.remove()
    assert [entry.details["state"] for entry in noted.entries] == ["begun", "done"]

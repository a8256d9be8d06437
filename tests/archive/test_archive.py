"""Days as files on a real store: together they hold exactly the events, each is written once, and faults are told."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.archive import service, whole_files
from analytics_server.archive.days import DAY, days_to_write, first_kept, last_complete
from analytics_server.archive.manifest import DayFile, file_name, site_directory
from analytics_server.archive.place import LEASE, ArchiveFailed
from analytics_server.model import COLUMN_INDEX
from analytics_server.query.language.time_range import midnight
from analytics_server.store.lease import Lease, leased
from tests.archive.directory import (
    DAYS,
    FIRST,
    LATER,
    ZONES,
    Archiving,
    duckdb,
    expected,
    local_day,
    made,
    read_by_duckdb,
)

COMPLETE_S = 48 * 3_600


async def test_the_files_of_all_days_hold_exactly_the_events(any_archiving: Archiving) -> None:
    archiving = any_archiving
    rows = made(1, 400)
    await archiving.place.insert(rows)

    assert await archiving.archive.run()

    assert read_by_duckdb(archiving.root) == expected(rows)
    manifests = archiving.manifests()
    assert manifests.keys() == ZONES.keys()
    for site_id, manifest in manifests.items():
        days = [file.date for file in manifest.files]
        own = [each for each in rows if each[COLUMN_INDEX["site_id"]] == site_id]
        assert days == [min(days) + timedelta(days=number) for number in range(len(days))]
        assert days[-1] == last_complete(LATER, ZoneInfo(ZONES[site_id]), 48)
        assert sum(file.events for file in manifest.files) == len(own)
        assert {file.time_zone for file in manifest.files} == {ZONES[site_id]}
    empty = manifests["plain"].by_date()[FIRST.date() + timedelta(days=2)]
    assert (empty.name, empty.bytes, empty.sha256, empty.events) == ("", 0, "", 0)
    assert archiving.left_over() == []
    entries = [entry for entry in archiving.noted.entries if entry.action == "archive"]
    assert {entry.site_id: entry.rows for entry in entries} == {
        site_id: sum(file.events for file in manifest.files) for site_id, manifest in manifests.items()
    }
    assert archiving.written() == sum(bool(file.name) for each in manifests.values() for file in each.files)

    # Asked again nothing is written: all is there.
    archiving.made()
    assert await archiving.archive.run()
    assert archiving.written() == 0
    assert archiving.manifests() == manifests

    # Late events: their day alone, and what was not complete before.
    late = made(2, 3, days=1)
    await archiving.place.insert(late)
    new = made(3, 30, first=LATER - timedelta(days=2), days=1)
    await archiving.place.insert(new)
    archiving.now = LATER + timedelta(days=4)
    archiving.made()
    assert await archiving.archive.run()
    assert read_by_duckdb(archiving.root) == expected([*rows, *late, *new])
    again = archiving.manifests()
    touched = {(each[COLUMN_INDEX["site_id"]], local_day(each)) for each in [*late, *new]}
    for site_id, manifest in manifests.items():
        for file in manifest.files:
            is_same = again[site_id].by_date()[file.date] == file
            assert is_same == ((site_id, file.date) not in touched), (site_id, file.date)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati"])
def test_a_day_is_complete_so_many_hours_after_its_end_and_not_before(zone: str) -> None:
    info = ZoneInfo(zone)
    day = date(2026, 3, 8)  # of 23 hours in New York
    end = midnight(day + DAY, info)
    for hours in (0, 1, 48, 8_760):
        at = end + timedelta(hours=hours)
        assert last_complete(at, info, hours) == day
        assert last_complete(at - timedelta(microseconds=1), info, hours) == day - DAY


@given(
    known=st.dictionaries(st.integers(0, 9), st.tuples(st.integers(0, 3), st.booleans(), st.booleans())),
    counts=st.dictionaries(st.integers(0, 9), st.integers(1, 3)),
    first=st.integers(-3, 12),
    last=st.integers(-3, 12),
    part=st.integers(0, 2),
)
def test_which_days_are_written(
    known: dict[int, tuple[int, bool, bool]], counts: dict[int, int], first: int, last: int, part: int
) -> None:
    def day(number: int) -> date:
        return date(2026, 1, 1) + timedelta(days=number)

    def file(number: int, events: int, is_other_zone: bool) -> DayFile:
        return DayFile(
            name=file_name(day(number)) if events else "",
            bytes=1,
            sha256="",
            written_at="",
            events=events,
            date=day(number),
            time_zone="UTC" if is_other_zone else "Asia/Tokyo",
        )

    moved = {number for number, (_, other, _) in known.items() if counts and other and number % 3 != part}
    found = days_to_write(
        {day(number): file(number, events, other) for number, (events, other, _) in known.items()},
        {day(number): events for number, events in counts.items()},
        zone="Asia/Tokyo",
        first=day(first),
        last=day(last),
        is_whole=lambda each: known[(each.date - day(0)).days][2],
        moved={day(number) for number in moved},
    )

    for number in range(-3, 13):
        events, other, whole = known.get(number, (-1, False, True))
        has = counts.get(number, 0)
        wanted = (
            bool(counts)
            and first <= number <= last
            and (number >= min(counts, default=99) or number in moved)
            and (other or has > events or (has == events > 0 and not whole))
        )
        assert (day(number) in found) == wanted
    assert found == sorted(found)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
def test_a_day_of_which_events_have_expired_is_not_written(zone: str) -> None:
    info, now = ZoneInfo(zone), datetime(2026, 3, 20, 5, tzinfo=UTC)
    cut = datetime(2026, 3, 10, tzinfo=UTC)

    first = first_kept(now, info, 10)

    assert midnight(first, info) >= cut > midnight(first - DAY, info)
    assert first_kept(now, info, 0) == date.min


async def test_faults_are_told_and_the_next_run_goes_on(archiving: Archiving, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = made(4, 60)
    await archiving.place.insert(rows)
    root, aside = archiving.root, archiving.root.with_name("aside")
    root.rename(aside)
    with pytest.raises(ArchiveFailed, match="directory is not there: make it, or mount it"):
        await archiving.archive.run()
    assert not root.exists()
    aside.rename(root)

    # A disk that is full while a day is written: what was begun is removed, and the other days are written.
    full = root / "site=plain" / "date=2026-03-05" / "events.parquet"
    part = full.with_name("full")
    full.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    new_part = whole_files.new_part
    monkeypatch.setattr(whole_files, "new_part", lambda path: part if path == full else new_part(path))
    with pytest.raises(ArchiveFailed, match=r"1 days .* 2026-03-05 of plain .* No space left on device"):
        await archiving.archive.run()
    monkeypatch.undo()
    assert not part.is_symlink()
    plain = archiving.manifests()["plain"]
    assert [each.date for each in plain.failed] == [FIRST.date()]
    assert FIRST.date() not in plain.by_date()
    assert len(plain.files) >= DAYS - 1
    assert archiving.registry.get_sample_value("archive_failures_total") == 3

    # A site that can't be read does not hold up the others.
    directory = site_directory(root, "müller.example")
    kept = (directory / "_manifest.json").read_bytes()
    (directory / "_manifest.json").write_bytes(b"{")
    with pytest.raises(ArchiveFailed, match="1 sites were not archived, müller"):
        await archiving.archive.run()
    (directory / "_manifest.json").write_bytes(kept)

    assert await archiving.archive.run()
    assert read_by_duckdb(root) == expected(rows)
    assert [manifest.failed for manifest in archiving.manifests().values()] == [()] * len(ZONES)
    assert archiving.left_over() == []


async def test_one_server_at_a_time_and_only_the_sites_that_are_named(archiving: Archiving) -> None:
    rows = made(5, 60)
    await archiving.place.insert(rows)
    async with leased(Lease(archiving.place.store, LEASE, holder="another server", ttl_s=60)) as taken:
        assert taken
        assert not await archiving.archive.run()
    assert archiving.manifests() == {}

    archiving.made(sites=("MÜLLER.example", "missing.example"))
    assert await archiving.archive.run()
    assert archiving.manifests().keys() == {"müller.example"}

    archiving.made(directory="")
    assert list(archiving.archive.daily()) == []


async def test_it_works_in_portions_and_lets_others_have_the_lease_between(
    archiving: Archiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = made(9, 80)
    await archiving.place.insert(rows)
    monkeypatch.setattr(service, "PORTION_S", 0.0)
    monkeypatch.setattr(service, "REST_S", 0.0)

    assert await archiving.archive.run()

    assert read_by_duckdb(archiving.root) == expected(rows)
    days = sum(len(manifest.files) for manifest in archiving.manifests().values())
    ((portions,),) = await archiving.place.rows("SELECT uniqExact(claim) FROM leases")
    assert portions >= days - len(ZONES)


async def test_expiry_takes_no_file_away_and_a_file_that_is_gone_is_written_again_while_its_events_are_there(
    archiving: Archiving,
) -> None:
    rows = made(6, 120)
    await archiving.place.insert(rows)
    assert await archiving.archive.run()
    before = archiving.manifests()
    half = (FIRST + timedelta(days=3)).date()
    store = archiving.place.store
    await store.command(f"ALTER TABLE events DELETE WHERE ts < '{half} 00:00:00' SETTINGS mutations_sync = 2")
    gone, kept = (
        site_directory(archiving.root, "plain") / file_name(day) for day in (FIRST.date(), half + timedelta(days=1))
    )
    gone.unlink()
    content = kept.read_bytes()
    kept.write_bytes(content[:-1])
    archiving.made()

    assert await archiving.archive.run()

    assert archiving.written() == 1
    assert kept.read_bytes() == content
    assert not gone.exists()
    days = before["plain"].by_date()
    days[half + timedelta(days=1)] = archiving_entry = _by_date(archiving, "plain")[half + timedelta(days=1)]
    assert archiving_entry.sha256 == before["plain"].by_date()[archiving_entry.date].sha256
    left = [each for each in expected(rows) if each[:2] != ("plain", FIRST.date().isoformat())]
    assert read_by_duckdb(archiving.root) == left


def _by_date(archiving: Archiving, site_id: str) -> dict[date, DayFile]:
    path = site_directory(archiving.root, site_id) / "_manifest.json"
    files = msgspec.json.decode(path.read_bytes())["files"]
    return {each.date: each for each in msgspec.convert(files, list[DayFile])}


async def test_of_expired_days_nothing_is_written_and_another_time_zone_makes_other_days(archiving: Archiving) -> None:
    rows = made(7, 200)
    await archiving.place.insert(rows)
    kept_days = (LATER.date() - FIRST.date()).days - 2

    def keep(site: object) -> object:
        assert isinstance(site, msgspec.Struct)
        return msgspec.structs.replace(site, retention_days=kept_days)

    for site_id in ZONES:
        await archiving.sites.change(site_id, keep)  # type: ignore[arg-type]
    assert await archiving.archive.run()
    cut = FIRST + timedelta(days=2)
    assert {site: manifest.files[0].date for site, manifest in archiving.manifests().items()} == {
        site: first_kept(LATER, ZoneInfo(zone), kept_days) for site, zone in ZONES.items()
    }
    assert all(midnight(day, ZoneInfo(ZONES[site])) >= cut for site, day in _first_days(archiving).items())

    await archiving.sites.change(
        "plain",
        lambda site: msgspec.structs.replace(site, retention_days=0, timezone="Asia/Kathmandu"),
    )
    archiving.made()
    assert await archiving.archive.run()
    files = archiving.manifests()["plain"].files
    assert {file.time_zone for file in files} == {"Asia/Kathmandu"}
    own = [each for each in rows if each[COLUMN_INDEX["site_id"]] == "plain"]
    assert sum(file.events for file in files) == len(own)
    assert len([each for each in read_by_duckdb(archiving.root) if each[0] == "plain"]) == len(own)


def _first_days(archiving: Archiving) -> dict[str, date]:
    return {site: manifest.files[0].date for site, manifest in archiving.manifests().items()}


async def test_what_a_profile_forbids_is_left_out(archiving: Archiving) -> None:
    await archiving.place.insert(made(8, 40, users=("anna", "ben")))
    await archiving.sites.change("plain", lambda site: msgspec.structs.replace(site, profile="fr-exempt"))

    assert await archiving.archive.run()

    described = {
        site: {name for name, *_ in _columns(site_directory(archiving.root, site))}
        for site in ("plain", "müller.example")
    }
    assert described["müller.example"] - described["plain"] >= {"user_id", "utm_source", "city"}


def _columns(directory: Path) -> list[list[str]]:
    return duckdb(f"DESCRIBE SELECT * FROM '{directory}/*/events.parquet'")


def test_a_site_s_directory_is_safe_and_tells_its_id() -> None:
    root = Path("/lake")
    names = {
        site: site_directory(root, site).name for site in ("example.com", "localhost:3000", "müller.example", "..")
    }

    assert names["example.com"] == "site=example.com"
    assert names["localhost:3000"] == "site=localhost%3A3000"
    assert names["müller.example"] == "site=m%C3%BCller.example"
    assert all(site_directory(root, site).parent == root for site in names)
    long = "文" * 128
    assert len(site_directory(root, long).name.encode()) < 255

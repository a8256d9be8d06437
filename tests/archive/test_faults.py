"""Days that become empty, can't be written or can't be read: nothing stays unnamed, nothing stops the rest."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest

from analytics_server.archive import service, whole_files, writer
from analytics_server.archive.manifest import MANIFEST, file_name, site_directories, site_directory
from analytics_server.archive.place import LEASE, ArchiveFailed
from analytics_server.archive.site_files import SiteFiles
from analytics_server.archive.whole_files import write_whole
from analytics_server.archive.writer import LeaseLost
from analytics_server.doctor.directories import ArchiveCheck
from analytics_server.model import Row
from analytics_server.store.lease import Lease
from tests.archive.directory import Archiving, duckdb
from tests.ingest.rows import row

PLAIN, OTHER = "plain", "müller.example"
RNG = random.Random(7)


def at(day: int, hour: int, user: str, site: str = PLAIN) -> Row:
    """An event of March 2026."""
    us = int(datetime(2026, 3, day, hour, tzinfo=UTC).timestamp()) * 1_000_000
    event_id = UUID(int=RNG.getrandbits(128), version=4).bytes
    return row(site_id=site, ts=us, session_start=us, session_id=user, event_id=event_id, user_id=user, path="/")


async def erase(archiving: Archiving, where: str = "user_id = 'anna'") -> None:
    await archiving.place.store.command(f"ALTER TABLE events DELETE WHERE {where} SETTINGS mutations_sync = 2")


async def set_zone(archiving: Archiving, zone: str) -> None:
    await archiving.sites.change(PLAIN, lambda site: msgspec.structs.replace(site, timezone=zone))


def on_disk(archiving: Archiving, site: str = PLAIN) -> list[str]:
    """Days of which a reader of the directory sees a file."""
    found = site_directory(archiving.root, site).glob("date=*/events.parquet")
    return sorted(path.parent.name.removeprefix("date=") for path in found)


def users(archiving: Archiving) -> list[tuple[str, str]]:
    """Date and user of each event, as by any reader."""
    files = f"read_parquet('{archiving.root}/*/*/*.parquet', hive_partitioning = true)"
    return [(day[:10], user) for day, user in duckdb(f"SELECT date, user_id FROM {files} ORDER BY ALL")]


def everything(_: str) -> bool:
    return True


async def checked(archiving: Archiving) -> tuple[str, str]:
    config = archiving.place.config
    export = msgspec.structs.replace(config.export, directory=str(archiving.root))
    found = await ArchiveCheck(msgspec.structs.replace(config, export=export)).examine()
    return found.status, found.message


async def test_the_file_of_a_day_that_became_empty_is_gone(archiving: Archiving) -> None:
    await archiving.place.insert([at(5, 12, "ben"), at(6, 20, "anna")])
    await set_zone(archiving, "Asia/Tokyo")
    assert await archiving.made().run()
    assert on_disk(archiving) == ["2026-03-05", "2026-03-07"]

    await set_zone(archiving, "UTC")
    assert await archiving.made().run()
    assert users(archiving) == [("2026-03-05", "ben"), ("2026-03-06", "anna")]

    await erase(archiving)
    await archiving.archive.rewrite({(PLAIN, date(2026, 3, 6)): [1]})
    assert users(archiving) == [("2026-03-05", "ben")]
    assert await archiving.archive.unsearched(everything) == []

    # As a crash between the manifest and the removal leaves it: not seen as well, and removed by the next run.
    orphan = site_directory(archiving.root, PLAIN) / file_name(date(2026, 3, 6))
    orphan.write_bytes((orphan.parents[1] / file_name(date(2026, 3, 5))).read_bytes())
    named = "1 archived files that no manifest names of plain from 2026-03-06 to 2026-03-06"
    assert await archiving.archive.unsearched(everything) == [named]
    assert (await checked(archiving))[0] == "warning"
    assert "site=plain/date=2026-03-06/events.parquet" in (await checked(archiving))[1]
    assert await archiving.made().run()
    assert on_disk(archiving) == ["2026-03-05"]
    assert (await checked(archiving))[0] == "ok"


async def test_a_day_of_the_zone_of_before_is_not_counted_twice(archiving: Archiving) -> None:
    await archiving.place.insert([at(4, 20, "anna"), at(4, 21, "ben"), at(5, 20, "anna"), at(7, 12, "ben")])
    assert await archiving.made().run()
    await set_zone(archiving, "Asia/Tokyo")
    assert await archiving.made().run()
    moved = [("2026-03-05", "anna"), ("2026-03-05", "ben"), ("2026-03-06", "anna"), ("2026-03-07", "ben")]
    assert users(archiving) == moved
    assert on_disk(archiving) == ["2026-03-05", "2026-03-06", "2026-03-07"]
    assert await archiving.archive.unsearched(everything) == []

    # Of a day whose events are not all there any more the file stays: it is all that is left of them.
    await set_zone(archiving, "Pacific/Honolulu")
    assert await archiving.made().run()
    await erase(archiving, "ts = '2026-03-04 21:00:00'")
    assert on_disk(archiving)[0] == "2026-03-04"
    await set_zone(archiving, "Asia/Tokyo")
    assert await archiving.made().run()
    assert ("2026-03-04", "ben") in users(archiving)
    assert await archiving.archive.unsearched(everything) == ["1 archived days of plain from 2026-03-04 to 2026-03-04"]


async def test_a_file_that_was_never_named_is_told_once_its_events_are_gone(archiving: Archiving) -> None:
    await archiving.place.insert([at(5, 12, "anna"), at(6, 12, "ben")])
    assert await archiving.archive.run()
    directory = site_directory(archiving.root, PLAIN)
    manifest = msgspec.json.decode((directory / MANIFEST).read_bytes())
    manifest["files"] = manifest["files"][1:]
    (directory / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    await erase(archiving)

    assert await archiving.made().run()

    assert on_disk(archiving) == ["2026-03-05", "2026-03-06"]
    (told,) = await archiving.archive.unsearched(everything)
    assert told == "1 archived files that no manifest names of plain from 2026-03-05 to 2026-03-05"
    (directory / MANIFEST).unlink()
    (told,) = await archiving.archive.unsearched(everything)
    assert told == "2 archived files that no manifest names of plain from 2026-03-05 to 2026-03-06"


async def test_what_is_deleted_while_its_day_is_written_is_in_no_file(
    archiving: Archiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archiving.place.insert([at(5, 12, "ben"), at(6, 12, "anna"), at(6, 13, "ben"), at(7, 12, "anna")])
    real = whole_files.write_whole

    async def deleting(path: Path, pieces: AsyncIterator[bytes], **named: object) -> object:
        async def then_deleted() -> AsyncIterator[bytes]:
            async for piece in pieces:
                yield piece
            await erase(archiving)

        return await real(path, then_deleted(), **named)  # type: ignore[arg-type]

    monkeypatch.setattr(writer, "write_whole", deleting)
    assert await archiving.made(sites=(PLAIN,)).run()

    assert users(archiving) == [("2026-03-05", "ben"), ("2026-03-06", "ben")]
    assert await archiving.archive.unsearched(everything) == []
    assert archiving.left_over() == []


async def test_a_day_that_can_t_be_written_holds_up_neither_other_days_nor_an_erasure(
    archiving: Archiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = (5, 6, 7)
    await archiving.place.insert([at(day, hour, user) for day in days for hour, user in ((1, "anna"), (2, "ben"))])
    blocked = site_directory(archiving.root, PLAIN) / "date=2026-03-05"
    blocked.parent.mkdir()
    blocked.write_bytes(b"")
    monkeypatch.setattr(service, "PORTION_S", 0.0)
    monkeypatch.setattr(service, "REST_S", 0.0)
    for _ in range(2):
        with pytest.raises(ArchiveFailed, match="1 days were not archived, 2026-03-05 of plain first: archive_failed"):
            await archiving.made(sites=(PLAIN,)).run()
        assert archiving.registry.get_sample_value("archive_failures_total") == 2  # the day, and the run
        assert on_disk(archiving) == ["2026-03-06", "2026-03-07"]
    status, message = await checked(archiving)
    assert status == "warning"
    assert message.startswith("1 day could not be written, 2026-03-05 of plain (archive_failed: ")
    blocked.unlink()
    assert await archiving.made(sites=(PLAIN,)).run()
    assert on_disk(archiving) == [f"2026-03-0{day}" for day in days]
    assert (await checked(archiving))[0] == "ok"

    # An erasure: the other days are written again, and this one is named until it could be.
    file = blocked / "events.parquet"
    kept = file.with_name("kept")
    file.rename(kept)
    (file / "in the way").mkdir(parents=True)
    await erase(archiving)
    await archiving.archive.rewrite({(PLAIN, date(2026, 3, day)): [1] for day in days})
    assert await archiving.archive.unsearched(everything) == ["1 archived days of plain from 2026-03-05 to 2026-03-05"]
    (file / "in the way").rmdir()
    file.rmdir()
    kept.rename(file)
    assert [user for day, user in users(archiving) if day != "2026-03-05"] == ["ben", "ben"]
    assert await archiving.made(sites=(PLAIN,)).run()
    assert {user for _, user in users(archiving)} == {"ben"}
    assert await archiving.archive.unsearched(everything) == []


async def test_a_file_stays_and_is_named_where_the_server_had_another_number_of_its_events(
    archiving: Archiving,
) -> None:
    await archiving.place.insert([at(day, hour, "ben") for day in (5, 6, 7) for hour in (1, 2)])
    await archiving.place.insert([at(day, 3, "anna") for day in (5, 6, 7)])
    assert await archiving.made(sites=(PLAIN,)).run()
    await archiving.place.insert([at(6, 4, "anna")])  # one came late
    await erase(archiving, "user_id = 'anna' OR ts = '2026-03-05 01:00:00'")  # and one of another is lost

    for _ in range(2):  # as after a crash as well
        await archiving.archive.rewrite({(PLAIN, date(2026, 3, day)): [2 if day == 6 else 1] for day in (5, 6, 7)})

        assert users(archiving).count(("2026-03-05", "ben")) == users(archiving).count(("2026-03-06", "ben")) == 2
        assert ("2026-03-07", "anna") not in users(archiving)
        named = "2 archived days of plain from 2026-03-05 to 2026-03-06"
        assert await archiving.archive.unsearched(everything) == [named]


@pytest.mark.parametrize("fault", ["damaged", "no file", "no directory"])
async def test_a_manifest_that_can_t_be_read_concerns_its_own_site_alone(archiving: Archiving, fault: str) -> None:
    await archiving.place.insert([at(5, 12, user, site) for site in (PLAIN, OTHER) for user in ("anna", "ben")])
    assert await archiving.archive.run()
    directory = site_directory(archiving.root, OTHER)  # the first of the two
    manifest = directory / MANIFEST
    manifest.unlink()
    if fault == "damaged":
        manifest.write_bytes(b"{")
    elif fault == "no file":
        manifest.mkdir()
    else:
        directory.rename(archiving.root / "away")
        directory.write_bytes(b"")
    await archiving.place.insert([at(6, 12, "ben")])
    archive = archiving.made()
    archive._chosen = lambda: [OTHER, PLAIN]  # type: ignore[method-assign]
    with pytest.raises(ArchiveFailed, match=r"1 sites were not archived, müller\.example first"):
        await archive.run()
    assert on_disk(archiving) == ["2026-03-05", "2026-03-06"]
    await erase(archiving)

    zone = ZoneInfo("Asia/Kathmandu")
    day = datetime(2026, 3, 5, 12, tzinfo=UTC).astimezone(zone).date()
    await archiving.archive.rewrite({(PLAIN, date(2026, 3, 5)): [1], (OTHER, day): [1]})

    assert await archiving.archive.unsearched(lambda site: site == PLAIN) == []
    (told,) = await archiving.archive.unsearched(everything)
    assert told == "archived days of müller.example, whose manifest can't be read"
    left = {user for (user,) in duckdb(f"SELECT user_id FROM '{archiving.root}/site=plain/*/*.parquet'")}
    assert left == {"ben"}
    status, message = await checked(archiving)
    assert status == "error"
    assert directory.name in message


def test_sites_are_told_by_their_directories(tmp_path: Path) -> None:
    long, unknown = "文" * 100, "字" * 100
    for site_id in ("localhost:3000", OTHER, long, unknown):
        site_directory(tmp_path, site_id).mkdir()
    hashed = site_directory(tmp_path, unknown).name.removeprefix("site=")

    found = site_directories(tmp_path, [long])

    assert found == {site_id: site_directory(tmp_path, site_id) for site_id in ("localhost:3000", OTHER, long)} | {
        hashed: site_directory(tmp_path, unknown)
    }
    (site_directory(tmp_path, unknown) / MANIFEST).write_bytes(msgspec.json.encode({"site_id": unknown}))
    assert unknown in site_directories(tmp_path)


async def test_two_writers_of_a_file_mix_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"A" * (1 << 20)
        begun.set()
        await go_on.wait()
        yield b"A" * (1 << 20)

    async def fast() -> AsyncIterator[bytes]:
        yield b"B" * 100

    first = asyncio.create_task(write_whole(path, slow()))
    await begun.wait()
    second = await write_whole(path, fast())
    assert second is not None
    assert (second[0], path.read_bytes()) == (100, b"B" * 100)
    go_on.set()
    written = await first
    assert written is not None
    assert (written[0], set(path.read_bytes())) == (2 << 20, set(b"A"))
    assert [each.name for each in os.scandir(tmp_path)] == [path.name]


async def test_a_writer_that_lost_the_lease_within_a_file_leaves_what_is_there(archiving: Archiving) -> None:
    await archiving.place.insert([at(5, 12, "ben")])
    assert await archiving.made(sites=(PLAIN,)).run()
    directory = site_directory(archiving.root, PLAIN)
    before = {path: path.stat().st_ino for path in directory.rglob("*") if path.is_file()}
    files = await SiteFiles.read(archiving.root, PLAIN)

    with pytest.raises(LeaseLost):
        await archiving.archive._writer.write(
            files, date(2026, 3, 5), ZoneInfo("UTC"), is_held=lambda: False, again=True
        )

    assert {path: path.stat().st_ino for path in directory.rglob("*") if path.is_file()} == before
    stale = directory / "date=2026-03-05" / ".events.parquet.0123456789ab.part"
    stale.write_bytes(b"begun")
    assert await archiving.made(sites=(PLAIN,)).run()
    assert not stale.exists()


async def test_a_failure_is_told_though_another_server_goes_on(
    archiving: Archiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archiving.place.insert([at(5, 12, "ben", site) for site in (PLAIN, OTHER)])
    directory = site_directory(archiving.root, OTHER)
    directory.mkdir()
    (directory / MANIFEST).write_bytes(b"{")
    monkeypatch.setattr(service, "PORTION_S", 0.0)
    monkeypatch.setattr(service, "REST_S", 0.0)
    archive = archiving.made(sites=(OTHER, PLAIN))
    archive._chosen = lambda: [OTHER, PLAIN]  # type: ignore[method-assign]
    other = Lease(archiving.place.store, LEASE, holder="another server", ttl_s=60)
    portion = archive._portion

    async def then_taken(run: service._Run) -> bool:
        is_ours = await portion(run)
        await other.take()
        return is_ours

    monkeypatch.setattr(archive, "_portion", then_taken)
    with pytest.raises(ArchiveFailed, match=r"1 sites were not archived, müller\.example first"):
        await archive.run()
    await other.release()

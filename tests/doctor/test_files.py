"""The checks of files: each kind of damage to the log is found, mended where it can be, and costs no good frame."""

from __future__ import annotations

import fcntl
import os
from datetime import date
from pathlib import Path

import msgspec
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from analytics_server.archive.manifest import MANIFEST, DayFile, SiteManifest, file_name, site_directory
from analytics_server.archive.whole_files import write_manifest
from analytics_server.audit.seals import SealKeyFile, Seals
from analytics_server.batch_ids import is_historic
from analytics_server.config import IngestSection
from analytics_server.doctor.directories import ArchiveCheck, SealKeyCheck
from analytics_server.doctor.environment import GEO_OLD_S, GeoCheck, VersionsCheck
from analytics_server.doctor.lock import DirectoryLock
from analytics_server.doctor.report import Finding
from analytics_server.doctor.set_aside import DeadLettersCheck, QuarantineCheck
from analytics_server.doctor.wal import DiskCheck, WalCheck, segments
from analytics_server.ingest.flush.dead_letters import Cause, write_rows
from analytics_server.ingest.wal.recovery import LOCK
from tests.doctor.place import Place, events, segment_bytes


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """A place whose files alone are looked at."""
    made = Place(tmp_path / "data", f"chdb://{tmp_path}/never-opened", "unused")
    made.wal_dir.mkdir(parents=True)
    (made.wal_dir / LOCK).touch()
    return made


def put(here: Place, *, groups: int = 3, age_s: float = 60.0) -> Path:
    batch_id = here.batch_id(age_s)
    path = here.wal_dir / f"{batch_id:020d}.wal"
    path.write_bytes(segment_bytes([events(number, 4) for number in range(groups)], batch_id))
    return path


def check(here: Place, lock: DirectoryLock | None = None) -> WalCheck:
    return WalCheck(here.config, lock or DirectoryLock(here.wal_dir), here.clock(), lambda what, done, total: None)


async def wal(here: Place) -> Finding:
    return await check(here).examine()


async def mended(here: Place) -> tuple[str, Finding]:
    """What a repair did, and what is found then."""
    mending = check(here)
    await mending.examine()
    return await mending.repair(), await wal(here)


async def test_a_place_without_a_log_is_well(tmp_path: Path) -> None:
    bare = Place(tmp_path, "chdb:///x", "unused")

    assert (await wal(bare)).status == "ok"
    assert await mended(bare) == ("", await wal(bare))


async def test_an_empty_log_is_well(here: Place) -> None:
    assert (await wal(here)).message == "No server is running; the log is empty."


async def test_what_waits_without_a_server_is_told(here: Place) -> None:
    put(here, age_s=3 * 3_600)
    put(here)
    found = await wal(here)

    assert found.status == "warning"
    assert (found.facts["segments"], found.facts["events"], found.facts["damaged_segments"]) == (2, 24, [])
    assert "2 WAL segments with 24 events" in found.message
    assert "the oldest for 3 h" in found.message
    done, after = await mended(here)
    assert done == ""
    assert after.facts["events"] == 24


async def test_a_torn_end_is_harmless_and_cut_off(here: Place) -> None:
    put(here)
    path = put(here)
    whole = path.read_bytes()
    path.write_bytes(whole + b"\x99" * 21)
    found = await wal(here)
    done, after = await mended(here)

    assert (found.status, found.facts["torn_bytes"]) == ("warning", 21)
    assert done == "cut off the torn end"
    assert (after.facts["torn_bytes"], after.facts["events"]) == (0, 24)
    assert path.read_bytes() == whole


async def test_a_torn_end_of_the_segment_of_past_months_is_cut_off_too(here: Place) -> None:
    path = put(here)
    put(here)
    whole = path.read_bytes()
    path.write_bytes(whole + b"\x99" * 21)
    done, after = await mended(here)

    assert is_historic(int(path.stem))
    assert done == "cut off the torn end"
    assert (after.facts["torn_bytes"], after.facts["events"]) == (0, 24)
    assert path.read_bytes() == whole


async def test_a_flipped_bit_costs_its_frame_only(here: Place) -> None:
    path = put(here)
    put(here)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    found = await wal(here)
    done, after = await mended(here)

    assert (found.status, found.facts["damaged_segments"]) == ("error", [path.name])
    assert path.name in found.message
    assert done == "rewrote 1 damaged segment with the good frames"
    assert (after.status, after.facts["damaged_segments"], after.facts["events"]) == ("warning", [], 20)
    assert (here.wal_dir / "quarantine" / path.name).read_bytes() == content
    assert segments(here.wal_dir)[0].batch_id == int(path.stem)
    assert os.stat(path).st_mode & 0o777 == 0o600


async def test_a_segment_without_a_head_is_put_aside(here: Place) -> None:
    path = put(here)
    content = b"XXXX" + path.read_bytes()[4:]
    path.write_bytes(content)
    found = await wal(here)
    done, after = await mended(here)

    assert found.status == "error"
    assert done == "put 1 unreadable segment aside"
    assert (after.status, after.facts["segments"]) == ("ok", 0)
    assert (here.wal_dir / "quarantine" / path.name).read_bytes() == content


async def test_a_running_server_is_seen_and_its_files_are_left_alone(here: Place) -> None:
    path = put(here)
    growing = path.read_bytes() + b"\x99" * 9
    path.write_bytes(growing)
    with (here.wal_dir / LOCK).open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        lock = DirectoryLock(here.wal_dir)
        lock.take(keep=True)
        looking = check(here, lock)
        found = await looking.examine()

        assert lock.busy
        assert found.status == "ok"
        assert found.message.startswith("A server is running")
        assert await looking.repair() == ""
        assert path.read_bytes() == growing
    put(here, age_s=3_600)
    late = await looking.examine()
    assert (late.status, "wait for ClickHouse" in late.message) == ("warning", True)


async def test_the_lock_is_held_for_as_long_as_it_is_kept(here: Place) -> None:
    one, other = DirectoryLock(here.wal_dir), DirectoryLock(here.wal_dir)
    one.take(keep=True)
    other.take(keep=True)
    assert (one.busy, other.busy) == (False, True)
    one.release()
    again = DirectoryLock(here.wal_dir)
    again.take(keep=False)
    assert not again.busy
    (here.wal_dir / LOCK).unlink()
    again.take(keep=True)
    assert not (here.wal_dir / LOCK).exists()


async def test_a_log_near_its_limit_is_an_error(here: Place) -> None:
    path = put(here)
    path.write_bytes(path.read_bytes() + bytes(900_000))
    here.config = msgspec.structs.replace(here.config, ingest=IngestSection(wal_max_mb=1))

    assert "wal_max_mb" in (await wal(here)).message


@pytest.mark.parametrize(("least_mb", "status"), [(0, "ok"), (10**9, "error")])
async def test_free_space_is_held_against_the_low_water_mark(here: Place, least_mb: int, status: str) -> None:
    config = msgspec.structs.replace(here.config, ingest=IngestSection(wal_min_free_mb=least_mb))
    found = await DiskCheck(config).examine()

    assert found.facts["free_bytes"]
    assert found.status == status or (status == "ok" and found.facts["free_bytes"] < found.facts["total_bytes"] / 20)  # type: ignore[operator]


async def test_what_was_set_aside_is_counted(here: Place) -> None:
    directory = here.wal_dir / "quarantine"
    assert (await QuarantineCheck(directory).examine()).status == "ok"
    directory.mkdir()
    put(here).rename(directory / "1.wal")
    (directory / "2.wal").write_bytes(b"broken")
    found = await QuarantineCheck(directory).examine()

    assert (found.status, found.facts["files"], found.facts["events"]) == ("warning", 2, 12)


async def test_dead_letters_are_counted_with_their_reasons(here: Place) -> None:
    directory = here.config.data_dir / "dead-letters"
    assert (await DeadLettersCheck(directory).examine()).status == "ok"
    cause = Cause(error="StoreFatal", engine_code=53)
    rows = events(1, 3)
    write_rows(directory, here.batch_id(60), 40, {1: cause, 2: cause, 7: cause}, rows, here.clock())
    put(here).rename(directory / "1.wal")
    found = await DeadLettersCheck(directory).examine()

    assert (found.status, found.facts["letters"], found.facts["events"]) == ("warning", 2, 15)
    assert "3: ClickHouse refused them" in found.message


async def test_the_geo_file_is_read_and_its_age_told(here: Place, tmp_path: Path) -> None:
    path = tmp_path / "c.mmdb"
    writer = MMDBWriter(4, "Test-Country")
    writer.insert_network(IPSet(["192.0.2.0/24"]), {"country": {"iso_code": "SE"}})
    writer.to_db_file(str(path))
    here.set_geo(path)
    now = here.clock()

    assert (await GeoCheck(here.config, now).examine()).status == "ok"
    old = await GeoCheck(here.config, now + GEO_OLD_S + 86_400).examine()
    assert (old.status, old.facts["type"], old.facts["age_days"]) == ("warning", "Test-Country", 61)
    path.write_bytes(b"no database")
    broken = await GeoCheck(here.config, now).examine()
    assert (broken.status, "no usable mmdb file" in broken.message) == ("error", True)
    path.unlink()
    assert "can't be read" in (await GeoCheck(here.config, now).examine()).message


async def test_the_directory_of_archived_days_is_looked_at(
    here: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found() -> Finding:
        return await ArchiveCheck(here.config).examine()

    assert ((await found()).status, (await found()).facts) == ("ok", {})
    lake = tmp_path / "lake"
    here.set_archive(lake)
    assert ((await found()).status, "is not there" in (await found()).message) == ("error", True)
    directory = site_directory(lake, "localhost:3000")
    written = directory / file_name(date(2026, 3, 5))
    written.parent.mkdir(parents=True)
    written.write_bytes(b"PAR1")
    about = {"sha256": "", "written_at": "", "time_zone": "UTC"}
    files = (
        DayFile(name=file_name(date(2026, 3, 5)), bytes=4, events=1, date=date(2026, 3, 5), **about),
        DayFile(name="", bytes=0, events=0, date=date(2026, 3, 6), **about),
    )
    write_manifest(directory / MANIFEST, SiteManifest(site_id="localhost:3000", files=files))
    sound = await found()
    assert (sound.status, sound.facts) == ("ok", {"sites": 1, "files": 1, "bytes": 4, "last": "2026-03-06"})
    written.write_bytes(b"PAR")
    broken = await found()
    assert (broken.status, broken.facts["broken"]) == ("warning", [str(written.relative_to(lake))])
    (directory / MANIFEST).write_bytes(b"[")
    assert ((await found()).status, "can't be read" in (await found()).message) == ("error", True)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root
    assert ((await found()).status, "can't be written" in (await found()).message) == ("error", True)


async def test_versions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await VersionsCheck(needs_engine=True).examine()
    assert found.status == "ok"
    assert found.facts["msgspec"] == msgspec.__version__
    monkeypatch.setattr("analytics_server.doctor.environment.LIBRARIES", ("aiohttp", "no-such-library"))
    lacking = await VersionsCheck(needs_engine=False).examine()
    assert (lacking.status, "no-such-library" in lacking.message) == ("error", True)


@pytest.mark.parametrize("content", [b"", b"AWAL", bytes(512), b"foreign"])
async def test_an_empty_or_foreign_segment_is_an_error_before_a_start_and_named_after_it(
    here: Place, content: bytes
) -> None:
    stranger, good = put(here, age_s=90), put(here)
    stranger.write_bytes(content)

    finding = await wal(here)
    done, after = await mended(here)
    kept = await QuarantineCheck(here.wal_dir / "quarantine").examine()

    assert (finding.status, finding.facts["damaged_segments"]) == ("error", [stranger.name])
    assert done == "put 1 unreadable segment aside"
    assert (after.facts["damaged_segments"], after.facts["segments"], good.exists()) == ([], 1, True)
    assert (kept.status, kept.facts["names"], kept.facts["without_events"]) == (
        "warning",
        [stranger.name],
        [stranger.name],
    )
    assert stranger.name in kept.message


async def test_an_older_segment_without_events_is_an_error(here: Place) -> None:
    stranger, _ = put(here, groups=0, age_s=90), put(here, groups=1)
    put(here)  # of the other kind: segments of past months are open beside recent ones

    finding = await wal(here)
    done, _ = await mended(here)

    assert (finding.status, finding.facts["damaged_segments"]) == ("error", [stranger.name])
    assert done == "put 1 unreadable segment aside"


async def test_files_that_are_no_part_of_the_log_are_a_warning(here: Place) -> None:
    path = put(here)
    path.rename(path.with_suffix(".wal.old"))

    finding = await wal(here)

    assert (finding.status, finding.facts["foreign_files"]) == ("warning", [f"{path.stem}.wal.old"])


async def test_the_key_of_the_audit_logs_seals_is_for_the_servers_user_alone(here: Place) -> None:
    check, file = SealKeyCheck(here.config), SealKeyFile(here.config.data_dir)
    assert ((await check.examine()).status, await check.repair()) == ("ok", "")
    file.make(Seals())
    assert ((await check.examine()).status, await check.repair()) == ("ok", "")
    for mode in (0o640, 0o604, 0o601):
        file.path.chmod(mode)
        found = await check.examine()
        assert (found.status, found.facts) == ("warning", {"mode": f"{mode:o}"})
        assert await check.repair() == "closed the key of the audit log's seals to other users"
        assert (await check.examine()).status == "ok"

    file.path.write_bytes(b"{")
    assert (await check.examine()).status == "error"
    file.path.unlink()
    file.path.mkdir()
    found = await check.examine()
    assert (found.status, await check.repair()) == ("error", "")
    assert "seal_key.json" in found.message

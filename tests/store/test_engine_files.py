"""What can be wrong with the engine's files is one sentence with path and remedy, before it opens them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analytics_server.errors import AnalyticsError
from analytics_server.store.engines.engine_files import DatabaseLost, EngineFilesError, examine, set_database_aside
from analytics_server.store.errors_map import plain

DATABASE_UUID = "d546bd6c-3171-4f12-8c6e-06999ddbf4c8"
TABLE_UUID = "68e59a2b-eb87-4caf-9642-c8a588a5943b"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The engine's directory, with a database of one table with one part."""
    directory = tmp_path / "clickhouse"
    tables = directory / "store" / DATABASE_UUID[:3] / DATABASE_UUID
    table = directory / "store" / TABLE_UUID[:3] / TABLE_UUID
    (table / "202611_1_1_0").mkdir(parents=True)
    tables.mkdir(parents=True)
    (tables / "events.sql").write_text(f"ATTACH TABLE _ UUID '{TABLE_UUID}' (x UInt8) ENGINE = MergeTree ORDER BY x")
    (directory / "metadata").mkdir()
    (directory / "metadata" / "analytics.sql").write_text(f"ATTACH DATABASE _ UUID '{DATABASE_UUID}'\nENGINE = Atomic")
    (directory / "data" / "analytics").mkdir(parents=True)
    (directory / "data" / "analytics" / "events").symlink_to(table)
    return directory


def tables(files: Path) -> Path:
    return files / "store" / DATABASE_UUID[:3] / DATABASE_UUID


def test_sound_files_new_ones_and_none_are_well(files: Path, tmp_path: Path) -> None:
    examine(files, "analytics")
    examine(tmp_path / "nothing", "analytics")
    (tmp_path / "empty").mkdir()
    examine(tmp_path / "empty", "analytics")
    examine(files, "another_database")


def put_file(path: Path) -> None:
    """A file where a directory was."""
    shutil.rmtree(path)
    path.write_text("")


def put_dangling_link(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to(path.with_name("nowhere"))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "the database's file": (lambda files: (files / "metadata" / "analytics.sql").unlink(), "analytics.sql is missing"),
    "all metadata": (lambda files: shutil.rmtree(files / "metadata"), "analytics.sql is missing"),
    "an emptied database's file": (lambda files: os.truncate(files / "metadata" / "analytics.sql", 0), "is empty"),
    "a table's file": (lambda files: (tables(files) / "events.sql").unlink(), "table events is missing"),
    "an emptied table's file": (lambda files: os.truncate(tables(files) / "events.sql", 0), "is empty"),
    "zeroes": (lambda files: (tables(files) / "events.sql").write_bytes(bytes(300)), "is empty"),
    "noise": (lambda files: (tables(files) / "events.sql").write_bytes(b"\xff\xfe" * 100), "is damaged"),
    "all tables' files": (lambda files: shutil.rmtree(tables(files)), "table events is missing"),
    "metadata that is a file": (lambda files: put_file(files / "metadata"), "is no directory"),
    "a file": (put_file, "is no directory"),
    "a dangling link": (put_dangling_link, "is no directory"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_missing_or_damaged_is_named(damage: str, files: Path) -> None:
    do, said = DAMAGE[damage]
    do(files)

    with pytest.raises(EngineFilesError) as failure:
        examine(files, "analytics")

    assert said in failure.value.message
    assert str(files) in failure.value.message
    assert len(failure.value.message) < 600
    assert isinstance(failure.value, DatabaseLost) == (said == "analytics.sql is missing")


def test_a_database_can_be_set_aside(files: Path) -> None:
    target = set_database_aside(files)

    assert (target / "metadata" / "analytics.sql").exists()
    examine(files, "analytics")


def test_a_dropped_table_is_not_lost_data(files: Path) -> None:
    (files / "metadata_dropped").mkdir()
    (tables(files) / "events.sql").rename(files / "metadata_dropped" / f"analytics.events.{TABLE_UUID}.sql")
    (files / "data" / "analytics" / "events").unlink()
    (files / "metadata" / "analytics.sql").unlink()

    examine(files, "analytics")


@pytest.fixture
def read_only(files: Path) -> Iterator[Path]:
    """Not writable, for root too where it may mount."""
    bound = not subprocess.run(["mount", "--bind", str(files), str(files)], capture_output=True, check=False).returncode
    if bound:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(files)], check=True)
    else:
        files.chmod(0o500)
    yield files
    if bound:
        subprocess.run(["umount", "--lazy", str(files)], check=True)
    else:
        files.chmod(0o700)


def test_a_directory_that_can_not_be_written_is_named(read_only: Path) -> None:
    with pytest.raises(AnalyticsError, match=r"clickhouse can't be read and written by this server\. Make it"):
        examine(read_only, "analytics")


def test_files_of_another_user_say_whose_they_are(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = files.stat().st_uid
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(os, "geteuid", lambda: owner + 7)

    with pytest.raises(EngineFilesError, match=f"belongs to user {owner}, and the server runs as user {owner + 7}"):
        examine(files, "analytics")


def test_the_engines_words_are_made_plain() -> None:
    text = (
        "Code: 1001. DB::Exception: std::__1::filesystem::filesystem_error: filesystem error: in create_directories: "
        'File exists ["/x/metadata"]. (STD_EXCEPTION) (version 26.5.1.1). Stack trace: 0. DB::Exception::Exception(...)'
    )

    assert plain(text) == 'filesystem error: in create_directories: File exists ["/x/metadata"]. (STD_EXCEPTION)'

"""Directories are told apart by ids: those that are left behind are named, and no mount point is filled."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import msgspec
import pytest

from analytics_server.archive.place import ArchiveFailed
from analytics_server.archive.roots import ROOT_FILE, ArchiveRoots, RootUnknown, read_root
from analytics_server.archive.service import Archive
from tests.archive.directory import Archiving
from tests.archive.test_faults import OTHER, PLAIN, at, erase, everything, users


def id_of(archiving: Archiving) -> str:
    found = read_root(archiving.root)
    assert found
    return found


def moved(archiving: Archiving, name: str) -> Archive:
    """The archive with another directory."""
    archiving.root = archiving.root.with_name(name)
    archiving.root.mkdir(exist_ok=True)
    return archiving.made()


async def test_directories_that_are_left_behind_are_named_until_they_are_forgotten(archiving: Archiving) -> None:
    store = archiving.place.store
    await archiving.place.insert([at(5, hour, user) for hour, user in ((1, "anna"), (2, "ben"))])
    await archiving.place.insert([at(5, 3, "ben", OTHER)])
    assert await archiving.archive.run()
    assert await archiving.archive.unsearched(everything) == []
    first, old = id_of(archiving), archiving.root

    assert await moved(archiving, "lake2").run()
    assert id_of(archiving) != first
    await erase(archiving)
    await archiving.archive.rewrite({(PLAIN, date(2026, 3, 5)): [1]})
    assert [user for _, user in users(archiving)] == ["ben", "ben"]
    elsewhere = [f"archived days of {site} in another directory, {first}" for site in (OTHER, PLAIN)]
    assert sorted(await archiving.archive.unsearched(everything)) == sorted(elsewhere)
    assert await archiving.archive.unsearched(lambda site: site == PLAIN) == [elsewhere[1]]
    # A server with another directory, or none, names this one too; and a moved directory is the same one.
    second = id_of(archiving)
    told = await archiving.made(directory="").unsearched(lambda site: site == PLAIN)
    assert told == sorted(f"archived days of plain in another directory, {each}" for each in (first, second))
    archiving.root.rename(archiving.root.with_name("lake3"))
    assert await moved(archiving, "lake3").run()
    assert (id_of(archiving), archiving.written()) == (second, 0)
    assert sorted(await archiving.archive.unsearched(everything)) == sorted(elsewhere)

    roots = ArchiveRoots(store)
    await roots.load()
    assert roots.paths() == {first: (str(old),), second: (str(old) + "2", str(old) + "3")}
    assert not await roots.forget("0" * 12)
    assert await roots.forget(first)
    assert await archiving.archive.unsearched(everything) == []


async def test_a_mount_point_that_is_empty_is_not_filled(archiving: Archiving) -> None:
    await archiving.place.insert([at(5, hour, user) for hour, user in ((1, "anna"), (2, "ben"))])
    assert await archiving.archive.run()
    first, root, away = id_of(archiving), archiving.root, archiving.root.with_name("away")
    root.rename(away)
    root.mkdir()
    archive = archiving.made()

    with pytest.raises(RootUnknown, match=f"lacks the file {ROOT_FILE}"):
        await archive.run()
    assert not list(root.iterdir())
    assert archiving.registry.get_sample_value("archive_failures_total") == 1
    await erase(archiving)
    with pytest.raises(RootUnknown):  # the erasure waits
        await archive.rewrite({(PLAIN, date(2026, 3, 5)): [1]})
    assert await archive.unsearched(everything) == [f"archived days of plain in another directory, {first}"]

    # What was there comes back.
    root.rmdir()
    away.rename(root)
    await archive.rewrite({(PLAIN, date(2026, 3, 5)): [1]})
    assert await archive.unsearched(everything) == []
    assert await archiving.made().run()

    # An empty file says that it is to begin anew.
    shutil.rmtree(root)
    root.mkdir()
    (root / ROOT_FILE).touch()
    assert await archiving.made().run()
    assert id_of(archiving) != first
    assert [user for _, user in users(archiving)] == ["ben"]
    (root / ROOT_FILE).write_bytes(b"{")
    with pytest.raises(RootUnknown, match="can't be read"):
        await archiving.made().run()
    assert len(await archiving.archive.unsearched(lambda site: site == PLAIN)) == 2  # exports of a person go on


async def test_a_directory_of_before_gets_an_id_and_its_sites_are_recorded(
    archiving: Archiving, tmp_path: Path
) -> None:
    await archiving.place.insert([at(5, 1, "anna")])
    assert await archiving.archive.run()
    shutil.copytree(archiving.root, tmp_path / "before")
    (tmp_path / "before" / ROOT_FILE).unlink()
    (tmp_path / "before" / "site=gone.example").mkdir()

    assert await moved(archiving, "before").run()

    roots = ArchiveRoots(archiving.place.store)
    await roots.load()
    assert {PLAIN, "gone.example"} <= roots.sites()[id_of(archiving)]
    assert "archived days of gone.example, a deleted site" in await archiving.archive.unsearched(everything)


async def test_a_directory_that_is_not_there_is_told_without_its_path(archiving: Archiving) -> None:
    archiving.root.rmdir()
    for work in (archiving.archive.run(), archiving.archive.rewrite({(PLAIN, date(2026, 3, 5)): [1]})):
        with pytest.raises(ArchiveFailed, match="is not there: make it, or mount it") as failed:
            await work
        assert str(archiving.root) not in failed.value.message


def test_the_file_of_a_directory_is_an_id_alone(tmp_path: Path) -> None:
    assert read_root(tmp_path) is None
    (tmp_path / ROOT_FILE).write_bytes(msgspec.json.encode({"id": "abc"}))
    assert read_root(tmp_path) == "abc"

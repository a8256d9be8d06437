"""The data directory is for the server's user alone, whatever makes it first."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from analytics_server.config import ClickhouseSection, Config, IngestSection, ServerSection
from analytics_server.doctor.directories import DirectoriesCheck
from analytics_server.errors import ConfigError
from analytics_server.store import make_store
from analytics_server.store.data_directory import make_private, open_to_others
from tests.server import Client, RunningServer

BEACON = {"site": "a.example", "name": "pageview", "url": "https://a.example/"}


def config_of(data: Path, wal: str = "") -> Config:
    return Config(server=ServerSection(data_dir=str(data)), ingest=IngestSection(wal_dir=wal))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_directories_are_made_private_and_others_are_left_as_they_are(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir(mode=0o755)
    make_private(there / "a" / "b")
    make_private(there)
    assert [mode(there), mode(there / "a"), mode(there / "a" / "b")] == [0o755, 0o700, 0o700]


@pytest.mark.parametrize("permissions", [0o755, 0o750, 0o701, 0o770])
def test_a_directory_that_others_may_enter_is_told(tmp_path: Path, permissions: int) -> None:
    data, wal = tmp_path / "data", tmp_path / "wal"
    for directory in (data, wal):
        directory.mkdir()
        directory.chmod(permissions)
    assert open_to_others(config_of(data)) == [(data, permissions)]
    assert open_to_others(config_of(data, str(wal))) == [(data, permissions), (wal, permissions)]
    data.chmod(0o700)
    assert open_to_others(config_of(data)) == []
    assert open_to_others(config_of(tmp_path / "missing")) == []


async def test_a_repair_closes_it(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    check = DirectoriesCheck(config_of(tmp_path))
    before = await check.examine()
    assert (before.status, "chmod 700" in before.remedy) == ("warning", True)
    assert await check.repair() == "closed the directories to other users"
    assert ((await check.examine()).status, mode(tmp_path)) == ("ok", 0o700)
    assert await check.repair() == ""


async def test_a_server_keeps_all_that_it_writes_to_itself(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, {"server_data_dir": str(tmp_path / "new" / "data")})
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        await client.send(BEACON)
        await client.flushed()
    assert server.terminate() == 0
    assert [mode(tmp_path / "new"), mode(tmp_path / "new" / "data")] == [0o700, 0o700]
    assert "other users may enter" not in server.log


async def test_a_start_warns_of_a_directory_that_others_may_enter(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    server = RunningServer(tmp_path)
    await asyncio.to_thread(server.start)
    assert server.terminate() == 0
    assert "other users may enter the directory: chmod 700" in server.log
    assert mode(tmp_path / "data") == 0o755


@pytest.mark.parametrize("by_url", [False, True], ids=["data directory", "url"])
@pytest.mark.parametrize(
    ("name", "place"), [("a%20b", "a b/clickhouse"), ("a#b", "a"), ("a?b", "a"), ("a%20b#c", "a b")]
)
def test_files_that_an_earlier_version_kept_elsewhere_are_not_passed_over(
    tmp_path: Path, name: str, place: str, by_url: bool
) -> None:
    """A path with such a character was read as an address; one that was encoded was decoded once."""
    directory = tmp_path / name / "clickhouse"
    config = config_of(tmp_path / name)
    if by_url:
        place = place if "%" not in name or "#" in name else "a%20b/clickhouse"
        place = place if name != "a%20b#c" else "a%20b"
        config = Config(clickhouse=ClickhouseSection(url=f"chdb://{quote(str(directory))}"))
    former = tmp_path / place
    (former / "metadata").mkdir(parents=True)
    (former / "metadata" / "analytics.sql").touch()
    if former == directory:
        make_store(config)
        return
    with pytest.raises(ConfigError) as caught:
        make_store(config)
    assert f"in {former}." in caught.value.message
    assert ("without a '?'" if "?" in name else f"to {directory},") in caught.value.message
    (directory / "metadata").mkdir(parents=True)
    (directory / "metadata" / "analytics.sql").touch()
    if "?" not in name:
        make_store(config)

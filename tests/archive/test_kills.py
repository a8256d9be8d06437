"""A crash at any moment leaves no half file under its name, and the next run goes on."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analytics_server.model import COLUMN_INDEX, COLUMN_NAMES, Row
from tests.archive.directory import Archiving, duckdb, expected, local_day, made, read_by_duckdb
from tests.server import Client, RunningServer, wait_for

MOST_POINTS = 200
SITE = "killed.example"
USER = COLUMN_INDEX["user_id"]


class Killed(BaseException):
    """The process ends here."""


class Death:
    """Ends the process before the call of that number, of those that change names or sync; none is made afterwards."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.at, self.is_dead = 0, -1, False
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "mkdir")):
            monkeypatch.setattr(owner, name, self._wrapped(getattr(owner, name)))

    def arm(self, at: int) -> None:
        self.calls, self.at, self.is_dead = 0, at, False

    def _wrapped(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            self.is_dead = self.is_dead or self.calls == self.at
            self.calls += 1
            if self.is_dead:
                raise Killed
            return real(*arguments, **named)

        return wrapper


@pytest.mark.timeout(300)
async def test_killed_at_any_write_it_goes_on(archiving: Archiving, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [each for each in made(11, 120, days=2) if each[0] == "plain"]
    await archiving.place.insert(rows)
    death = Death(monkeypatch)
    lake, point = archiving.root, 0
    for point in range(MOST_POINTS):
        died = False
        archiving.root = lake / str(point)
        archiving.root.mkdir(parents=True)
        archive = archiving.made(sites=("plain",))
        death.arm(point)
        try:
            await archive.run()
        except Killed:
            died = True
        death.arm(-1)
        for path in archiving.root.rglob("events.parquet"):
            data = path.read_bytes()
            assert data[:4] == data[-4:] == b"PAR1", path
        archiving.manifests()  # what they name is as they say

        assert await archiving.made(sites=("plain",)).run()
        manifest = archiving.manifests()["plain"]
        assert sum(file.events for file in manifest.files) == len(rows)
        assert archiving.left_over() == []
        if point % 6 == 0:
            assert read_by_duckdb(archiving.root) == expected(rows)
        if not died:
            break
    assert 10 < point < MOST_POINTS


@pytest.mark.timeout(300)
async def test_killed_while_a_person_s_days_are_written_again_it_goes_on(
    archiving: Archiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [each for each in made(12, 120, days=2, users=("anna", "ben")) if each[0] == "plain"]
    rows.append(replaced(next(each for each in rows if each[USER] == "anna"), day=3))  # a day of hers alone
    await archiving.place.insert(rows)
    lake = archiving.root
    source = lake / "before"
    archiving.root = source
    source.mkdir()
    assert await archiving.made(sites=("plain",)).run()
    assert {user for (user,) in users(source)} == {"anna", "ben"}
    counts = Counter((str(each[0]), local_day(each)) for each in rows if each[USER] == "anna")
    hers = {day: [count] for day, count in counts.items()}
    store = archiving.place.store
    await store.command("ALTER TABLE events DELETE WHERE user_id = 'anna' SETTINGS mutations_sync = 2")
    death = Death(monkeypatch)
    point = 0
    for point in range(MOST_POINTS):
        died = False
        archiving.root = lake / str(point)
        shutil.copytree(source, archiving.root)
        archive = archiving.made(sites=("plain",))
        death.arm(point)
        try:
            await archive.rewrite(hers)
        except Killed:
            died = True
        death.arm(-1)
        await archiving.made(sites=("plain",)).rewrite(hers)
        manifest = archiving.manifests()["plain"]
        assert sum(file.events for file in manifest.files) == sum(each[USER] == "ben" for each in rows)
        files = {path.relative_to(archiving.root / "site=plain") for path in archiving.root.rglob("*.parquet*")}
        assert {str(path) for path in files} == {file.name for file in manifest.files if file.name}
        assert await archive.unsearched(lambda site: True) == []
        if point % 4 == 0:
            assert users(archiving.root) == [["ben"]]
        if not died:
            break
    assert 4 < point < MOST_POINTS


def replaced(each: Row, *, day: int) -> Row:
    """The same event on another day."""
    ts, event_id = each[COLUMN_INDEX["ts"]], each[COLUMN_INDEX["event_id"]]
    assert isinstance(ts, int)
    assert isinstance(event_id, bytes)
    values = {"ts": ts + day * 86_400_000_000, "session_start": ts, "event_id": event_id[::-1]}
    return tuple(values.get(name, value) for name, value in zip(COLUMN_NAMES, each, strict=True))


def users(root: Path) -> list[list[str]]:
    return duckdb(f"SELECT DISTINCT user_id FROM '{root}/*/*/events.parquet' ORDER BY user_id")


@pytest.mark.timeout(300)
async def test_a_server_that_is_killed_goes_on_when_it_starts_again(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    now = datetime.now(UTC)
    days = 30
    settings = {"ingest_flush_interval_ms": "100", "export_directory": str(lake), "export_after_hours": "0"}
    with RunningServer(tmp_path / "server", settings) as server:
        async with Client(server) as client:
            events = [
                {
                    "site": SITE,
                    "name": "pageview",
                    "url": f"https://{SITE}/{number}",
                    "timestamp": (now - timedelta(days=number % days, seconds=number)).isoformat(),
                }
                for number in range(600)
            ]
            assert (await client.send(events, trusted=True)).json["accepted"] == len(events)
            await client.flushed()
        server.kill()
        directory = lake / f"site={SITE}"
        for wanted in (1, 5, 12):
            server.restart()
            await wait_for(partial(_count, directory, wanted), 60, "a file")
            server.kill()
            for path in directory.rglob("events.parquet"):
                data = path.read_bytes()
                assert data[:4] == data[-4:] == b"PAR1", path
        server.restart()
        today = now.date()
        complete = sum(1 for event in events if datetime.fromisoformat(str(event["timestamp"])).date() < today)

        async def all_there() -> bool:
            path = directory / "_manifest.json"
            if not await asyncio.to_thread(path.exists):
                return False
            files = msgspec.json.decode(await asyncio.to_thread(path.read_bytes))["files"]
            return int(sum(file["events"] for file in files if file["date"] < str(today))) >= complete

        await wait_for(all_there, 60, "all days")
        async with Client(server) as client:
            await wait_for(lambda: _is_done(client), 60, "the end of the run")
            found = await client.call("GET", "/api/v1/privacy/audit?limit=1000")
            assert "archive" in {entry["action"] for entry in found.json["entries"]}, found.body
    # The day on which the test began may be over by now, and archived as well.
    assert len([day for _, day, *_ in read_by_duckdb(lake) if day < str(today)]) == complete


async def _count(directory: Path, wanted: int) -> bool:
    return len(await asyncio.to_thread(lambda: list(directory.rglob("events.parquet")))) >= wanted


async def _is_done(client: Client) -> bool:
    metrics = (await client.call("GET", "/metrics")).body.decode()
    return 'daily_work_total{outcome="done",work="archive"}' in metrics

"""What the tests of archived days share: an archive on a real store, and its directory as DuckDB reads it."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from prometheus_client import CollectorRegistry

from analytics_server.access.sites.sites import Sites
from analytics_server.archive.manifest import MANIFEST, SiteManifest
from analytics_server.archive.service import Archive
from analytics_server.archive.whole_files import read_manifest
from analytics_server.config import ExportSection
from analytics_server.model import COLUMN_INDEX, Row
from tests.doctor.place import Place
from tests.ingest.rows import row
from tests.privacy.test_expiry import Noted

ZONES = {"a.example:8443": "America/New_York", "müller.example": "Asia/Kathmandu", "plain": "UTC"}
FIRST = datetime(2026, 3, 5, tzinfo=UTC)
"""Three days before the clocks of New York go forward."""
DAYS = 6
LATER = FIRST + timedelta(days=DAYS + 4)
"""When all these days are complete in every zone."""
TIMEOUT_S = 100.0

DUCKDB = """
import json, sys, duckdb
duckdb.sql("SET TimeZone = 'UTC'")
print(json.dumps([[str(cell) for cell in row] for row in duckdb.sql(sys.argv[1]).fetchall()]))
"""


def duckdb(sql: str) -> list[list[str]]:
    """The rows of DuckDB's answer, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", DUCKDB, sql], capture_output=True, timeout=TIMEOUT_S, check=True)
    found: list[list[str]] = msgspec.json.decode(done.stdout)
    return found


def read_by_duckdb(root: Path) -> list[tuple[str, str, str, str]]:
    """Site and date of the path, site and id of the event, of all files of days together."""
    files = f"read_parquet('{root}/*/*/*.parquet', hive_partitioning = true, hive_types_autocast = false)"
    return sorted((a, b, c, d) for a, b, c, d in duckdb(f"SELECT site, date, site_id, event_id FROM {files}"))


def made(
    seed: int, count: int, *, first: datetime = FIRST, days: int = DAYS, users: Sequence[str] = ("",)
) -> list[Row]:
    """Events of all sites; none on the third day of the site `plain`."""
    rng = random.Random(seed)
    rows: list[Row] = []
    while len(rows) < count:
        site = rng.choice(list(ZONES))
        ts_us = int(first.timestamp()) * 1_000_000 + rng.randrange(days * 86_400_000_000)
        if site == "plain" and (moment(ts_us).date() - FIRST.date()).days == 2:
            continue
        rows.append(
            row(
                site_id=site,
                ts=ts_us,
                session_start=ts_us,
                session_id=f"s{rng.randrange(20)}",
                event_id=UUID(int=rng.getrandbits(128), version=4).bytes,
                user_id=rng.choice(users),
                path=f"/{rng.randrange(5)}",
            )
        )
    return rows


def moment(ts_us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ts_us)


def local_day(each: Row) -> date:
    """The day of an event, in its site's time."""
    site, ts = str(each[COLUMN_INDEX["site_id"]]), each[COLUMN_INDEX["ts"]]
    assert isinstance(ts, int)
    return moment(ts).astimezone(ZoneInfo(ZONES[site])).date()


def expected(rows: Sequence[Row], *, until: date = date.max) -> list[tuple[str, str, str, str]]:
    """What the files have to hold."""
    found = []
    for each in rows:
        event_id = each[COLUMN_INDEX["event_id"]]
        assert isinstance(event_id, bytes)
        if (day := local_day(each)) <= until:
            site = str(each[COLUMN_INDEX["site_id"]])
            found.append((site, day.isoformat(), site, str(UUID(bytes=event_id))))
    return sorted(found)


def archived_manifests(root: Path) -> list[tuple[Path, SiteManifest]]:
    """All manifests, each with its site's directory."""
    found = ((path.parent, read_manifest(path, SiteManifest)) for path in sorted(root.glob(f"site=*/{MANIFEST}")))
    return [(directory, manifest) for directory, manifest in found if manifest is not None]


class Archiving:
    """An archive of a place, with a clock that is set."""

    def __init__(self, place: Place, root: Path) -> None:
        self.place = place
        self.root = root
        self.now = LATER
        self.noted = Noted()
        self.registry = CollectorRegistry()
        self.sites = Sites(place.store, place.config.sites)
        self.archive = self.made()

    def made(self, **settings: Any) -> Archive:
        """Another one, as of a server that starts again."""
        export = ExportSection(**{"directory": str(self.root), **settings})
        config = msgspec.structs.replace(self.place.config, export=export)
        self.registry = CollectorRegistry()
        self.archive = Archive(config, self.place.store, self.sites, self.noted, self.registry, clock=lambda: self.now)
        return self.archive

    async def prepare(self) -> None:
        """Have the sites, and a directory."""
        self.root.mkdir(parents=True, exist_ok=True)
        await self.sites.load()
        for site_id, zone in ZONES.items():
            await self.sites.create(site_id, zone)

    def written(self) -> int:
        """How many files this archive has written."""
        return int(self.registry.get_sample_value("archive_files_total") or 0)

    def manifests(self) -> dict[str, SiteManifest]:
        """By site; each file that they name is as they say."""
        found = {}
        for directory, manifest in archived_manifests(self.root):
            found[manifest.site_id] = manifest
            for file in manifest.files:
                if file.name:
                    data = (directory / file.name).read_bytes()
                    assert (len(data), hashlib.sha256(data).hexdigest()) == (file.bytes, file.sha256), file
                else:
                    assert file.events == 0
        return found

    def left_over(self) -> list[str]:
        """Files that are neither of a day nor a manifest."""
        files = (path for path in self.root.rglob("*") if path.is_file())
        return [path.name for path in files if path.name not in ("events.parquet", "_manifest.json", "_archive.json")]

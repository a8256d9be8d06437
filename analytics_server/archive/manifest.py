"""Where a site's files lie, and what its manifest says of them.

`DIRECTORY/site=SITE/date=YYYY-MM-DD/events.parquet`, the layout of Hive: DuckDB, Spark, ClickHouse and others read site
and date from the path, and leave out the files of other days without opening them. A site's id is percent-encoded,
as Hive does it. `_manifest.json` stands beside the days; readers of such directories pass over a name that
begins so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from urllib.parse import quote

import msgspec

from analytics_server.archive.whole_files import WrittenFile, read_manifest
from analytics_server.config import ExportSection

MANIFEST = "_manifest.json"
FORMAT = "parquet"
FILE = f"events.{FORMAT}"
NAME_BYTES = 240
"""File systems take names of 255 bytes."""


class DayFile(WrittenFile, frozen=True, kw_only=True):
    """A day that is complete. `name` is "" where it has no events, and no file. `time_zone`: whose day it is."""

    date: date
    time_zone: str


class SiteManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of a site, the oldest day first. A file that is not named here is none of it."""

    site_id: str
    format: str = FORMAT
    files: tuple[DayFile, ...] = ()

    def by_date(self) -> dict[date, DayFile]:
        """Its days."""
        return {file.date: file for file in self.files}


def root_of(settings: ExportSection) -> Path | None:
    """Where files of days are written, absolute; None for nowhere."""
    return Path(settings.directory).expanduser().resolve() if settings.directory else None


def site_directory(root: Path, site_id: str) -> Path:
    """Where a site's files lie. Of an id too long for a file's name a hash stands for it; the manifest names it."""
    name = quote(site_id, safe="")
    if len(name) > NAME_BYTES:
        name = hashlib.sha256(site_id.encode()).hexdigest()
    return root / f"site={name}"


def file_name(day: date) -> str:
    """A day's file, in the site's directory."""
    return f"date={day.isoformat()}/{FILE}"


def read_site(root: Path, site_id: str) -> SiteManifest | None:
    """What there is of a site. Blocking. Raises `AnalyticsError`, `OSError`."""
    return read_manifest(site_directory(root, site_id) / MANIFEST, SiteManifest)


def archived_manifests(root: Path) -> list[tuple[Path, SiteManifest]]:
    """All manifests, each with its site's directory. Blocking. Raises `AnalyticsError`, `OSError`."""
    found = ((path.parent, read_manifest(path, SiteManifest)) for path in sorted(root.glob(f"site=*/{MANIFEST}")))
    return [(directory, manifest) for directory, manifest in found if manifest is not None]


def archived_sites(root: Path) -> list[str]:
    """The sites that have a manifest. Blocking. Raises `AnalyticsError`, `OSError`."""
    return [manifest.site_id for _, manifest in archived_manifests(root)]


def manifest_of(site_id: str, files: Mapping[date, DayFile]) -> SiteManifest:
    """The manifest of these days."""
    return SiteManifest(site_id=site_id, files=tuple(files[day] for day in sorted(files)))

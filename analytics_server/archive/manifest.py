"""Where a site's files lie, and what its manifest says of them.

`DIRECTORY/site=SITE/date=YYYY-MM-DD/events.parquet`, the layout of Hive: DuckDB, Spark, ClickHouse and others read site
and date from the path, and leave out the files of other days without opening them. A site's id is percent-encoded,
as Hive does it. `_manifest.json` stands beside the days; readers of such directories pass over a name that
begins so.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from analytics_server.archive.whole_files import WrittenFile, read_manifest
from analytics_server.config import ExportSection
from analytics_server.errors import AnalyticsError

MANIFEST = "_manifest.json"
FORMAT = "parquet"
FILE = f"events.{FORMAT}"
_HASH = re.compile("[0-9a-f]{64}")
NAME_BYTES = 240
"""File systems take names of 255 bytes."""


class DayFile(WrittenFile, frozen=True, kw_only=True):
    """A day that is complete. `name` is "" where it has no events, and no file. `time_zone`: whose day it is."""

    date: date
    time_zone: str


class FailedDay(msgspec.Struct, frozen=True, kw_only=True):
    """A day that could not be written when it was last tried."""

    date: date
    reason: str
    tried_at: str


class SiteManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of a site, the oldest day first. A file that is not named here is none of it.

    `left`: days whose files an erasure of a person could not write again, so that they may still hold the person.
    """

    site_id: str
    format: str = FORMAT
    files: tuple[DayFile, ...] = ()
    failed: tuple[FailedDay, ...] = ()
    left: tuple[date, ...] = ()

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
    """What there is of a site. Blocking. Raises `AnalyticsError` (bad_manifest)."""
    return read_manifest(site_directory(root, site_id) / MANIFEST, SiteManifest)


def site_directories(root: Path, known: Iterable[str] = ()) -> dict[str, Path]:
    """The sites of which there is a directory, by id, whether their manifests can be read or not.

    `known`: ids of which one may be meant where a hash stands for it; else its manifest tells, or it is called by the
    hash. Blocking. Raises `OSError`.
    """
    hashed = {site_directory(root, site_id): site_id for site_id in known}
    found = {}
    for directory in sorted(root.glob("site=*")):
        name = directory.name.removeprefix("site=")
        told = _named_in(directory) if directory not in hashed and _HASH.fullmatch(name) else ""
        found[hashed.get(directory) or told or unquote(name)] = directory
    return found


def days_on_disk(directory: Path) -> list[date]:
    """The days of which a site's directory has a file. Blocking. Raises `OSError`."""
    found = []
    for path in directory.glob(f"date=*/{FILE}"):
        with contextlib.suppress(ValueError):
            found.append(date.fromisoformat(path.parent.name.removeprefix("date=")))
    return sorted(found)


def _named_in(directory: Path) -> str:
    with contextlib.suppress(AnalyticsError):
        if manifest := read_manifest(directory / MANIFEST, SiteManifest):
            return manifest.site_id
    return ""

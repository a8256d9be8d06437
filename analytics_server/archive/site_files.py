"""One site's part of the archive: the manifest on disk, and files beside it that the manifest does not name.

Changes are made under the lease, so by one server at a time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from analytics_server.archive.manifest import (
    MANIFEST,
    DayFile,
    FailedDay,
    SiteManifest,
    days_on_disk,
    file_name,
    read_site,
    site_directory,
)
from analytics_server.archive.whole_files import is_whole, make_directory, remove_parts, write_manifest


@dataclass(slots=True)
class SiteFiles:
    """A site's directory, and what its manifest says: days by date, `failed` and `left` as in `SiteManifest`."""

    site_id: str
    directory: Path
    days: dict[date, DayFile] = field(default_factory=dict)
    failed: dict[date, FailedDay] = field(default_factory=dict)
    left: set[date] = field(default_factory=set)

    @classmethod
    async def read(cls, root: Path, site_id: str) -> SiteFiles:
        """As it is on disk. Raises `AnalyticsError` (bad_manifest)."""
        found = await asyncio.to_thread(read_site, root, site_id) or SiteManifest(site_id=site_id)
        failed = {each.date: each for each in found.failed}
        return cls(site_id, site_directory(root, site_id), found.by_date(), failed, set(found.left))

    def put(self, file: DayFile) -> None:
        """A day that was written just now."""
        self.days[file.date] = file
        self.failed.pop(file.date, None)
        self.left.discard(file.date)

    def remove(self, day: date) -> None:
        """Remove the file of a day without events, or of one that the manifest does not name. Blocking.

        Raises `OSError`.
        """
        (self.directory / file_name(day)).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what crashes left: files that were being written, and those of days without events. Blocking.

        Raises `OSError`.
        """
        remove_parts(self.directory)
        for directory in self.directory.glob("date=*"):
            remove_parts(directory)
        for day in days_on_disk(self.directory):
            if day in self.days and not self.days[day].name:
                self.remove(day)

    def unnamed(self) -> list[date]:
        """Days of which there is a file that the manifest does not name. Blocking. Raises `OSError`."""
        named = {day for day, file in self.days.items() if file.name}
        return sorted(day for day in days_on_disk(self.directory) if day not in named)

    def is_whole(self, file: DayFile) -> bool:
        """Is the day's file there, as long as it was written? Blocking."""
        return not file.name or is_whole(self.directory / file.name, file.bytes)

    async def write_manifest(self) -> None:
        """Put the manifest in its place. Raises `OSError`."""
        manifest = SiteManifest(
            site_id=self.site_id,
            files=tuple(self.days[day] for day in sorted(self.days)),
            failed=tuple(self.failed[day] for day in sorted(self.failed)),
            left=tuple(sorted(self.left)),
        )
        await asyncio.to_thread(make_directory, self.directory)
        await asyncio.to_thread(write_manifest, self.directory / MANIFEST, manifest)

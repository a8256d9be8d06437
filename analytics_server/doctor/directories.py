"""Directory checks: file permissions, and the files of days against their manifests.

Directories with events and salts, and the key of the audit log's seals, are for the server's user only.
"""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from analytics_server.archive.manifest import (
    MANIFEST,
    SiteManifest,
    days_on_disk,
    file_name,
    root_of,
    site_directories,
)
from analytics_server.archive.whole_files import is_whole, read_manifest
from analytics_server.audit.seals import SealKeyFile
from analytics_server.config import Config
from analytics_server.doctor.report import BaseCheck, Facts, Finding, count, size
from analytics_server.errors import AnalyticsError
from analytics_server.store.data_directory import PRIVATE, open_to_others

MOST_NAMES = 20
KEY_MODE = 0o600


class DirectoriesCheck(BaseCheck):
    """Data directory and log's directory are for the server's user alone."""

    name = "directories"

    def __init__(self, config: Config) -> None:
        self._config = config

    async def examine(self) -> Finding:
        """Look at their permissions."""
        found = await asyncio.to_thread(open_to_others, self._config)
        facts: Facts = {"open": [f"{path} {mode:o}" for path, mode in found]}
        if not found:
            return self.ok("No other user may enter the data directory.", **facts)
        told = ", ".join(f"{path} ({mode:o})" for path, mode in found)
        return self.warning(
            f"Other users of this machine may enter {told}: what visitors did lies there.",
            f"chmod {PRIVATE:o} {' '.join(str(path) for path, _ in found)}; --repair does it.",
            **facts,
        )

    async def repair(self) -> str:
        """Take others' rights away."""
        found = await asyncio.to_thread(open_to_others, self._config)
        for path, _ in found:
            await asyncio.to_thread(path.chmod, PRIVATE)
        return "closed the directories to other users" if found else ""


class SealKeyCheck(BaseCheck):
    """The key of the audit log's seals can be read, by the server's user alone."""

    name = "seal_key"

    def __init__(self, config: Config) -> None:
        self._file = SealKeyFile(config.data_dir)

    async def examine(self) -> Finding:
        """Read it, and look at its permissions."""
        path = self._file.path
        try:
            key = await asyncio.to_thread(self._file.read)
            mode = await asyncio.to_thread(self._mode) if key is not None else KEY_MODE
        except (OSError, ValueError) as error:
            return self.error(
                f"The key of the audit log's seals can't be read: {error}.",
                "Put it back from a backup: without it no old entries are removed, and a new one believes all seals.",
            )
        if key is None:
            return self.ok("There is no key of the audit log's seals yet: the server makes it.")
        if mode & ~KEY_MODE:
            return self.warning(
                f"Other users of this machine may read {path} ({mode:o}): with it removed audit entries can be hidden.",
                f"chmod {KEY_MODE:o} {path}; --repair does it.",
                mode=f"{mode:o}",
            )
        return self.ok("The key of the audit log's seals is for the server's user alone.")

    async def repair(self) -> str:
        """Take others' rights away."""
        mode = await asyncio.to_thread(self._mode)
        if not mode & ~KEY_MODE:
            return ""
        await asyncio.to_thread(self._file.path.chmod, KEY_MODE)
        return "closed the key of the audit log's seals to other users"

    def _mode(self) -> int:
        try:
            found = self._file.path.stat()
        except FileNotFoundError:
            return KEY_MODE
        return stat.S_IMODE(found.st_mode) if stat.S_ISREG(found.st_mode) else KEY_MODE


class ArchiveCheck(BaseCheck):
    """Files of days: those that a manifest names are there, as long as they were written, and no others."""

    name = "archive"

    def __init__(self, config: Config) -> None:
        self._root = root_of(config.export)

    async def examine(self) -> Finding:
        """Look at the directory, its manifests and the files that they name."""
        if self._root is None:
            return self.ok("[export] directory is not set: no files of days are written.")
        root = self._root
        if not await asyncio.to_thread(root.is_dir):
            return self.error(
                f"[export] directory {root} is not there: no files of days are written.", "Make it, or mount it."
            )
        if not await asyncio.to_thread(os.access, root, os.W_OK | os.X_OK):
            return self.error(
                f"[export] directory {root} can't be written: no files of days are written.",
                "Give it to the user that runs the server.",
            )
        return await asyncio.to_thread(self._look, root)

    def _look(self, root: Path) -> Finding:
        seen = _Seen()
        for site_id, directory in site_directories(root).items():
            seen.look(root, site_id, directory)
        facts: Facts = {
            "sites": seen.sites,
            "files": seen.files,
            "bytes": seen.bytes,
            "last": seen.last,
            **{name: found[:MOST_NAMES] for name, found in seen.faults() if found},
        }
        if seen.unreadable:
            return self.error(
                seen.unreadable[0], "Put the manifest right from a backup, or remove it with its site's files.", **facts
            )
        if seen.broken:
            return self.warning(
                f"{count(len(seen.broken), 'file')} of days that manifests in {root} name "
                f"{'is' if len(seen.broken) == 1 else 'are'} not there as written, {seen.broken[0]} first.",
                "The server writes them again while it has their events; or take them from a backup.",
                **facts,
            )
        if seen.unnamed:
            return self.warning(
                f"{count(len(seen.unnamed), 'file')} of days that no manifest in {root} names, {seen.unnamed[0]}.",
                "The server writes them again while it has their events; else remove them: readers may take them in.",
                **facts,
            )
        if seen.failed:
            return self.warning(
                f"{count(len(seen.failed), 'day')} could not be written, {seen.failed[0]} first.",
                "The next run tries it again; [limits] export_memory_mb is the memory for one file.",
                **facts,
            )
        if seen.left:
            return self.warning(
                f"{count(len(seen.left), 'file')} of days stay as they were after an erasure, {seen.left[0]} first.",
                "Search them by user_id, or remove them: the certificate of the erasure names them.",
                **facts,
            )
        return self.ok(
            f"{count(seen.files, 'file')} of days ({size(seen.bytes)}) as their manifests say, until"
            f" {seen.last or '–'}.",
            **facts,
        )


@dataclass(slots=True)
class _Seen:
    """What there is of all sites together, and what is wrong with it."""

    sites: int = 0
    files: int = 0
    bytes: int = 0
    last: str = ""
    unreadable: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def faults(self) -> list[tuple[str, list[str]]]:
        """By name."""
        return [(name, getattr(self, name)) for name in ("unreadable", "broken", "unnamed", "failed", "left")]

    def look(self, root: Path, site_id: str, directory: Path) -> None:
        """Take one site in. Blocking."""
        try:
            manifest = read_manifest(directory / MANIFEST, SiteManifest) or SiteManifest(site_id=site_id)
        except AnalyticsError as error:
            self.unreadable.append(error.message)
            return
        self.sites += 1
        named = set()
        for file in manifest.files:
            self.last = max(self.last, file.date.isoformat())
            if file.name:
                named.add(file.date)
                self.files, self.bytes = self.files + 1, self.bytes + file.bytes
                if not is_whole(directory / file.name, file.bytes):
                    self.broken.append(str((directory / file.name).relative_to(root)))
        on_disk = (day for day in days_on_disk(directory) if day not in named)
        self.unnamed += [str((directory / file_name(day)).relative_to(root)) for day in on_disk]
        self.failed += [f"{each.date} of {site_id} ({each.reason})" for each in manifest.failed]
        self.left += [f"{day} of {site_id}" for day in manifest.left]

"""The checks of directories: nobody but the server's user may enter those with events and salts, or read the key of the
audit log's seals, and the files of days are as their manifests say."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

from analytics_server.archive.manifest import archived_manifests, root_of
from analytics_server.archive.whole_files import is_whole
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
    """Files of days: those that a manifest names are there, as long as they were written."""

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
        try:
            return await asyncio.to_thread(self._look, root)
        except AnalyticsError as error:
            return self.error(
                error.message, "Put the manifest right from a backup, or remove it with its site's files."
            )

    def _look(self, root: Path) -> Finding:
        files, held, broken, last = 0, 0, [], ""
        manifests = archived_manifests(root)
        for directory, manifest in manifests:
            for file in manifest.files:
                last = max(last, file.date.isoformat())
                if file.name:
                    files, held = files + 1, held + file.bytes
                    if not is_whole(directory / file.name, file.bytes):
                        broken.append(str((directory / file.name).relative_to(root)))
        facts: Facts = {"sites": len(manifests), "files": files, "bytes": held, "last": last}
        if broken:
            return self.warning(
                f"{count(len(broken), 'file')} of days that manifests in {root} name "
                f"{'is' if len(broken) == 1 else 'are'} not there as written, {broken[0]} first.",
                "The server writes them again while it has their events; or take them from a backup.",
                **facts,
                broken=broken[:MOST_NAMES],
            )
        return self.ok(
            f"{count(files, 'file')} of days ({size(held)}) as their manifests say, until {last or '–'}.", **facts
        )

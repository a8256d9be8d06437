"""The directories in which any server has ever written files of days, and how one is told from an empty mount point.

Each has an id, in the file `_archive.json`. ClickHouse keeps the ids with the paths, and which sites have files there,
before the first file is written: so an erasure names a directory that was left behind, or is another server's, and a
path where days were archived is not taken for a new directory only because nothing is mounted there.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from pathlib import Path

import msgspec

from analytics_server.archive.manifest import site_directories
from analytics_server.archive.whole_files import remove_parts, replace_whole
from analytics_server.errors import AnalyticsError
from analytics_server.store.documents import Documents, DocumentTable, Key
from analytics_server.store.protocol import Store
from analytics_server.store.unreadable import UnreadableDocuments

ROOT_FILE = "_archive.json"
ID_BYTES = 6
ROOTS = DocumentTable(name="archive_roots", key_columns=("root", "site_id"), keys_return=True)


class RootFile(msgspec.Struct, frozen=True, kw_only=True):
    """What the file of a directory says."""

    id: str


class RootRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Of a directory: the paths that it has had. Of a site in it: nothing."""

    paths: tuple[str, ...] = ()


class RootUnknown(AnalyticsError):
    """A directory may not be the one it is taken for."""

    code = "archive_failed"


class ArchiveRoots:
    """What is recorded of directories. Call `load` before each work on it."""

    def __init__(self, store: Store, unreadable: UnreadableDocuments | None = None) -> None:
        self._documents = Documents(
            store,
            ROOTS,
            decode=lambda key, text: msgspec.json.decode(text, type=RootRecord),
            encode=lambda record: msgspec.json.encode(record).decode(),
            label=lambda key: ("archive_root", key[0]),
            unreadable=unreadable,
        )

    async def load(self) -> None:
        """Read what is recorded. Raises a store error."""
        await self._documents.load()

    def paths(self) -> dict[str, tuple[str, ...]]:
        """The directories, with the paths that each has had."""
        return {root: record.paths for (root, site_id), record in self._documents.items() if not site_id}

    def sites(self) -> dict[str, set[str]]:
        """By directory: the sites of which files were written there."""
        found: dict[str, set[str]] = {}
        for root, site_id in (*dict(self._documents.items()), *self._documents.unreadable):
            found.setdefault(root, set()).update({site_id} - {""})
        return found

    async def settle(self, path: Path) -> str:
        """The id of the directory that files are written to, recorded; a new one gets its file. Under the lease.

        Raises `RootUnknown` where it is not the directory that was there, `OSError`, a store error.
        """
        await asyncio.to_thread(remove_parts, path)
        id_ = await asyncio.to_thread(read_root, path)
        paths, sites = self.paths(), self.sites()
        if id_ is None and any(str(path) in known and sites[root] for root, known in paths.items()):
            raise RootUnknown(
                f"[export] directory lacks the file {ROOT_FILE}, though days were archived there: mount what belongs"
                f" there. To begin anew in an empty directory, make {ROOT_FILE} as an empty file."
            )
        if not id_:
            id_ = secrets.token_hex(ID_BYTES)
            text = msgspec.json.encode(RootFile(id=id_)) + b"\n"
            await asyncio.to_thread(replace_whole, path / ROOT_FILE, text)
        if str(path) not in paths.get(id_, ()):
            await self._record(id_, path, paths.get(id_, ()))
        await self.note(id_, await asyncio.to_thread(site_directories, path))
        return id_

    async def note(self, root: str, sites: Iterable[str]) -> None:
        """Record that these sites have files in the directory. Raises a store error."""
        known = self.sites().get(root, set())
        new: dict[Key, RootRecord] = {(root, site_id): RootRecord() for site_id in sites if site_id not in known}
        if new:
            await self._documents.put_all(new)

    async def forget(self, root: str) -> bool:
        """Name a directory no more, as it was deleted; False where none has that id. Raises a store error."""
        await self.load()
        keys = [key for key in {*dict(self._documents.items()), *self._documents.unreadable} if key[0] == root]
        await self._documents.delete_all(keys)
        return bool(keys)

    async def _record(self, root: str, path: Path, known: tuple[str, ...]) -> None:
        await self._documents.put((root, ""), RootRecord(paths=(*known, str(path))))


def read_root(path: Path) -> str | None:
    """The id of a directory; "" where its file is empty, None where it has none. Blocking.

    Raises `RootUnknown`, `OSError`.
    """
    try:
        data = (path / ROOT_FILE).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(data, type=RootFile).id if data.strip() else ""
    except msgspec.DecodeError as error:
        raise RootUnknown(f"{ROOT_FILE} in [export] directory can't be read: put it right from a backup.") from error

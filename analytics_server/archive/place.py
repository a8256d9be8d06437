"""The archive's directory of days, and the lease under which one server at a time changes it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from analytics_server.archive.manifest import root_of
from analytics_server.archive.roots import ArchiveRoots, RootUnknown, read_root
from analytics_server.config import Config
from analytics_server.errors import AnalyticsError
from analytics_server.store.lease import Lease, leased
from analytics_server.store.protocol import Store
from analytics_server.store.unreadable import UnreadableDocuments

log = logging.getLogger(__name__)

LEASE = "archive"
LEASE_S = 300.0


class ArchiveFailed(AnalyticsError):
    """Files could not be written; the next run tries it again."""

    code = "archive_failed"


@dataclass(frozen=True, slots=True)
class Held:
    """The directory, its id, and the lease under which it is changed."""

    root: Path
    id: str
    lease: Lease


class ArchivePlace:
    """`root`: `[export] directory`, absolute; None where no files are written."""

    def __init__(self, config: Config, store: Store, unreadable: UnreadableDocuments | None = None) -> None:
        self.root = root_of(config.export)
        self.roots = ArchiveRoots(store, unreadable)
        self._holder = str(config.data_dir)
        self._store = store

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Held | None]:
        """The directory under the lease, with all events that were there before; None where another server has it.

        Raises `ArchiveFailed`, a store error.
        """
        lease = Lease(self._store, LEASE, holder=self._holder, ttl_s=LEASE_S)
        async with leased(lease) as taken:
            if not taken:
                yield None
                return
            try:
                root = await self._checked_root()
                await self.roots.load()
                id_ = await self.roots.settle(root)
                await self._store.catch_up(["events"])
                yield Held(root, id_, lease)
            except OSError as error:
                raise failed(error) from error

    async def directories(self) -> tuple[str | None, dict[str, set[str]]]:
        """The id of the present directory, None where it has none; and the sites of each other one, by its id.

        Raises `AnalyticsError`, `OSError`.
        """
        await self.roots.load()
        here = None
        with contextlib.suppress(RootUnknown):
            here = await asyncio.to_thread(read_root, self.root) if self.root is not None else None
        return here, {root: sites for root, sites in self.roots.sites().items() if root != here}

    async def _checked_root(self) -> Path:
        """The directory is never made here: an empty mount point must not be taken for it."""
        assert self.root is not None
        if not await asyncio.to_thread(self.root.is_dir):
            log.error("the directory of files of days is not there", extra={"directory": str(self.root)})
            raise ArchiveFailed("[export] directory is not there: make it, or mount it.")
        return self.root


def failed(error: OSError) -> ArchiveFailed:
    """The error of a directory that can't be read or written. It names no path: not everyone may know of it."""
    log.warning(
        "files of days can't be read or written", extra={"path": str(error.filename), "reason": str(error)[:300]}
    )
    return ArchiveFailed(f"[export] directory can't be read or written: {error.strerror or type(error).__name__}.")

"""The opt-out list: users that must not be stored again, each as a keyed hash.

Asked for each event with a user_id, so it is in memory and costs nothing while it is empty. What another server has
changed is known within `REFRESH_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable

import msgspec

from analytics_server.errors import StoreError
from analytics_server.privacy.user_hashes import UserHashes
from analytics_server.store.documents import Documents, DocumentTable, Key
from analytics_server.store.protocol import Store
from analytics_server.store.unreadable import UnreadableDocuments

OPT_OUTS = DocumentTable(name="opt_outs", key_columns=("user_hash", "site_id"), keys_return=True)
REFRESH_S = 3.0
KNOWN_S = 5.0
"""After so long every server that can read the list knows of a change."""

ALL_SITES_KEY = ""


class OptOut(msgspec.Struct, frozen=True, kw_only=True):
    """One user that opted out, on one site or (`site_id` empty) on all of them. The user only as a keyed hash."""

    user_hash: str
    site_id: str = ALL_SITES_KEY
    since_ms: int = 0


class OptOuts:
    """The list; `run` is a task to own."""

    def __init__(
        self,
        store: Store,
        hashes: UserHashes,
        clock: Callable[[], float] = time.time,
        unreadable: UnreadableDocuments | None = None,
    ) -> None:
        self._hashes = hashes
        self._clock = clock
        self._documents = Documents(
            store,
            OPT_OUTS,
            decode=lambda key, text: msgspec.json.decode(text, type=OptOut),
            encode=lambda entry: msgspec.json.encode(entry).decode(),
            label=lambda key: ("opt_out", key[0]),
            clock=clock,
            unreadable=unreadable,
        )
        self._revision = -1
        self._keys: frozenset[Key] = frozenset()

    async def load(self) -> None:
        """Read the list. Raises a store error."""
        await self._documents.load()

    async def run(self) -> None:
        """Keep the list fresh until cancelled, and the key by which its users are known."""
        while True:
            await asyncio.sleep(REFRESH_S)
            with contextlib.suppress(StoreError):  # the key in memory serves
                await self._hashes.load()
            await self._documents.refresh(0.0)

    def has(self, site_id: str, user_id: str) -> bool:
        """Must events of this user not be stored on this site?"""
        keys = self._known()
        if not keys:
            return False
        user_hash = self._hashes.of(user_id)
        return (user_hash, ALL_SITES_KEY) in keys or (user_hash, site_id) in keys

    def sites_of(self, user_id: str) -> list[str]:
        """The sites of a user's entries; an empty one means all sites."""
        user_hash = self._hashes.of(user_id)
        return sorted(site_id for of, site_id in self._known() if of == user_hash)

    def _known(self) -> frozenset[Key]:
        documents = self._documents
        if documents.revision != self._revision:
            # An entry that this version can't read still says that the user has opted out.
            self._keys = frozenset(key for key, _ in documents.items()) | documents.unreadable
            self._revision = documents.revision
        return self._keys

    def hash_of(self, user_id: str) -> str:
        """The keyed hash of a user."""
        return self._hashes.of(user_id)

    async def add(self, user_id: str, sites: Iterable[str]) -> list[OptOut]:
        """Put a user on the list for these sites (none: all of them). Raises a store error."""
        user_hash, now_ms = self._hashes.of(user_id), int(self._clock() * 1000)
        async with self._documents.changing:
            await self._documents.load()
            wanted: list[Key] = [(user_hash, site_id) for site_id in (list(sites) or [ALL_SITES_KEY])]
            new = {
                key: OptOut(user_hash=user_hash, site_id=key[1], since_ms=now_ms)
                for key in wanted
                if self._documents.get(key) is None
            }
            if new:
                await self._documents.put_all(new)
        return [entry for key in wanted if (entry := self._documents.get(key)) is not None]

    async def remove(self, user_id: str, sites: Iterable[str]) -> list[str]:
        """Take a user off the list for these sites (none: wherever it stands); the sites of the entries.

        Raises a store error.
        """
        user_hash, only = self._hashes.of(user_id), set(sites)
        async with self._documents.changing:
            await self._documents.load()
            found = [key for key, _ in self._documents.items() if key[0] == user_hash and (not only or key[1] in only)]
            for key in found:
                await self._documents.delete(key)
        return sorted(site_id for _, site_id in found)

    def of_sites(self, covers: Callable[[str], bool], *, all_sites: bool) -> list[OptOut]:
        """The entries that a caller may see, the oldest first."""
        return sorted(
            (entry for _, entry in self._documents.items() if all_sites or (entry.site_id and covers(entry.site_id))),
            key=lambda entry: (entry.since_ms, entry.user_hash, entry.site_id),
        )

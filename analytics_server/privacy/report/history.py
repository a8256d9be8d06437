"""Past expiries, erasures and removals of a site, from the audit log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Protocol

import msgspec

from analytics_server.access.actions import ERASE_PERSON
from analytics_server.audit.chain import ChainedEntry
from analytics_server.audit.table import newest_of_actions
from analytics_server.model import stored_site_id
from analytics_server.privacy.erasure_jobs import ErasureJobs
from analytics_server.privacy.expiry.purge import ACTION as EXPIRE
from analytics_server.privacy.expiry.site_removal import ACTION as ERASE_SITE
from analytics_server.store.protocol import Store

MOST = 100
MOST_LOOKED_AT = 10_000
ERASURE_DONE = "erasure_done"
"""The operation of the entry that an erasure's end writes."""

_Chosen = Callable[[ChainedEntry], bool]


class PastAction(msgspec.Struct, frozen=True, kw_only=True):
    """An expiry or an erasure that was done: when, what, and how many rows. It identifies no person."""

    at: str
    action: str
    rows: int


class PrivacyHistory(Protocol):
    """What was removed of a site, the latest first."""

    async def expiries(self, site_id: str) -> Sequence[PastAction]:
        """Data that went by its age, or with the site. Raises a store error."""

    async def erasures(self, site_id: str) -> Sequence[PastAction]:
        """Persons' data that was erased. Raises a store error."""


class AuditHistory:
    """A `PrivacyHistory` of all servers' chains, the `MOST` latest of each."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def expiries(self, site_id: str) -> Sequence[PastAction]:
        """See `PrivacyHistory`."""

        def is_end(entry: ChainedEntry) -> bool:
            return entry.details.get("state", "done") == "done"

        return await self._past((EXPIRE, ERASE_SITE), site_id, is_end)

    async def erasures(self, site_id: str) -> Sequence[PastAction]:
        """See `PrivacyHistory`.

        An entry without a site is of an earlier version, or of a person of whom nothing was there. It names an erasure,
        whose own document says on which sites it was.
        """
        jobs = ErasureJobs(self._store)
        await jobs.documents.load()

        def is_of_site(entry: ChainedEntry) -> bool:
            job = jobs.get(entry.resource)
            return entry.operation == ERASURE_DONE and (job is None or job.scope.covers(site_id))

        of_site = await self._past((ERASE_PERSON.name,), stored_site_id(site_id), is_of_site)
        return sorted(
            (*of_site, *await self._past((ERASE_PERSON.name,), "", is_of_site)), key=attrgetter("at"), reverse=True
        )[:MOST]

    async def _past(self, actions: Sequence[str], site_id: str, is_chosen: _Chosen) -> list[PastAction]:
        rows = await newest_of_actions(self._store, actions, site_id, MOST_LOOKED_AT)
        entries = (msgspec.json.decode(row.text, type=ChainedEntry) for row in rows)
        found = [
            PastAction(at=entry.at, action=entry.action, rows=entry.rows or 0) for entry in entries if is_chosen(entry)
        ]
        return found[:MOST]

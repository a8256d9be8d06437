"""Erasure jobs as documents: which there are, how far each is, and its certificate.

A document names the person by a keyed hash. While an erasure runs, the user id itself stands in `erasure_subjects`
alone, in a partition that is dropped at the end.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from enum import StrEnum

import msgspec

from analytics_server.privacy.certificate import Certificate
from analytics_server.privacy.scope import SiteScope
from analytics_server.store.documents import Documents, DocumentTable
from analytics_server.store.protocol import Store
from analytics_server.store.unreadable import UnreadableDocuments

ERASURES = DocumentTable(name="erasures", key_columns=("id",), grows=True)
SUBJECTS = "erasure_subjects"
ID_BYTES = 16


class ErasurePhase(StrEnum):
    """What an erasure does now; each phase may be begun again after a crash."""

    DELIVER = "deliver"
    COLLECT = "collect"
    DELETE = "delete"
    ROLLUPS = "rollups"
    BUILDS = "builds"
    LETTERS = "letters"
    ARCHIVE = "archive"
    FILES = "files"
    CLOSE = "close"
    DONE = "done"

    @property
    def has_deleted(self) -> bool:
        """Are the person's events gone from `events`?"""
        return list(ErasurePhase).index(self) > list(ErasurePhase).index(ErasurePhase.DELETE)

    @property
    def leaves_totals(self) -> bool:
        """Do totals of days still count the person, whose events are gone or about to go?"""
        return self in (ErasurePhase.DELETE, ErasurePhase.ROLLUPS, ErasurePhase.BUILDS)


class ErasureJob(msgspec.Struct, frozen=True, kw_only=True):
    """One erasure. `server`: who carries it out; `beat_ms`: when that was last seen. `cut_off` 0: not fixed yet.

    `follows`: of what another server delivered late, the erasure that asked for it. `removed_of`: the rows in
    ClickHouse that were removed, by site.
    """

    id: str
    user_hash: str
    scope: SiteScope
    requested_at_ms: int
    server: str
    beat_ms: int
    phase: ErasurePhase = ErasurePhase.DELIVER
    cut_off: int = 0
    cut_off_at_ms: int = 0
    rounds: int = 0
    opted_out: bool = False
    follows: str = ""
    removed: dict[str, int] = {}
    removed_of: dict[str, int] = {}
    rebuilt: dict[str, int] = {}
    tables: tuple[str, ...] = ()
    """Whose settings are changed until the end."""
    files_removed: bool = True
    not_searched: tuple[str, ...] = ()
    named_in: tuple[str, ...] = ()
    certificate: Certificate | None = None

    @property
    def is_done(self) -> bool:
        """Has it ended?"""
        return self.phase is ErasurePhase.DONE


class ErasureJobs:
    """The documents, and the subjects of those under way."""

    def __init__(
        self, store: Store, clock: Callable[[], float] = time.time, unreadable: UnreadableDocuments | None = None
    ) -> None:
        self._store = store
        self.documents = Documents(
            store,
            ERASURES,
            decode=lambda key, text: msgspec.json.decode(text, type=ErasureJob),
            encode=lambda job: msgspec.json.encode(job).decode(),
            label=lambda key: ("erasure", key[0]),
            clock=clock,
            unreadable=unreadable,
        )
        self._clock = clock

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return int(self._clock() * 1000)

    def all(self) -> list[ErasureJob]:
        """All of them, the oldest first."""
        return sorted((job for _, job in self.documents.items()), key=lambda job: (job.requested_at_ms, job.id))

    def get(self, id_: str) -> ErasureJob | None:
        """One of them."""
        return self.documents.get((id_,))

    def newest_of(self, user_hash: str, scope: SiteScope) -> ErasureJob | None:
        """The last one of a person on the same sites."""
        same = [job for job in self.all() if job.user_hash == user_hash and job.scope == scope]
        return same[-1] if same else None

    async def create(
        self, user_hash: str, scope: SiteScope, server: str, *, opted_out: bool, follows: str
    ) -> ErasureJob:
        """A new one. Its subject has to be written next. Raises a store error."""
        now_ms = self.now_ms()
        job = ErasureJob(
            id=secrets.token_hex(ID_BYTES),
            user_hash=user_hash,
            scope=scope,
            requested_at_ms=now_ms,
            server=server,
            beat_ms=now_ms,
            opted_out=opted_out,
            follows=follows,
        )
        await self.documents.put((job.id,), job)
        return job

    async def change(self, job: ErasureJob, **changes: object) -> ErasureJob:
        """The next version. Raises a store error."""
        changed: ErasureJob = msgspec.structs.replace(job, beat_ms=self.now_ms(), **changes)
        await self.documents.put((job.id,), changed)
        return changed

    # ---- the subject ---------------------------------------------------

    async def put_subject(self, job: ErasureJob, user_id: str) -> None:
        """Remember whom it is about until it ends; again, if need be. Raises a store error."""
        if await self.subject(job) is None:
            await self._store.insert(SUBJECTS, ("id", "user_id"), [[job.id], [user_id]])
        await self._store.catch_up([SUBJECTS])

    async def subject(self, job: ErasureJob) -> str | None:
        """The user id; None when it was never written."""
        answer = await self._store.query(f"SELECT user_id FROM {SUBJECTS} WHERE id = {{id:String}}", {"id": job.id})
        return str(answer.rows[0][0]) if answer.rows else None

    async def forget(self, id_: str) -> None:
        """Drop the subject and what was written down of it, files included. Raises a store error."""
        for table in (SUBJECTS, "erasure_keys"):
            await self._store.command(f"ALTER TABLE {table} DROP PARTITION '{id_}'")

    async def forget_done(self) -> None:
        """Drop the subjects of erasures that are done: written by another server as it ended. Raises a store error."""
        answer = await self._store.query(f"SELECT DISTINCT id FROM {SUBJECTS}")
        for (id_,) in answer.rows:
            job = self.get(str(id_))
            if job is not None and job.is_done:
                await self.forget(job.id)

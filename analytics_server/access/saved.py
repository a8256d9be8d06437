"""What people save of a site: goals, funnels, segments, experiments, annotations, queries.

A saved thing is a JSON document with an id and a name. Kept in ClickHouse, shared by all
servers, and in memory: look-ups never wait. What another server changed is known here after
`REFRESH_S` at most, or at once after `load`. What a document means belongs to those who ask
(`query`), who check it before it is put here; here it is text.

Names are unique per kind and site (of annotations they need not be). ClickHouse has no
unique keys, so a change reads the table before and after: of two servers that save the same
new name at the same moment the one that sees the other's takes its own back, both if they
see each other. One of them can only stay unseen where a cluster's replicas lag; then the
older one is found by the name.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

import msgspec

from analytics_server.errors import Conflict, NotFound, RequestError, StoreError
from analytics_server.store.protocol import Store
from analytics_server.store.unreadable import NOT_READABLE, UnreadableDocuments

log = logging.getLogger(__name__)

T = TypeVar("T")

REFRESH_S = 10.0
ID_BYTES = 6
MAX_PER_SITE = 1_000
"""So many things of one kind can be saved for a site."""


class Kind(StrEnum):
    """What can be saved."""

    GOAL = "goal"
    FUNNEL = "funnel"
    SEGMENT = "segment"
    EXPERIMENT = "experiment"
    ANNOTATION = "annotation"
    QUERY = "query"


LIST = (
    "SELECT kind, site_id, id, document, toUnixTimestamp64Micro(updated_at) FROM saved FINAL WHERE deleted = 0"
    " ORDER BY kind, site_id, id"
)
NAME_CHARS = 120
NAME_PATTERN = r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$"
"""No control characters, no spaces around it."""
_NAME = re.compile(NAME_PATTERN.removesuffix("$") + r"\Z")
BAD_SAVED = "bad_saved"
NAMES_MAY_REPEAT = frozenset({Kind.ANNOTATION})


class SavedThing(msgspec.Struct, frozen=True, kw_only=True):
    """One saved document. `body` is JSON text whose shape belongs to the kind."""

    kind: Kind
    site_id: str
    id: str
    name: str
    body: msgspec.Raw
    created_at_ms: int
    updated_at_ms: int


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    """What the table's `document` holds."""

    name: str
    body: msgspec.Raw
    created_at_ms: int
    updated_at_ms: int


class Saved:
    """The directory of saved things."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float] = time.time,
        unreadable: UnreadableDocuments | None = None,
    ) -> None:
        self._store = store
        self._unreadable = unreadable or UnreadableDocuments()
        self._skipped: dict[tuple[Kind, str], int] = {}
        """Things whose body could not be read, with the time of the change that was tried."""
        self._clock = clock
        self._things: dict[tuple[Kind, str], dict[str, SavedThing]] = {}
        self._changes = 0
        self._changing = asyncio.Lock()
        self._newest_us = 0
        self.revision = 0
        """Another number whenever something may have changed: for those who keep what they made of the documents."""

    async def load(self) -> None:
        """Read everything again. Raises a store error."""
        changes = self._changes
        answer = await self._store.query(LIST)
        found: dict[tuple[Kind, str], dict[str, SavedThing]] = {}
        unreadable: dict[str, set[str]] = {}
        for kind_name, site_id, id_, text, changed_us in answer.rows:
            self._newest_us = max(self._newest_us, int(str(changed_us)))  # another server's clock may be ahead
            try:
                kind = Kind(str(kind_name))
                document = msgspec.json.decode(str(text), type=_Document)
            except NOT_READABLE as error:  # a newer server knows more kinds, or another shape
                unreadable.setdefault(str(kind_name), set()).add(str(id_))
                self._unreadable.note(str(kind_name), str(id_), type(error).__name__)
                continue
            thing = SavedThing(
                kind=kind,
                site_id=str(site_id),
                id=str(id_),
                name=document.name,
                body=document.body,
                created_at_ms=document.created_at_ms,
                updated_at_ms=document.updated_at_ms,
            )
            found.setdefault((kind, thing.site_id), {})[thing.id] = thing
        self._still_unreadable(found, unreadable)
        if changes == self._changes:  # else the answer may be older than what was changed here meanwhile
            self._things = found
            self.revision += 1

    def _still_unreadable(
        self, found: dict[tuple[Kind, str], dict[str, SavedThing]], unreadable: dict[str, set[str]]
    ) -> None:
        changed_at = {(thing.kind, thing.id): thing.updated_at_ms for of in found.values() for thing in of.values()}
        self._skipped = {key: at for key, at in self._skipped.items() if changed_at.get(key) == at}
        for kind in {*unreadable, *Kind}:
            skipped = {id_ for skipped_kind, id_ in self._skipped if skipped_kind == kind}
            self._unreadable.keep_only(kind, unreadable.get(kind, set()) | skipped)

    def readable(self, things: Iterable[SavedThing], read: Callable[[SavedThing], T]) -> list[T]:
        """What `read` makes of the things. One for which it raises `RequestError` is left out, named and counted."""
        found = []
        for thing in things:
            try:
                found.append(read(thing))
            except RequestError as error:
                self.skip(thing, error)
        return found

    def skip(self, thing: SavedThing, error: RequestError) -> None:
        """A thing can't be read and is left out: name and count it."""
        self._skipped[thing.kind, thing.id] = thing.updated_at_ms
        self._unreadable.note(thing.kind, thing.id, error.code)

    async def run(self) -> None:
        """Refresh for ever: a task to own."""
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self.load()
            except StoreError as error:
                log.debug("saved things not refreshed", extra={"reason": error.message[:200]})

    def get(self, kind: Kind, site_id: str, id_: str) -> SavedThing | None:
        """The thing of that id."""
        return self._things.get((kind, site_id), {}).get(id_)

    def find(self, kind: Kind, site_id: str, id_or_name: str) -> SavedThing | None:
        """The thing of that id or, if there is none, of that name (the oldest, should there be two)."""
        things = self._things.get((kind, site_id), {})
        named = (thing for thing in things.values() if thing.name == id_or_name)
        return things.get(id_or_name) or min(named, key=lambda thing: (thing.created_at_ms, thing.id), default=None)

    def by_id(self, kind: Kind, id_: str) -> SavedThing | None:
        """The thing of that id, whatever the site."""
        return next((things[id_] for (k, _), things in self._things.items() if k is kind and id_ in things), None)

    def all(self, kind: Kind, site_id: str) -> list[SavedThing]:
        """All of one kind and site, by name."""
        return sorted(self._things.get((kind, site_id), {}).values(), key=lambda thing: (thing.name, thing.id))

    def of_kind(self, kind: Kind) -> list[SavedThing]:
        """All of one kind, whatever the site."""
        return [thing for (k, _), things in self._things.items() if k is kind for thing in things.values()]

    async def put(self, kind: Kind, site_id: str, name: str, body: object, *, id_: str = "") -> SavedThing:
        """Save a thing, new or (with the id of one that exists) changed.

        Raises `Conflict` (name_taken), `RequestError` (bad_name, too_many), `NotFound` for one that another server
        has deleted meanwhile, or a store error.
        """
        check_name(name)
        async with self._changing:
            was_here = self.get(kind, site_id, id_) is not None
            await self.load()
            before = self.get(kind, site_id, id_)
            if was_here and before is None:
                raise NotFound(f"The {kind} {id_!r} has just been deleted.")
            self._refuse_taken(kind, site_id, name, id_)
            if before is None and len(self._things.get((kind, site_id), ())) >= MAX_PER_SITE:
                raise RequestError(
                    f"A site may have {MAX_PER_SITE} saved things of a kind ({kind}): delete some.", code="too_many"
                )
            now_ms = int(self._clock() * 1000)
            thing = SavedThing(
                kind=kind,
                site_id=site_id,
                id=id_ or secrets.token_hex(ID_BYTES),
                name=name,
                body=msgspec.Raw(msgspec.json.encode(body)),
                created_at_ms=before.created_at_ms if before else now_ms,
                updated_at_ms=now_ms,
            )
            await self._write(thing, deleted=0)
            self._keep(thing)
            if before is None or before.name != name:
                await self._yield_name(thing, before)
            return thing

    async def _yield_name(self, thing: SavedThing, before: SavedThing | None) -> None:
        """Take a change back whose name another server has given away at the same moment. Raises `Conflict`."""
        await self.load()
        try:
            self._refuse_taken(thing.kind, thing.site_id, thing.name, thing.id)
        except Conflict:
            await self._write(before or thing, deleted=0 if before else 1)
            if before is not None:
                self._keep(before)
            else:
                self._forget(thing)
            raise

    def _refuse_taken(self, kind: Kind, site_id: str, name: str, id_: str) -> None:
        things = self._things.get((kind, site_id), {}).values()
        if kind not in NAMES_MAY_REPEAT and any(thing.name == name and thing.id != id_ for thing in things):
            raise Conflict(f"There is a {kind} named {name!r} already: choose another name.", code="name_taken")

    def _keep(self, thing: SavedThing) -> None:
        self._changes += 1
        self.revision += 1
        self._things.setdefault((thing.kind, thing.site_id), {})[thing.id] = thing

    def _forget(self, thing: SavedThing) -> None:
        self._changes += 1
        self.revision += 1
        self._things.get((thing.kind, thing.site_id), {}).pop(thing.id, None)

    async def delete(self, kind: Kind, site_id: str, id_: str) -> bool:
        """Delete a thing; False when there is none. Raises a store error."""
        async with self._changing:
            thing = self.get(kind, site_id, id_)
            if thing is None:
                return False
            await self._write(thing, deleted=1)
            self._forget(thing)
            return True

    async def _write(self, thing: SavedThing, *, deleted: int) -> None:
        document = _Document(
            name=thing.name, body=thing.body, created_at_ms=thing.created_at_ms, updated_at_ms=thing.updated_at_ms
        )
        # Two changes in one microsecond, or a clock that was set back, must not turn the order round.
        self._newest_us = max(int(self._clock() * 1_000_000), self._newest_us + 1)
        await self._store.insert(
            "saved",
            ("kind", "site_id", "id", "document", "deleted", "updated_at"),
            [
                [str(thing.kind)],
                [thing.site_id],
                [thing.id],
                [msgspec.json.encode(document).decode()],
                [deleted],
                [datetime.fromtimestamp(self._newest_us / 1_000_000, UTC)],
            ],
        )


def check_name(name: str) -> None:
    """Can a saved thing be called that? Raises `RequestError` (bad_name)."""
    if len(name) > NAME_CHARS or not _NAME.match(name):
        raise RequestError(
            f"name must have 1 to {NAME_CHARS} characters, none of them a control character, and no spaces around it.",
            code="bad_name",
        )


def body_of(thing: SavedThing, kind: type[T]) -> T:
    """The thing's body as a struct. Raises `RequestError` (bad_saved) for one that this version can't read."""
    try:
        return msgspec.json.decode(thing.body, type=kind)
    except NOT_READABLE as error:
        raise RequestError(
            f"The {thing.kind} {thing.name!r} (id {thing.id}) can't be read by this version ({error}):"
            " save it again, or delete it.",
            code=BAD_SAVED,
        ) from error

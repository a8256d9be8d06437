"""What people save of a site: goals, funnels, segments, experiments, annotations, queries.

A saved thing is a JSON document with an id and a name. Kept in ClickHouse, shared by all
servers, and in memory: look-ups never wait. What another server changed is known here after
`REFRESH_S` at most, or at once after `load`. What a document means belongs to those who ask
(`query`), who check it before it is put here; here it is text.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

import msgspec

from analytics_server.errors import RequestError, StoreError
from analytics_server.store.protocol import Store

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

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._things: dict[tuple[Kind, str], dict[str, SavedThing]] = {}
        self._changes = 0
        self._changing = asyncio.Lock()
        self._newest_us = 0

    async def load(self) -> None:
        """Read everything again. Raises a store error."""
        changes = self._changes
        answer = await self._store.query("SELECT kind, site_id, id, document FROM saved FINAL WHERE deleted = 0")
        found: dict[tuple[Kind, str], dict[str, SavedThing]] = {}
        for kind_name, site_id, id_, text in answer.rows:
            document = msgspec.json.decode(str(text), type=_Document)
            kind = Kind(str(kind_name))
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
        if changes == self._changes:  # else the answer may be older than what was changed here meanwhile
            self._things = found

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
        """The thing of that id or, if there is none, of that name."""
        things = self._things.get((kind, site_id), {})
        return things.get(id_or_name) or next((thing for thing in things.values() if thing.name == id_or_name), None)

    def all(self, kind: Kind, site_id: str) -> list[SavedThing]:
        """All of one kind and site, by name."""
        return sorted(self._things.get((kind, site_id), {}).values(), key=lambda thing: (thing.name, thing.id))

    def of_kind(self, kind: Kind) -> list[SavedThing]:
        """All of one kind, whatever the site."""
        return [thing for (k, _), things in self._things.items() if k is kind for thing in things.values()]

    async def put(self, kind: Kind, site_id: str, name: str, body: object, *, id_: str = "") -> SavedThing:
        """Save a thing, new or (with the id of one that exists) changed.

        Raises `RequestError` (name_taken, too_many) or a store error.
        """
        async with self._changing:
            before = self.get(kind, site_id, id_) if id_ else None
            things = self._things.setdefault((kind, site_id), {})
            if any(thing.name == name and thing.id != id_ for thing in things.values()):
                raise RequestError(f"There is a {kind} named {name!r} already: choose another name.", code="name_taken")
            if before is None and len(things) >= MAX_PER_SITE:
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
            self._changes += 1
            self._things.setdefault((kind, site_id), {})[thing.id] = thing
            return thing

    async def delete(self, kind: Kind, site_id: str, id_: str) -> bool:
        """Delete a thing; False when there is none. Raises a store error."""
        async with self._changing:
            thing = self.get(kind, site_id, id_)
            if thing is None:
                return False
            await self._write(thing, deleted=1)
            self._changes += 1
            self._things.get((kind, site_id), {}).pop(id_, None)
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


def body_of(thing: SavedThing, kind: type[T]) -> T:
    """The thing's body as a struct."""
    return msgspec.json.decode(thing.body, type=kind)

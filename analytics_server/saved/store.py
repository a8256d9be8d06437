"""Saved things: the goals, funnels, segments, experiments, annotations and queries of sites, as documents.

A saved thing is a JSON document with an id and a name, kept as `store.documents` are: shared by all servers, and in
memory. What a document means belongs to the packages that use it, which check it before it is put here; here it is
text.

A thing is shared by all who see the site, or private: an `owner`'s, the id of a person. Those who do not say whose
things they mean get the shared ones. Private things are stored under a kind and an id of their own
(`private_query`, `OWNER/ID`): earlier versions know no such kind and leave them out, and whose one is stands beside its
text, which may be unreadable.

Names are unique per kind, site and owner (of annotations they need not be). ClickHouse has no unique keys, so a change
reads the table before and after: of two servers that save the same new name at the same moment the one that sees the
other's takes its own back, both if they see each other. One of them can only stay unseen where a cluster's replicas
lag; then the older one is found by the name.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Collection, Iterable
from enum import StrEnum
from typing import TypeVar

import msgspec

from analytics_server.errors import Conflict, NotFound, RequestError
from analytics_server.store.documents import Documents, DocumentTable, Key
from analytics_server.store.protocol import Store
from analytics_server.store.unreadable import NOT_READABLE, UnreadableDocuments

T = TypeVar("T")

REFRESH_S = 10.0
ID_BYTES = 6
MAX_PER_SITE = 1_000
"""So many things of one kind can be saved for a site, private ones apart."""


class Kind(StrEnum):
    """What can be saved."""

    GOAL = "goal"
    FUNNEL = "funnel"
    SEGMENT = "segment"
    EXPERIMENT = "experiment"
    ANNOTATION = "annotation"
    QUERY = "query"


SAVED = DocumentTable(name="saved", key_columns=("kind", "site_id", "id"), forgets=True)
_PRIVATE = "private_"
NAME_CHARS = 120
NAME_PATTERN = r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$"
"""No control characters, no spaces around it."""
_NAME = re.compile(NAME_PATTERN.removesuffix("$") + r"\Z")
BAD_SAVED = "bad_saved"
NAMES_MAY_REPEAT = frozenset({Kind.ANNOTATION})


class SavedThing(msgspec.Struct, frozen=True, kw_only=True):
    """One saved document. `body`: JSON text whose shape belongs to the kind. `owner`: whose it is, empty if shared."""

    kind: Kind
    site_id: str
    id: str
    name: str
    body: msgspec.Raw
    created_at_ms: int
    updated_at_ms: int
    owner: str = ""


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
        self._documents = Documents(
            store,
            SAVED,
            decode=_decode,
            encode=_encode,
            label=lambda key: (key[0], key[2]),
            clock=clock,
            unreadable=unreadable,
        )
        self._clock = clock
        self._things: dict[tuple[Kind, str, str], dict[str, SavedThing]] = {}
        self._owners: frozenset[str] = frozenset()
        self._indexed = -1

    @property
    def revision(self) -> int:
        """Another number whenever a document has changed: for those who keep what they derived from the documents."""
        return self._documents.revision

    async def load(self) -> None:
        """Read everything again. Raises a store error."""
        await self._documents.load()

    def _by_site(self) -> dict[tuple[Kind, str, str], dict[str, SavedThing]]:
        """All things by kind, site and owner, then by id."""
        if self._indexed != self._documents.revision:
            self._indexed = self._documents.revision
            self._things = {}
            for _, thing in self._documents.items():
                self._things.setdefault((thing.kind, thing.site_id, thing.owner), {})[thing.id] = thing
            private = {owner for _, _, owner in self._things} | set(map(_owner_of, self._documents.unreadable))
            self._owners = frozenset(private - {""})
        return self._things

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
        """A thing can't be read and is left out: name and count it until it changes."""
        self._documents.skip(_key(thing), error.code)

    async def run(self) -> None:
        """Refresh at intervals until cancelled: a task to own."""
        await self._documents.run(REFRESH_S)

    def get(self, kind: Kind, site_id: str, id_: str, owner: str = "") -> SavedThing | None:
        """The shared thing of that id, or the owner's."""
        return self._by_site().get((kind, site_id, owner), {}).get(id_)

    def find(self, kind: Kind, site_id: str, id_or_name: str) -> SavedThing | None:
        """The shared thing of that id or, if there is none, of that name (the oldest, should there be two)."""
        things = self._by_site().get((kind, site_id, ""), {})
        named = (thing for thing in things.values() if thing.name == id_or_name)
        return things.get(id_or_name) or min(named, key=lambda thing: (thing.created_at_ms, thing.id), default=None)

    def by_id(self, kind: Kind, id_: str, owner: str = "") -> SavedThing | None:
        """The thing of that id, whatever the site: a shared one, or the owner's."""
        found = (
            things[id_]
            for (k, _, whose), things in self._by_site().items()
            if k is kind and whose in ("", owner) and id_ in things
        )
        return next(found, None)

    def all(self, kind: Kind, site_id: str, owner: str = "") -> list[SavedThing]:
        """All shared ones of one kind and site, or all of the owner, by name."""
        things = self._by_site().get((kind, site_id, owner), {}).values()
        return sorted(things, key=lambda thing: (thing.name, thing.id))

    def of_kind(self, kind: Kind) -> list[SavedThing]:
        """All shared ones of one kind, whatever the site."""
        return [thing for thing in self.everything() if thing.kind is kind and not thing.owner]

    def everything(self) -> list[SavedThing]:
        """All things, private ones too."""
        return [thing for things in self._by_site().values() for thing in things.values()]

    def owners(self) -> frozenset[str]:
        """Those who have private things, also ones that can't be read."""
        self._by_site()
        return self._owners

    async def put(
        self,
        kind: Kind,
        site_id: str,
        name: str,
        body: object,
        *,
        id_: str = "",
        owner: str = "",
        most: int | None = None,
    ) -> SavedThing:
        """Save a thing, new or (with the id of one that exists) changed.

        `most`: so many a site may have, or the owner on a site; `MAX_PER_SITE` if left out. Raises `Conflict`
        (name_taken), `RequestError` (bad_name, too_many), `NotFound` for one that another server has deleted meanwhile,
        or a store error.
        """
        check_name(name)
        async with self._documents.changing:
            was_here = self.get(kind, site_id, id_, owner) is not None
            await self.load()
            before = self.get(kind, site_id, id_, owner)
            if was_here and before is None:
                raise NotFound(f"The {kind} {id_!r} has just been deleted.", code=f"unknown_{kind}")
            self._refuse_taken(kind, site_id, name, id_, owner)
            most = MAX_PER_SITE if most is None else most
            if before is None and len(self._by_site().get((kind, site_id, owner), ())) >= most:
                whose = f"You may have {most} private" if owner else f"A site may have {most} saved"
                raise RequestError(
                    f"{whose} things of a kind ({kind}){' on a site' if owner else ''}: delete some.", code="too_many"
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
                owner=owner,
            )
            await self._documents.put(_key(thing), thing)
            if before is None or before.name != name:
                await self._yield_name(thing, before)
            return thing

    async def _yield_name(self, thing: SavedThing, before: SavedThing | None) -> None:
        """Take a change back whose name another server has given away at the same moment. Raises `Conflict`."""
        await self.load()
        try:
            self._refuse_taken(thing.kind, thing.site_id, thing.name, thing.id, thing.owner)
        except Conflict:
            if before is not None:
                await self._documents.put(_key(before), before)
            else:
                await self._documents.delete(_key(thing), thing)
            raise

    def _refuse_taken(self, kind: Kind, site_id: str, name: str, id_: str, owner: str) -> None:
        things = self._by_site().get((kind, site_id, owner), {}).values()
        if kind not in NAMES_MAY_REPEAT and any(thing.name == name and thing.id != id_ for thing in things):
            raise Conflict(f"There is a {kind} named {name!r} already: choose another name.", code="name_taken")

    def place(self, kind: Kind, id_: str, owner: str = "") -> tuple[str, str] | None:
        """Site and owner (empty: shared) of the thing of that id, also of one that can't be read. See `by_id`."""
        if (thing := self.by_id(kind, id_, owner)) is not None:
            return thing.site_id, thing.owner
        places = ((site, whose) for _, site, _ in self._documents.unreadable for whose in ("", owner))
        return next(
            (each for each in places if _stored(kind, each[0], id_, each[1]) in self._documents.unreadable), None
        )

    async def delete(self, kind: Kind, site_id: str, id_: str, owner: str = "") -> bool:
        """Delete a thing, also one that can't be read; False when there is none. Raises a store error."""
        key = _stored(kind, site_id, id_, owner)
        async with self._documents.changing:
            if self._documents.get(key) is None and key not in self._documents.unreadable:
                return False
            await self._documents.delete(key)
            return True

    async def delete_private(self, owners: Collection[str]) -> int:
        """Delete all that is theirs alone, also what can't be read; how much that was. Raises a store error."""
        async with self._documents.changing:
            await self.load()
            known = (*(key for key, _ in self._documents.items()), *self._documents.unreadable)
            theirs = [key for key in known if _owner_of(key) in owners]
            await self._documents.delete_all(theirs)
            return len(theirs)


def _key(thing: SavedThing) -> Key:
    return _stored(thing.kind, thing.site_id, thing.id, thing.owner)


def _stored(kind: Kind, site_id: str, id_: str, owner: str) -> Key:
    return (f"{_PRIVATE}{kind}", site_id, f"{owner}/{id_}") if owner else (str(kind), site_id, id_)


def _owner_of(key: Key) -> str:
    """Whose a document is, by its key; empty for a shared one."""
    owner, slash, _ = key[2].partition("/")
    return owner if slash and key[0].startswith(_PRIVATE) else ""


def _decode(key: Key, text: str) -> SavedThing:
    """Raises one of `NOT_READABLE`, also for a kind that only a newer version knows."""
    kind, site_id, id_ = key
    owner = _owner_of(key)
    if owner:
        kind, id_ = kind.removeprefix(_PRIVATE), id_.removeprefix(f"{owner}/")
    document = msgspec.json.decode(text, type=_Document)
    return SavedThing(
        kind=Kind(kind),
        site_id=site_id,
        id=id_,
        name=document.name,
        body=document.body,
        created_at_ms=document.created_at_ms,
        updated_at_ms=document.updated_at_ms,
        owner=owner,
    )


def _encode(thing: SavedThing) -> str:
    document = _Document(
        name=thing.name, body=thing.body, created_at_ms=thing.created_at_ms, updated_at_ms=thing.updated_at_ms
    )
    return msgspec.json.encode(document).decode()


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

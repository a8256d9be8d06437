"""A type of saved thing as a value: all that goals, segments, annotations, queries, funnels and experiments differ in.

Storing, rights, revisions and errors are the same for all and stand in `store` and `routes`. A type says what is sent,
stored and shown, how a request is checked, and what the API description tells of it. Types are made by the packages
that know what the documents mean, and are registered by the application.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UNSET

from analytics_server.errors import NotFound, RequestError
from analytics_server.http.declaration import Parameter
from analytics_server.model import Site, stored_site_id
from analytics_server.saved.store import MAX_PER_SITE, Kind, SavedThing, body_of

Check = Callable[[Any, Site, SavedThing | None], Awaitable[tuple[str, msgspec.Struct]]]
"""Name and document of a request for a site, once it can be relied on; the thing that it replaces, if any.

Raises `RequestError` or a store error.
"""


@dataclass(frozen=True, slots=True)
class SavedText:
    """What the API description tells of one operation: its name, a summary, more about it, and of its answer."""

    name: str
    summary: str
    about: str
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedTexts:
    """What the API description tells of a type.

    `examples`: bodies of a POST by a word that says what each one shows; `changes`: likewise of a PUT. `codes`: what a
    check may refuse with (400), `conflicts` with 409, `unavailable` with 503.
    """

    tag: str
    list_all: SavedText
    create: SavedText
    show: SavedText
    change: SavedText
    delete: SavedText
    examples: Mapping[str, object]
    changes: Mapping[str, object]
    codes: tuple[str, ...]
    conflicts: tuple[str, ...] = ("name_taken",)
    unavailable: tuple[str, ...] = ()
    id: Parameter | None = None
    """The path's id, where other paths of the same shape (`/plan`) forbid to say that it is always hexadecimal."""


async def _nothing(*_: SavedThing | None) -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedType:
    """One type of saved thing.

    `noun` names it in messages; `plural` is the key of a list. `request`, `change`: bodies of POST and PUT; `body`:
    what is stored; `answer`, `answers`: one and a list as they are shown.

    `together`: keys of which a change replaces all or none. `details`: keys of the answer that are not stored; raises
    `RequestError` for a body that can't be read. `order`: what lists are sorted by before the name. `after_put` gets
    the thing and the one it replaced, `after_delete` the deleted one. `most_private`: so many private ones a person may
    have on a site; of a type that has them, a request may say `private`.
    """

    kind: Kind
    noun: str
    plural: str
    path: str
    request: type[msgspec.Struct]
    change: type[msgspec.Struct]
    body: type[msgspec.Struct]
    answer: type[msgspec.Struct]
    answers: type[msgspec.Struct]
    check: Check
    texts: SavedTexts
    together: tuple[str, ...] = ()
    details: Callable[[SavedThing, Site], Mapping[str, object]] = field(default=lambda thing, site: {})
    order: Callable[[SavedThing, Site], tuple[Any, ...]] = field(default=lambda thing, site: ())
    after_put: Callable[[SavedThing, SavedThing | None], Awaitable[None]] = _nothing
    after_delete: Callable[[SavedThing], Awaitable[None]] = _nothing
    most_per_site: int = MAX_PER_SITE
    most_private: int = 0

    def show(self, thing: SavedThing, site: Site) -> msgspec.Struct:
        """The thing as it is answered. Raises `RequestError` (bad_saved) for one that can't be read."""
        return self.answer(
            **_common_fields(body_of(thing, self.body), self.answer),
            **self.details(thing, site),
            id=thing.id,
            site_id=thing.site_id,
            name=thing.name,
            created_at_ms=thing.created_at_ms,
            updated_at_ms=thing.updated_at_ms,
        )

    def show_all(self, answers: list[msgspec.Struct]) -> msgspec.Struct:
        """The list as it is answered."""
        return self.answers(**{self.plural: answers})

    def changed(self, thing: SavedThing, change: msgspec.Struct) -> msgspec.Struct:
        """The request that would have made the thing as it shall become. Raises `RequestError`."""
        given = {name: getattr(change, name) for name in change.__struct_fields__}
        given = {name: value for name, value in given.items() if value is not UNSET}
        site_id = given.pop("site_id", thing.site_id)
        if stored_site_id(site_id) != stored_site_id(thing.site_id):
            raise RequestError(
                f"site_id can't change: the {self.noun} belongs to {thing.site_id!r}.", code="bad_request"
            )
        kept = _common_fields(body_of(thing, self.body), self.request)
        if any(name in given for name in self.together):
            kept = {name: value for name, value in kept.items() if name not in self.together}
        return self.request(**({"name": thing.name} | kept | given), site_id=thing.site_id)

    def unknown(self) -> NotFound:
        """The error for a thing that is not there, or of a site that the caller may not see."""
        return NotFound(
            f"There is no {self.noun} of that id: GET {self.path}?site_id=… lists them.", code=f"unknown_{self.kind}"
        )


def _common_fields(body: msgspec.Struct, target: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields of a stored body that the target has too."""
    return {name: getattr(body, name) for name in body.__struct_fields__ if name in target.__struct_fields__}


def plain_texts(
    noun: str,
    plural: str,
    about: str,
    *,
    examples: Mapping[str, object],
    change: object,
    codes: tuple[str, ...],
    conflicts: tuple[str, ...] = ("name_taken",),
    unavailable: tuple[str, ...] = (),
) -> SavedTexts:
    """The texts of a type that has nothing special about its operations. `about`: what such a thing is."""
    a, word = "an" if noun[0] in "aeiou" else "a", noun.replace(" ", "_")
    many = f"{word.removesuffix('y')}ies" if word.endswith("y") else f"{word}s"
    return SavedTexts(
        tag="saved",
        list_all=SavedText(f"list_{many}", f"A site's {plural}", about, "Annotations by time, all else by name."),
        create=SavedText(
            f"create_{word}",
            f"Save a new {noun}",
            "Other servers on the same ClickHouse know it within ten seconds.",
            "Saved.",
        ),
        show=SavedText(f"get_{word}", f"One {noun}", "", f"The {noun}."),
        change=SavedText(
            f"change_{word}",
            f"Change {a} {noun}",
            "What is left out stays. The last change wins.",
            f"The {noun} as it is now.",
        ),
        delete=SavedText(
            f"delete_{word}",
            f"Delete {a} {noun}",
            "Also one that is in use: questions that name it are refused from then on.",
            "Deleted.",
        ),
        examples=examples,
        changes={"change": change},
        codes=codes,
        conflicts=conflicts,
        unavailable=unavailable,
    )

"""Saved funnels: their documents, what they mean now, and the tables that follow from that."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from analytics_server.access.saved import BAD_SAVED, Kind, Saved, SavedThing, body_of
from analytics_server.analyses.funnels.answer import Status
from analytics_server.analyses.funnels.definition import (
    By,
    ExclusionSpec,
    Funnel,
    FunnelBody,
    Order,
    SiteId,
    check_funnel,
)
from analytics_server.analyses.funnels.materialized.facts import Facts, make_facts
from analytics_server.errors import NotFound, RequestError
from analytics_server.query.language.event_match import NAME_CHARS, EventSpec
from analytics_server.query.language.saved_filters import SiteLibrary

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_SAVED = 50
"""So many funnels may be saved for a site: each costs every insert a little."""

SavedName = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS, pattern=r"^\S(.*\S)?$")]


class SavedFunnelRequest(FunnelBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/funnels/saved`."""

    site_id: SiteId
    name: SavedName


class SavedFunnelChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `PUT /api/v1/funnels/saved/{id}`: what is left out stays."""

    site_id: SiteId | UnsetType = UNSET
    name: SavedName | UnsetType = UNSET
    steps: tuple[EventSpec, ...] | UnsetType = UNSET
    window: int | str | UnsetType = UNSET
    order: Order | UnsetType = UNSET
    by: By | UnsetType = UNSET
    exclude: tuple[ExclusionSpec, ...] | UnsetType = UNSET
    filters: tuple[object, ...] | UnsetType = UNSET


class SavedFunnelAnswer(FunnelBody, frozen=True, kw_only=True):
    """A saved funnel. `status`: `ready` when its own table answers, `building` while its history is read into it.

    `failed`: what it names is gone, such as a goal; `reason` says what. `progress`: per cent of the history.
    """

    id: str
    site_id: str
    name: str
    status: Status
    progress: float
    reason: str
    created_at_ms: int
    updated_at_ms: int


class SavedFunnelsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A site's saved funnels, by name."""

    funnels: list[SavedFunnelAnswer]


class SavedFunnels:
    """The saved funnels of all sites."""

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        self._known: dict[str, tuple[object, Facts]] = {}

    async def load(self) -> None:
        """Read what other servers saved. Raises a store error."""
        await self._saved.load()

    def all(self, site_id: str) -> list[SavedThing]:
        """Those of a site, by name."""
        return self._saved.all(Kind.FUNNEL, site_id)

    def readable(self, site_id: str, read: Callable[[SavedThing], T]) -> list[T]:
        """What `read` makes of those of a site, but for those that can't be read."""
        return self._saved.readable(self.all(site_id), read)

    def find(self, site_id: str, id_or_name: str) -> SavedThing:
        """The funnel of that id or name. Raises `NotFound` (unknown_funnel)."""
        thing = self._saved.find(Kind.FUNNEL, site_id, id_or_name)
        if thing is None:
            raise unknown(id_or_name)
        return thing

    def knows(self, id_: str) -> bool:
        """Is there a funnel of that id, as far as memory knows?"""
        return self._saved.by_id(Kind.FUNNEL, id_) is not None

    def by_id(self, id_: str) -> SavedThing:
        """The funnel of that id, whatever the site. Raises `NotFound` (unknown_funnel)."""
        thing = self._saved.by_id(Kind.FUNNEL, id_)
        if thing is None:
            raise unknown(id_)
        return thing

    def funnel(self, site_id: str, body: FunnelBody) -> Funnel:
        """What it counts, its goals and segments as they are now. Raises `RequestError` when one of them is gone."""
        return check_funnel(body, SiteLibrary(self._saved, site_id))

    def facts(self, thing: SavedThing) -> Facts:
        """The funnel as it means now, and its tables. Raises `RequestError` when something it names is gone."""
        key = (thing.updated_at_ms, bytes(thing.body), self._saved.revision)
        known = self._known.get(thing.id)
        if known is None or known[0] != key:
            funnel = self.funnel(thing.site_id, body_of(thing, FunnelBody))
            known = self._known[thing.id] = key, make_facts(thing.id, thing.site_id, funnel)
        return known[1]

    def all_facts(self) -> list[Facts]:
        """Of all saved funnels that can be read."""
        found = []
        for thing in self._saved.of_kind(Kind.FUNNEL):
            try:
                found.append(self.facts(thing))
            except RequestError as error:  # a goal it names may be gone: the list of funnels says so
                log.debug("a saved funnel has no table", extra={"funnel": thing.id, "reason": error.message[:200]})
                if error.code == BAD_SAVED:
                    self._saved.skip(thing, error)
            except Exception:
                log.exception("a saved funnel can't be read", extra={"site": thing.site_id, "funnel": thing.id})
        return found

    async def put(self, asked: SavedFunnelRequest, *, id_: str = "") -> SavedThing:
        """Save a funnel. Raises `RequestError` (bad_funnel, too_many, …), `Conflict` (name_taken) or a store error."""
        site_id = asked.site_id.strip().lower()
        body = FunnelBody(**{key: getattr(asked, key) for key in FunnelBody.__struct_fields__})
        make_facts(id_ or "0", site_id, self.funnel(site_id, body))
        if not id_ and len(self.all(site_id)) >= MAX_SAVED:
            raise RequestError(f"A site may have {MAX_SAVED} saved funnels: delete some.", code="too_many")
        return await self._saved.put(Kind.FUNNEL, site_id, asked.name, body, id_=id_)

    async def delete(self, thing: SavedThing) -> None:
        """Delete a funnel's document. Raises `NotFound` or a store error."""
        if not await self._saved.delete(Kind.FUNNEL, thing.site_id, thing.id):
            raise unknown(thing.id)
        self._known.pop(thing.id, None)


def changed(thing: SavedThing, change: SavedFunnelChange) -> SavedFunnelRequest:
    """The funnel with a change. Raises `RequestError` (bad_request) for another site."""
    if change.site_id is not UNSET and change.site_id.strip().lower() != thing.site_id:
        raise RequestError("A saved funnel stays with its site: save it anew for another.", code="bad_request")
    body = body_of(thing, FunnelBody)
    values = {key: getattr(body, key) for key in FunnelBody.__struct_fields__}
    values |= {key: value for key in values if (value := getattr(change, key)) is not UNSET}
    return SavedFunnelRequest(site_id=thing.site_id, name=thing.name if change.name is UNSET else change.name, **values)


def unknown(id_or_name: str) -> NotFound:
    """There is none; also for one whose site the token doesn't cover."""
    return NotFound(
        f"There is no saved funnel {id_or_name[:NAME_CHARS]!r}: GET /api/v1/funnels/saved lists them.",
        code="unknown_funnel",
    )

"""Saved funnels: their documents, what they mean now, and the tables that follow from that."""

from __future__ import annotations

import logging

from analytics_server.analyses.funnels.definition import (
    Funnel,
    FunnelBody,
    check_funnel,
)
from analytics_server.analyses.funnels.materialized.facts import Facts, make_facts
from analytics_server.errors import NotFound, RequestError
from analytics_server.query.language.event_match import NAME_CHARS
from analytics_server.query.language.saved_filters import SiteLibrary
from analytics_server.saved.store import BAD_SAVED, Kind, Saved, SavedThing, body_of

log = logging.getLogger(__name__)

MAX_SAVED = 50
"""So many funnels may be saved for a site: each costs every insert a little."""


class SavedFunnels:
    """The saved funnels of all sites."""

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        self._known: dict[str, tuple[object, Facts]] = {}

    async def load(self) -> None:
        """Read what other servers saved. Raises a store error."""
        await self._saved.load()

    def find(self, site_id: str, id_or_name: str) -> SavedThing:
        """The funnel of that id or name. Raises `NotFound` (unknown_funnel)."""
        thing = self._saved.find(Kind.FUNNEL, site_id, id_or_name)
        if thing is None:
            raise unknown(id_or_name)
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
        things = self._saved.of_kind(Kind.FUNNEL)
        self._known = {thing.id: self._known[thing.id] for thing in things if thing.id in self._known}
        for thing in things:
            try:
                found.append(self.facts(thing))
            except RequestError as error:  # a goal it names may be gone: the list of funnels says so
                log.debug("a saved funnel has no table", extra={"funnel": thing.id, "reason": error.message[:200]})
                if error.code == BAD_SAVED:
                    self._saved.skip(thing, error)
            except Exception:
                log.exception("a saved funnel can't be read", extra={"site": thing.site_id, "funnel": thing.id})
        return found


def unknown(id_or_name: str) -> NotFound:
    """There is none; also for one whose site the token doesn't cover."""
    return NotFound(
        f"There is no saved funnel {id_or_name[:NAME_CHARS]!r}: GET /api/v1/funnels/saved lists them.",
        code="unknown_funnel",
    )

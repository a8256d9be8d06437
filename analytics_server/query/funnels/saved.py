"""Saved funnels by id or name, and what they mean now."""

from __future__ import annotations

from analytics_server.access.saved import Kind, Saved, SavedThing, body_of
from analytics_server.errors import NotFound
from analytics_server.query.funnels.definition import Funnel, FunnelBody, check_funnel
from analytics_server.query.library import SiteLibrary


class SavedFunnels:
    """The saved funnels of all sites."""

    def __init__(self, saved: Saved) -> None:
        self._saved = saved

    def find(self, site_id: str, id_or_name: str) -> SavedThing:
        """The funnel of that id or name. Raises `NotFound` (unknown_funnel)."""
        thing = self._saved.find(Kind.FUNNEL, site_id, id_or_name)
        if thing is None:
            raise NotFound(
                f"There is no saved funnel {id_or_name!r}: GET /api/v1/funnels/saved lists them.", code="unknown_funnel"
            )
        return thing

    def funnel(self, thing: SavedThing) -> Funnel:
        """What it counts, its goals and segments as they are now. Raises `RequestError` when one of them is gone."""
        return check_funnel(body_of(thing, FunnelBody), SiteLibrary(self._saved, thing.site_id))

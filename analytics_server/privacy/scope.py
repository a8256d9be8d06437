"""On which sites a person's rights are carried out: those on which the caller may; and what they ask of files of days.

A request about a person names no site. What is stored of the person on other sites is neither told nor touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Protocol

import msgspec

from analytics_server.access.sites.sites import Sites
from analytics_server.http.authorization import ALL_SITES, Resource
from analytics_server.http.endpoint import Call
from analytics_server.model import stored_site_id


class SiteScope(msgspec.Struct, frozen=True, kw_only=True):
    """`sites` None: all of them, also those that were deleted."""

    sites: tuple[str, ...] | None = None

    @property
    def condition(self) -> str:
        """SQL: the rows of these sites; the parameter is in `parameters`."""
        return "1" if self.sites is None else "site_id IN {scope_sites:Array(String)}"

    @property
    def parameters(self) -> Mapping[str, object]:
        """The parameters of `condition`."""
        return {} if self.sites is None else {"scope_sites": list(self.sites)}

    def covers(self, site_id: str) -> bool:
        """Is the site among them?"""
        return self.sites is None or site_id in self.sites

    @property
    def audited(self) -> tuple[str, ...]:
        """The sites that have an audit entry each of what is done in the scope; none where it is all sites."""
        return tuple(map(stored_site_id, self.sites or ()))

    def includes(self, other: SiteScope) -> bool:
        """Are all sites of the other among them?"""
        return self.sites is None or (other.sites is not None and set(other.sites) <= set(self.sites))


def scope_of(call: Call[Any], sites: Sites) -> SiteScope:
    """The sites on which the caller may do what the endpoint does, by the ids under which they are stored; of a deleted
    site, by the id that the grant names."""
    if call.may(ALL_SITES):
        return SiteScope()
    known = {site.site_id for site in sites.all()} | set(call.caller.sites)
    return SiteScope(sites=tuple(sorted(site for site in known if call.may(Resource.site(stored_site_id(site))))))


class ArchivedDays(Protocol):
    """Files of the days of sites."""

    def time_zone(self, site_id: str) -> str | None:
        """The zone by whose days a site is archived; None where it is not, or is gone."""

    async def rewrite(self, erased: Mapping[tuple[str, date], Sequence[int]]) -> None:
        """Write the files of days again from which a person's events were erased; how many by each erasure under way.

        Raises an `AnalyticsError` where that has to be tried again.
        """

    async def unsearched(self, covers: Callable[[str], bool]) -> list[str]:
        """Files of these sites that may hold events which the server has no more, so that it can't tell whose they are.

        Raises an `AnalyticsError`.
        """


class NothingArchived:
    """Where no files are written."""

    def time_zone(self, site_id: str) -> str | None:
        """See `ArchivedDays`."""
        return None

    async def rewrite(self, erased: Mapping[tuple[str, date], Sequence[int]]) -> None:
        """See `ArchivedDays`."""

    async def unsearched(self, covers: Callable[[str], bool]) -> list[str]:
        """See `ArchivedDays`."""
        return []

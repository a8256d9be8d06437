"""On which sites a person's rights are carried out: those on which the caller may.

A request about a person names no site. What is stored of the person on other sites is neither told nor touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from analytics_server.access.sites import Sites
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

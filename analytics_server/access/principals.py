"""Principals: who acts, and what is granted to them. People, tokens, share links and the command line are one type.

Declared data only: `actions.py` decides. A principal is made of what is stored (a token, a person) each time that
changes, and never stored itself. Without a grant a principal covers nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any

import msgspec

from analytics_server.http.authorization import COLLECTING, Action, Narrowing
from analytics_server.model import stored_site_id


class Role(StrEnum):
    """What a grant is for. `READ` is a token's earlier name for a viewer."""

    OWNER = "owner"
    ADMIN = "admin"
    EDITOR = "editor"
    VIEWER = "viewer"
    COLLECT = "collect"
    READ = "read"


class PrincipalKind(StrEnum):
    """What sort of principal acts. Internal: this program itself, or the command line on the server's machine."""

    PERSON = "person"
    TOKEN = "token"
    SHARE_LINK = "share_link"
    INTERNAL = "internal"


@lru_cache(1_024)
def spellings_of(sites: tuple[str, ...]) -> frozenset[str]:
    """Sites in their one spelling."""
    return frozenset(map(stored_site_id, sites))


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A role, or single actions, on some sites. `sites` empty: the whole server, later sites too."""

    role: Role | None = None
    actions: frozenset[str] = frozenset()
    sites: tuple[str, ...] = ()

    @classmethod
    def of_role(cls, role: Role, sites: tuple[str, ...] = ()) -> Grant:
        """A role's grant. An admin of all sites is an owner, and `read` means viewer."""
        if role is Role.ADMIN and not sites:
            role = Role.OWNER
        return cls(role=Role.VIEWER if role is Role.READ else role, sites=sites)

    def allows(self, action: Action) -> bool:
        """Does it allow the action, on the sites that it covers?"""
        return (self.role is not None and self.role.value in action.roles) or action.name in self.actions

    def covers(self, site_id: str) -> bool:
        """Does it cover the site, in any spelling?"""
        if not self.sites or site_id in self.sites:
            return True
        return stored_site_id(site_id) in spellings_of(self.sites)


class Principal(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Who acts. `filters`, `segment`: of share links, see `Narrowing`. `threshold`: of share links and tokens.

    `expires_at_ms`: from when on it has no rights; 0 for never.
    """

    kind: PrincipalKind
    id: str
    name: str = ""
    grants: tuple[Grant, ...] = ()
    filters: tuple[Any, ...] = ()
    segment: str = ""
    threshold: int = 0
    expires_at_ms: int = 0

    @property
    def token_id(self) -> str:
        """`id`, by its earlier name."""
        return self.id

    @cached_property
    def covers_all(self) -> bool:
        """Does a grant cover all sites, also later ones?"""
        return any(not grant.sites for grant in self.grants)

    @cached_property
    def sites(self) -> tuple[str, ...]:
        """The sites that single grants name; empty for all or none."""
        return () if self.covers_all else _sites_of(self.grants)

    @cached_property
    def may_collect(self) -> bool:
        """May it send trusted events, for any site?"""
        return any(map(_collects, self.grants))

    @cached_property
    def collects_for(self) -> tuple[str, ...]:
        """The sites that it may send trusted events for; empty for all. Only where `may_collect`."""
        collecting = tuple(filter(_collects, self.grants))
        return () if any(not grant.sites for grant in collecting) else _sites_of(collecting)

    @property
    def narrowed_by(self) -> Narrowing | None:
        """What a share link, or a token with a threshold, shows; None for everyone else."""
        if self.kind is not PrincipalKind.SHARE_LINK:
            return Narrowing(site_id="", threshold=self.threshold, is_link=False) if self.threshold else None
        (site_id,) = self.sites
        return Narrowing(site_id=site_id, filters=self.filters, segment=self.segment, threshold=self.threshold)

    @property
    def roles(self) -> str:
        """Its roles, or its single actions, in words."""
        named = [grant.role.value if grant.role else " ".join(sorted(grant.actions)) for grant in self.grants]
        return " and ".join(dict.fromkeys(named)) or "none"

    def covers(self, site_id: str) -> bool:
        """Does a grant cover the site?"""
        return any(grant.covers(site_id) for grant in self.grants)


def _collects(grant: Grant) -> bool:
    return (grant.role is not None and grant.role.value in COLLECTING) or "collect" in grant.actions


def _sites_of(grants: Iterable[Grant]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(site for grant in grants for site in grant.sites))

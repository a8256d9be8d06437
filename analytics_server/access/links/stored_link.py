"""A share link as it is stored, and as whom a caller with it acts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from analytics_server.access.principals import Grant, Principal, PrincipalKind

SECRET_PREFIX = "asl_"
ACTIONS = frozenset({"query_site", "view_site", "list_sites", "view_self"})
"""What a link may; of the questions only those that take its filters (`Endpoint.narrow`)."""


class ShareLink(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A link as it is stored. `filters`, and those of the saved segment of that id, are added to every question.

    `threshold`: rows of fewer visitors are not shown by themselves. `embed_hosts`: whose pages may frame it.
    """

    id: str
    site_id: str
    name: str = ""
    filters: tuple[Any, ...] = ()
    segment: str = ""
    threshold: int = 0
    embed_hosts: tuple[str, ...] = ()
    password_hash: str = ""
    expires_at: datetime | None = None
    created_at_ms: int = 0
    hash_key: str
    hash: str

    def principal(self) -> Principal:
        """As who a caller with the link acts."""
        return Principal(
            kind=PrincipalKind.SHARE_LINK,
            id=self.id,
            name=self.name,
            grants=(link_grant(self.site_id),),
            filters=self.filters,
            segment=self.segment,
            threshold=self.threshold,
        )


def link_grant(site_id: str) -> Grant:
    """What a link to the site lets its callers do, before its filters."""
    return Grant(actions=ACTIONS, sites=(site_id,))

"""The stored share link, and the principal of a caller who uses it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from analytics_server.access.principals import Grant, Principal, PrincipalKind
from analytics_server.store.protocol import Store

SECRET_PREFIX = "asl_"
KIND = "share_link"
ACTIONS = frozenset({"query_site", "view_site", "list_sites", "view_self"})
"""What a link may; of the questions only those that take its filters (`Endpoint.narrow`)."""


_NEWEST = (
    "SELECT max(JSONExtractInt(document, 'created_at_ms')) FROM people FINAL"
    " WHERE kind = {kind:String} AND deleted = 0 AND JSONExtractString(document, 'site_id') = {site:String}"
)


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


async def newest_made_ms(store: Store, site_id: str) -> int:
    """When the newest link of the site was made, by the clock of the server that made it; 0 where there is none.

    Raises a store error.
    """
    await store.catch_up(["people"])
    answer = await store.query(_NEWEST, {"kind": KIND, "site": site_id})
    return int(str(answer.rows[0][0]))

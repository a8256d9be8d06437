"""Expiry over HTTP: `POST /api/v1/privacy/expire` does at once what is done once a day, or says what would go."""

from __future__ import annotations

import msgspec

from analytics_server.access.actions import EXPIRE_DATA
from analytics_server.errors import Conflict
from analytics_server.http.declaration import Body, Reply
from analytics_server.http.endpoint import Call, Endpoint
from analytics_server.privacy.expiry.purge import Expiry, SiteExpiry

UNDER_WAY = "expiry_under_way"


class ExpireRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`dry_run`: change nothing, only say what would go."""

    dry_run: bool = False


class ExpireAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What went of each site, or would go. `held_up`: sites of which nothing was removed, as totals of their days can't
    be kept yet."""

    dry_run: bool
    sites: list[SiteExpiry]
    held_up: list[str]


def under_way() -> Conflict:
    """The error where another process has the lease of expiry."""
    return Conflict("A server is removing expired data now: try again later.", code=UNDER_WAY)


def endpoints(expiry: Expiry) -> list[Endpoint]:
    """Expiry, under the lease of the daily one."""

    async def expire(call: Call[ExpireRequest]) -> ExpireAnswer:
        is_dry = call.body.dry_run
        if is_dry:
            call.trail.details["dry_run"] = "true"
        done = await (expiry.plan() if is_dry else expiry.purge())
        if done is None:
            raise under_way()
        call.trail.rows = sum(sum(site.rows.values()) for site in done)
        return ExpireAnswer(dry_run=is_dry, sites=done, held_up=[] if is_dry else sorted(expiry.held_up))

    return [
        Endpoint(
            method="POST",
            path="/api/v1/privacy/expire",
            name="expire_data",
            summary="Remove what is older than its site keeps it, or see what would go",
            tag="privacy",
            about="What the server does once a day, at once, on all sites. It is answered when it is done, which may"
            " take minutes; it goes on where the client does not wait. With `dry_run` nothing is changed.",
            action=EXPIRE_DATA,
            handle=expire,
            body=Body(types=(ExpireRequest,), examples={"look": {"dry_run": True}, "remove": {"dry_run": False}}),
            replies=(Reply(about="Rows by site and table, of UTC days earlier than `before`.", type=ExpireAnswer),),
            errors={409: (UNDER_WAY,)},
            asks_store=True,
        )
    ]

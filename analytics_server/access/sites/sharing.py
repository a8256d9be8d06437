"""Closes public sites and share links where a site's profile forbids sharing.

They stay closed when the profile is another one again, until the site is made public, or a link is made, anew: a change
of the profile never opens anything.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from analytics_server.access.stored_link import newest_made_ms
from analytics_server.errors import RequestError
from analytics_server.model import Site
from analytics_server.profiles.tables import profile_of
from analytics_server.store.protocol import Store


def shared_from_ms(site: Site | None) -> int | None:
    """Share links of the site made later than that are good; None where none is, as the profile forbids them."""
    if site is None:
        return 0
    return site.shared_from_ms if profile_of(site.profile).sharing else None


async def with_links_ended(store: Store, before: Site, now: Site, clock: Callable[[], float]) -> Site:
    """The changed site; where its profile forbids sharing, or did before, the links made until now are over.

    Raises a store error.
    """
    return now if _is_open(before, now) else await with_all_links_ended(store, now, clock)


async def with_all_links_ended(store: Store, site: Site, clock: Callable[[], float]) -> Site:
    """The site, of which the links made until now are over, also such as a server whose clock is ahead has made.

    Raises a store error.
    """
    until_ms = max(int(clock() * 1000), await newest_made_ms(store, site.site_id) + 1)
    return msgspec.structs.replace(site, shared_from_ms=until_ms)


def with_public_ended(before: Site, now: Site, *, is_wanted: bool) -> Site:
    """The changed site, not public under such a profile nor after it. `is_wanted`: the change makes it public.

    Raises `RequestError` (forbidden_by_profile).
    """
    if not now.public:
        return now
    if is_wanted and not profile_of(now.profile).sharing:
        raise RequestError(
            f"The profile {now.profile} forbids sharing the site's numbers: it can't be public.",
            code="forbidden_by_profile",
        )
    return now if is_wanted or _is_open(before, now) else msgspec.structs.replace(now, public=False)


def _is_open(before: Site, now: Site) -> bool:
    return profile_of(before.profile).sharing and profile_of(now.profile).sharing

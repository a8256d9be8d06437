"""Links that were made before a site was closed to them stay closed, whatever the clocks of the servers say."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import msgspec
import pytest

from analytics_server.access.links.share_links import ShareLinks
from analytics_server.access.sites.sharing import shared_from_ms
from analytics_server.access.sites.sites import Sites
from analytics_server.config import SitesSection
from analytics_server.model import Site
from analytics_server.store import Store

NOW = 1_900_000_000.0
SITE = "a.example"


def with_profile(site: Site, profile: str) -> Site:
    return msgspec.structs.replace(site, profile=profile)


@pytest.mark.parametrize("closed_by", ["profile", "deletion"])
async def test_servers_with_other_clocks_close_and_open_a_site_to_links(migrated: Store, closed_by: str) -> None:
    sites = Sites(migrated, SitesSection(), clock=lambda: NOW)
    await sites.create(SITE)

    def server(clock_s: float) -> ShareLinks:
        return ShareLinks(
            migrated,
            clock=lambda: clock_s,
            refresh_s=0.0,
            shared_from_ms=lambda site_id: shared_from_ms(sites.get(site_id)),
        )

    ahead, behind = server(NOW + 600), server(NOW - 600)
    _, old = await ahead.create(SITE)
    assert await ahead.find(old) is not None
    if closed_by == "profile":
        for profile in ("uk-statistics", "standard"):  # the first forbids sharing
            await sites.change(SITE, partial(with_profile, profile=profile))
    else:
        await sites.delete(SITE)
        await sites.create(SITE)

    assert await ahead.find(old) is None
    assert await behind.find(old) is None
    made, new = await behind.create(SITE)
    for each in (ahead, behind):
        assert await each.find(new) is not None
        assert [link.id for link in each.of_site(SITE)] == [made.id]


async def test_links_that_can_be_opened_are_those_that_have_not_ended(migrated: Store) -> None:
    now, may_share = [NOW], [True]
    links = ShareLinks(migrated, clock=lambda: now[0], shared_from_ms=lambda site_id: 0 if may_share[0] else None)
    ends = datetime.fromtimestamp(NOW + 60, UTC)
    for number, expires_at in enumerate((None, ends)):
        now[0] = NOW + number
        await links.create(SITE, expires_at=expires_at)

    assert [link.expires_at for link in links.open_of_site(SITE)] == [None, ends]
    assert links.open_of_site("b.example") == []
    now[0] = NOW + 60
    assert [link.expires_at for link in links.open_of_site(SITE)] == [None]
    may_share[0] = False
    assert links.open_of_site(SITE) == []

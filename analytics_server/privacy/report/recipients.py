"""Recipients of data: the services that the settings name, and to whom a site shows its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec

from analytics_server.access.stored_link import ShareLink
from analytics_server.config import Config
from analytics_server.model import Site
from analytics_server.profiles.tables import profile_of
from analytics_server.spelling.host_names import is_loopback
from analytics_server.store import capabilities_of


class ReportedLink(msgspec.Struct, frozen=True, kw_only=True):
    """A share link that can be opened. `threshold`: rows of fewer visitors are not shown; `expires_at` null: no end."""

    link_id: str
    has_password: bool
    threshold: int | None
    expires_at: datetime | None
    is_filtered: bool
    embed_hosts: tuple[str, ...]


def sub_processors(config: Config) -> list[str]:
    """One line for each service on another machine: what it is, where, what it learns. Hosts only, no credentials."""
    clickhouse = config.clickhouse
    engine = "" if capabilities_of(config).owns_files else host_of(clickhouse.url)
    named = (
        (engine, "ClickHouse", "it holds all that is stored"),
        (
            config.mail.host,
            "Mail server",
            "it learns the addresses of people who sign in here, and nothing of visitors",
        ),
        (
            host_of(config.oidc.issuer),
            "Sign-in provider",
            "it learns who signs in here and when, and nothing of visitors",
        ),
    )
    found = [f"{what} at {host}: {learns}" for host, what, learns in named if host and not is_loopback(host)]
    if clickhouse.cluster and host_of(clickhouse.url):
        found.append(f"The servers of the ClickHouse cluster {clickhouse.cluster}: they hold all that is stored")
    return found


def host_of(url: str) -> str:
    """The host of an address, empty if there is none."""
    return urlsplit(url).hostname or ""


def is_public(site: Site) -> bool:
    """Can anyone see the site's numbers? Not where its profile forbids sharing, whatever the site is set to."""
    return site.public and profile_of(site.profile).sharing


def reported_links(links: Sequence[ShareLink]) -> list[ReportedLink]:
    """The links without their names, filters and secrets."""
    return [
        ReportedLink(
            link_id=link.id,
            has_password=bool(link.password_hash),
            threshold=link.threshold or None,
            expires_at=link.expires_at and link.expires_at.astimezone(UTC),
            is_filtered=bool(link.filters or link.segment),
            embed_hosts=link.embed_hosts,
        )
        for link in links
    ]


def readers(site: Site, links: Sequence[ReportedLink]) -> list[str]:
    """To whom the site shows its numbers without a sign-in, in words; empty: to nobody."""
    found = []
    if is_public(site):
        found.append(f"anyone, as the site is public (its numbers are shown at /share/{site.site_id})")
    if links:
        found.append(f"whoever has {_counted(len(links), 'share link')} to them ({_kinds_of(links)})")
    return found


def _kinds_of(links: Sequence[ReportedLink]) -> str:
    with_password = sum(link.has_password for link in links)
    with_threshold = sum(link.threshold is not None for link in links)
    with_end = sum(link.expires_at is not None for link in links)
    kinds = (
        ("with a password", "without", with_password),
        ("with a threshold, below which no row is shown,", "without", with_threshold),
        ("with an end", "without", with_end),
    )
    return "; ".join(f"{count} {yes} and {len(links) - count} {no}" for yes, no, count in kinds)


def _counted(number: int, what: str) -> str:
    return f"one of {number} {what}s" if number > 1 else f"the one {what}"

"""`analytics-server share`: list, create and revoke share links."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import click
import msgspec

from analytics_server.access.actions import MANAGE_LINKS
from analytics_server.access.links.link_creation import (
    LinkCreation,
    LinkFilter,
    LinkRequest,
)
from analytics_server.access.links.share_links import ShareLinks
from analytics_server.access.people.passwords import Passwords
from analytics_server.access.sites.sharing import shared_from_ms
from analytics_server.access.sites.sites import Sites, valid_site_id
from analytics_server.access.tokens import LEAST_THRESHOLD, MOST_THRESHOLD
from analytics_server.cli.access.tokens import end_of
from analytics_server.cli.audit import open_store, record
from analytics_server.cli.context import config_option, echo_json, json_option, no_site, read_config, with_store
from analytics_server.config import Config
from analytics_server.listening import base_url
from analytics_server.query.context import QueryContext
from analytics_server.query.share_links.narrowing import LinkQuestions
from analytics_server.saved.store import Saved
from analytics_server.store import Store


@click.group()
def share() -> None:
    """List, create and revoke share links of sites."""


@dataclass(frozen=True, slots=True)
class OfflineLinks:
    """What the commands work on."""

    links: ShareLinks
    sites: Sites
    creation: LinkCreation
    config: Config
    store: Store


@share.command("list")
@config_option
@click.option("--site", "site_id", default="", help="Of this site. Default: of all sites.")
@json_option
def share_list(config_path: str | None, site_id: str, as_json: bool) -> None:
    """List the links (never their secrets)."""

    async def work(offline: OfflineLinks) -> None:
        if site_id and not valid_site_id(site_id):
            raise no_site(site_id)
        wanted = [valid_site_id(site_id)] if site_id else [site.site_id for site in offline.sites.all()]
        found = [offline.creation.info(link) for site in wanted for link in offline.links.of_site(site)]
        if as_json:
            echo_json(found)
            return
        for each in found:
            shows = [f"{len(each.filters)} filters"] if each.filters else []
            if each.segment:
                shows.append("segment gone" if each.segment_name is None else f"segment {each.segment_name}")
            if each.threshold:
                shows.append(f"threshold {each.threshold}")
            if each.has_password:
                shows.append("password")
            end = "-" if each.expires_at is None else f"{each.expires_at:%Y-%m-%dT%H:%MZ}"
            click.echo("\t".join((each.link_id, each.site_id, ", ".join(shows) or "-", end, each.name)))

    _with_links(config_path, work, "GET /api/v1/share-links")


@share.command("create")
@config_option
@click.argument("site_id")
@click.option("--name", default="", help="A note for yourself, which the link's page shows too.")
@click.option("--filters", default="[]", help='Fixed filters as JSON, such as [["contains", "event:page", ["/blog"]]].')
@click.option("--segment", default="", help="Name or id of a saved segment of the site, as a fixed filter.")
@click.option(
    "--threshold",
    type=click.IntRange(LEAST_THRESHOLD, MOST_THRESHOLD),
    help="Rows of fewer visitors are shown as one.",
)
@click.option("--embed-host", "embed_hosts", multiple=True, help="A host whose pages may frame it (can be repeated).")
@click.option("--expires", default="", help="When it ends, as 2027-01-31 or 2027-01-31T12:00Z. Default: never.")
@click.option("--password-stdin", is_flag=True, help="Read a password from standard input, up to the line's end.")
@json_option
def share_create(
    config_path: str | None,
    site_id: str,
    name: str,
    filters: str,
    segment: str,
    threshold: int | None,
    embed_hosts: tuple[str, ...],
    expires: str,
    password_stdin: bool,
    as_json: bool,
) -> None:
    """Make a link and print it: the only time it is shown."""
    try:
        fixed = msgspec.json.decode(filters, type=tuple[LinkFilter, ...])
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"{error}.", param_hint="--filters") from None
    given = {
        "site_id": site_id,
        "name": name,
        "filters": fixed,
        "segment": segment,
        "threshold": threshold,
        "embed_hosts": embed_hosts,
        "password": sys.stdin.readline().rstrip("\r\n") if password_stdin else "",
        "expires_at": end_of(expires),
    }
    try:
        wanted = msgspec.convert(given, LinkRequest)
    except msgspec.ValidationError as error:
        raise click.UsageError(f"{error}.") from None
    if password_stdin and not wanted.password:
        raise click.UsageError("Standard input holds no password.")

    async def work(offline: OfflineLinks) -> None:
        made, secret = await offline.creation.create(wanted)
        await record(
            offline.store, offline.config, MANAGE_LINKS.name, "share create", site_id=made.site_id, resource=made.id
        )
        link = f"{_base(offline.config)}/share/{secret}"
        if as_json:
            echo_json(offline.creation.shown(made) | {"link": link})
        else:
            click.echo(link)

    _with_links(config_path, work, "POST /api/v1/share-links")


@share.command("revoke")
@config_option
@click.argument("link_id")
@json_option
def share_revoke(config_path: str | None, link_id: str, as_json: bool) -> None:
    """Revoke a link by its id (see share list)."""

    async def work(offline: OfflineLinks) -> None:
        link = offline.links.get(link_id)
        if link is None:
            raise click.ClickException(f"There is no share link with the id {link_id}.")
        await offline.links.delete(link.id)
        await record(
            offline.store, offline.config, MANAGE_LINKS.name, "share revoke", site_id=link.site_id, resource=link.id
        )
        shown = msgspec.json.encode({"link_id": link.id, "revoked": True}).decode()
        click.echo(shown if as_json else "revoked")

    _with_links(config_path, work, "DELETE /api/v1/share-links/{link_id}")


def _with_links(config_path: str | None, work: Callable[[OfflineLinks], Awaitable[None]], route: str) -> None:
    config = read_config(config_path)

    async def on_store(store: Store) -> None:
        await open_store(store, config)
        sites, saved = Sites(store, config.sites), Saved(store)

        links = ShareLinks(store, shared_from_ms=lambda site_id: shared_from_ms(sites.get(site_id)))
        for each in (sites, saved, links):
            await each.load()
        context = QueryContext(store, sites, lambda: datetime.now(UTC), config.limits, saved)
        await work(OfflineLinks(links, sites, LinkCreation(links, Passwords(), LinkQuestions(context)), config, store))

    with_store(config, on_store, route=route)


def _base(config: Config) -> str:
    return config.server.public_url.rstrip("/") or base_url(config.server.host, config.server.port)

"""`analytics-server site`: list and create sites."""

from __future__ import annotations

import click
import msgspec

from analytics_server.access.actions import CHANGE_SITE, MANAGE_SITES
from analytics_server.access.sites import Sites, valid_site_id
from analytics_server.cli.audit import record
from analytics_server.cli.context import config_option, read_config, with_store
from analytics_server.config import Config
from analytics_server.store import Store, migrate


@click.group()
def site() -> None:
    """List and create sites."""


@site.command("list")
@config_option
def site_list(config_path: str | None) -> None:
    """List the sites."""
    config = read_config(config_path)

    async def work(store: Store) -> None:
        sites = await _ready_sites(store, config)
        for found in sites.all():
            click.echo(f"{found.site_id}\t{found.timezone}")

    with_store(config, work)


@site.command("create")
@config_option
@click.argument("site_id")
@click.option("--timezone", default="", help="IANA name, e.g. Europe/Stockholm. Default: from the config.")
def site_create(config_path: str | None, site_id: str, timezone: str) -> None:
    """Create a site, or change its time zone."""
    config = read_config(config_path)

    async def work(store: Store) -> None:
        sites = await _ready_sites(store, config)
        spelt = valid_site_id(site_id) or site_id
        old = sites.get(spelt)
        if old is None:
            made = await sites.create(spelt, timezone)
        else:
            made = await sites.put(msgspec.structs.replace(old, timezone=timezone or old.timezone))
        action = MANAGE_SITES if old is None else CHANGE_SITE
        await record(store, config, action.name, "site create", site_id=made.site_id)
        click.echo(f"{made.site_id}\t{made.timezone}")

    with_store(config, work)


async def _ready_sites(store: Store, config: Config) -> Sites:
    await store.open()
    await migrate(store, cluster=config.clickhouse.cluster)
    sites = Sites(store, config.sites)
    await sites.load()
    return sites

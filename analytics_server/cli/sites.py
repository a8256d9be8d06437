"""`analytics-server site`: list, create, show, change and delete sites."""

from __future__ import annotations

import click
import msgspec
from prometheus_client import CollectorRegistry

from analytics_server.access.actions import CHANGE_SITE, MANAGE_SITES
from analytics_server.access.sites.profile_routes import note_of
from analytics_server.access.sites.site_settings import SiteSettings
from analytics_server.access.sites.sites import Sites, valid_site_id
from analytics_server.cli.audit import command_log, record
from analytics_server.cli.context import (
    config_option,
    echo_json,
    json_anyway,
    json_option,
    no_site,
    read_config,
    with_store,
)
from analytics_server.cli.progress import PhaseLines
from analytics_server.config import Config
from analytics_server.errors import AnalyticsError
from analytics_server.model import Site
from analytics_server.privacy.expiry.recording import REMOVAL_TURN
from analytics_server.privacy.expiry.site_removal import SiteRemoval
from analytics_server.profiles.tables import PROFILES
from analytics_server.rollups.integrity import make_integrity
from analytics_server.store import Store, migrate
from analytics_server.store.lease import SharedTurn, end_left_over


@click.group()
def site() -> None:
    """List, create, show, change and delete sites."""


@site.command("list")
@config_option
@json_option
def site_list(config_path: str | None, as_json: bool) -> None:
    """List the sites."""
    config = read_config(config_path)

    async def work(store: Store) -> None:
        sites = await _ready_sites(store, config)
        if as_json:
            echo_json(sites.all())
            return
        for found in sites.all():
            click.echo(f"{found.site_id}\t{found.timezone}")

    with_store(config, work, route="GET /api/v1/sites")


@site.command("create")
@config_option
@click.argument("site_id")
@click.option("--timezone", default="", help="IANA name, e.g. Europe/Stockholm. Default: from the config.")
@json_option
def site_create(config_path: str | None, site_id: str, timezone: str, as_json: bool) -> None:
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
        if as_json:
            echo_json(made)
        else:
            click.echo(f"{made.site_id}\t{made.timezone}")

    with_store(config, work, route="POST /api/v1/sites")


@site.command("show")
@config_option
@click.argument("site_id")
@json_anyway
def site_show(config_path: str | None, site_id: str) -> None:
    """Show a site's settings as JSON."""
    config = read_config(config_path)

    async def work(store: Store) -> None:
        echo_json(_found(await _ready_sites(store, config), site_id))

    with_store(config, work, route="GET /api/v1/sites/{site_id}")


@site.command("set")
@config_option
@click.argument("site_id")
@click.option("--timezone", help="IANA name, e.g. Europe/Stockholm.")
@click.option("--currency", help='Code of the currency that is shown first, e.g. EUR; "" for that with most revenue.')
@click.option(
    "--profile", type=click.Choice(list(PROFILES)), help="The legal basis; what it forbids is hidden at once."
)
@click.option("--public/--not-public", "public", default=None, help="Anyone may see its numbers, or not.")
@click.option("--retention-days", type=int, help="Days for which events are kept. 0: as the config says.")
@click.option(
    "--rollup-retention-days", type=int, help="Days for which totals of days are kept. 0: as the config says."
)
@click.option("--events-per-s", type=int, help="Events a second that the site may send. 0: the server's limit alone.")
@click.option("--allow-apps/--no-apps", default=None, help="Count pages of apps and extensions too, or not.")
@click.option("--allowed-host", multiple=True, help="Host whose pages count; repeat for more.")
@click.option("--exclude-path", multiple=True, help="Path that is not counted, e.g. '/admin/**'; repeat for more.")
@click.option("--exclude-host", multiple=True, help="Host that is not counted, e.g. 'staging.*'; repeat for more.")
@click.option("--exclude-country", multiple=True, help="Country that is not counted, e.g. DE; repeat for more.")
@click.option(
    "--exclude-prop", multiple=True, help="Property that is not counted, e.g. plan=internal; repeat for more."
)
@json_anyway
def site_set(
    config_path: str | None,
    site_id: str,
    timezone: str | None,
    currency: str | None,
    profile: str | None,
    public: bool | None,
    retention_days: int | None,
    rollup_retention_days: int | None,
    events_per_s: int | None,
    allow_apps: bool | None,
    allowed_host: tuple[str, ...],
    exclude_path: tuple[str, ...],
    exclude_host: tuple[str, ...],
    exclude_country: tuple[str, ...],
    exclude_prop: tuple[str, ...],
) -> None:
    """Change a site's settings; what is left out stays.

    An option that may be repeated replaces the whole list; with "" the list becomes empty.
    """
    config = read_config(config_path)
    given = {
        "timezone": timezone,
        "currency": currency,
        "profile": profile,
        "public": public,
        "retention_days": retention_days,
        "rollup_retention_days": rollup_retention_days,
        "events_per_s": events_per_s,
        "allow_apps": allow_apps,
        "allowed_hosts": _list(allowed_host),
        "excluded_paths": _list(exclude_path),
        "excluded_hosts": _list(exclude_host),
        "excluded_countries": _list(exclude_country),
        "excluded_props": _list(exclude_prop),
    }
    wanted = {name: value for name, value in given.items() if value is not None}
    if not wanted:
        raise click.UsageError("Nothing is to be changed: name a setting, such as --currency EUR.")
    try:
        change = msgspec.convert(wanted, SiteSettings)
    except msgspec.ValidationError as error:
        raise click.UsageError(f"A setting has a wrong value: {error}.") from error

    async def work(store: Store) -> None:
        sites = await _ready_sites(store, config)
        changed = await sites.change(valid_site_id(site_id), change.applied_to)
        if changed is None:
            raise no_site(site_id)
        before, now = changed
        details = {"profile": now.profile} if now.profile != before.profile else {}
        if now.public != before.public:
            details["public"] = str(now.public).lower()
        await record(store, config, "change_site", "site set", site_id=now.site_id, details=details)
        echo_json(now)
        if now.profile != before.profile:
            click.echo(note_of(now.profile), err=True)

    with_store(config, work, route="PUT /api/v1/sites/{site_id}")


@site.command("remove")
@config_option
@click.argument("site_id")
@click.option(
    "--data",
    type=click.Choice(["keep", "erase"]),
    default="keep",
    show_default=True,
    help="What becomes of what is stored.",
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@json_option
def site_remove(config_path: str | None, site_id: str, data: str, yes: bool, as_json: bool) -> None:
    """Delete a site: its beacons are refused from then on.

    What is stored is kept, and there again when the site is created again; or it
    is erased, also of a site that was deleted before.
    """
    config = read_config(config_path)
    erase, spelt = data == "erase", valid_site_id(site_id) or site_id
    if not yes:
        what = "Delete it, and erase everything that is stored of it?" if erase else "Delete it?"
        click.confirm(f"{spelt}: {what}", abort=True, err=True)

    async def work(store: Store) -> None:
        sites = await _ready_sites(store, config)
        integrity = make_integrity(store, config.data_dir, CollectorRegistry(), delivered=lambda: 0)
        await integrity.inspect()
        await end_left_over(store)
        if not await sites.delete(spelt, erase=erase):
            raise no_site(site_id)
        await record(store, config, MANAGE_SITES.name, "site remove", site_id=spelt, details={"data": data})
        if erase:
            async with command_log(store, config) as log:
                removal = SiteRemoval(
                    store,
                    sites,
                    letters=config.data_dir / "dead-letters",
                    quarantine=config.wal_dir / "quarantine",
                    recorder=log,
                    holder="command line",
                    around=(SharedTurn(store, REMOVAL_TURN, holder="command line").taken, integrity.removing),
                    on_phase=PhaseLines(),
                )
                is_done = await removal.remove()
            if not is_done:
                raise AnalyticsError("A server removes data now, and goes on with this.", code="removal_under_way")
        await integrity.close()
        if as_json:
            echo_json({"site_id": spelt, "data": data, "removed": True})
        else:
            click.echo(f"{spelt} is deleted{', with everything that was stored of it' if erase else ''}.")

    with_store(config, work, route="DELETE /api/v1/sites/{site_id}")


def _list(values: tuple[str, ...]) -> list[str] | None:
    """What an option that may be repeated says; None where it was not given."""
    return [value for value in values if value] if values else None


def _found(sites: Sites, site_id: str) -> Site:
    found = sites.get(valid_site_id(site_id))
    if found is None:
        raise no_site(site_id)
    return found


async def _ready_sites(store: Store, config: Config) -> Sites:
    await store.open()
    await migrate(store, cluster=config.clickhouse.cluster)
    sites = Sites(store, config.sites)
    await sites.load()
    return sites

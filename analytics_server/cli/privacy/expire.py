"""`analytics-server expire`: what is older than sites keep it, shown or removed."""

from __future__ import annotations

import click
import msgspec
from prometheus_client import CollectorRegistry

from analytics_server.access.sites.sites import Sites
from analytics_server.cli.audit import command_log, open_store
from analytics_server.cli.context import config_option, read_config, with_store
from analytics_server.cli.progress import PhaseLines
from analytics_server.errors import AnalyticsError
from analytics_server.privacy.expiry.purge import Expiry, SiteExpiry
from analytics_server.privacy.expiry.recording import REMOVAL_TURN
from analytics_server.rollups.integrity import make_integrity
from analytics_server.store import Store
from analytics_server.store.lease import SharedTurn, end_left_over


@click.command()
@config_option
@click.option("--dry-run", is_flag=True, help="Change nothing: print what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array, for programs.")
def expire(config_path: str | None, dry_run: bool, as_json: bool) -> None:
    """Remove events, and what is derived from them, that are older than their site keeps them.

    \b
    Exit code: 0 done, 1 not all could be done.

    The server does it once a day. What was removed is in the audit log.
    """
    config = read_config(config_path)
    found: list[SiteExpiry] = []
    held_up: set[str] = set()

    async def work(store: Store) -> None:
        await open_store(store, config)
        sites = Sites(store, config.sites)
        await sites.load()
        integrity = make_integrity(store, config.data_dir, CollectorRegistry(), delivered=lambda: 0)
        await integrity.inspect()
        await end_left_over(store)
        async with command_log(store, config) as log:
            expiry = Expiry(
                store,
                sites.all_stored,
                settings=config.privacy,
                letters=config.data_dir / "dead-letters",
                quarantine=config.wal_dir / "quarantine",
                cluster=config.clickhouse.cluster,
                recorder=log,
                holder="command line",
                around=(SharedTurn(store, REMOVAL_TURN, holder="command line").taken, integrity.removing),
                on_phase=PhaseLines(),
            )
            done = await expiry.plan() if dry_run else await expiry.purge()
            held_up.update(expiry.held_up)
        await integrity.close()
        if done is None:
            raise AnalyticsError("A server is removing expired data now: try again later.", code="expiry_under_way")
        found.extend(done)

    with_store(config, work)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        for site in found:
            tables = ", ".join(f"{table} {rows}" for table, rows in site.rows.items())
            click.echo(f"{site.site_id}\tbefore {site.before}\t{tables}")
        click.echo(f"{sum(sum(site.rows.values()) for site in found)} rows {'would go' if dry_run else 'removed'}.")
    if held_up:
        names = ", ".join(sorted(held_up))
        raise click.ClickException(f"Nothing was removed of {names}: totals of their days can't be kept yet.")

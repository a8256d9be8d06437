"""The command `analytics-server`: serve, check-config, doctor, export, erase, site, token, person, audit and more."""

from __future__ import annotations

import logging
import sys
import time

import click
import msgspec

from analytics_server import __version__
from analytics_server.cli.access.people import person
from analytics_server.cli.access.shares import share
from analytics_server.cli.access.tokens import token
from analytics_server.cli.audit import audit, record
from analytics_server.cli.context import config_option, read_config, run_async, with_store
from analytics_server.cli.dead_letters import commands as dead_letter_commands
from analytics_server.cli.expire import expire
from analytics_server.cli.files.export_data import export_data
from analytics_server.cli.healthcheck import healthcheck
from analytics_server.cli.privacy import erase, export
from analytics_server.cli.privacy_report import privacy_report
from analytics_server.cli.serve import print_error, run_server
from analytics_server.cli.sites import site
from analytics_server.collect.address import AddressResolver
from analytics_server.collect.steps.exclusion import OwnVisits
from analytics_server.config import ignored_variables
from analytics_server.demo.routes import MADE_UP_SITE_ID
from analytics_server.errors import AnalyticsError
from analytics_server.http.security.tls import faults, tls_of
from analytics_server.logs import set_up
from analytics_server.store import Store, check_store, migrate

MIGRATE = "migrate"

log = logging.getLogger(__name__)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="analytics-server")
def cli() -> None:
    """A self-hosted, privacy-first web-analytics server."""


@cli.command()
@config_option
@click.option("--host", help="Address to listen on. Overrides the config.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
def serve(config_path: str | None, host: str | None, port: int | None) -> None:
    """Collect beacons, answer questions, serve the dashboard."""
    config = read_config(config_path)
    section = config.server
    if host is not None:
        section = msgspec.structs.replace(section, host=host)
    if port is not None:
        section = msgspec.structs.replace(section, port=port)
    config = msgspec.structs.replace(config, server=section)
    set_up(config.log)
    if ignored := ignored_variables():
        log.warning("passed over variables that announce a service, not settings", extra={"variables": ignored})
    sys.exit(run_async(run_server(config)))


@cli.command("check-config", short_help="Check the settings, and print what results.")
@config_option
def check_config(config_path: str | None) -> None:
    """Check the config file and the environment, and print what results."""
    config = read_config(config_path)
    AddressResolver(config.server.trusted_proxies)  # These judge their settings themselves, here as in a start.
    OwnVisits(config.collect.exclude_addresses)
    check_store(config)
    tls = tls_of(config.server)
    for name in config.__struct_fields__:
        click.echo(f"[{name}]")
        section = getattr(config, name)
        for key in section.__struct_fields__:
            value = getattr(section, key)
            if name == "clickhouse" and key == "url" and "@" in str(value):
                value = "(with credentials, not shown)"
            if (name, key) == ("oidc", "client_secret") and value:
                value = "(set, not shown)"
            click.echo(f"{key} = {msgspec.json.encode(value).decode()}")
        click.echo()
    if ignored := ignored_variables():
        click.secho(f"Passed over, as they announce a service and are no settings: {', '.join(ignored)}.", err=True)
    if tls is not None and (fault := faults(tls, time.time())):
        click.secho(fault, fg="yellow", err=True)
    click.secho("The configuration is valid.", err=True)


@cli.command(short_help="Look for what can be wrong, and say what to do.")
@config_option
@click.option("--repair", is_flag=True, help="Mend what can be mended, and check that again.")
@click.option("--accept-loss", is_flag=True, help="With --repair: what is left of lost data is complete.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")
def doctor(config_path: str | None, repair: bool, accept_loss: bool, as_json: bool) -> None:
    """Check log, tables, rollups, clock and disk; say what is wrong and what to do.

    \b
    Exit code: 0 all is well, 1 warnings, 2 errors.

    Every rollup is compared with a recomputation from the events, per day and
    site. Without --repair nothing is changed. With ClickHouse in process the
    tables can be looked at only while the server is stopped; the files always.
    """
    from analytics_server.cli.doctor import run_doctor

    if accept_loss and not repair:
        raise click.UsageError("--accept-loss says how far --repair may go: give both.")
    examined = run_doctor(lambda: read_config(config_path), repair=repair, accept_loss=accept_loss, as_json=as_json)
    sys.exit(run_async(examined))


@cli.command("migrate", short_help="Bring ClickHouse to this program's schema.")
@config_option
def migrate_command(config_path: str | None) -> None:
    """Bring ClickHouse to this program's schema (serve does it too)."""
    config = read_config(config_path)

    async def work(store: Store) -> None:
        info = await store.open()
        done = await migrate(store, cluster=config.clickhouse.cluster)
        numbers = " ".join(str(migration.number) for migration in done)
        await record(store, config, MIGRATE, "migrate", rows=len(done), details={"applied": numbers} if done else {})
        for migration in done:
            click.echo(f"applied {migration.number:04d}_{migration.name}")
        click.echo(f"{len(done)} applied; the schema is up to date ({info.kind}, ClickHouse {info.version}).")

    with_store(config, work)


cli.add_command(healthcheck)
cli.add_command(export)
cli.add_command(export_data)
cli.add_command(erase)
cli.add_command(site)
cli.add_command(token)
cli.add_command(share)
cli.add_command(person)
cli.add_command(audit)
cli.add_command(privacy_report)
cli.add_command(expire)
cli.add_command(dead_letter_commands(read_config, run_async, config_option))


@cli.command()
@config_option
@click.option("--site", default=MADE_UP_SITE_ID, show_default=True, help="The site to fill; made if it doesn't exist.")
@click.option("--days", default=30, show_default=True, help="How many days, the last one being today or --end.")
@click.option("--sessions", default=50_000, show_default=True, help="How many sessions in all.")
@click.option("--seed", default=1, show_default=True, help="The same seed and --end give the same traffic.")
@click.option("--end", help="Last day, as 2026-10-31. Default: until now.")
@click.option("--timezone", default="", help="The site's time zone (IANA). Default: the site's, or the config's.")
@click.option("--add", is_flag=True, help="Fill the site even if it has events already.")
@click.option("--url", default="", help="Send to a running server instead, e.g. http://127.0.0.1:8000.")
@click.option("--token", default="", envvar="ANALYTICS_ADMIN_TOKEN", help="For --url: a token of role admin.")
def demo(
    config_path: str | None,
    site: str,
    days: int,
    sessions: int,
    seed: int,
    end: str | None,
    timezone: str,
    add: bool,
    url: str,
    token: str,
) -> None:
    """Fill a site with realistic made-up traffic."""
    from analytics_server.cli.demo import end_of, run_demo
    from analytics_server.demo.traffic import TrafficOrder

    order = TrafficOrder(site=site, days=days, sessions=sessions, seed=seed, end=end_of(end), timezone=timezone)
    run_async(run_demo(order, read_config(config_path), url=url, token=token, add=add))


def main() -> None:
    """Entry point: an expected error is printed as one line, not as a stack trace."""
    try:
        cli()
    except (AnalyticsError, OSError) as error:
        print_error(error)
        sys.exit(1)

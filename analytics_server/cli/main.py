"""The command `analytics-server`: serve, healthcheck, migrate, check-config, doctor, site, token, demo."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from analytics_server import __version__
from analytics_server.access.gate import Gate, Role
from analytics_server.access.sites import Sites
from analytics_server.cli.dead_letters import commands as dead_letter_commands
from analytics_server.cli.healthcheck import healthcheck
from analytics_server.cli.serve import print_error, run_server
from analytics_server.collect.address import AddressResolver
from analytics_server.config import Config, ignored_variables, load_config
from analytics_server.demo.routes import MADE_UP_SITE_ID
from analytics_server.doctor.lock import DirectoryLock
from analytics_server.errors import AnalyticsError
from analytics_server.logs import set_up
from analytics_server.store import Store, check_store, make_store, migrate

T = TypeVar("T")

log = logging.getLogger(__name__)


def _run(work: Awaitable[T]) -> T:
    """Run a coroutine on uvloop where there is one."""

    async def main() -> T:
        return await work

    try:
        import uvloop
    except ImportError:
        return asyncio.run(main())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _config(path: str | None) -> Config:
    chosen = path or os.environ.get("ANALYTICS_CONFIG")
    return load_config(Path(chosen) if chosen else None)


_config_option = click.option(
    "--config", "config_path", metavar="FILE", help="Config file (TOML). Also: ANALYTICS_CONFIG. Default: none."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="analytics-server")
def cli() -> None:
    """A self-hosted, privacy-first web-analytics server."""


@cli.command()
@_config_option
@click.option("--host", help="Address to listen on. Overrides the config.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
def serve(config_path: str | None, host: str | None, port: int | None) -> None:
    """Collect beacons, answer questions, serve the dashboard."""
    config = _config(config_path)
    section = config.server
    if host is not None:
        section = msgspec.structs.replace(section, host=host)
    if port is not None:
        section = msgspec.structs.replace(section, port=port)
    config = msgspec.structs.replace(config, server=section)
    set_up(config.log)
    if ignored := ignored_variables():
        log.warning("passed over variables that announce a service, not settings", extra={"variables": ignored})
    sys.exit(_run(run_server(config)))


@cli.command("check-config", short_help="Check the settings, and print what results.")
@_config_option
def check_config(config_path: str | None) -> None:
    """Check the config file and the environment, and print what results."""
    config = _config(config_path)
    AddressResolver(config.server.trusted_proxies)  # These two judge their settings themselves, here as in a start.
    check_store(config)
    for name in config.__struct_fields__:
        click.echo(f"[{name}]")
        section = getattr(config, name)
        for key in section.__struct_fields__:
            value = getattr(section, key)
            if name == "clickhouse" and key == "url" and "@" in str(value):
                value = "(with credentials, not shown)"
            click.echo(f"{key} = {msgspec.json.encode(value).decode()}")
        click.echo()
    if ignored := ignored_variables():
        click.secho(f"Passed over, as they announce a service and are no settings: {', '.join(ignored)}.", err=True)
    click.secho("The configuration is valid.", err=True)


@cli.command(short_help="Look for what can be wrong, and say what to do.")
@_config_option
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
    sys.exit(_run(run_doctor(lambda: _config(config_path), repair=repair, accept_loss=accept_loss, as_json=as_json)))


@cli.command("migrate", short_help="Bring ClickHouse to this program's schema.")
@_config_option
def migrate_command(config_path: str | None) -> None:
    """Bring ClickHouse to this program's schema (serve does it too)."""
    config = _config(config_path)

    async def work(store: Store) -> None:
        info = await store.open()
        done = await migrate(store, cluster=config.clickhouse.cluster)
        for migration in done:
            click.echo(f"applied {migration.number:04d}_{migration.name}")
        click.echo(f"{len(done)} applied; the schema is up to date ({info.kind}, ClickHouse {info.version}).")

    _with_store(config, work)


@cli.group()
def site() -> None:
    """List and create sites."""


@site.command("list")
@_config_option
def site_list(config_path: str | None) -> None:
    """List the sites."""
    config = _config(config_path)

    async def work(store: Store) -> None:
        sites = await _ready_sites(store, config)
        for found in sites.all():
            click.echo(f"{found.site_id}\t{found.timezone}")

    _with_store(config, work)


@site.command("create")
@_config_option
@click.argument("site_id")
@click.option("--timezone", default="", help="IANA name, e.g. Europe/Stockholm. Default: from the config.")
def site_create(config_path: str | None, site_id: str, timezone: str) -> None:
    """Create a site, or change its time zone."""
    config = _config(config_path)

    async def work(store: Store) -> None:
        sites = await _ready_sites(store, config)
        old = sites.get(site_id)
        if old is None:
            made = await sites.create(site_id, timezone)
        else:
            made = await sites.put(msgspec.structs.replace(old, timezone=timezone or old.timezone))
        click.echo(f"{made.site_id}\t{made.timezone}")

    _with_store(config, work)


@cli.group()
def token() -> None:
    """List, create and revoke tokens."""


@token.command("list")
@_config_option
def token_list(config_path: str | None) -> None:
    """List the tokens (never the secrets)."""
    config = _config(config_path)

    async def work(store: Store) -> None:
        gate = await _ready_gate(store, config)
        for principal in gate.tokens():
            click.echo(f"{principal.token_id}\t{principal.role}\t{','.join(principal.sites) or '*'}\t{principal.name}")

    _with_store(config, work)


@token.command("create")
@_config_option
@click.option("--role", type=click.Choice([role.value for role in Role]), default=Role.READ.value, show_default=True)
@click.option("--site", "sites", multiple=True, help="Limit to this site (can be repeated). Default: all sites.")
@click.option("--name", default="", help="A note for yourself.")
def token_create(config_path: str | None, role: str, sites: tuple[str, ...], name: str) -> None:
    """Create a token and print it: the only time it is shown."""
    config = _config(config_path)

    async def work(store: Store) -> None:
        gate = await _ready_gate(store, config)
        click.echo(await gate.create(Role(role), name=name, sites=sites))

    _with_store(config, work)


@token.command("revoke")
@_config_option
@click.argument("token_id")
def token_revoke(config_path: str | None, token_id: str) -> None:
    """Revoke a token by its id (see token list)."""
    config = _config(config_path)

    async def work(store: Store) -> None:
        gate = await _ready_gate(store, config)
        if not await gate.revoke(token_id):
            raise click.ClickException(f"There is no token with the id {token_id}.")
        click.echo("revoked")

    _with_store(config, work)


cli.add_command(healthcheck)
cli.add_command(dead_letter_commands(_config, _run, _config_option))


@cli.command()
@_config_option
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
    _run(run_demo(order, _config(config_path), url=url, token=token, add=add))


async def _ready_sites(store: Store, config: Config) -> Sites:
    await store.open()
    await migrate(store, cluster=config.clickhouse.cluster)
    sites = Sites(store, config.sites)
    await sites.load()
    return sites


async def _ready_gate(store: Store, config: Config) -> Gate:
    await store.open()
    await migrate(store, cluster=config.clickhouse.cluster)
    gate = Gate(store)
    await gate.load()
    return gate


def _with_store(config: Config, work: Callable[[Store], Awaitable[None]]) -> None:
    """Open the store, work, close it. The engine in process is left to a server that has it open."""

    async def main() -> None:
        store = make_store(config)
        try:
            await work(store)
        finally:
            await store.close()

    lock = DirectoryLock(config.wal_dir)
    if config.clickhouse_url.startswith("chdb:"):
        lock.take(keep=True)
    if lock.busy:
        raise AnalyticsError(
            f"A server is running on {config.data_dir} and owns the database there. Stop it first,"
            " or ask it over HTTP: /api/v1/sites and /api/v1/tokens.",
            code="server_running",
        )
    try:
        _run(main())
    finally:
        lock.release()


def main() -> None:
    """Entry point: an error of the house is one line, not a stack trace."""
    try:
        cli()
    except (AnalyticsError, OSError) as error:
        print_error(error)
        sys.exit(1)

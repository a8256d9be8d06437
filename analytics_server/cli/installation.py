"""`analytics-server check-config` and `migrate`: the settings, and the schema."""

from __future__ import annotations

import time

import click
import msgspec

from analytics_server.cli.audit import record
from analytics_server.cli.context import config_option, read_config, with_store
from analytics_server.collect.address import AddressResolver
from analytics_server.collect.steps.exclusion import OwnTraffic
from analytics_server.config import ignored_variables
from analytics_server.http.security.tls import faults, tls_of
from analytics_server.store import Store, check_store, migrate

MIGRATE = "migrate"


@click.command("check-config")
@config_option
def check_config(config_path: str | None) -> None:
    """Check the config file and the environment, and print what results."""
    config = read_config(config_path)
    AddressResolver(config.server.trusted_proxies)  # These judge their settings themselves, here as in a start.
    OwnTraffic(config.collect.exclude_addresses)
    check_store(config)
    tls = tls_of(config.server)
    for name in config.__struct_fields__:
        click.echo(f"[{name}]")
        section = getattr(config, name)
        for key in section.__struct_fields__:
            value = getattr(section, key)
            if name == "clickhouse" and key == "url" and "@" in str(value):
                value = "(with credentials, not shown)"
            if (name, key) in (("oidc", "client_secret"), ("mail", "password")) and value:
                value = "(set, not shown)"
            click.echo(f"{key} = {msgspec.json.encode(value).decode()}")
        click.echo()
    if ignored := ignored_variables():
        click.secho(f"Passed over, as they announce a service and are no settings: {', '.join(ignored)}.", err=True)
    if tls is not None and (fault := faults(tls, time.time())):
        click.secho(fault, fg="yellow", err=True)
    click.secho("The configuration is valid.", err=True)


@click.command("migrate")
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

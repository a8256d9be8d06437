"""`analytics-server token`: list, create and revoke tokens."""

from __future__ import annotations

import click

from analytics_server.access.gate import Gate, Role
from analytics_server.cli.context import config_option, read_config, with_store
from analytics_server.config import Config
from analytics_server.store import Store, migrate


@click.group()
def token() -> None:
    """List, create and revoke tokens."""


@token.command("list")
@config_option
def token_list(config_path: str | None) -> None:
    """List the tokens (never the secrets)."""
    config = read_config(config_path)

    async def work(store: Store) -> None:
        gate = await _ready_gate(store, config)
        for principal in gate.tokens():
            click.echo(f"{principal.token_id}\t{principal.role}\t{','.join(principal.sites) or '*'}\t{principal.name}")

    with_store(config, work)


@token.command("create")
@config_option
@click.option("--role", type=click.Choice([role.value for role in Role]), default=Role.READ.value, show_default=True)
@click.option("--site", "sites", multiple=True, help="Limit to this site (can be repeated). Default: all sites.")
@click.option("--name", default="", help="A note for yourself.")
def token_create(config_path: str | None, role: str, sites: tuple[str, ...], name: str) -> None:
    """Create a token and print it: the only time it is shown."""
    config = read_config(config_path)

    async def work(store: Store) -> None:
        gate = await _ready_gate(store, config)
        click.echo(await gate.create(Role(role), name=name, sites=sites))

    with_store(config, work)


@token.command("revoke")
@config_option
@click.argument("token_id")
def token_revoke(config_path: str | None, token_id: str) -> None:
    """Revoke a token by its id (see token list)."""
    config = read_config(config_path)

    async def work(store: Store) -> None:
        gate = await _ready_gate(store, config)
        if not await gate.revoke(token_id):
            raise click.ClickException(f"There is no token with the id {token_id}.")
        click.echo("revoked")

    with_store(config, work)


async def _ready_gate(store: Store, config: Config) -> Gate:
    await store.open()
    await migrate(store, cluster=config.clickhouse.cluster)
    gate = Gate(store)
    await gate.load()
    return gate

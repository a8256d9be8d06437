"""`analytics-server token`: list, create and revoke tokens."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import msgspec

from analytics_server.access.actions import MANAGE_TOKENS
from analytics_server.access.gate import Gate
from analytics_server.access.principals import Role
from analytics_server.access.token_routes import checked_threshold, covered_sites, role_of, scopes_of, token_info
from analytics_server.access.tokens import (
    ID_CHARS,
    LEAST_THRESHOLD,
    MOST_THRESHOLD,
    TOKEN_ROLES,
    Token,
    covered_details,
    token_details,
    token_hash,
)
from analytics_server.cli.audit import record
from analytics_server.cli.context import config_option, echo_json, json_option, read_config, with_store
from analytics_server.config import Config
from analytics_server.store import Store, migrate


@click.group()
def token() -> None:
    """List, create and revoke tokens."""


@token.command("list")
@config_option
@json_option
def token_list(config_path: str | None, as_json: bool) -> None:
    """List the tokens (never the secrets)."""
    config = read_config(config_path)

    async def work(store: Store) -> None:
        gate = await _ready_gate(store, config)
        uses = await gate.uses.read()
        if as_json:
            echo_json([token_info(found, uses.get(found.token_id)) for found in gate.tokens()])
            return
        for found in gate.tokens():
            end = "-" if found.expires_at is None else f"{found.expires_at:%Y-%m-%dT%H:%MZ}"
            used = f"{uses[found.token_id]:%Y-%m-%d}" if found.token_id in uses else "-"
            shown = (found.token_id, ",".join(found.all_scopes), ",".join(found.sites) or "*", found.name, end, used)
            columns = (*shown, str(found.threshold or "-"))
            click.echo("\t".join(columns))

    with_store(config, work, route="GET /api/v1/tokens")


@token.command("create")
@config_option
@click.option("--role", type=click.Choice([role.value for role in TOKEN_ROLES]), help="What it may. Default: read.")
@click.option("--scope", "scopes", multiple=True, help="A role or a single action (can be repeated). Not with --role.")
@click.option("--site", "sites", multiple=True, help="Limit to this site (can be repeated). Default: all sites.")
@click.option("--name", default="", help="A note for yourself.")
@click.option("--expires", default="", help="When it ends, as 2027-01-31 or 2027-01-31T12:00Z. Default: never.")
@click.option(
    "--threshold",
    type=click.IntRange(LEAST_THRESHOLD, MOST_THRESHOLD),
    help="Show it no rows of fewer visitors. Only for tokens that read.",
)
@json_option
def token_create(
    config_path: str | None,
    role: str | None,
    scopes: tuple[str, ...],
    sites: tuple[str, ...],
    name: str,
    expires: str,
    threshold: int | None,
    as_json: bool,
) -> None:
    """Create a token and print it: the only time it is shown."""
    config = read_config(config_path)
    wanted = scopes_of(role or ("" if scopes else Role.READ.value), scopes)
    least, end, covered = checked_threshold(threshold or 0, wanted), end_of(expires), covered_sites(sites)

    async def work(store: Store) -> None:
        gate = await _ready_gate(store, config)
        secret = await gate.create(
            role_of(wanted), scopes=wanted, name=name, sites=covered, expires_at=end, threshold=least
        )
        token_id = token_hash(secret)[:ID_CHARS]
        made = await gate.find(token_id)
        await _record(store, config, "token create", token_id, None, made)
        if as_json:
            shown = msgspec.structs.asdict(token_info(made, None)) if made else {"token_id": token_id}
            echo_json(shown | {"token": secret})
        else:
            click.echo(secret)

    with_store(config, work, route="POST /api/v1/tokens")


@token.command("revoke")
@config_option
@click.argument("token_id")
@json_option
def token_revoke(config_path: str | None, token_id: str, as_json: bool) -> None:
    """Revoke a token by its id (see token list)."""
    config = read_config(config_path)

    async def work(store: Store) -> None:
        gate = await _ready_gate(store, config)
        known = await gate.find(token_id)
        if not await gate.revoke(token_id):
            raise click.ClickException(f"There is no token with the id {token_id}.")
        await _record(store, config, "token revoke", token_id, known, None)
        if as_json:
            echo_json({"token_id": token_id, "revoked": True})
        else:
            click.echo("revoked")

    with_store(config, work, route="DELETE /api/v1/tokens/{token_id}")


async def _record(
    store: Store, config: Config, command: str, token_id: str, before: Token | None, after: Token | None
) -> None:
    """An audit entry for each site that the token covers or has covered. One that can't be read is told without."""
    token = after or before
    details = token_details(token) if token else {}
    sites = covered_details(before, after)
    await record(store, config, MANAGE_TOKENS.name, command, resource=token_id, details=details, sites=sites)


def end_of(text: str) -> datetime | None:
    """When something ends by `--expires`, None for never. Raises `BadParameter`."""
    if not text:
        return None
    try:
        end = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no date or time.", param_hint="--expires") from None
    end = end if end.tzinfo else end.replace(tzinfo=UTC)
    if end <= datetime.now(UTC):
        raise click.BadParameter(f"{text!r} lies in the past.", param_hint="--expires")
    return end.astimezone(UTC)


async def _ready_gate(store: Store, config: Config) -> Gate:
    await store.open()
    await migrate(store, cluster=config.clickhouse.cluster)
    gate = Gate(store)
    await gate.load()
    return gate

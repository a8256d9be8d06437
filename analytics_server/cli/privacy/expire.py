"""`analytics-server expire`: what is older than sites keep it, shown or removed."""

from __future__ import annotations

import click
from prometheus_client import CollectorRegistry

from analytics_server.access.sites.sites import Sites
from analytics_server.cli.audit import command_log, open_store
from analytics_server.cli.context import config_option, echo_json, read_config, run_async, with_store
from analytics_server.cli.progress import PhaseLines
from analytics_server.cli.running import OF_ALL_SITES, answered, server_beside, token_option, url_option
from analytics_server.config import Config
from analytics_server.privacy.expiry.purge import Expiry
from analytics_server.privacy.expiry.recording import REMOVAL_TURN
from analytics_server.privacy.expiry.routes import ExpireAnswer, under_way
from analytics_server.rollups.integrity import make_integrity
from analytics_server.store import Store
from analytics_server.store.lease import SharedTurn, end_left_over

ROUTE = "/api/v1/privacy/expire"


@click.command()
@config_option
@click.option("--dry-run", is_flag=True, help="Change nothing: print what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array, for programs.")
@url_option
@token_option
def expire(config_path: str | None, dry_run: bool, as_json: bool, url: str, token: str) -> None:
    """Remove events, and what is derived from them, that are older than their site keeps them.

    \b
    Exit code: 0 done, 1 not all could be done.

    The server does it once a day. What was removed is in the audit log.
    """
    config = read_config(config_path)
    server = server_beside(config, url, token, needed=OF_ALL_SITES)
    if server is None:
        answer = _expire(config, dry_run=dry_run)
    else:
        answer = run_async(answered(server, "POST", ROUTE, ExpireAnswer, {"dry_run": dry_run}))
    if as_json:
        echo_json(answer.sites)
    else:
        for site in answer.sites:
            tables = ", ".join(f"{table} {rows}" for table, rows in site.rows.items())
            click.echo(f"{site.site_id}\tbefore {site.before}\t{tables}")
        rows = sum(sum(site.rows.values()) for site in answer.sites)
        click.echo(f"{rows} rows {'would go' if dry_run else 'removed'}.")
    if answer.held_up:
        names = ", ".join(answer.held_up)
        raise click.ClickException(f"Nothing was removed of {names}: totals of their days can't be kept yet.")


def _expire(config: Config, *, dry_run: bool) -> ExpireAnswer:
    answers: list[ExpireAnswer] = []

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
        await integrity.close()
        if done is None:
            raise under_way()
        answers.append(ExpireAnswer(dry_run=dry_run, sites=done, held_up=sorted(expiry.held_up)))

    with_store(config, work, route=f"POST {ROUTE}")
    return answers[0]

"""`analytics-server demo`: sends or stores synthetic traffic, and prints what was done."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime

import click

from analytics_server.cli.audit import record
from analytics_server.cli.context import config_option, read_config, run_async
from analytics_server.cli.running import checked_url
from analytics_server.config import Config
from analytics_server.demo.fill import Filled, fill
from analytics_server.demo.progress import Bar
from analytics_server.demo.routes import MADE_UP_SITE_ID
from analytics_server.demo.send import send
from analytics_server.demo.traffic import TrafficOrder
from analytics_server.errors import RequestError
from analytics_server.store import Store

FILL = "fill_site"


@click.command()
@config_option
@click.option("--site", default=MADE_UP_SITE_ID, show_default=True, help="The site to fill; made if it doesn't exist.")
@click.option("--days", default=30, show_default=True, help="How many days, the last one being today or --end.")
@click.option("--sessions", default=50_000, show_default=True, help="How many sessions in all.")
@click.option("--seed", default=1, show_default=True, help="The same seed and --end give the same traffic.")
@click.option("--end", help="Last day, as 2026-10-31. Default: until now.")
@click.option("--timezone", default="", help="The site's time zone (IANA). Default: the site's, or the config's.")
@click.option("--add", is_flag=True, help="Fill the site even if it has events already.")
@click.option(
    "--url",
    default="",
    callback=checked_url,
    help="Send to a running server instead, e.g. http://127.0.0.1:8000.",
)
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
    order = TrafficOrder(site=site, days=days, sessions=sessions, seed=seed, end=end_of(end), timezone=timezone)
    run_async(run_demo(order, read_config(config_path), url=url, token=token, add=add))


async def run_demo(order: TrafficOrder, config: Config, *, url: str, token: str, add: bool) -> None:
    """Fill a site with made-up traffic: through the server at `url`, or straight into the store."""
    if url and not token:
        raise RequestError("--url needs --token: one of role admin (analytics-server token create --role admin).")

    async def told(store: Store, filled: Filled) -> None:
        await record(store, config, FILL, "demo", site_id=filled.site, rows=filled.events)

    with Bar(order.sessions) as bar:
        sending = send(order, url, token, bar, add=add) if url else fill(order, config, bar, add=add, on_filled=told)
        filled = await sending
    rate = filled.events / max(filled.seconds, 1e-9)
    click.echo(
        f"{filled.site}: {filled.sessions:,} sessions with {filled.events:,} events of made-up traffic"
        f" in {filled.seconds:.1f} s ({rate:,.0f} events/s)."
    )


def end_of(text: str | None) -> datetime | date:
    """The whole day `text`, or now. Raises `RequestError`."""
    if text is None:
        return datetime.fromtimestamp(time.time(), UTC)
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise RequestError(f"--end {text!r} is no date: write it as 2026-10-31.") from error

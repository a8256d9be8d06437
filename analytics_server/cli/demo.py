"""What `analytics-server demo` does with its options, and what it says afterwards."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime

import click

from analytics_server.cli.audit import record
from analytics_server.config import Config
from analytics_server.demo.fill import Filled, fill
from analytics_server.demo.progress import Bar
from analytics_server.demo.send import send
from analytics_server.demo.traffic import TrafficOrder
from analytics_server.errors import RequestError
from analytics_server.store import Store

FILL = "fill_site"


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

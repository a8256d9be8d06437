"""What the commands share: their config, the event loop they run on, and a store of their own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from analytics_server.access.sites.sites import valid_site_id
from analytics_server.config import Config, load_config
from analytics_server.doctor.lock import DirectoryLock
from analytics_server.errors import AnalyticsError, NotFound, RequestError
from analytics_server.store import Store, capabilities_of, make_store

T = TypeVar("T")


def run_async(work: Awaitable[T]) -> T:
    """Run a coroutine on uvloop where there is one."""

    async def main() -> T:
        return await work

    try:
        import uvloop
    except ImportError:
        return asyncio.run(main())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def read_config(path: str | None) -> Config:
    """The settings of a file, of the environment and the defaults. Raises `ConfigError`."""
    chosen = path or os.environ.get("ANALYTICS_CONFIG")
    return load_config(Path(chosen) if chosen else None)


config_option = click.option(
    "--config", "config_path", metavar="FILE", help="Config file (TOML). Also: ANALYTICS_CONFIG. Default: none."
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")

json_anyway = click.option("--json", is_flag=True, expose_value=False, help="Changes nothing: JSON is printed anyway.")
json_format = click.option(
    "--json", is_flag=True, expose_value=False, help="Changes nothing: --format says what is written, JSON if left out."
)
"""Both are taken so that `--json` can be given to every command that prints JSON."""


def echo_json(value: object) -> None:
    """Print a value as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def no_site(site_id: str) -> RequestError:
    """The error for a site that does not exist, or for what no site can be called."""
    if not valid_site_id(site_id):
        return RequestError(
            f"{site_id[:128]!r} can't be a site's id: it is a name such as example.com.", code="bad_site"
        )
    return NotFound(f"There is no site {site_id[:128]!r}: analytics-server site list prints those that there are.")


def with_store(config: Config, work: Callable[[Store], Awaitable[None]], *, route: str = "") -> None:
    """Open the store, work, close it. The engine in process is left to a server that has it open.

    `route`: by which call of the API that server does the same. Raises `AnalyticsError` (server_running).
    """

    async def main() -> None:
        store = make_store(config)
        try:
            await work(store)
        finally:
            await store.close()

    lock = DirectoryLock(config.wal_dir)
    if capabilities_of(config).owns_files:
        lock.take(keep=True)
    if lock.busy:
        instead = f", or ask it over HTTP: {route}" if route else ""
        raise AnalyticsError(
            f"A server is running on {config.data_dir} and owns the database there. Stop it first{instead}.",
            code="server_running",
        )
    try:
        run_async(main())
    finally:
        lock.release()

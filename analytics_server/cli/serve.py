"""`analytics-server serve`: one server from start to stop, and what it prints when it is ready."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

import click
import msgspec

from analytics_server import __version__
from analytics_server.app import Server
from analytics_server.cli.context import config_option, read_config, run_async
from analytics_server.cli.printing import print_error
from analytics_server.config import Config, ignored_variables
from analytics_server.demo.routes import DEMO_SITE_ID, MADE_UP_SITE_ID
from analytics_server.errors import AnalyticsError
from analytics_server.listening import base_url
from analytics_server.logs import set_up
from analytics_server.store import StoreInfo
from analytics_server.store.data_directory import open_to_others

log = logging.getLogger(__name__)

EXIT_BROKEN = 3
STOP_MARGIN_S = 2.0


@click.command()
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


async def run_server(config: Config) -> int:
    """Run until a signal comes or the write-ahead log breaks; returns the exit code."""
    server = Server(config, admin_token=os.environ.get("ANALYTICS_ADMIN_TOKEN", ""))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    starting = asyncio.create_task(server.start())
    interrupted = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, interrupted}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
    try:
        info = await starting
    except asyncio.CancelledError:
        await _stop(server, 0)
        return 0
    except Exception as error:
        interrupted.cancel()
        await _stop(server, 1, error)
        raise
    for path, mode in open_to_others(config):
        log.warning("other users may enter the directory: chmod 700", extra={"path": str(path), "mode": f"{mode:o}"})
    _greet(server, info)
    broken = asyncio.create_task(server.ingest.broken.wait())
    await asyncio.wait({interrupted, broken}, return_when=asyncio.FIRST_COMPLETED)
    failed = server.ingest.broken.is_set()
    for task in (interrupted, broken):
        task.cancel()
    code = EXIT_BROKEN if failed else 0
    await _stop(server, code)
    return code


async def _stop(server: Server, code: int, failure: Exception | None = None) -> None:
    """Stop within the grace period, whatever no longer answers: threads can't be cancelled. Tells a failed start."""
    try:
        async with asyncio.timeout(server.config.server.shutdown_grace_s + STOP_MARGIN_S):
            await server.stop()
        if not server.store.is_left:
            return
        log.warning("a question was still running in ClickHouse and is left")
    except TimeoutError:
        log.error("something did not stop in time; what was acknowledged is in the log")
    if isinstance(failure, AnalyticsError | OSError):
        print_error(failure)
    elif failure is not None:
        log.critical("the start failed", exc_info=failure)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _greet(server: Server, info: StoreInfo) -> None:
    """What a new operator needs to go on: link, tag, and where the data lies."""
    config = server.config
    base = config.server.public_url.rstrip("/") or base_url(
        *server.listener.address, tls=server.listener.tls is not None
    )
    own = [found.site_id for found in server.access.sites.all() if found.site_id not in (DEMO_SITE_ID, MADE_UP_SITE_ID)]
    site = own[0] if own else "example.com"
    lines = ["", f"  analytics-server {__version__} is running at {base}", ""]
    if config.dashboard.enabled:
        if server.access.new_admin_token:
            lines += [
                f"  Dashboard    {base}/dashboard#token={server.access.new_admin_token}",
                "               (the admin token is shown this once; only its hash is kept)",
            ]
        elif os.environ.get("ANALYTICS_ADMIN_TOKEN"):
            lines.append(f"  Dashboard    {base}/dashboard  (token: ANALYTICS_ADMIN_TOKEN)")
        else:
            lines.append(f"  Dashboard    {base}/dashboard  (with the token of the first start)")
    if config.server.demo:
        lines.append(f"  Demo site    {base}/demo")
    lines += [
        f'  Script tag   <script defer src="{base}{config.tracker.script_path}" data-site="{site}"></script>',
        f"  Data         {config.data_dir}",
        f"  ClickHouse   {'in process' if info.kind == 'embedded' else info.location}, {info.version}",
        "",
    ]
    click.echo("\n".join(lines))
    sys.stdout.flush()

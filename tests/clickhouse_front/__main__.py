"""Runs the front: `python -m tests.clickhouse_front --path DIR [--port 0] [--print-url]`.

Prints one line when it answers: its URL with `--print-url`, a sentence otherwise. Ends on
SIGTERM or SIGINT, and, with `--until-stdin-closes`, with the process that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from aiohttp import web

from tests.clickhouse_front.server import Front


async def serve(path: Path, host: str, port: int, *, only_url: bool, until_stdin_closes: bool) -> None:
    runner = web.AppRunner(Front(path).application(), handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    url = f"http://{host}:{runner.addresses[0][1]}"
    print(url if only_url else f"ClickHouse's HTTP interface answers on {url}", flush=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), stop.set)
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.clickhouse_front", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="directory of the data; created if need be")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--print-url", action="store_true", help="print the URL alone")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when standard input is closed")
    arguments = parser.parse_args()
    asyncio.run(
        serve(
            arguments.path,
            arguments.host,
            arguments.port,
            only_url=arguments.print_url,
            until_stdin_closes=arguments.until_stdin_closes,
        )
    )


main()

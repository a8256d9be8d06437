"""The yardstick: an aiohttp handler that decodes the same JSON and does nothing with it.

`python -m benchmarks.bare`. Same interpreter, loop (uvloop), aiohttp settings and
decoder as the server; no enrichment, no log, no disk, no headers of its own.
"""

from __future__ import annotations

import asyncio
import gc
import signal

import msgspec
from aiohttp import web

from analytics_server.collect.formats.beacon import Beacon

_decode = msgspec.json.Decoder(Beacon).decode


async def track(request: web.Request) -> web.Response:
    """Read, decode, 202."""
    _decode(await request.read())
    return web.Response(status=202)


async def main() -> None:
    """Serve until SIGTERM; the first line printed is the address."""
    app = web.Application()
    app.router.add_post("/track", track)
    runner = web.AppRunner(app, access_log=None, auto_decompress=False, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    gc.collect()
    gc.freeze()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as _runner:
            _runner.run(main())

"""The client library in a real browser: what 10,000 calls of `track()` cost the page, at once and afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
from pathlib import Path

import msgspec
from aiohttp import web
from playwright.async_api import Page, async_playwright

from benchmarks.node import CLIENT, TIMEOUT_S, NodeMissing
from benchmarks.process import ROOT, ToolMissing
from benchmarks.report import Figure, Result, below, exactly
from benchmarks.settings import Settings

BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
WAIT_MS = 60_000.0
PAGE = """<!doctype html><title>Page</title><script type="module">
import { AnalyticsClient } from '/index.js';
window.long = [];
const keep = (list) => long.push(...list.getEntries().map((entry) => entry.duration));
new PerformanceObserver(keep).observe({ type: 'longtask' });
window.client = new AnalyticsClient({ apiBaseUrl: location.origin, appName: 'example.com', local: true });
</script>"""
TRACK = """calls => new Promise(done => setTimeout(() => {
  long.length = 0;
  const began = performance.now();
  for (let n = 0; n < calls; n++) client.track('tick', { n });
  done(performance.now() - began);
}))"""


class BrowserMissing(ToolMissing):
    """There is no Chromium."""

    def __init__(self) -> None:
        super().__init__("Chromium is needed; TEST_CHROMIUM names another one.")


class _Site:
    """Serves the page and the client's modules, and counts the events that come by their ids."""

    def __init__(self, modules: Path) -> None:
        self.ids: set[str] = set()
        self.app = web.Application()
        self.app.add_routes(
            [web.get("/", self._page), web.post("/track", self._track), web.static("/", modules)],
        )

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def _track(self, request: web.Request) -> web.Response:
        told = msgspec.json.decode(await request.read())
        self.ids.update(event["event_id"] for event in (told if isinstance(told, list) else [told]))
        return web.json_response({}, status=202)


def run(settings: Settings) -> Result:
    """Build the client, call it in a fresh page each round, and wait until all has arrived."""
    node = shutil.which("node")
    if node is None or not (ROOT / "web" / "node_modules" / "installed").is_file():
        raise NodeMissing
    chromium = os.environ.get("TEST_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        raise BrowserMissing
    modules = settings.directory / "client"
    subprocess.run([node, str(CLIENT / "build" / "package.mjs"), str(modules)], check=True, timeout=TIMEOUT_S)
    return asyncio.run(_measure(settings, modules, chromium))


async def _measure(settings: Settings, modules: Path, chromium: str) -> Result:
    site = _Site(modules)
    runner = web.AppRunner(site.app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    calls_ms: list[float] = []
    later_ms: list[float] = []
    lost = 0
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(settings.rounds):
            site.ids.clear()
            page = await browser.new_page()
            await page.goto(address)
            await page.wait_for_function("window.client")
            calls_ms.append(await page.evaluate(TRACK, settings.tracked_events))
            lost += settings.tracked_events + 1 - await _arrived(site, page, settings.tracked_events + 1)
            # The first is that of the calls themselves.
            later_ms.append(max((await page.evaluate("long"))[1:], default=0.0))
            await page.close()
        await browser.close()
    await runner.cleanup()
    figures = [
        Figure(name="track(), all calls", value=statistics.median(calls_ms), unit="ms", target=below(50)),
        Figure(name="longest task afterwards, 0 below 50 ms", value=statistics.median(later_ms), unit="ms"),
        Figure(name="lost", value=lost, unit="events", target=exactly(0)),
    ]
    return Result(benchmark="tracking", figures=figures, details={"calls_ms": calls_ms, "later_ms": later_ms})


async def _arrived(site: _Site, page: Page, events: int) -> int:
    """How many events have come when all have, or time is up. The page view is one of them."""
    async with asyncio.timeout(WAIT_MS / 1000):
        while len(site.ids) < events:
            await page.wait_for_timeout(20)
    return len(site.ids)

"""The client package in Firefox and WebKit: what is common to all engines is tested in Chromium beside it."""

from __future__ import annotations

import pytest

from tests.browsers.browser import Browser
from tests.tracker.site import Site
from tests.tracker.test_privacy import NOTHING, STORED
from tests.web.test_client import add

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_walk_is_counted_and_stores_nothing(site: Site, engine: Browser) -> None:
    await engine.open(add(site, "/app", "webVitals: true,", "<div style='height: 3000px'></div>"))
    await engine.until("!!window.client")
    await engine.evaluate("void (client.destroy(), window.client = make(), client.track('called', {list: [1, 2]}))")
    await site.wait(lambda site: site.named("pageview") and site.named("called"))
    await engine.evaluate("void (history.pushState(0, '', '/app/b'), document.title = 'B')")
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    await engine.evaluate("void history.back()")
    await site.wait(lambda site: len(site.named("pageview")) == 3)
    stored = STORED.replace("await indexedDB.databases()", "indexedDB.databases ? await indexedDB.databases() : []")
    await engine.evaluate(f"void ({stored})().then(found => {{ window.stored = found }})")
    await engine.until("window.stored")
    assert {**await engine.evaluate("window.stored")} == NOTHING
    await engine.evaluate("void client.track('last')")
    await engine.open(site.add_raw("/left", "<!doctype html><p>Left</p>"))
    await site.wait(lambda site: site.named("last"))
    paths = [event["url"].removeprefix(site.origin) for event in site.named("pageview")]
    assert paths == ["/app", "/app/b", "/app"]
    assert site.named("called")[0]["props"] == {"list": [1, 2]}
    assert site.named("pageview")[1]["title"] == "B"

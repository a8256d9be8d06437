"""The client package in Firefox and WebKit: what is common to all engines is tested in Chromium beside it."""

from __future__ import annotations

import pytest

from tests.browsers.browser import Browser
from tests.tracker.site import Site
from tests.tracker.test_privacy import DNT, GPC, NOTHING, STORED
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


async def test_nothing_is_sent_where_the_browser_or_the_site_says_so(site: Site, engine: Browser) -> None:
    throws = "optOut: () => { throw 1 },"
    for path, config, head in (
        ("/dnt", "", DNT),
        ("/gpc", "", GPC),
        ("/out", "optOut: () => true,", ""),
        ("/odd", throws, ""),
    ):
        await engine.open(add(site, path, config, head=f"<script>{head}</script>"))
        await engine.until("!!window.client")
        await engine.evaluate("void (client.track('called'), client.flush())")
    await engine.open(site.add_raw("/left", "<!doctype html><p>Left</p>"))
    await engine.evaluate("fetch('/fence').then(answer => answer.text())")
    assert site.beacons == []


async def test_objection_in_mid_page_stops_what_waits_and_what_goes_when_leaving(site: Site, engine: Browser) -> None:
    await engine.open(add(site, "/app", "optOut: () => window.refused,"))
    await site.wait_names("pageview")
    await engine.evaluate("void (client.track('waits'), window.refused = true, client.track('called'))")
    await engine.open(site.add_raw("/left", "<!doctype html><p>Left</p>"))
    await engine.evaluate("fetch('/fence').then(answer => answer.text())")
    assert [event["name"] for event in site.events] == ["pageview"]


TRANSPORTS = {
    "no fetch": "delete window.fetch",
    "fetch that fails": "window.fetch = () => { throw 1 }",
    "own": "",
}


@pytest.mark.parametrize("broken", TRANSPORTS.values(), ids=TRANSPORTS.keys())
async def test_events_arrive_whichever_way_is_left(site: Site, engine: Browser, broken: str) -> None:
    """Without `fetch` by XMLHttpRequest; by a transport of the page's own with all that it is given."""
    own = (
        "transport: body => fetch('/elsewhere', {method: 'POST', body}).then(answer => answer.status),"
        if not broken
        else ""
    )
    head = f"<script>{broken}; delete Navigator.prototype.sendBeacon</script>"
    await engine.open(add(site, "/app", own, head=head))
    await site.wait_names("pageview")
    await engine.evaluate("void client.track('called')")
    await site.wait(lambda site: site.named("called"))
    assert {beacon.path for beacon in site.beacons} == {"/track" if broken else "/elsewhere"}

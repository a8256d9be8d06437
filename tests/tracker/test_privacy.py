"""What the tracker must never do."""

from __future__ import annotations

import pytest
from playwright.async_api import BrowserContext, Page, Request

from tests.tracker.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

STORED = """async () => ({
  cookie: document.cookie,
  local: Object.keys(localStorage),
  session: Object.keys(sessionStorage),
  databases: await indexedDB.databases(),
  caches: await caches.keys(),
  workers: (await navigator.serviceWorker.getRegistrations()).length,
  name: window.name,
})"""
NOTHING = {"cookie": "", "local": [], "session": [], "databases": [], "caches": [], "workers": 0, "name": ""}

GPC = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})"
DNT = "Object.defineProperty(Navigator.prototype, 'doNotTrack', {get: () => '1'})"


async def walk(site: Site, page: Page) -> None:
    """Uses all the demo site offers; goes on from a page once its view has come."""

    async def viewed(count: int) -> None:
        await site.wait(lambda site: len(site.named("pageview")) == count)

    await page.goto(f"{site.origin}/demo")
    await viewed(1)
    await page.click("#hero-cta")
    await viewed(2)
    await page.click(".coffee >> nth=0")
    await viewed(3)
    await page.click("#add")
    await page.click("#buy")
    await site.wait(lambda site: site.named("purchase"))
    await page.click("nav >> text=Subscription")
    await viewed(4)
    await page.click("text=Choose Office")
    await viewed(5)
    await page.fill("[name=name]", "Jo")
    await page.fill("[name=email]", "jo@shop.example")
    await page.click("text=Start my subscription")
    await viewed(6)
    await site.wait(lambda site: site.named("signup"))
    await page.click("text=Open your brew log")
    await viewed(7)
    await page.click(".tabs >> text=Recipes")
    await viewed(8)
    await page.evaluate("scrollTo(0, 9999)")


async def test_nothing_is_stored_in_the_browser(site: Site, context: BrowserContext, page: Page) -> None:
    await walk(site, page)
    assert await page.evaluate(STORED) == NOTHING
    assert await context.cookies() == []
    await site.wait(lambda site: len(site.named("pageview")) == 8)


async def test_walk_over_the_demo_site_sends_what_was_done(site: Site, page: Page) -> None:
    await walk(site, page)
    await page.goto("about:blank")
    await site.wait(
        lambda site: site.named("engagement") and site.named("engagement")[-1]["url"].endswith("/app/recipes")
    )
    done = [event["name"] for event in site.events if event["name"] not in ("engagement", "web_vital")]
    assert [name for name in done if name != "exposure"] == [
        "pageview",
        "hero_cta",
        "pageview",
        "pageview",
        "add_to_basket",
        "purchase",
        "pageview",
        "choose_plan",
        "pageview",
        "form",
        "pageview",
        "signup",
        "pageview",
        "pageview",
    ]
    assert len(site.named("exposure")) == 1
    assert site.named("purchase")[0]["revenue"] == {"amount": 14.5, "currency": "EUR"}
    assert site.named("signup")[0]["props"] == {"plan": "office"}
    assert "jo@" not in str(site.events).lower()
    assert {event["site"] for event in site.events} == {"demo.example"}
    assert not any(beacon.cookie for beacon in site.beacons)


@pytest.mark.parametrize("signal", [GPC, DNT])
async def test_privacy_signal_means_nothing_is_sent_at_all(site: Site, page: Page, signal: str) -> None:
    requested: list[str] = []

    def note(request: Request) -> None:
        requested.append(request.url.removeprefix(site.origin))

    page.on("request", note)
    await page.add_init_script(signal)
    await page.clock.install()
    head = "<script>function analytics() { (analytics.q = analytics.q || []).push(arguments) } analytics('q')</script>"
    await page.goto(site.add("/shop", '<a data-analytics="x" href="#x">X</a>', attributes="data-vitals", head=head))
    await page.click("a")
    await page.evaluate("analytics('call'); analytics('pageview'); history.pushState(null, '', '/other')")
    await page.clock.run_for(60_000)
    await page.goto(site.add_raw("/after", "<!doctype html><p>After</p>"))
    await page.evaluate("fetch('/fence').then(answer => answer.text())")
    assert "/track" not in requested
    assert requested[-1] == "/fence"
    assert site.beacons == []


async def test_strict_content_security_policy_is_enough(site: Site, page: Page) -> None:
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if "Content Security" in message.text else None)
    answer = await page.goto(f"{site.origin}/demo")
    assert answer is not None
    assert "script-src 'self'; connect-src 'self'" in answer.headers["content-security-policy"]
    await site.wait(lambda site: site.named("pageview"))
    assert refused == []

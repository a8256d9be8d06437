"""What the tracker must never do."""

from __future__ import annotations

from pathlib import Path

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


META = '<meta name="analytics" content="off">'
OBJECT = f"void document.head.insertAdjacentHTML('beforeend', '{META}')"


async def all_sent(site: Site, page: Page) -> list[str]:
    """Leaves the page; the names of all events, also of those that go with it."""
    await page.goto(site.add_raw("/after", "<!doctype html><p>After</p>"))
    await page.evaluate("fetch('/fence').then(answer => answer.text())")
    return [event["name"] for event in site.events if event["name"] != "engagement"]


@pytest.mark.parametrize("attribute", ["data-opt-out", 'data-opt-out="true"', 'data-opt-out="data-opt-out"'])
@pytest.mark.parametrize("meta", [META, '<meta name="Analytics" content=" OFF ">'])
async def test_visitor_whose_page_says_off_is_not_counted(site: Site, page: Page, attribute: str, meta: str) -> None:
    body = '<button data-analytics="buy">Buy</button>'
    await page.goto(site.add("/shop", body, attributes=attribute, head=meta))
    await page.wait_for_function("!!window.analytics")
    await page.click("button")
    await page.evaluate("analytics('called'); history.pushState(null, '', '/other')")
    assert await all_sent(site, page) == []
    assert site.begun == 0


async def test_objection_in_mid_page_stops_what_follows_what_waits_and_what_goes_when_leaving(
    site: Site, page: Page
) -> None:
    await page.goto(site.add("/shop", "<div style='height: 3000px'></div>", attributes="data-opt-out data-vitals"))
    await site.wait_names("pageview")
    await page.evaluate(f"analytics('waits'); scrollTo(0, 999); {OBJECT}; analytics('called')")
    await page.evaluate("history.pushState(null, '', '/other')")
    assert await all_sent(site, page) == ["pageview"]
    assert site.begun == 1


async def test_visitor_who_takes_the_objection_back_is_counted_from_then_on(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop", attributes="data-opt-out", head=META))
    await page.wait_for_function("!!window.analytics")
    await page.evaluate("analytics('before'); document.querySelector('[name=analytics]').content = 'on'")
    await page.evaluate("history.pushState(null, '', '/other')")
    assert await all_sent(site, page) == ["pageview"]


FUNCTIONS = {
    "refuses": ("window.refused = () => true", False),
    "throws": ("window.refused = () => { throw 1 }", False),
    "is missing": ("0", False),
    "answers later": ("window.refused = async () => false", False),
    "agrees": ("window.refused = () => false", True),
    "agrees, and the page says off": (f"window.refused = () => false; {OBJECT}", False),
}


@pytest.mark.parametrize(("function", "counted"), FUNCTIONS.values(), ids=FUNCTIONS.keys())
async def test_function_of_the_site_is_asked_before_each_event(
    site: Site, page: Page, function: str, counted: bool
) -> None:
    await page.goto(site.add("/shop", attributes='data-opt-out="refused"', head=f"<script>{function}</script>"))
    await page.wait_for_function("!!window.analytics")
    await page.evaluate("analytics('called')")
    assert await all_sent(site, page) == ["pageview", "called"] * counted


async def test_documented_switch_stores_the_refusal_alone_and_on_the_click_alone(site: Site, page: Page) -> None:
    text = (Path(__file__).parents[2] / "docs" / "tracker.md").read_text(encoding="utf-8")
    snippet = next(part.split("```")[0] for part in text.split("```html\n") if 'id="refuse"' in part)
    snippet = snippet.replace("https://stats.example.com/a.js", "/a.js")
    await page.goto(site.add_raw("/notice", f"<!doctype html><title>t</title>{snippet}"))
    await site.wait_names("pageview")
    assert await page.evaluate(STORED) == NOTHING
    await page.click("text=Don't count my visits")
    assert await page.evaluate("Object.entries(localStorage)") == [["analytics", "off"]]
    await page.reload()
    await page.evaluate("analytics('refused')")
    await page.click("text=Count my visits again")
    assert await page.evaluate(STORED) == NOTHING
    await page.evaluate("analytics('again')")
    assert await all_sent(site, page) == ["pageview", "again"]


async def test_objection_is_asked_for_by_the_script_s_address_too(site: Site, page: Page) -> None:
    for option, path in (("optOut", "/a"), ("opt-out", "/b")):
        head = f'{META}<script defer src="/a.js?site=shop.example&{option}"></script>'
        await page.goto(site.add_raw(path, f"<!doctype html><title>t</title>{head}"))
        await page.evaluate("analytics('called')")
    assert await all_sent(site, page) == []


async def test_page_whose_option_is_off_is_not_asked(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop", attributes='data-opt-out="false"', head=META))
    await site.wait_names("pageview")


async def test_nothing_is_sent_where_the_question_can_t_be_asked(site: Site, page: Page) -> None:
    await page.route("**/a.js?more", lambda route: route.abort())
    await page.goto(site.add("/shop", attributes="data-opt-out"))
    await page.evaluate("analytics('called')")
    assert await all_sent(site, page) == []


async def test_strict_content_security_policy_is_enough(site: Site, page: Page) -> None:
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if "Content Security" in message.text else None)
    answer = await page.goto(f"{site.origin}/demo")
    assert answer is not None
    assert "script-src 'self'; connect-src 'self'" in answer.headers["content-security-policy"]
    await site.wait(lambda site: site.named("pageview"))
    assert refused == []

"""Whatever a page has patched, removed or named: nothing reaches it, and its events arrive all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page

from tests.tracker.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

HIDE = (
    "Object.defineProperty(document, 'hidden', {get: () => true, configurable: true});"
    "document.dispatchEvent(new Event('visibilitychange'))"
)
ALL = "data-outbound data-downloads data-forms data-vitals data-404"


@pytest_asyncio.fixture(loop_scope="session")
async def errors(page: Page) -> AsyncIterator[list[str]]:
    """What reached the page: exceptions, uncaught rejections, and what was written to its console."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda message: found.append(message.text) if "Failed to load" not in message.text else None)
    yield found


REMOVED = {
    "beacon": "delete Navigator.prototype.sendBeacon",
    "beacon that throws": "Navigator.prototype.sendBeacon = () => { throw new Error('no') }",
    "beacon that refuses": "Navigator.prototype.sendBeacon = () => false",
    "fetch": "delete window.fetch",
    "fetch that throws": "window.fetch = () => { throw new Error('no') }",
    "fetch that gives nothing": "window.fetch = () => undefined",
    "fetch that gives anything": "window.fetch = async () => 'nothing'",
    "fetch that is no function": "window.fetch = {}",
    "fetch and beacon": "delete window.fetch; delete Navigator.prototype.sendBeacon",
    "request": "delete window.Request; delete window.AbortController",
    "performance entries": "performance.getEntriesByType = () => []",
    "performance entries that throw": "performance.getEntriesByType = () => { throw new Error('no') }",
    "performance observer": "delete window.PerformanceObserver",
    "clock of performance": "performance.now = () => { throw new Error('no') }",
    "performance": "Object.defineProperty(window, 'performance', {value: undefined})",
    "history": "delete History.prototype.pushState; delete History.prototype.replaceState",
    "frozen history": "history.pushState = history.pushState; Object.freeze(history)",
    "navigation": "delete window.navigation",
    "page's own navigation": "Object.defineProperty(window, 'navigation', {value: {items: []}})",
    "crypto": "Object.defineProperty(window, 'crypto', {value: undefined})",
    "screen": "Object.defineProperty(window, 'screen', {value: null})",
    "language": "Object.defineProperty(Navigator.prototype, 'language', {get: () => 42})",
    "focus": "document.hasFocus = undefined",
    "shadow paths": "delete Event.prototype.composedPath",
    "style": "window.getComputedStyle = () => { throw new Error('no') }",
    "old prototype library": "Array.prototype.toJSON = function () { return 'list' }",
    "polluted objects": "Object.prototype.extend = () => 1; Array.prototype.last = () => 1",
    "stack traces": "Error.stackTraceLimit = 0",
    "vendor's symbol": "window.Sentry = {}; window.onerror = () => true",
}


@pytest.mark.parametrize("patch", REMOVED.values(), ids=REMOVED.keys())
async def test_patched_page_is_counted_and_sees_no_error(site: Site, page: Page, errors: list[str], patch: str) -> None:
    await page.add_init_script(patch)
    await page.goto(site.add("/shop", "<p>Text</p><a href='#x'>x</a>", attributes=ALL))
    await page.evaluate("analytics('one')")
    await page.click("p")
    await page.click("a")
    await site.wait(lambda site: site.named("pageview") and site.named("one"))
    assert "analytics" not in "".join(errors)
    assert errors == []


@pytest.mark.parametrize("patch", [patch for name, patch in REMOVED.items() if "beacon" in name or "fetch" in name])
async def test_patched_page_loses_nothing_when_it_is_hidden(
    site: Site, page: Page, errors: list[str], patch: str
) -> None:
    await page.add_init_script(patch)
    await page.goto(site.add("/shop"))
    await page.evaluate(f"analytics('last'); {HIDE}")
    await site.wait(lambda site: site.named("pageview") and site.named("last"))
    assert errors == []


NAMED = [
    "attributes",
    "href",
    "id",
    "dataset",
    "localName",
    "getAttribute",
    "getAttributeNames",
    "matches",
    "closest",
    "nodeType",
    "innerText",
    "textContent",
    "tagName",
    "hasAttribute",
    "parentNode",
    "elements",
]


@pytest.mark.parametrize("name", NAMED)
async def test_form_is_reported_whatever_its_fields_are_named(
    site: Site, page: Page, errors: list[str], name: str
) -> None:
    body = (
        f'<form id="join" action="/join" onsubmit="return false"><input name="{name}"><button>Join</button></form>'
        f'<form data-analytics="joined" data-analytics-prop-list="news" onsubmit="return false">'
        f'<input name="{name}"><button id="second">Join</button></form>'
    )
    await page.goto(site.add("/shop", body, attributes="data-forms"))
    # Not by the driver, which reads a form as a page would.
    await page.evaluate("document.querySelector('button').click(); document.getElementById('second').click()")
    await site.wait(lambda site: site.named("form") and site.named("joined"))
    assert site.named("form")[0]["element"] == {"id": "join", "tag": "form"}
    assert site.named("joined")[0]["props"] == {"list": "news"}
    assert errors == []


@pytest.mark.parametrize(
    "name",
    ["title", "hidden", "prerendering", "currentScript", "scripts", "head", "referrer", "hasFocus", "querySelector"],
)
@pytest.mark.parametrize("tag", ["form", "img"])
async def test_element_that_hides_a_property_of_the_document_is_no_harm(
    site: Site, page: Page, errors: list[str], name: str, tag: str
) -> None:
    text = (
        f'<!doctype html><title>Hidden</title><{tag} name="{name}"></{tag}>'
        '<script src="/a.js" data-site="shop.example"></script>'
    )
    await page.goto(site.add_raw("/named", text))
    await site.wait_names("pageview")
    await page.evaluate("analytics('later')")
    await site.wait_names("pageview", "later")
    assert errors == []


GLOBALS = {
    "list with the methods of another product": "window.analytics = []; analytics.on = () => 'theirs'",
    "object": "window.analytics = {track: 1}",
    "function": "window.analytics = function () { return 'theirs' }",
    "text": "window.analytics = 'theirs'",
    "nothing": "window.analytics = null",
    "constant of a script": "const analytics = {own: 1}; window.own = analytics",
    "element": "document.documentElement.id = 'analytics'",
    "getter that throws": "Object.defineProperty(window, 'analytics', {get() { throw new Error('no') }})",
    "property that cannot be set": "Object.defineProperty(window, 'analytics', {value: 'theirs'})",
    "queue of another product": "window.analytics = function () { analytics.queue.push(1) }; analytics.queue = []",
}


@pytest.mark.parametrize("own", GLOBALS.values(), ids=GLOBALS.keys())
async def test_global_of_the_page_lives_on(site: Site, page: Page, errors: list[str], own: str) -> None:
    read = "(() => { try { return window.analytics } catch (error) { return String(error) } })()"
    head = f"<script>{own}</script><script>window.before = {read}</script>"
    await page.goto(site.add("/shop", head=head, attributes='data-global="stats"'))
    await page.evaluate("stats('ours')")
    await site.wait_names("pageview", "ours")
    if own.startswith("const"):
        assert await page.evaluate("analytics === window.own")
    else:
        assert await page.evaluate(f"window.before === {read}")
    assert errors == []


async def test_second_name_is_there_beside_the_first(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop", attributes='data-global="stats"'))
    await page.evaluate("analytics('one'); stats('two')")
    await site.wait_names("pageview", "one", "two")


async def test_calls_kept_under_the_second_name_are_sent(site: Site, page: Page) -> None:
    head = (
        "<script>window.stats = window.stats || function () { (stats.q = stats.q || []).push(arguments) };"
        "stats('early')</script>"
    )
    await page.goto(site.add("/shop", head=head, attributes='data-global="stats"'))
    await site.wait_names("pageview", "early")


ODD_CALLS = [
    "analytics()",
    "analytics(42)",
    "analytics('odd', 'text')",
    "analytics('odd', null)",
    "analytics('odd', [1, 2])",
    "analytics('odd', {props: 'text'})",
    "analytics('odd', {props: [1, 2]})",
    "analytics('odd', {props: {get boom() { throw new Error('no') }, kept: 1}})",
    "analytics('odd', {props: new Map([['a', 1]])})",
    "analytics('odd', {element: document.body})",
    "analytics('odd', {url: 'http://['})",
    "analytics('odd', {props: {n: 10n, f() {}, s: Symbol('s'), u: undefined}})",
    "analytics('set')",
    "analytics('set', 'text')",
    "analytics('set', {props: (() => { const loop = {}; loop.loop = loop; return {loop, plan: 'pro'} })()})",
    "analytics('set', {props: {n: 10n, plan: 'pro'}, user_id: 10n})",
    "analytics('set', {user_id: document.body, session_id: window})",
    "analytics('pageview', 'text')",
    "analytics(Symbol('s'))",
    "const props = {}; props.props = props; analytics('odd', {props})",
    "const props = {}; props.props = props; analytics('set', {props})",
]


@pytest.mark.parametrize("call", ODD_CALLS)
async def test_odd_call_costs_no_other_event(site: Site, page: Page, errors: list[str], call: str) -> None:
    await page.goto(site.add("/shop"))
    await page.evaluate(f"(() => {{ {call} }})(); analytics('good')")
    await page.evaluate("history.pushState(0, '', '/next')")
    await page.goto("about:blank")
    await site.wait(lambda site: site.named("good") and site.named("pageview")[-1]["url"].endswith("/next"))
    assert errors == []


async def test_what_can_be_read_of_odd_settings_is_kept(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop"))
    await page.evaluate("const loop = {}; loop.loop = loop; analytics('set', {props: {loop, plan: 'pro', n: 10n}})")
    await page.evaluate("analytics('after')")
    await site.wait_names("pageview", "after")
    assert site.events[1]["props"] == {"plan": "pro"}


async def test_listeners_live_on_after_a_feature_failed(site: Site, page: Page, errors: list[str]) -> None:
    await page.add_init_script("performance.getEntriesByType = () => []")
    body = '<a id="o" href="https://other.example/" onclick="return false">O</a>'
    await page.goto(site.add("/shop", body, attributes="data-vitals data-404 data-outbound"))
    await page.click("#o")
    await site.wait(lambda site: site.named("outbound"))
    await page.goto("about:blank")
    await site.wait(lambda site: site.named("web_vital"))
    assert errors == []


NAMES = ["fetch", "history", "navigation", "performance", "screen", "analyticsServer"]


@pytest.mark.parametrize("name", NAMES)
async def test_constant_that_the_page_calls_as_the_platform_does_is_no_harm(
    site: Site, page: Page, errors: list[str], name: str
) -> None:
    """Unlike a property of the window, it hides the platform's from every script."""
    await page.goto(site.add("/shop", head=f"<script>const {name} = '/theirs'</script>"))
    await site.wait_names("pageview")
    await page.evaluate("window.history.pushState(0, '', '/next'); analytics('last')")
    await site.wait(lambda site: site.named("last") and len(site.named("pageview")) == 2)
    assert errors == []

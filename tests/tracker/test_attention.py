"""Scroll depth and engaged time. The page's clock is in the test's hands; leaving the page is real."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from tests.tracker.site import Event, Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Viewport 800: the page is five of them high.
LONG = "<style>body { margin: 0 } div { height: 4000px }</style><div></div>"

HIDE = """hidden => {
  Object.defineProperty(document, 'hidden', {get: () => hidden, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}"""

# What a router does: new address, new content half as high, and back to the top.
RENDER_NEXT = """new Promise(done => {
  history.pushState(null, '', '/read/next');
  document.querySelector('div').style.height = '1600px';
  addEventListener('scroll', done, {once: true});
  scrollTo(0, 0);
})"""


async def opened(site: Site, page: Page, body: str = LONG) -> str:
    """Opens a page whose time stands still, with its page view sent."""
    await page.clock.install(time=0)
    await page.clock.pause_at(1000)
    address = site.add("/read", body)
    await page.goto(address)
    await page.clock.run_for(250)
    await site.wait_names("pageview")
    return address


async def scroll(page: Page, top: int) -> None:
    await page.evaluate(
        "top => new Promise(done => { addEventListener('scroll', done, {once: true}); scrollTo(0, top) })", top
    )


async def left(site: Site, page: Page) -> Event:
    """Leaves the page for good; returns the engagement event it sent."""
    await page.goto("about:blank")
    await site.wait(lambda site: site.named("engagement"))
    (event,) = site.named("engagement")
    return event


async def test_deepest_scroll_is_reported_when_leaving(site: Site, page: Page) -> None:
    address = await opened(site, page)
    await scroll(page, 2200)
    await scroll(page, 100)
    event = await left(site, page)
    assert event["scroll_depth"] == 75
    assert event["url"] == address


async def test_page_without_scrolling_reports_what_fits_the_window(site: Site, page: Page) -> None:
    await opened(site, page)
    assert (await left(site, page))["scroll_depth"] == 20


async def test_engaged_time_is_measured_in_milliseconds(site: Site, page: Page) -> None:
    await opened(site, page)
    await page.clock.run_for(7_000)
    assert (await left(site, page))["engagement_ms"] == 7_250


async def test_time_without_a_sign_of_life_ends_after_half_a_minute(site: Site, page: Page) -> None:
    await opened(site, page)
    await page.clock.run_for(600_000)
    assert (await left(site, page))["engagement_ms"] == 30_000


async def test_each_sign_of_life_goes_on_counting(site: Site, page: Page) -> None:
    await opened(site, page)
    for key in ("a", "b", "c"):
        await page.clock.run_for(20_000)
        await page.keyboard.press(key)
    assert (await left(site, page))["engagement_ms"] == 60_250


async def test_time_without_focus_does_not_count(site: Site, page: Page) -> None:
    await opened(site, page)
    await page.clock.run_for(2_000)
    await page.evaluate("document.hasFocus = () => false; dispatchEvent(new Event('blur'))")
    await page.clock.run_for(20_000)
    await page.evaluate("delete document.hasFocus; dispatchEvent(new Event('focus'))")
    await page.clock.run_for(3_000)
    assert (await left(site, page))["engagement_ms"] == 5_250


async def test_hiding_reports_once_and_again_only_when_there_is_more(site: Site, page: Page) -> None:
    await opened(site, page)
    await page.clock.run_for(2_000)
    async with page.expect_event("requestfinished"):
        await page.evaluate(HIDE, True)
    await page.clock.run_for(60_000)
    await page.evaluate(HIDE, False)
    await page.evaluate(HIDE, True)
    await page.evaluate(HIDE, False)
    await page.clock.run_for(4_000)
    await page.evaluate(HIDE, True)
    await page.evaluate("analytics('end')")
    while not site.named("end"):  # the page has to take the answer to the request before first
        await page.clock.run_for(300)
        await page.evaluate("fetch('/fence').then(answer => answer.text())")
    assert [(event["engagement_ms"], event["scroll_depth"]) for event in site.named("engagement")] == [
        (2_250, 20),
        (4_000, 20),
    ]


async def test_time_in_the_back_forward_cache_does_not_count(site: Site, page: Page) -> None:
    await opened(site, page)
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    await page.clock.run_for(20_000)
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    await page.clock.run_for(300)
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    assert [event["engagement_ms"] for event in site.named("engagement")] == [250]


async def test_next_view_of_an_app_starts_from_nothing(site: Site, page: Page) -> None:
    await opened(site, page)
    await scroll(page, 3200)
    await page.clock.run_for(5_000)
    await page.evaluate(RENDER_NEXT)
    await page.clock.run_for(2_000)
    await page.goto("about:blank")
    await site.wait(lambda site: len(site.named("engagement")) == 2)
    assert [
        (event["url"].removeprefix(site.origin), event["scroll_depth"], event["engagement_ms"])
        for event in site.named("engagement")
    ] == [("/read", 100, 5_250), ("/read/next", 50, 2_000)]


async def test_view_that_replaces_the_content_late_does_not_inherit_the_scroll(site: Site, page: Page) -> None:
    await opened(site, page)
    await scroll(page, 3200)
    await page.evaluate("history.pushState(null, '', '/read/next')")
    await page.clock.run_for(500)
    await page.evaluate(RENDER_NEXT.replace("history.pushState(null, '', '/read/next');", ""))
    await page.clock.run_for(2_000)
    await page.goto("about:blank")
    await site.wait(lambda site: len(site.named("engagement")) == 2)
    assert [event["scroll_depth"] for event in site.named("engagement")] == [100, 50]


async def test_view_left_without_scrolling_reports_what_fits_the_window(site: Site, page: Page) -> None:
    await opened(site, page)
    await page.clock.run_for(2_000)
    await page.evaluate("history.pushState(null, '', '/read/next')")
    await page.clock.run_for(300)
    await site.wait(lambda site: site.named("engagement"))
    assert site.named("engagement")[0]["scroll_depth"] == 20


# The rest of the page is one column of the window's height, in which something else scrolls.
SHELL = """<style>html, body {{ margin: 0; height: 100%; overflow: hidden }}
#box {{ height: 800px; overflow: auto }} #long {{ height: 4000px }}</style>{body}"""
INNER = '<div id="box"><div id="long"></div></div>'
IN_SHADOW = """<div id="host"></div><script>
document.getElementById('host').attachShadow({mode: 'open'}).innerHTML =
  '<div id="box" style="height: 800px; overflow-y: scroll"><div style="height: 4000px"></div></div>'
</script>"""
SIDE_BY_SIDE = (
    '<div style="position: absolute; width: 180px; height: 800px; overflow: auto"><div style="height: 9000px"></div>'
    f'</div><div style="margin-left: 200px">{INNER}</div>'
)
FIND = """top => new Promise(done => {
  const host = document.getElementById('host');
  const box = (host ? host.shadowRoot : document).getElementById('box');
  box.addEventListener('scroll', done, {once: true});
  box.scrollTop = top;
})"""


@pytest.mark.parametrize("body", [INNER, IN_SHADOW, SIDE_BY_SIDE], ids=["inner", "in a shadow root", "two columns"])
@pytest.mark.parametrize(("top", "depth"), [(0, 20), (1200, 50), (3200, 100)])
async def test_depth_of_a_layout_that_scrolls_inside_is_its_largest_scroller_s(
    site: Site, page: Page, body: str, top: int, depth: int
) -> None:
    await opened(site, page, SHELL.format(body=body))
    await page.clock.run_for(1_000)
    if top:
        await page.evaluate(FIND, top)
    assert (await left(site, page))["scroll_depth"] == depth


@pytest.mark.parametrize(("top", "depth"), [(0, 20), (3200, 100)])
async def test_body_may_be_what_scrolls_inside_the_page(site: Site, page: Page, top: int, depth: int) -> None:
    body = """<style>html { height: 100%; overflow: hidden } body { margin: 0; height: 100%; overflow: auto }
    #long { height: 4000px }</style><div id="long"></div>"""
    await opened(site, page, body)
    await page.clock.run_for(1_000)
    if top:
        await page.evaluate(FIND.replace("const box = ", "const box = document.body || "), top)
    assert (await left(site, page))["scroll_depth"] == depth


async def test_layout_in_which_nothing_is_known_to_scroll_has_no_depth(site: Site, page: Page) -> None:
    await opened(site, page, SHELL.format(body='<div style="height: 4000px"></div>'))
    await page.clock.run_for(1_000)
    assert "scroll_depth" not in await left(site, page)


async def test_small_box_that_scrolls_is_not_the_page(site: Site, page: Page) -> None:
    body = '<div style="width: 300px; height: 100px; overflow: auto"><div style="height: 4000px"></div></div>'
    await opened(site, page, body)
    await page.clock.run_for(1_000)
    assert (await left(site, page))["scroll_depth"] == 100


@pytest.mark.parametrize("reported", [False, True], ids=["before a report", "after a report"])
async def test_page_that_grows_is_measured_as_it_is_when_it_is_left(site: Site, page: Page, reported: bool) -> None:
    await opened(site, page, "<style>body { margin: 0 } div { height: 300px }</style><div></div>")
    await page.clock.run_for(2_000)
    if reported:
        async with page.expect_event("requestfinished"):
            await page.evaluate(HIDE, True)
        await page.evaluate(HIDE, False)
    await page.evaluate("document.querySelector('div').style.height = '9300px'")
    await scroll(page, 1000)
    await page.clock.run_for(3_000)
    await page.goto("about:blank")
    await site.wait(lambda site: len(site.named("engagement")) == 1 + reported)
    assert [event["scroll_depth"] for event in site.named("engagement") if "scroll_depth" in event] == [19]

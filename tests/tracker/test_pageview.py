"""When a page view is counted, and what it carries."""

from __future__ import annotations

import re
from uuid import UUID

import pytest
from playwright.async_api import BrowserContext, Page

from tests.tracker.site import Site, stop_clock

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLOW_TITLE = "<script>setTimeout(() => { document.title = 'Set later' })</script>"


async def test_first_pageview_describes_page_and_screen(site: Site, page: Page) -> None:
    address = site.add("/shop", "<p>Hello</p>")
    await stop_clock(page)
    await page.goto(f"{address}?utm_source=news&q=1#part", referer="https://search.example/find")
    await page.clock.run_for(250)
    await site.wait_names("pageview")
    event = site.events[0]
    assert UUID(event.pop("event_id")).version == 4
    assert event == {
        "site": "shop.example",
        "name": "pageview",
        "url": f"{address}?utm_source=news&q=1",
        "referrer": "https://search.example/find",
        "title": "/shop",
        "screen": {"width": 1440, "height": 900},
        "language": "en-GB",
    }


@pytest.mark.parametrize(
    ("platform", "touches", "sent"),
    [("MacIntel", 5, {"touch": 5}), ("MacIntel", 0, {}), ("iPhone", 5, {}), ("Linux armv8l", 5, {}), ("", 5, {})],
)
async def test_touch_points_are_told_where_a_mac_may_be_an_ipad(
    site: Site, page: Page, platform: str, touches: int, sent: dict[str, int]
) -> None:
    told = f"{{platform: {{value: '{platform}'}}, maxTouchPoints: {{value: {touches}}}}}"
    await page.add_init_script(f"Object.defineProperties(navigator, {told})")
    await page.goto(site.add("/touched"))
    await site.wait_names("pageview")
    assert site.events[0]["screen"] == {"width": 1440, "height": 900, **sent}


async def test_site_is_the_host_when_none_is_given(site: Site, page: Page) -> None:
    await page.goto(site.add_raw("/plain", '<!doctype html><script src="/a.js"></script>'))
    await site.wait_names("pageview")
    assert site.events[0]["site"] == "127.0.0.1"


async def test_title_set_after_loading_is_reported(site: Site, page: Page) -> None:
    await page.goto(site.add("/late", SLOW_TITLE))
    await site.wait_names("pageview")
    assert site.events[0]["title"] == "Set later"


async def test_two_trackers_on_a_page_count_once(site: Site, page: Page) -> None:
    await page.goto(site.add("/twice", tags=2))
    await page.evaluate("analytics('last')")
    await site.wait(lambda site: site.named("last"))
    assert [event["name"] for event in site.events] == ["pageview", "last"]


async def test_data_manual_sends_only_what_the_page_calls(site: Site, page: Page) -> None:
    await page.goto(site.add("/manual", attributes="data-manual"))
    await page.evaluate("history.pushState(0, '', '/other'); analytics('pageview', {url: '/virtual', title: 'Own'})")
    await site.wait(lambda site: site.events)
    assert [(event["name"], event["url"], event["title"]) for event in site.events] == [
        ("pageview", f"{site.origin}/virtual", "Own")
    ]


async def test_excluded_pages_send_nothing(site: Site, page: Page) -> None:
    attributes = 'data-exclude="/admin/*, /exact"'
    await page.goto(site.add("/admin/users", attributes=attributes))
    await page.evaluate("analytics('secret')")
    await page.evaluate("history.pushState(0, '', '/exact')")
    await page.evaluate("history.pushState(0, '', '/exactly')")
    await site.wait(lambda site: site.events)
    assert [(event["name"], event["url"]) for event in site.events] == [("pageview", f"{site.origin}/exactly")]


async def test_referrer_comes_with_the_first_counted_view_after_an_excluded_one(site: Site, page: Page) -> None:
    address = site.add("/admin", attributes='data-exclude="/admin"')
    await page.goto(address, referer="https://search.example/")
    await page.evaluate("history.pushState(0, '', '/open')")
    await site.wait_names("pageview")
    assert site.events[0]["referrer"] == "https://search.example/"


async def test_data_api_overrides_the_endpoint(site: Site, page: Page) -> None:
    await page.goto(site.add("/own", attributes='data-api="/elsewhere"'))
    await site.wait_names("pageview")
    assert site.beacons[0].path == "/elsewhere"


async def test_endpoint_follows_the_script_under_a_prefix(site: Site, page: Page) -> None:
    text = '<!doctype html><script src="/prefix/a.js?v=1" data-site="shop.example"></script>'
    await page.goto(site.add_raw("/proxied", text))
    await site.wait_names("pageview")
    assert site.beacons[0].path == "/prefix/track"


async def test_function_can_have_another_name(site: Site, page: Page) -> None:
    head = "<script>var analytics = 'somebody else’s'</script>"
    await page.goto(site.add("/named", attributes='data-function="track"', head=head))
    await page.evaluate("track('renamed')")
    await site.wait_names("pageview", "renamed")
    assert await page.evaluate("analytics") == "somebody else’s"


async def test_page_in_a_background_tab_counts_when_it_is_seen(site: Site, page: Page) -> None:
    await page.add_init_script(
        "window.seen = false; Object.defineProperty(document, 'hidden', {get: () => !window.seen, configurable: true})"
    )
    await page.clock.install()
    await page.goto(site.add("/background"))
    await page.evaluate("analytics('early')")
    await page.clock.run_for(60_000)
    await page.evaluate("fetch('/fence').then(answer => answer.text())")
    assert not site.events
    await page.evaluate("window.seen = true; document.dispatchEvent(new Event('visibilitychange'))")
    await page.clock.run_for(1_000)
    await site.wait_names("pageview", "early")


async def test_return_from_the_back_forward_cache_is_a_pageview(site: Site, whole_page: Page) -> None:
    first = site.add("/first", "<script>window.kept = true</script>")
    await whole_page.goto(first)
    await site.wait_names("pageview")
    await whole_page.goto(site.add_raw("/second", "<!doctype html><p>Second</p>"))
    await whole_page.go_back(wait_until="commit")
    assert await whole_page.evaluate("performance.getEntriesByType('navigation')[0].type") == "navigate", (
        "not from the cache"
    )
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    again = site.named("pageview")[1]
    assert again["url"] == first
    assert "referrer" not in again


async def test_not_found_is_sent_for_a_page_answered_with_404(site: Site, page: Page) -> None:
    await page.goto(f"{site.origin}/demo/careers")
    await site.wait(lambda site: site.named("not_found"))
    assert [(event["name"], event["url"]) for event in site.events] == [
        ("pageview", f"{site.origin}/demo/careers"),
        ("not_found", f"{site.origin}/demo/careers"),
    ]


@pytest.mark.parametrize(
    ("attributes", "status", "names"),
    [
        ("data-404", "404", ["pageview", "not_found", "end"]),
        ("data-404", "", ["pageview", "end"]),
        ("", "404", ["pageview", "end"]),
    ],
)
async def test_not_found_needs_the_option_and_the_mark(
    site: Site, page: Page, attributes: str, status: str, names: list[str]
) -> None:
    mark = f"<script>document.documentElement.dataset.status = '{status}'</script>"
    await page.goto(site.add("/marked", attributes=attributes, head=mark))
    await page.evaluate("analytics('end')")
    await site.wait(lambda site: site.named("end"))
    assert [event["name"] for event in site.events] == names


async def test_vitals_are_sent_once_when_the_page_is_left(site: Site, page: Page) -> None:
    await page.goto(site.add("/vitals", "<h1>Large</h1><button>B</button>", attributes="data-vitals"))
    await site.wait_names("pageview")
    await page.evaluate(
        "new Promise(done => new PerformanceObserver(done).observe({type: 'largest-contentful-paint', buffered: true}))"
    )
    await page.goto("about:blank")
    await site.wait(lambda site: len(site.named("web_vital")) >= 2)
    values = {event["props"]["name"]: event["props"]["value"] for event in site.named("web_vital")}
    assert values["CLS"] == 0
    assert 0 < values["LCP"] < 60_000


async def test_http_page_without_random_uuid_still_makes_ids(site: Site, page: Page) -> None:
    await page.add_init_script("delete Crypto.prototype.randomUUID")
    await page.goto(site.add("/insecure"))
    await page.evaluate("analytics('second')")
    await site.wait(lambda site: len(site.events) == 2)
    ids = {event["event_id"] for event in site.events}
    assert len(ids) == 2
    assert all(re.fullmatch(r"[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}", id_) for id_ in ids)


async def test_automated_browser_is_left_to_the_server(site: Site, context: BrowserContext, page: Page) -> None:
    await page.add_init_script("Object.defineProperty(navigator, 'webdriver', {get: () => true})")
    await page.goto(site.add("/robot"))
    await site.wait_names("pageview")

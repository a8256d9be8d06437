"""How events travel: batches, beacons, and a second try."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, Route

from tests.tracker.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

LATE_MS = 5_000
START_S = 1_800_000_000


async def opened(site: Site, page: Page) -> None:
    """A page whose clock stands still, its page view waiting to be sent."""
    await page.clock.install(time=START_S)
    await page.clock.pause_at(START_S + 1)
    await page.goto(site.add("/shop"))


async def test_events_of_one_moment_travel_together(site: Site, page: Page) -> None:
    await opened(site, page)
    await page.evaluate("analytics('one'); analytics('two')")
    await page.clock.run_for(250)
    await site.wait_names("pageview", "one", "two")
    assert [(beacon.method, beacon.batch) for beacon in site.beacons] == [("POST", True)]


async def test_single_event_travels_without_an_array(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop"))
    await site.wait_names("pageview")
    assert not site.beacons[0].batch


async def test_full_batch_leaves_at_once(site: Site, page: Page) -> None:
    await opened(site, page)
    await page.evaluate("for (let i = 0; i < 60; i++) analytics('many')")
    await site.wait(lambda site: site.beacons)
    assert len(site.beacons[0].events) == 50


async def test_request_carries_no_cookies_of_the_site(site: Site, page: Page) -> None:
    await page.context.add_cookies([{"name": "kept", "value": "1", "url": site.origin}])
    await page.goto(site.add("/shop"))
    await site.wait_names("pageview")
    assert site.beacons[0].cookie == ""


async def test_request_to_another_origin_needs_no_preflight(site: Site, page: Page) -> None:
    other = site.origin.replace("127.0.0.1", "localhost")
    await page.goto(site.add("/shop", attributes=f'data-api="{other}/track"'))
    await site.wait_names("pageview")
    (beacon,) = site.beacons
    assert (beacon.method, beacon.content_type) == ("POST", "text/plain")


async def test_event_sent_in_time_leaves_its_time_to_the_server(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop"))
    await site.wait_names("pageview")
    assert "timestamp" not in site.events[0]


async def test_leaving_sends_what_waits_by_beacon(site: Site, page: Page) -> None:
    await opened(site, page)
    await page.evaluate("analytics('last')")
    await page.goto("about:blank")
    await site.wait(lambda site: site.events)
    assert [event["name"] for event in site.events] == ["pageview", "last", "engagement"]
    assert site.beacons[0].fetch_mode == "no-cors", "only sendBeacon asks so"


async def test_refused_beacon_falls_back_to_fetch(site: Site, page: Page) -> None:
    await opened(site, page)
    await page.evaluate("navigator.sendBeacon = () => false")
    await page.goto("about:blank")
    await site.wait(lambda site: site.named("pageview"))
    assert site.beacons[0].fetch_mode == "cors"


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_failed_request_is_tried_once_more_with_its_time(site: Site, page: Page, status: int) -> None:
    await opened(site, page)
    site.answers = [status]
    async with page.expect_response("**/track"):
        await page.clock.run_for(250)
    await page.evaluate("analytics('later')")
    await page.clock.run_for(LATE_MS + 250)
    await site.wait(lambda site: site.named("later"))
    first, second = site.beacons
    assert [event["name"] for event in second.events] == ["pageview", "later"]
    assert second.events[0]["event_id"] == first.events[0]["event_id"]
    assert second.events[0]["timestamp"] == (START_S + 1) * 1_000


async def test_unreachable_server_is_tried_once_more(site: Site, page: Page) -> None:
    await opened(site, page)

    async def cut(route: Route) -> None:
        await route.abort()

    await page.route("**/track", cut, times=1)
    async with page.expect_event("requestfailed"):
        await page.clock.run_for(250)
    await page.clock.run_for(LATE_MS + 250)
    await site.wait_names("pageview")


async def test_event_that_fails_twice_is_given_up(site: Site, page: Page) -> None:
    await opened(site, page)
    site.answers = [503, 503]
    for step_ms in (250, LATE_MS + 250):
        async with page.expect_response("**/track"):
            await page.clock.run_for(step_ms)
    await page.evaluate("analytics('later')")
    await page.clock.run_for(LATE_MS + 250)
    await site.wait(lambda site: site.named("later"))
    assert [[event["name"] for event in beacon.events] for beacon in site.beacons] == [
        ["pageview"],
        ["pageview"],
        ["later"],
    ]


async def test_refused_event_is_not_sent_again(site: Site, page: Page) -> None:
    await opened(site, page)
    site.answers = [404]
    async with page.expect_response("**/track"):
        await page.clock.run_for(250)
    await page.evaluate("analytics('later')")
    await page.clock.run_for(LATE_MS + 250)
    await site.wait(lambda site: site.named("later"))
    assert [[event["name"] for event in beacon.events] for beacon in site.beacons] == [["pageview"], ["later"]]


async def test_event_larger_than_a_keepalive_body_is_sent(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop"))
    await page.evaluate("analytics('large', {props: {text: 'x'.repeat(70_000)}})")
    await site.wait(lambda site: site.named("large"))

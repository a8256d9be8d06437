"""How events travel: batches, beacons, and a second try."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from playwright.async_api import Page, Route

from tests.tracker.site import STOPPED_S, Site, stop_clock

pytestmark = pytest.mark.asyncio(loop_scope="session")

LATE_MS = 5_000


async def opened(site: Site, page: Page) -> None:
    """A page whose clock stands still, its page view waiting to be sent; pauses are at their longest."""
    await stop_clock(page)
    await page.add_init_script("Math.random = () => 0")
    await page.goto(site.add("/shop"))


async def fence(page: Page) -> None:
    """Until the page has taken the answers that came before."""
    await page.evaluate("fetch('/fence').then(answer => answer.text())")


async def until_sent(site: Site, page: Page, requests: int) -> None:
    """Lets the page's clock run until so many requests have arrived. In steps: answers take real time."""
    while len(site.beacons) < requests:
        await page.clock.run_for(250)
        await fence(page)


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
    await opened(site, page)
    await page.clock.run_for(250)
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
async def test_failed_request_is_tried_again_with_its_time(site: Site, page: Page, status: int) -> None:
    await opened(site, page)
    site.answers = [status]
    async with page.expect_response("**/track"):
        await page.clock.run_for(250)
    await page.evaluate("analytics('later')")
    await fence(page)
    await until_sent(site, page, 2)
    first, second = site.beacons
    assert [event["name"] for event in second.events] == ["pageview", "later"]
    assert second.events[0]["event_id"] == first.events[0]["event_id"]
    assert second.events[0]["timestamp"] == STOPPED_S * 1_000
    assert LATE_MS * 0.7 < second.events[0]["sent_at"] - second.events[0]["timestamp"] < LATE_MS + 500


AFTER = {
    "seconds": "20",
    "date": formatdate(STOPPED_S + 20, usegmt=True),
    "seconds without end": "99999999999",
    "date of long ago": formatdate(0, usegmt=True),
}
AGES_MS = {"seconds": 20_000, "date": 20_000, "seconds without end": 600_000, "date of long ago": 0}


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("fetch", ["", "delete window.fetch"], ids=["fetch", "XMLHttpRequest"])
@pytest.mark.parametrize("foreign", [False, True], ids=["home", "another origin"])
async def test_request_is_not_tried_again_before_the_server_says_so(
    site: Site, page: Page, foreign: bool, fetch: str, after: str
) -> None:
    await stop_clock(page)
    await page.add_init_script("window.original = fetch; " + fetch)
    home = site.origin.replace("127.0.0.1", "localhost") if foreign else site.origin
    await page.goto(site.add("/shop", attributes=f'data-api="{home}/track"'))
    site.answers, site.retry_after = [503], AFTER[after]
    async with page.expect_response("**/track"):
        await page.clock.run_for(250)
    while len(site.beacons) < 2:
        await page.clock.run_for(250 if AGES_MS[after] < 60_000 else 10_000)
        await page.evaluate("original('/fence').then(answer => answer.text())")
    again = site.beacons[1].events[0]
    least = AGES_MS[after] + LATE_MS / 2
    assert least < again["sent_at"] - again["timestamp"] < least + (4_000 if AGES_MS[after] < 60_000 else 30_000)


async def test_unreachable_server_is_tried_again(site: Site, page: Page) -> None:
    await opened(site, page)

    async def cut(route: Route) -> None:
        await route.abort()

    await page.route("**/track", cut, times=1)
    async with page.expect_event("requestfailed"):
        await page.clock.run_for(250)
    await until_sent(site, page, 1)
    await site.wait_names("pageview")


async def test_event_is_tried_until_the_server_takes_it_with_longer_pauses(site: Site, page: Page) -> None:
    await opened(site, page)
    site.answers = [503, 503, 503]
    await until_sent(site, page, 3)
    await page.evaluate("analytics('later')")
    await until_sent(site, page, 4)
    assert [[event["name"] for event in beacon.events] for beacon in site.beacons] == [
        ["pageview"],
        ["pageview"],
        ["pageview"],
        ["pageview", "later"],
    ]
    ages = [beacon.events[0]["sent_at"] - beacon.events[0]["timestamp"] for beacon in site.beacons[1:]]
    pauses = [ages[0], ages[1] - ages[0], ages[2] - ages[1]]
    assert all(
        wanted <= pause < wanted + LATE_MS / 2
        for pause, wanted in zip(pauses, (LATE_MS, 2 * LATE_MS, 4 * LATE_MS), strict=True)
    )
    assert len(site.named("pageview")) == 1


async def test_full_batches_do_not_shorten_the_pause(site: Site, page: Page) -> None:
    await opened(site, page)
    site.answers = [503]
    await until_sent(site, page, 1)
    await page.evaluate("for (let i = 0; i < 120; i++) analytics('many')")
    await fence(page)
    assert len(site.beacons) == 1
    await until_sent(site, page, 4)
    assert len(site.named("many")) == 120
    assert max(len(beacon.events) for beacon in site.beacons) <= 50
    second = site.beacons[1].events[0]
    assert second["sent_at"] - second["timestamp"] >= LATE_MS


async def test_refused_event_is_not_sent_again(site: Site, page: Page) -> None:
    await opened(site, page)
    site.answers = [404]
    async with page.expect_response("**/track"):
        await page.clock.run_for(250)
    await page.evaluate("analytics('later')")
    await until_sent(site, page, 2)
    await fence(page)
    await page.clock.run_for(2 * LATE_MS)
    await fence(page)
    assert [[event["name"] for event in beacon.events] for beacon in site.beacons] == [["pageview"], ["later"]]


async def test_event_larger_than_a_keepalive_body_is_sent_as_a_batch(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop"))
    await page.evaluate("analytics('large', {props: {text: 'x'.repeat(70_000)}})")
    await site.wait(lambda site: site.named("large"))
    assert site.beacons[-1].batch, "a request that carries one event may be no larger than 64 KiB"


async def test_requests_are_measured_in_bytes_not_in_characters(site: Site, page: Page) -> None:
    """21 events of 1,000 ideographs each are 22,000 characters and 66,000 bytes: more than one keepalive request."""
    await page.goto(site.add("/shop"))
    await page.evaluate("for (let n = 0; n < 21; n++) analytics('read', {props: {text: '語'.repeat(1000), n}})")
    await site.wait(lambda site: len(site.named("read")) == 21)
    assert [event["props"]["n"] for event in site.named("read")] == list(range(21))
    assert max(beacon.size for beacon in site.beacons) <= 30_000


async def test_events_keep_their_order_over_many_requests(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop"))
    await page.evaluate("for (let n = 0; n < 1000; n++) analytics('n', {props: {n}})")
    await site.wait(lambda site: len(site.named("n")) == 1000)
    assert [event["props"]["n"] for event in site.named("n")] == list(range(1000))


async def test_what_had_no_answer_yet_goes_by_beacon_when_the_page_is_left(site: Site, page: Page) -> None:
    """A request too large to outlive its page is sent again: the server counts it once by its id."""
    site.slow = "large"
    await page.goto(site.add("/shop"))
    await site.wait_names("pageview")
    await page.evaluate("analytics('large', {props: {a: 'x'.repeat(40_000)}}); analytics('last')")
    await site.wait(lambda site: site.begun == 2)
    await page.goto("about:blank")
    await site.wait(lambda site: site.named("last"))
    sent = [beacon for beacon in site.beacons if "large" in {event["name"] for event in beacon.events}]
    assert [beacon.fetch_mode for beacon in sent] == ["no-cors"]
    site.released.set()


async def test_hidden_page_learns_that_its_request_failed(site: Site, page: Page) -> None:
    await opened(site, page)
    site.answers = [503]
    await page.evaluate(
        "Object.defineProperty(document, 'hidden', {get: () => true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    await site.wait(lambda site: site.beacons)
    await until_sent(site, page, 2)
    assert len(site.arrived) == 2
    assert len(site.named("pageview")) == 1


async def test_beacon_does_not_overtake_the_events_before_it(site: Site, page: Page) -> None:
    """The first event of a session tells where it came from, so it goes along, and the server counts it once."""
    site.slow = "pageview"
    await page.goto(site.add("/shop"), referer="https://search.example/")
    await site.wait(lambda site: site.begun == 1)
    await page.goto("about:blank")
    await site.wait(lambda site: site.beacons)
    assert [event["name"] for event in site.beacons[0].events][:1] == ["pageview"]
    assert site.beacons[0].events[0]["referrer"] == "https://search.example/"
    site.released.set()

"""The dashboard in a real browser, over a real server."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import Browser, Page, Route, WebSocketRoute, expect

from analytics_server.demo.routes import DEMO_SITE_ID
from tests.dashboard.conftest import dashboard_page
from tests.dashboard.traffic import CHROME, SITE, Traffic, measured
from tests.server import Client, RunningServer, wait_for

pytestmark = pytest.mark.asyncio(loop_scope="session")


def metric(page: Page, label: str) -> str:
    return f".metric:has(.label:text-is('{label}')) .value"


async def test_link_signs_in_and_the_token_leaves_the_address(dashboard: Page, server: RunningServer) -> None:
    assert server.token not in dashboard.url
    assert "#" not in dashboard.url
    await dashboard.reload()
    await expect(dashboard.locator(metric(dashboard, "Sessions"))).to_have_text("4")
    assert await dashboard.evaluate("[document.cookie, localStorage.length]") == ["", 0]


async def test_shows_the_exact_numbers(dashboard: Page) -> None:
    for label, value in {
        "Visitors (daily sum)": "4",
        "Sessions": "4",
        "Pageviews": "7",
        "Views per session": "1.75",
        "Bounce rate": "50%",
    }.items():
        await expect(dashboard.locator(metric(dashboard, label))).to_have_text(value)
    pages = dashboard.get_by_role("region", name="Pages", exact=True)
    await expect(pages.get_by_role("listitem")).to_have_text(["/375%", "/pricing250%", "/docs125%", "/old125%"])
    await expect(dashboard.get_by_role("region", name="Events").get_by_role("listitem")).to_have_text(["signup11"])
    await expect(dashboard.locator(".chart canvas")).to_be_visible()


async def test_row_filters_everything_and_the_chip_undoes_it(dashboard: Page) -> None:
    await dashboard.get_by_role("button", name="Google: 2 visitors").click()
    await expect(dashboard.locator(metric(dashboard, "Sessions"))).to_have_text("2")
    assert "filter=is,visit:source,Google" in dashboard.url
    await dashboard.get_by_role("button", name="is: change to is not").click()
    await expect(dashboard.locator(metric(dashboard, "Pageviews"))).to_have_text("3")
    await dashboard.go_back()
    await expect(dashboard.locator(metric(dashboard, "Sessions"))).to_have_text("2")
    await dashboard.get_by_role("button", name="Remove filter: Source is Google").click()
    await expect(dashboard.locator(metric(dashboard, "Sessions"))).to_have_text("4")


async def test_shared_address_shows_the_same_view(dashboard: Page, server: RunningServer) -> None:
    await dashboard.goto(
        f"{server.url}/dashboard?site={SITE}&range=yesterday&metric=pageviews&filter=is,visit:source,Bing"
    )
    await expect(dashboard.locator(metric(dashboard, "Pageviews"))).to_have_text("1")
    await expect(dashboard.locator(".metric[aria-pressed=true] .label")).to_have_text("Pageviews")
    await expect(dashboard.get_by_role("button", name="Yesterday")).to_be_visible()


async def test_metric_fills_the_chart_and_arrow_keys_read_it(dashboard: Page) -> None:
    await dashboard.get_by_role("button", name="Pageviews").click()
    chart = dashboard.get_by_role("group", name="Pageviews per day")
    await chart.focus()
    await chart.press("End")
    await expect(dashboard.locator(".tooltip")).to_contain_text("so far")
    await expect(dashboard.locator(".tooltip strong").first).to_have_text("6")


async def test_date_range_is_chosen_by_keyboard(dashboard: Page) -> None:
    button = dashboard.get_by_role("button", name="Last 7 days")
    await button.focus()
    await button.press("Enter")
    await expect(dashboard.get_by_role("radio", name="Last 7 days")).to_be_focused()
    for _ in range(3):
        await dashboard.keyboard.press("ArrowUp")
    await dashboard.keyboard.press("Enter")
    await expect(dashboard.get_by_role("button", name="Today")).to_be_visible()
    await expect(dashboard.locator(metric(dashboard, "Sessions"))).to_have_text("3")
    assert "range=day" in dashboard.url


async def test_custom_days_are_checked_and_shown(dashboard: Page) -> None:
    await dashboard.get_by_role("button", name="Last 7 days").click()
    await dashboard.get_by_label("From", exact=True).fill("2024-10-10")
    await dashboard.get_by_label("To", exact=True).fill("2024-10-01")
    await dashboard.get_by_role("button", name="Show these days").click()
    await expect(dashboard.get_by_text("must not lie after")).to_be_visible()
    await dashboard.get_by_label("To", exact=True).fill("2024-10-11")
    await dashboard.get_by_role("button", name="Show these days").click()
    await expect(dashboard.locator(metric(dashboard, "Sessions"))).to_have_text("0")
    await expect(dashboard.get_by_text("Nothing in this period").first).to_be_visible()


async def test_the_comparison_is_chosen_beside_the_range(dashboard: Page) -> None:
    """Of yesterday, which had one session: against days of one's own, the same weekday, the year before, nothing."""
    old = dashboard.locator(".metric:has(.label:text-is('Sessions')) .delta")
    today = await dashboard.evaluate("new Date().toISOString().slice(0, 10)")
    await dashboard.goto(f"{dashboard.url}&range=yesterday")
    await expect(old).to_have_text("vs 0")
    await dashboard.get_by_role("button", name="Yesterday").click()
    menu = dashboard.get_by_role("dialog", name="Date range")
    await menu.get_by_label("Compare with", exact=True).select_option("Other days")
    await menu.get_by_label("Compare from").fill(today)
    await menu.get_by_label("Compare to").fill("1999-12-31")
    await menu.get_by_role("button", name="Compare with these days").click()
    await expect(menu.get_by_text("Two days are needed")).to_be_visible()
    await expect(menu.get_by_label("Begin on the same weekday")).to_be_disabled()
    await menu.get_by_label("Compare to").fill(today)
    await menu.get_by_role("button", name="Compare with these days").click()
    await expect(menu).to_be_hidden()
    await expect(old).to_have_text("↓ 67% vs 3")
    assert f"compare={today}..{today}" in dashboard.url

    await dashboard.get_by_role("button", name="Yesterday").click()
    await menu.get_by_label("Compare with", exact=True).select_option("Previous year")
    async with dashboard.expect_request(lambda request: '"match_day_of_week":true' in (request.post_data or "")):
        await menu.get_by_label("Begin on the same weekday").check()
    await expect(dashboard.locator(".key.previous")).to_have_text("Previous year, same weekdays")
    assert dashboard.url.endswith("&compare=year&weekday=same")
    await menu.get_by_label("Compare with", exact=True).select_option("Nothing")
    await expect(dashboard.locator(".key.previous")).to_have_count(0)
    await expect(old).to_have_text("\u00a0")
    await dashboard.reload()
    await expect(dashboard.locator(".key.previous")).to_have_count(0)


async def test_tabs_move_by_arrow_keys_and_load_their_list(dashboard: Page) -> None:
    await dashboard.get_by_role("tab", name="Browsers").focus()
    await dashboard.keyboard.press("ArrowRight")
    devices = dashboard.get_by_role("region", name="Devices", exact=True)
    await expect(dashboard.get_by_role("tab", name="Systems")).to_be_focused()
    await expect(devices.get_by_role("listitem").first).to_contain_text("Linux")


async def test_details_search_the_whole_list(dashboard: Page) -> None:
    await dashboard.get_by_role("region", name="Pages", exact=True).get_by_role("button", name="Details").click()
    dialog = dashboard.get_by_role("dialog", name="Pages: all rows")
    await expect(dialog.get_by_text("1 to 4 of 4")).to_be_visible()
    await dialog.get_by_role("searchbox").fill("PRIC")
    await expect(dialog.get_by_text("1 to 1 of 1")).to_be_visible()
    await dialog.get_by_role("button", name="/pricing").click()
    await expect(dialog).to_have_count(0)
    assert "filter=is,event:page,/pricing" in dashboard.url


async def test_theme_switches_without_a_reload(dashboard: Page) -> None:
    before = await dashboard.evaluate("getComputedStyle(document.body).backgroundColor")
    await dashboard.get_by_role("button", name="Switch between light and dark").click()
    assert await dashboard.evaluate("getComputedStyle(document.body).backgroundColor") != before
    await expect(dashboard.locator(".chart canvas")).to_be_visible()


async def test_phone_needs_no_sideways_scrolling(browser: Browser, server: RunningServer, traffic: Traffic) -> None:
    async with dashboard_page(browser, width=390, height=844) as page:
        await page.goto(f"{server.url}/dashboard?site={SITE}#token={server.token}")
        await page.get_by_role("button", name="Google: ").wait_for()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390


async def test_the_whole_menu_of_the_range_is_within_reach_on_a_phone(
    browser: Browser, server: RunningServer, traffic: Traffic
) -> None:
    async with dashboard_page(browser, width=390, height=844) as page:
        await page.goto(f"{server.url}/dashboard?site={SITE}&compare=2025-10-01..2025-10-31#token={server.token}")
        await page.get_by_role("button", name="Last 7 days").click()
        menu = page.get_by_role("dialog", name="Date range")
        await menu.get_by_label("Begin on the same weekday").scroll_into_view_if_needed()
        for part in (menu, menu.get_by_label("Begin on the same weekday")):
            box = await part.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= 844


async def test_smallest_phone_shows_the_interval_whole(
    browser: Browser, server: RunningServer, traffic: Traffic
) -> None:
    async with dashboard_page(browser, width=320, height=640) as page:
        await page.goto(f"{server.url}/dashboard?site={SITE}&range=year#token={server.token}")
        await page.get_by_role("button", name="Google: ").wait_for()
        edges = "e => [e.getBoundingClientRect().right, e.closest('section, .card').getBoundingClientRect().right]"
        picker, card = await page.get_by_label("Interval of the chart").evaluate(edges)
        assert picker < card


async def test_wrong_token_is_refused_and_the_right_one_opens(
    browser: Browser, server: RunningServer, traffic: Traffic
) -> None:
    async with dashboard_page(browser) as page:
        await page.goto(f"{server.url}/dashboard#token=wrong")
        await expect(page.get_by_role("alert")).to_contain_text("refused")
        await page.get_by_label("Access token").fill(server.token)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("region", name="Overview")).to_be_visible()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Access token")).to_be_visible()
        assert await page.evaluate("sessionStorage.length") == 0


async def test_revoked_token_leads_back_to_the_sign_in(
    browser: Browser, server: RunningServer, traffic: Traffic
) -> None:
    async with Client(server) as client, dashboard_page(browser) as page:
        # Without a live connection the page finds out when something is chosen.
        await page.route_web_socket("**/api/v1/live*", lambda _: None)
        await _open_with_a_token_and_revoke_it(client, page, server)
        await page.get_by_role("button", name="Google: ").click()
        await expect(page.get_by_role("alert")).to_contain_text("The token was refused")
        await expect(page.get_by_label("Access token")).to_be_focused()


async def test_page_that_only_watches_finds_out_that_its_token_was_revoked(
    browser: Browser, server: RunningServer, traffic: Traffic
) -> None:
    async with Client(server) as client, dashboard_page(browser) as page:
        await _open_with_a_token_and_revoke_it(client, page, server)
        await expect(page.get_by_role("alert")).to_contain_text("The token was refused", timeout=60_000)
        await expect(page.get_by_label("Access token")).to_be_focused()


async def _open_with_a_token_and_revoke_it(client: Client, page: Page, server: RunningServer) -> None:
    made = (await client.call("POST", "/api/v1/tokens", {"role": "read", "name": "short-lived"})).json
    await page.goto(f"{server.url}/dashboard?site={SITE}#token={made['token']}")
    await page.get_by_role("button", name="Google: ").wait_for()
    assert (await client.call("DELETE", f"/api/v1/tokens/{made['token_id']}")).status == 204


async def test_failing_answers_say_what_to_do_and_try_again(dashboard: Page) -> None:
    await dashboard.route("**/api/v1/query", lambda route: route.abort())
    await dashboard.get_by_role("tab", name="Channels").click()
    sources = dashboard.get_by_role("region", name="Sources", exact=True)
    await expect(sources.get_by_role("alert")).to_contain_text("can’t be reached")
    await dashboard.unroute("**/api/v1/query")
    await sources.get_by_role("button", name="Try again").click()
    await expect(sources.get_by_role("listitem").first).to_contain_text("Organic Search")


async def test_measured_text_never_becomes_markup(dashboard: Page, server: RunningServer) -> None:
    async with Client(server) as client:
        evil = "<img src=x onerror=alert(1)>"
        event = {"site": "evil.example", "name": evil, "url": "https://evil.example/", "user_agent": CHROME}
        await client.send({"events": [event]}, trusted=True)
        await measured(client, "evil.example", 1)
        await dashboard.goto(f"{server.url}/dashboard?site=evil.example#token={server.token}")
        await expect(dashboard.get_by_role("region", name="Events").get_by_role("listitem")).to_contain_text(evil)


async def test_new_site_shows_the_tag_and_changes_with_its_first_visit(browser: Browser, server: RunningServer) -> None:
    async with Client(server) as client, dashboard_page(browser) as page:
        await client.call("POST", "/api/v1/sites", {"site_id": "fresh.example"})
        await page.goto(f"{server.url}/dashboard?site=fresh.example#token={server.token}")
        tag = f'<script defer src="{server.url}/a.js" data-site="fresh.example"></script>'
        await expect(page.locator(".begin code").first).to_have_text(tag)
        await expect(page.locator(".live-pill")).to_have_text("0 visitors now")
        await client.send({"site": "fresh.example", "name": "pageview", "url": "https://fresh.example/hello"})
        await expect(page.locator(".live-pill")).to_have_text("1 visitor now")
        await expect(page.locator(metric(page, "Pageviews"))).to_have_text("1")
        await expect(page.get_by_role("region", name="Right now")).to_contain_text("/hello")


async def test_demo_site_without_visits_leads_to_its_pages(browser: Browser, server: RunningServer) -> None:
    async with dashboard_page(browser) as page:
        await page.goto(f"{server.url}/dashboard?site={DEMO_SITE_ID}#token={server.token}")
        begin = page.get_by_role("region", name="Getting started")
        await expect(begin.locator("code").first).to_contain_text('data-site="example.com"')
        async with page.expect_popup() as opened:
            await begin.get_by_role("link", name="Open the demo pages").click()
        demo = await opened.value
        assert demo.url == f"{server.url}/demo"
        assert await demo.evaluate("[opener, sessionStorage.length]") == [None, 0]


async def test_visits_seen_before_they_are_stored_appear_without_a_reload(
    browser: Browser, server: RunningServer
) -> None:
    async with Client(server) as client, dashboard_page(browser) as page:
        await client.send({"site": "early.example", "name": "pageview", "url": "https://early.example/"})
        await measured(client, "early.example", 1)

        async def not_stored_yet(route: Route) -> None:
            body = json.loads(route.request.post_data or "{}")
            await route.continue_(post_data=json.dumps({**body, "date_range": ["2001-01-01", "2001-01-02"]}))

        await page.route("**/api/v1/query", not_stored_yet)
        await page.goto(f"{server.url}/dashboard?site=early.example#token={server.token}")
        await expect(page.get_by_role("region", name="Getting started")).to_contain_text("No visits to early.example")
        await page.unroute("**/api/v1/query")
        await expect(page.locator(metric(page, "Pageviews"))).to_have_text("1")


async def test_numbers_follow_new_visits_without_a_reload(browser: Browser, server: RunningServer) -> None:
    async with Client(server) as client, dashboard_page(browser) as page:
        view = {"site": "busy.example", "name": "pageview", "url": "https://busy.example/"}
        await client.send(view)
        await measured(client, "busy.example", 1)
        await page.goto(f"{server.url}/dashboard?site=busy.example#token={server.token}")
        await expect(page.locator(metric(page, "Pageviews"))).to_have_text("1")
        await page.evaluate("window.sameDocument = true")
        await client.send(view)
        await expect(page.get_by_role("region", name="Right now")).to_contain_text("2 pageviews")
        await expect(page.locator(metric(page, "Pageviews"))).to_have_text("2")
        assert await page.evaluate("window.sameDocument")


async def test_server_without_sites_shows_the_tag_and_opens_with_the_first_site(
    browser: Browser, server: RunningServer, traffic: Traffic
) -> None:
    async with dashboard_page(browser) as page:
        await page.route("**/api/v1/sites", lambda route: route.fulfill(json={"sites": []}))
        await page.goto(f"{server.url}/dashboard?site={SITE}#token={server.token}")
        await expect(page.get_by_role("region", name="Getting started")).to_contain_text('data-site="example.com"')
        await page.unroute("**/api/v1/sites")
        await expect(page.locator(metric(page, "Sessions"))).to_have_text("4")


WATCH_THE_PILL = """
window.pill = [];
new MutationObserver(() => pill.push(document.querySelector('.live-pill')?.textContent.trim()))
  .observe(document, {subtree: true, childList: true, characterData: true});
"""
"""What the pill has shown, however short."""


async def test_lost_live_connection_is_shown_and_made_again(
    browser: Browser, server: RunningServer, traffic: Traffic
) -> None:
    connections: list[str] = []

    async def drop_the_first(socket: WebSocketRoute) -> None:
        connections.append(socket.url)
        if len(connections) == 1:
            await socket.close(code=1001)
        else:
            socket.connect_to_server()

    async with dashboard_page(browser) as page:
        await page.route_web_socket("**/api/v1/live*", drop_the_first)
        await page.add_init_script(WATCH_THE_PILL)
        await page.goto(f"{server.url}/dashboard?site={SITE}#token={server.token}")
        await wait_for(lambda: page.evaluate("pill.includes('Reconnecting…')"), what="that it reconnects")
        await expect(page.locator(".live-pill")).to_contain_text("now")
        assert len(connections) == 2
        assert all(server.token not in url for url in connections)


async def test_signed_out_page_asks_for_nothing_more(dashboard: Page) -> None:
    asked: list[str] = []
    await dashboard.clock.install()
    await dashboard.get_by_role("button", name="Sign out").click()
    await expect(dashboard.get_by_label("Access token")).to_be_visible()
    dashboard.on("request", lambda request: asked.append(request.url))
    await dashboard.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await dashboard.evaluate("dispatchEvent(new Event('online'))")
    await dashboard.clock.fast_forward(60_000)
    assert asked == []

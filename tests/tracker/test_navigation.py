"""Page views of single-page apps."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from tests.tracker.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")


def views(site: Site) -> list[str]:
    return [event["url"].removeprefix(site.origin) for event in site.named("pageview")]


async def test_push_replace_and_pop_are_pageviews(site: Site, page: Page) -> None:
    await page.goto(site.add("/app"), referer="https://search.example/")
    await page.evaluate("history.pushState(null, '', '/app/one?tab=2')")
    await page.evaluate("history.replaceState(null, '', '/app/two')")
    await page.evaluate("history.back()")
    await site.wait(lambda site: len(site.named("pageview")) == 4)
    assert views(site) == ["/app", "/app/one?tab=2", "/app/two", "/app"]
    assert [event.get("referrer") for event in site.named("pageview")] == ["https://search.example/", None, None, None]


async def test_same_path_is_no_new_pageview(site: Site, page: Page) -> None:
    await page.goto(site.add("/app"))
    await page.evaluate("history.replaceState({a: 1}, '', '/app')")
    await page.evaluate("history.pushState(null, '', '?filter=x')")
    await page.evaluate("location.hash = 'part'")
    await page.evaluate("analytics('end')")
    await site.wait(lambda site: site.named("end"))
    assert views(site) == ["/app"]


async def test_history_calls_keep_their_meaning(site: Site, page: Page) -> None:
    await page.goto(site.add("/app"))
    state = await page.evaluate("history.pushState({kept: 1}, '', '/app/x') ?? [history.state.kept, location.pathname]")
    assert state == [1, "/app/x"]


async def test_title_of_a_view_is_the_one_its_router_sets(site: Site, page: Page) -> None:
    await page.goto(site.add("/app"))
    await page.evaluate("history.pushState(null, '', '/app/x'); document.title = 'View X'")
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    assert [event["title"] for event in site.named("pageview")] == ["/app", "View X"]


async def test_hash_routes_become_paths_when_asked(site: Site, page: Page) -> None:
    address = site.add("/app/", attributes="data-hash")
    await page.goto(f"{address}?utm_source=a#/start")
    await page.evaluate("location.hash = '#!/list?page=2'")
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    assert views(site) == ["/app/start?utm_source=a", "/app/list?page=2&utm_source=a"]


async def test_engagement_goes_before_the_next_view_with_the_page_it_is_about(site: Site, page: Page) -> None:
    await page.goto(site.add("/app", "<button onclick=\"history.pushState(null, '', '/app/next')\">Next</button>"))
    await site.wait_names("pageview")
    await page.click("button")
    await site.wait_names("pageview", "engagement", "pageview")
    engagement = site.events[1]
    assert (engagement["url"], engagement["title"], engagement["scroll_depth"]) == (f"{site.origin}/app", "/app", 100)


async def test_demo_app_is_counted_view_by_view(site: Site, page: Page) -> None:
    await page.goto(f"{site.origin}/demo/app/recipes/pour-over")
    await page.click("text=Start the timer")
    await page.click("#toggle")
    await page.go_back()
    await page.click(".tabs >> text=Settings")
    await page.click("[data-replace$=units]")
    await page.evaluate(
        "history.pushState(null, '', '/demo/app/nowhere'); dispatchEvent(new PopStateEvent('popstate'))"
    )
    await site.wait(lambda site: site.named("not_found"))
    assert views(site) == [
        "/demo/app/recipes/pour-over",
        "/demo/app/timer",
        "/demo/app/recipes/pour-over",
        "/demo/app/settings",
        "/demo/app/settings/units",
        "/demo/app/nowhere",
    ]
    assert [event["url"].removeprefix(site.origin) for event in site.named("timer_start")] == ["/demo/app/timer"]
    assert site.named("pageview")[-1]["title"] == "No such view · Larkspur Coffee"

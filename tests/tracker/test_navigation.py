"""Page views of single-page apps."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from tests.tracker.site import Site, stop_clock

pytestmark = pytest.mark.asyncio(loop_scope="session")


def views(site: Site) -> list[str]:
    return [event["url"].removeprefix(site.origin) for event in site.named("pageview")]


PUSH = "path => { history.pushState(null, '', path); document.title = path }"
REPLACE = "path => { history.replaceState(null, '', path); document.title = path }"


async def seen(site: Site, *paths: str) -> None:
    """Until exactly these views have arrived."""
    await site.wait(lambda site: views(site) == list(paths))


async def test_push_replace_and_pop_are_pageviews(site: Site, page: Page) -> None:
    await page.goto(site.add("/app"), referer="https://search.example/")
    await seen(site, "/app")
    await page.evaluate(PUSH, "/app/one?tab=2")
    await seen(site, "/app", "/app/one?tab=2")
    await page.evaluate(REPLACE, "/app/two")
    await seen(site, "/app", "/app/one?tab=2", "/app/two")
    await page.evaluate("history.back()")
    await seen(site, "/app", "/app/one?tab=2", "/app/two", "/app")
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
    await site.wait(lambda site: views(site)[-1:] == ["/demo/app/settings"])
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


async def test_redirect_while_the_page_loads_is_one_view(site: Site, page: Page) -> None:
    text = """<script>addEventListener('DOMContentLoaded', () => setTimeout(() => history.replaceState(0, '', '/en/')))
    </script>"""
    await page.goto(site.add("/", head=text), referer="https://search.example/")
    await page.evaluate("analytics('end')")
    await site.wait(lambda site: site.named("end"))
    assert views(site) == ["/en/"]
    assert site.events[0]["referrer"] == "https://search.example/"


@pytest.mark.parametrize(("attribute", "counted"), [("", False), ("data-search", True)])
@pytest.mark.parametrize("old", [False, True], ids=["with the Navigation API", "without"])
async def test_change_of_the_query_alone_is_a_view_on_demand(
    site: Site, page: Page, attribute: str, counted: bool, old: bool
) -> None:
    if old:
        await page.add_init_script("Object.defineProperty(window, 'navigation', {value: undefined})")
    await page.goto(site.add("/list", attributes=attribute))
    await site.wait_names("pageview")
    await page.evaluate("history.pushState(0, '', '/list?page=2')")
    await page.evaluate("history.pushState(0, '', '/list?page=2#top'); history.pushState(0, '', '/end')")
    await page.evaluate("analytics('end')")
    await site.wait(lambda site: site.named("end"))
    assert views(site) == ["/list", *["/list?page=2"] * counted, "/end"]


async def test_redirect_of_a_slow_page_is_one_view(site: Site, page: Page) -> None:
    """The page waits for an image, and its router for its data: both longer than a batch is gathered."""
    await stop_clock(page)
    body = "<img src='/hold'><script>setTimeout(() => history.replaceState(0, '', '/en/'), 500)</script>"
    await page.goto(site.add("/", body), wait_until="commit")
    while await page.evaluate("document.readyState === 'loading' || !window.analytics"):
        pass  # Waiting in the page goes by its clock.
    await page.clock.run_for(500)
    await page.wait_for_url("**/en/", wait_until="commit")
    site.released.set()
    await page.wait_for_load_state()
    await page.clock.run_for(500)
    await site.wait(lambda site: site.events)
    await page.evaluate("analytics('end')")
    await page.clock.run_for(500)
    await site.wait(lambda site: site.named("end"))
    assert views(site) == ["/en/"]


async def test_redirect_to_an_excluded_path_does_not_rename_the_view(site: Site, page: Page) -> None:
    attributes = 'data-exclude="/secret"'
    head = "<script>addEventListener('load', () => history.replaceState(0, '', '/secret'))</script>"
    await page.goto(site.add("/open", attributes=attributes, head=head))
    await site.wait(lambda site: site.events)
    await page.evaluate("analytics('hidden'); history.pushState(0, '', '/after')")
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    assert views(site) == ["/open", "/after"]
    assert "secret" not in str(site.events)


async def test_replaced_address_of_a_view_that_was_sent_is_a_view(site: Site, page: Page) -> None:
    await page.goto(site.add("/app"))
    await seen(site, "/app")
    await page.evaluate(REPLACE, "/app/two")
    await seen(site, "/app", "/app/two")


@pytest.mark.parametrize("delay_ms", [0, 300, 600, 1500])
async def test_title_that_comes_late_belongs_to_its_own_view(site: Site, page: Page, delay_ms: int) -> None:
    go = """([path, title, delay]) => new Promise(done => {
      history.pushState(0, '', path);
      setTimeout(() => { document.title = title; setTimeout(done, 300) }, delay);
    })"""
    await page.goto(site.add("/a", head="<script>document.title = 'A'</script>"))
    for path in "bc":
        await page.evaluate(go, [f"/{path}", path.upper(), delay_ms])
    await site.wait(lambda site: len(site.named("pageview")) == 3)
    assert [event["title"] for event in site.named("pageview")] == ["A", "B", "C"]


@pytest.mark.parametrize("delay_ms", [300, 1500])
async def test_title_is_waited_for_though_the_old_one_is_taken_away_first(
    site: Site, page: Page, delay_ms: int
) -> None:
    """As React does: for a moment the document has no title."""
    go = """([path, title, delay]) => new Promise(done => {
      history.pushState(0, '', path);
      document.querySelector('title').remove();
      setTimeout(() => { document.title = title; setTimeout(done, 300) }, delay);
    })"""
    await page.goto(site.add("/a"))
    for path in "ba":
        await page.evaluate(go, [f"/{path}", path.upper(), delay_ms])
    await site.wait(lambda site: len(site.named("pageview")) == 3)
    assert [event["title"] for event in site.named("pageview")] == ["/a", "B", "A"]


async def test_title_that_a_script_gives_the_first_view_after_loading_is_waited_for(site: Site, page: Page) -> None:
    script = "addEventListener('load', () => setTimeout(() => { document.title = 'Rendered' }, 500))"
    await stop_clock(page)
    await page.goto(site.add("/a", head=f"<script>document.title = ''; {script}</script>"))
    await page.clock.run_for(500)
    assert not site.events
    await page.clock.run_for(500)
    await site.wait_names("pageview")
    assert site.events[0]["title"] == "Rendered"


async def test_late_title_of_the_first_view_is_not_the_second_view_s(site: Site, page: Page) -> None:
    await page.goto(site.add("/a", "<button onclick=\"history.pushState(0, '', '/b')\">B</button>"))
    await site.wait_names("pageview")
    await page.evaluate("document.title = 'A'")
    await page.click("button")
    await page.evaluate("setTimeout(() => { document.title = 'B' }, 500)")
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    assert [event["title"] for event in site.named("pageview")] == ["/a", "B"]


async def test_title_set_before_the_address_belongs_to_the_new_view(site: Site, page: Page) -> None:
    await page.goto(site.add("/a"))
    await site.wait_names("pageview")
    await page.evaluate("document.title = 'B'; history.pushState(0, '', '/b')")
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    assert [event["title"] for event in site.named("pageview")] == ["/a", "B"]


async def test_view_of_an_application_without_titles_is_sent_all_the_same(site: Site, page: Page) -> None:
    await page.goto(site.add("/a"))
    await page.evaluate("history.pushState(0, '', '/b'); analytics('inside')")
    await site.wait(lambda site: site.named("inside"))
    assert [event["name"] for event in site.events if event["name"] != "engagement"] == [
        "pageview",
        "pageview",
        "inside",
    ]
    assert {event["title"] for event in site.events} == {"/a"}


NAVIGATION = """
const router = path => navigation.navigate(path);
navigation.addEventListener('navigate', event => event.canIntercept && event.intercept({handler: async () => {
  document.title = new URL(event.destination.url).pathname;
}}));
"""
KEPT = """
const original = history.pushState.bind(history);
const router = path => { original(0, '', path); document.title = path };
"""
LATER = """
const router = path => { history.pushState(0, '', path); document.title = path };
addEventListener('load', () => { const theirs = history.pushState;
  history.pushState = function () { return theirs.apply(this, arguments) } });
"""
REPLACED = """
addEventListener('load', () => { history.pushState = History.prototype.pushState.bind(history) });
const router = path => { history.pushState(0, '', path); document.title = path };
"""


@pytest.mark.parametrize("old", [False, True], ids=["with the Navigation API", "without"])
@pytest.mark.parametrize(
    "router", [NAVIGATION, KEPT, LATER, REPLACED], ids=["navigation", "kept original", "patched later", "restored"]
)
async def test_route_is_a_view_whichever_way_the_router_goes(site: Site, page: Page, router: str, old: bool) -> None:
    if old:
        if router is NAVIGATION:
            router = KEPT
        await page.add_init_script("Object.defineProperty(window, 'navigation', {value: undefined})")
    await page.goto(site.add("/app", head=f"<script>{router}</script>"))
    await seen(site, "/app")
    await page.evaluate("router('/app/one'), undefined")
    await seen(site, "/app", "/app/one")
    await page.evaluate("router('/app/two'), undefined")
    await seen(site, "/app", "/app/one", "/app/two")
    await page.go_back()
    await seen(site, "/app", "/app/one", "/app/two", "/app/one")


async def test_history_of_the_page_is_not_patched_where_the_browser_tells_of_changes(site: Site, page: Page) -> None:
    await page.goto(site.add("/app"))
    await site.wait_names("pageview")
    assert await page.evaluate("history.pushState === History.prototype.pushState")


async def test_sandboxed_page_counts_its_routes(site: Site, page: Page) -> None:
    """Its origin is opaque, and such a page is told of no navigation."""
    text = (
        "<!doctype html><title>Outer</title><iframe sandbox='allow-scripts' src='/app'></iframe>"
        "<script>document.querySelector('iframe').focus()</script>"
    )
    site.add("/app", "<script>onmessage = ({data}) => history.pushState(0, '', data)</script>")
    await page.goto(site.add_raw("/outer", text))
    await seen(site, "/app")
    await page.evaluate("frames[0].postMessage('/app/one', '*')")
    await seen(site, "/app", "/app/one")

"""The client package in a page: one tracker whatever starts it, its calls on the wire, and what it must never do."""

from __future__ import annotations

from email.utils import formatdate
from uuid import UUID

import pytest
from playwright.async_api import BrowserContext, Page

from analytics_server.analyses.experiments.assignment import assign
from tests.tracker.site import STOPPED_S, Site, stop_clock
from tests.tracker.test_privacy import DNT, GPC, NOTHING, STORED

pytestmark = pytest.mark.asyncio(loop_scope="session")

TAG = '<script src="/a.js" data-site="shop.example"></script>'


def add(site: Site, path: str, config: str = "", body: str = "", head: str = "") -> str:
    """A page that makes a client of the package, and leaves it and its class to the test."""
    script = f"""<script type="module">
      import {{ AnalyticsClient, createAnalytics, experiments }} from '/files/index.js';
      window.make = (more = {{}}) => new AnalyticsClient(
        {{ apiBaseUrl: location.origin, appName: 'shop.example', local: true, {config} ...more }});
      window.client = make();
      if (window.out) client.optOut();
    </script>"""
    return site.add_raw(path, f"<!doctype html><title>{path}</title>{head}{script}<body>{body}</body>")


async def ended(site: Site, page: Page) -> list[str]:
    """The names of all events, once everything has been sent."""
    await page.evaluate("client.track('end')")
    await site.wait(lambda site: site.named("end"))
    return [event["name"] for event in site.events[:-1]]


async def test_calls_become_events(site: Site, page: Page) -> None:
    address = add(site, "/shop")
    await page.goto(address, referer="https://search.example/")
    await site.wait_names("pageview")
    await page.evaluate("""() => {
      client.identify('u1');
      client.set({ tier: 'free' });
      client.track('signup', { plan: 'pro' });
      client.revenue(12.5, 'EUR', { items: 2 });
      client.trackInteraction({ type: 'click', data: { elementId: 'cta', pageUrl: '/virtual', colour: 'red' } });
      client.trackView({ pageUrl: '/virtual', pageTitle: 'Virtual' });
      client.exposure('cta', 'b');
    }""")
    await site.wait(lambda site: site.named("exposure"))
    view, signup, purchase, click = (site.events[index] for index in range(4))
    assert (view["site"], view["url"], view["title"]) == ("shop.example", address, "/shop")
    assert view["referrer"] == "https://search.example/"
    assert (signup["props"], signup["user_id"]) == ({"tier": "free", "plan": "pro"}, "u1")
    assert purchase["revenue"] == {"amount": 12.5, "currency": "EUR"}
    assert (click["element"], click["url"]) == ({"id": "cta"}, f"{site.origin}/virtual")
    assert click["props"] == {"tier": "free", "colour": "red"}
    assert [event["title"] for event in site.named("pageview")] == ["/shop", "Virtual"]
    assert site.named("exposure")[0]["experiment"] == {"id": "cta", "variant": "b"}


async def test_title_of_an_event_is_text_though_an_element_hides_the_document_s(site: Site, page: Page) -> None:
    config = "beforeSend: event => ({ ...event, title: `[${event.title.trim()}]` }),"
    await page.goto(add(site, "/shop", config, '<form name="title"></form>'))
    assert await ended(site, page) == ["pageview"]
    assert {event["title"] for event in site.events} == {"[]"}


async def test_session_is_this_load_of_the_page_unless_the_server_forms_it(site: Site, page: Page) -> None:
    address = add(site, "/shop")
    for _ in range(2):
        await page.goto(address)
        await page.evaluate("client.track('end')")
        await page.goto("about:blank")
    await site.wait(lambda site: len(site.named("end")) == 2)
    sessions = [event["session_id"] for event in site.named("end")]
    assert len({*sessions}) == 2
    assert all(UUID(session).version == 4 for session in sessions)
    await page.goto(add(site, "/server", "session: 'server',"))
    await page.evaluate("client.track('last')")
    await site.wait(lambda site: site.named("last"))
    assert "session_id" not in site.named("last")[0]


async def test_variant_is_the_server_s_and_its_exposure_is_sent_once(site: Site, page: Page) -> None:
    config = "experiments: experiments({cta: {control: 1, b: 2.5}, off: {a: 0}}), "
    await page.goto(add(site, "/shop", config))
    await page.evaluate("client.track('before')")
    first = await page.evaluate("[client.variant('cta', false), client.variant('cta'), client.variant('cta')]")
    await page.evaluate("client.identify('u-1')")
    stays = await page.evaluate("[client.variant('cta'), client.variant('off'), client.variant('none')]")
    assert [*{*first}, *stays[1:]] == [stays[0], None, None]
    await ended(site, page)
    (exposure,) = site.named("exposure")
    assert exposure["experiment"] == {"id": "cta", "variant": first[0]}
    session = site.named("before")[0]["session_id"]
    assert first[0] == assign("cta", session, [("control", 1.0), ("b", 2.5)])
    # One who is known from the start.
    await page.goto(add(site, "/known", config + "subject: 7,"))
    assert await page.evaluate("client.variant('cta')") == assign("cta", "7", [("control", 1.0), ("b", 2.5)])


async def test_routes_are_views_with_their_own_titles(site: Site, page: Page) -> None:
    await page.goto(add(site, "/app"))
    await site.wait_names("pageview")
    await page.evaluate("history.pushState(0, '', '/app/b'); document.title = 'B'")
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    await page.go_back()
    await site.wait(lambda site: len(site.named("pageview")) == 3)
    assert [event["url"].removeprefix(site.origin) for event in site.named("pageview")] == ["/app", "/app/b", "/app"]
    assert site.named("pageview")[1]["title"] == "B"


async def searched(site: Site, page: Page, path: str, config: str) -> None:
    """Changes the query of a page's address, and nothing else of it."""
    await page.goto(add(site, path, config))
    await page.evaluate("path => history.pushState(0, '', `${path}?page=2`)", path)
    await page.evaluate("path => client.track(`end of ${path}`)", path)
    await site.wait(lambda site: site.named(f"end of {path}"))


async def test_change_of_the_query_alone_is_a_view_on_demand(site: Site, page: Page) -> None:
    await searched(site, page, "/plain", "")
    await searched(site, page, "/list", "searchRouting: true,")
    urls = [event["url"].removeprefix(site.origin) for event in site.named("pageview")]
    assert urls == ["/plain", "/list", "/list?page=2"]


SECOND = {
    "second client": "make()",
    "second copy of the package": (
        "const copy = await import('/files/index.js?copy'); window.client = new copy.AnalyticsClient("
        "{apiBaseUrl: location.origin, appName: 'shop.example', local: true})"
    ),
    "effects that run twice": "client.destroy(); window.client = make()",
    "hot reload": "for (let i = 0; i < 5; i++) { window.client.destroy(); window.client = make() }",
}


@pytest.mark.parametrize("second", SECOND.values(), ids=SECOND.keys())
@pytest.mark.parametrize("old", [False, True], ids=["with the Navigation API", "without"])
async def test_page_counts_once_however_often_it_is_started(site: Site, page: Page, second: str, old: bool) -> None:
    if old:
        await page.add_init_script("Object.defineProperty(window, 'navigation', {value: undefined})")
    await page.goto(add(site, "/app"))
    await page.evaluate(f"(async () => {{ {second} }})()")
    await page.evaluate("history.pushState(0, '', '/app/b'); document.title = 'B'")
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    assert [name for name in await ended(site, page) if name != "engagement"] == ["pageview", "pageview"]


@pytest.mark.parametrize("tag_first", [True, False])
async def test_page_with_the_script_and_the_package_counts_once(site: Site, page: Page, tag_first: bool) -> None:
    address = add(
        site, "/both", head=TAG if tag_first else "", body="" if tag_first else TAG.replace("src", "async src")
    )
    await page.goto(address)
    await page.evaluate("client.track('called')")
    await site.wait(lambda site: site.named("called"))
    assert len(site.named("pageview")) == 1


async def test_destroyed_client_leaves_the_page_as_it_was(site: Site, page: Page) -> None:
    await page.add_init_script("Object.defineProperty(window, 'navigation', {value: undefined})")
    await page.goto(add(site, "/app"))
    await site.wait_names("pageview")
    assert await page.evaluate("history.pushState !== History.prototype.pushState")
    await page.evaluate("client.track('before'); client.destroy(); client.track('after')")
    assert await page.evaluate("history.pushState === History.prototype.pushState")
    await page.evaluate("history.pushState(0, '', '/next')")
    await site.wait(lambda site: site.named("before"))
    await page.evaluate("window.client = make()")
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    assert not site.named("after")


async def test_event_can_be_changed_or_kept_back(site: Site, page: Page) -> None:
    config = """beforeSend: event => {
      if (event.name === 'broken') throw 1;
      return event.name === 'secret' ? null : {...event, title: 'changed'};
    },"""
    late = "<script>setTimeout(() => { document.title = 'Name of a patient' }, 50)</script>"
    await page.goto(add(site, "/shop", config, head=late))
    await page.evaluate("client.track('secret'); client.track('broken'); client.track('open')")
    await site.wait_names("pageview", "open")
    assert {event["title"] for event in site.events} == {"changed"}
    assert "patient" not in str(site.events)


async def test_features_come_when_they_are_asked_for(site: Site, page: Page) -> None:
    body = '<a href="https://other.example/" onclick="return false">O</a><button data-analytics="buy">B</button>'
    await page.goto(add(site, "/shop", "outboundLinks: true, exclude: ['/secret/*'],", body))
    await page.click("a")
    await page.click("button")
    await site.wait(lambda site: site.named("buy"))
    await page.evaluate("history.pushState(0, '', '/secret/x'); client.track('hidden')")
    await page.evaluate("history.pushState(0, '', '/open')")
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    names = [event["name"] for event in site.events if event["name"] != "engagement"]
    assert names == ["pageview", "outbound", "buy", "pageview"]


async def scrolled(site: Site, page: Page, path: str, config: str) -> None:
    """Opens a long page, scrolls it to its end, and leaves it."""
    await page.goto(add(site, path, config, "<div style='height: 3000px'></div>"))
    await page.evaluate("path => client.track(`at ${path}`)", path)
    await site.wait(lambda site: site.named(f"at {path}"))
    await page.evaluate("scrollTo(0, 9999)")
    await page.goto("about:blank")


async def test_reading_is_reported_unless_it_is_turned_off(site: Site, page: Page) -> None:
    await scrolled(site, page, "/off", "scrollTracking: {enabled: false},")
    await scrolled(site, page, "/on", "")
    await site.wait(lambda site: site.named("engagement"))
    assert [event["url"].removeprefix(site.origin) for event in site.named("engagement")] == ["/on"]


SILENT = {
    "not enabled": ("enabled: false,", ""),
    "developer's page": ("local: false,", ""),
    "Do Not Track": ("", DNT),
    "Global Privacy Control": ("", GPC),
    "opted out": ("", "window.out = true"),
}


@pytest.mark.parametrize(("config", "init"), SILENT.values(), ids=SILENT.keys())
async def test_nothing_is_sent_where_it_must_not(site: Site, page: Page, config: str, init: str) -> None:
    await page.add_init_script(init or "0")
    await page.goto(add(site, "/quiet", config))
    await page.evaluate("window.out && (window.client = make())")  # by a component that is mounted once more
    await page.evaluate("client.track('called'); client.flush()")
    await page.evaluate("history.pushState(0, '', '/next')")
    await page.goto(site.add_raw("/after", "<!doctype html><p>After</p>"))
    await page.evaluate("fetch('/fence').then(answer => answer.text())")
    assert site.beacons == []


async def test_nothing_is_stored_and_no_error_reaches_the_page(site: Site, page: Page, context: BrowserContext) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Failed to load" not in message.text else None)
    await page.goto(add(site, "/app", "webVitals: true, forms: true, downloads: ['pdf'],"))
    await page.evaluate("""() => {
      const loop = {}; loop.loop = loop;
      client.track('odd', { loop, n: 10n, list: [1, 2] });
      client.identify(42);
      client.track();
      client.trackInteraction({ type: 'x' });
    }""")
    await page.evaluate("client.flush()")
    await site.wait(lambda site: site.named("x"))
    assert site.named("odd")[0]["props"] == {"list": [1, 2]}
    assert await page.evaluate(STORED) == NOTHING
    assert await context.cookies() == []
    assert errors == []


async def test_own_transport_takes_the_place_of_requests(site: Site, page: Page) -> None:
    config = "transport: async (body, leaving) => { (window.bodies ??= []).push(body); return 202 },"
    await page.goto(add(site, "/own", config))
    await page.wait_for_function("window.bodies")
    assert await page.evaluate("[JSON.parse(bodies[0])].flat()[0].name") == "pageview"
    assert site.beacons == []


async def test_own_transport_is_listened_to_when_it_says_to_wait(site: Site, page: Page) -> None:
    await stop_clock(page)
    config = "transport: (body, leaving) => fetch('/track', { method: 'POST', body }),"
    await page.goto(add(site, "/own", config))
    site.answers, site.retry_after = [503], formatdate(STOPPED_S + 60, usegmt=True)
    while len(site.beacons) < 2:
        await page.clock.run_for(250)
        await page.evaluate("fetch('/fence').then(answer => answer.text())")
    again = site.beacons[1].events[0]
    assert 62_000 < again["sent_at"] - again["timestamp"] < 67_000

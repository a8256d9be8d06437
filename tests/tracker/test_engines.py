"""What engines do differently, in Firefox and WebKit: budgets, beacons, titles, routes, elements, storage.

What all of them have in common is tested in Chromium by the other files. Each engine is started once.
"""

from __future__ import annotations

import pytest

from tests.browsers.browser import Browser
from tests.tracker.site import Event, Site
from tests.tracker.test_privacy import NOTHING, OBJECT, STORED

pytestmark = pytest.mark.asyncio(loop_scope="session")

STAY = """<script>
addEventListener('click', event => event.composedPath().some(node => node.localName === 'a') && event.preventDefault());
addEventListener('submit', event => event.preventDefault());
</script>"""


def views(site: Site) -> list[str]:
    return [event["url"].removeprefix(site.origin) for event in site.named("pageview")]


async def left(site: Site, engine: Browser) -> None:
    """Leaves the page; what it has not sent yet goes out on the way."""
    await engine.open(site.add_raw("/left", "<!doctype html><p>Left</p>"))


async def until_ended(site: Site, engine: Browser) -> list[Event]:
    """All events of the page but the view that opened it."""
    await engine.evaluate("void analytics('end')")
    await site.wait(lambda site: site.named("end"))
    return [event for event in site.events[1:] if event["name"] not in ("end", "engagement")]


async def test_long_visit_uses_up_no_budget_of_the_browser(site: Site, engine: Browser) -> None:
    """301 views of more than the 64 KiB that keepalive requests share, some of them in letters of three bytes each."""
    await engine.open(site.add("/app"))
    await site.wait_names("pageview")
    text = "for (let i = 0; i < 300; i++) analytics('pageview', {url: '/app/' + i, title: '\\u65e5'.repeat(99)})"
    await engine.evaluate(f"(() => {{ {text} }})()")
    await site.wait(lambda site: len(site.named("pageview")) == 301)
    await engine.evaluate(
        "(() => { for (let i = 0; i < 21; i++) analytics('n', {props: {t: '\\u65e5'.repeat(1e3)}}) })()"
    )
    await site.wait(lambda site: len(site.named("n")) == 21)
    await engine.evaluate("void analytics('last')")
    await left(site, engine)
    await site.wait(lambda site: site.named("last"))
    assert views(site) == ["/app", *(f"/app/{i}" for i in range(300))]
    assert max(beacon.size for beacon in site.beacons) <= 64 << 10
    assert len(site.named("n")) == 21


async def test_odd_settings_cost_no_event(site: Site, engine: Browser) -> None:
    await engine.open(site.add("/set"))
    await engine.evaluate("void analytics('set', {user_id: 42, props: {plan: 'pro', cart: [1, 2], n: 10n}})")
    await engine.evaluate("void analytics('pageview', {url: '/next'})")
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    event = site.named("pageview")[1]
    assert (event["user_id"], event["props"]) == (42, {"plan": "pro", "cart": [1, 2]})


async def test_global_of_the_page_is_left_alone(site: Site, engine: Browser) -> None:
    head = "<script>window.analytics = []; analytics.on = () => 'theirs'</script>"
    await engine.open(site.add("/taken", head=head, attributes='data-global="ours"'))
    assert await engine.evaluate("(ours('called'), analytics.on())") == "theirs"
    await site.wait_names("pageview", "called")


async def test_page_without_beacons_loses_nothing_when_it_is_left(site: Site, engine: Browser) -> None:
    await engine.open(site.add("/old", head="<script>delete Navigator.prototype.sendBeacon</script>"))
    await site.wait_names("pageview")
    await engine.evaluate("void analytics('last')")
    await left(site, engine)
    await site.wait(lambda site: site.named("last"))


async def test_links_downloads_and_forms_are_told_in_every_form(site: Site, engine: Browser) -> None:
    body = """<a id="o" href="https://other.example/">O</a> <a id="p" href="/a.pdf">P</a>
    <a id="d" download="x.txt" href="data:text/plain,hello">D</a>
    <svg width="90" height="30"><a id="s" href="/x.pdf"><rect width="90" height="30"/></a></svg>
    <form id="f"><input name="attributes"><input name="href"><button id="b">F</button></form>
    <div id="host"></div><script>
    document.getElementById('host').attachShadow({mode: 'open'}).innerHTML = `<a id="l" href="/z.zip">Z</a>
      <button id="m" data-analytics="buy">Buy</button>
      <form id="j" onsubmit="return false"><button>Join</button></form>`;
    const inside = selector => document.getElementById('host').shadowRoot.querySelector(selector);
    </script>"""
    attributes = 'data-downloads="true" data-outbound="false" data-forms data-vitals'
    head = "<script>performance.getEntriesByType = () => []</script>"
    await engine.open(site.add("/shop", body + STAY, attributes=attributes, head=head))
    for selector in ("#o", "#p", "#d"):
        await engine.click(selector)
    # WebKit's driver takes no link in a drawing for an element that can be clicked.
    click = "new MouseEvent('click', {bubbles: true, composed: true, cancelable: true})"
    await engine.evaluate(f"void document.querySelector('#s rect').dispatchEvent({click})")
    await engine.click("#b")
    for selector in ("#l", "#m", "form button"):
        await engine.evaluate(f"void inside({selector!r}).click()")
    found = [(event["name"], event["element"].get("href")) for event in await until_ended(site, engine)]
    assert found == [
        ("download", f"{site.origin}/a.pdf"),
        ("download", "data:"),
        ("download", f"{site.origin}/x.pdf"),
        ("form", None),
        ("download", f"{site.origin}/z.zip"),
        ("buy", None),
        ("form", None),
    ]


async def test_wrong_clock_of_the_device_is_told_as_an_age(site: Site, engine: Browser) -> None:
    site.answers = [503]
    head = "<script>const now = Date.now; Date.now = () => now() - 36e6</script>"
    await engine.open(site.add("/clock", head=head))
    await site.wait(lambda site: len(site.beacons) == 2)
    first, second = site.beacons
    assert first.events[0]["event_id"] == second.events[0]["event_id"]
    assert 2_000 < second.events[0]["sent_at"] - second.events[0]["timestamp"] < 60_000


async def test_titles_belong_to_their_own_views(site: Site, engine: Browser) -> None:
    go = """([path, title, delay]) => new Promise(done => {
      history.pushState(0, '', path);
      setTimeout(() => { document.title = title; setTimeout(done, 300) }, delay);
    })"""
    await engine.open(site.add("/a", head="<script>document.title = 'A'</script>"))
    for path, delay_ms in (("/b", 300), ("/c", 600)):
        given = f"['{path}', '{path[1].upper()}', {delay_ms}]"
        await engine.evaluate(f"(window.go = ({go})({given}).then(() => {{ window.gone = '{path}' }}), undefined)")
        await engine.until(f"window.gone === '{path}'")
    await site.wait(lambda site: len(site.named("pageview")) == 3)
    assert [event["title"] for event in site.named("pageview")] == ["A", "B", "C"]


async def test_excluded_path_is_excluded_in_every_encoding(site: Site, engine: Browser) -> None:
    await engine.open(site.add("/über/x", attributes='data-exclude="/über/*"'))
    await engine.evaluate("void (analytics('secret'), history.pushState(0, '', '/open'))")
    await site.wait_names("pageview")
    assert views(site) == ["/open"]


@pytest.mark.parametrize(
    "router",
    [
        "const original = history.pushState.bind(history); const go = path => original(0, '', path)",
        "const go = path => window.navigation ? navigation.navigate(path) : history.pushState(0, '', path);"
        "window.navigation && navigation.addEventListener('navigate', event => event.intercept())",
    ],
    ids=["router that kept the original", "Navigation API where it is"],
)
async def test_route_is_a_view_whichever_way_the_router_goes(site: Site, engine: Browser, router: str) -> None:
    await engine.open(site.add("/app", head=f"<script>{router}; window.go = go</script>"))
    await site.wait_names("pageview")
    await engine.evaluate("void go('/app/one')")
    await site.wait(lambda site: views(site) == ["/app", "/app/one"])
    await engine.back()
    await site.wait(lambda site: views(site) == ["/app", "/app/one", "/app"])


async def test_redirect_while_the_page_loads_is_one_view(site: Site, engine: Browser) -> None:
    await engine.open(
        site.add("/", head="<script>addEventListener('load', () => history.replaceState(0, '', '/en/'))</script>")
    )
    await until_ended(site, engine)
    assert views(site) == ["/en/"]


async def test_module_sends_home_although_another_script_has_a_site(site: Site, engine: Browser) -> None:
    home = site.origin.replace("127.0.0.1", "localhost")
    tags = (
        '<script data-site="ABC" src="/vendor.js"></script>'
        f'<script type="module" data-site="mod.example" src="{home}/a.js"></script>'
    )
    await engine.open(site.add_raw("/mod", f"<!doctype html><title>t</title>{tags}"))
    await site.wait_names("pageview")
    assert site.events[0]["site"] == "mod.example"


LAYOUTS = {
    "inner": ('<div id="box" style="height: 100vh; overflow: auto"><div style="height: 400vh"></div></div>', 25),
    "grows": ('<div style="height: 50px"></div>', 10),
}


@pytest.mark.parametrize(("body", "depth"), LAYOUTS.values(), ids=LAYOUTS.keys())
async def test_depth_is_that_of_what_scrolls_as_high_as_it_is_by_then(
    site: Site, engine: Browser, body: str, depth: int
) -> None:
    await engine.open(site.add("/read", f"<style>body {{ margin: 0 }}</style>{body}"))
    await site.wait_names("pageview")
    if depth == 10:
        await engine.evaluate("void (document.querySelector('div').style.height = '1000vh')")
    await left(site, engine)
    await site.wait(lambda site: site.named("engagement"))
    assert site.named("engagement")[0]["scroll_depth"] == depth


async def objected(site: Site, engine: Browser, path: str, objection: str) -> None:
    """A page whose visitor objects in the middle of it."""
    head = "<script>window.refused = () => { if (window.broken) throw 1 }</script>"
    body = "<div style='height: 3000px'></div>"
    await engine.open(site.add(path, body, attributes='data-opt-out="refused"', head=head))
    await site.wait(lambda site: path in views(site))
    await engine.evaluate(f"void (scrollTo(0, 999), {objection})")
    await engine.evaluate("void (analytics('called'), history.pushState(0, '', '/other'))")


async def test_objection_in_mid_page_stops_what_follows_and_what_goes_when_leaving(site: Site, engine: Browser) -> None:
    await objected(site, engine, "/meta", OBJECT.removeprefix("void "))
    await objected(site, engine, "/function", "window.broken = 1")
    await left(site, engine)
    await engine.evaluate("fetch('/fence').then(answer => answer.text())")
    assert [event["name"] for event in site.events] == ["pageview"] * 2


async def test_nothing_is_stored(site: Site, engine: Browser) -> None:
    await engine.open(site.add("/store", attributes="data-vitals data-outbound"))
    await site.wait_names("pageview")
    stored = STORED.replace("await indexedDB.databases()", "indexedDB.databases ? await indexedDB.databases() : []")
    await engine.evaluate(f"void ({stored})().then(found => {{ window.stored = found }})")
    await engine.until("window.stored")
    assert {**await engine.evaluate("window.stored")} == NOTHING

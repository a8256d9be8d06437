"""Where the tracker finds its own address and options: however it came into the page, it sends home or not at all."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from tests.tracker.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

HEAD = "<!doctype html><title>t</title>"


def home(site: Site) -> str:
    """The tracker's server under another origin than the page's."""
    return site.origin.replace("127.0.0.1", "localhost")


async def silent(site: Site, page: Page) -> None:
    """Nothing is sent, also not later."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.evaluate("new Promise(done => setTimeout(done, 1500))")
    await page.goto("about:blank")
    await page.goto(site.origin + "/after")
    await site.wait(lambda site: "/after" in site.visited)
    assert (site.beacons, errors) == ([], [])


VENDOR = '<script data-site="ABC" src="https://vendor.example/v.js"></script>'


@pytest.mark.parametrize("vendor", ["", VENDOR, VENDOR.replace("/v.js", "/a.js"), VENDOR.replace("data-site", "id")])
async def test_module_sends_home_as_its_own_site(site: Site, page: Page, vendor: str) -> None:
    tag = f'<script type="module" data-site="mod.example" data-manual src="{home(site)}/a.js"></script>'
    await page.route("https://vendor.example/**", lambda route: route.fulfill(body="", content_type="text/javascript"))
    await page.goto(site.add_raw("/mod", HEAD + vendor + tag))
    await page.evaluate("analytics('called')")
    await site.wait_names("called")
    assert site.events[0]["site"] == "mod.example"


@pytest.mark.parametrize("query", ["?site=tag.example", "?v=2&site=tag.example", "?site=tag.example#part"])
async def test_address_names_the_site_where_no_attribute_can(site: Site, page: Page, query: str) -> None:
    await page.goto(site.add_raw("/imp", HEAD + VENDOR + f"<script>import('{home(site)}/a.js{query}')</script>"))
    await site.wait_names("pageview")
    assert site.events[0]["site"] == "tag.example"


async def test_script_that_a_tag_manager_inserts_sends_home(site: Site, page: Page) -> None:
    insert = (
        "const script = document.createElement('script');"
        f"script.src = '{home(site)}/a.js?site=tag.example&outbound'; document.head.append(script)"
    )
    link = '<a href="https://other.example/" onclick="return false">O</a>'
    await page.goto(site.add_raw("/gtm", HEAD + VENDOR + link + f"<script>{insert}</script>"))
    await site.wait_names("pageview")
    await page.click("a")
    await site.wait_names("pageview", "outbound")
    assert {event["site"] for event in site.events} == {"tag.example"}


async def test_attributes_win_over_the_address(site: Site, page: Page) -> None:
    tag = '<script src="/a.js?site=one.example" data-site="two.example"></script>'
    await page.goto(site.add_raw("/both", HEAD + tag))
    await site.wait_names("pageview")
    assert site.events[0]["site"] == "two.example"


@pytest.mark.parametrize("attribute", ['data-site="undefined"', 'data-site="null"', 'data-site=""', 'data-site=" "'])
async def test_empty_site_of_a_template_is_the_host(site: Site, page: Page, attribute: str) -> None:
    await page.goto(site.add_raw("/tpl", HEAD + f'<script src="/a.js" {attribute}></script>'))
    await site.wait_names("pageview")
    assert site.events[0]["site"] == "127.0.0.1"


async def test_copy_inside_another_script_is_silent(site: Site, page: Page) -> None:
    """A bundle has an address of its own, which is no analytics server's."""
    site.add_script("/bundle.js")
    await page.goto(site.add_raw("/bundled", HEAD + '<script src="/bundle.js"></script>'))
    await silent(site, page)


async def test_script_that_is_evaluated_is_silent(site: Site, page: Page) -> None:
    load = f"fetch('{home(site)}/a.js').then(answer => answer.text()).then(text => (0, eval)(text))"
    await page.goto(site.add_raw("/eval", HEAD + VENDOR + f"<script>{load}</script>"))
    await silent(site, page)


async def test_script_in_the_page_itself_is_silent(site: Site, page: Page) -> None:
    await page.goto(site.add_raw("/inline", HEAD + VENDOR + f"<script>{site.script}</script>"))
    await silent(site, page)


async def test_script_under_another_name_needs_its_site_named(site: Site, page: Page) -> None:
    site.add_script("/renamed.js")
    await page.goto(site.add_raw("/renamed", HEAD + '<script src="/renamed.js" data-site="shop.example"></script>'))
    await site.wait_names("pageview")
    assert site.beacons[0].path == "/track"


async def test_base_address_of_the_page_does_not_lead_beacons_away(site: Site, page: Page) -> None:
    text = (
        f'{HEAD}<base href="https://vendor.example/"><script src="{site.origin}/a.js" data-site="shop.example"'
        ' data-api="/elsewhere"></script>'
    )
    await page.goto(site.add_raw("/based", text))
    await site.wait_names("pageview")
    assert site.beacons[0].path == "/elsewhere"


async def test_module_without_a_stack_trace_is_silent(site: Site, page: Page) -> None:
    await page.add_init_script("Error.stackTraceLimit = 0")
    tag = f'<script type="module" data-site="mod.example" src="{home(site)}/a.js"></script>'
    await page.goto(site.add_raw("/nostack", HEAD + VENDOR.replace("/v.js", "/a.js") + tag))
    await silent(site, page)


async def test_two_ways_of_loading_count_once(site: Site, page: Page) -> None:
    tags = '<script src="/a.js" data-site="shop.example"></script><script type="module" src="/a.js?twice"></script>'
    await page.goto(site.add_raw("/twice", HEAD + tags))
    await page.evaluate("analytics('last')")
    await site.wait(lambda site: site.named("last"))
    assert [event["name"] for event in site.events] == ["pageview", "last"]


async def test_second_file_is_loaded_only_when_it_is_asked_for(site: Site, page: Page) -> None:
    await page.goto(site.add("/plain", "<p>Text</p>"))
    await page.click("p")
    await site.wait_names("pageview")
    assert site.scripts == ["/a.js"]
    await page.goto(site.add("/asked", attributes="data-outbound"))
    assert site.scripts[1:] in ([f"/a.js{more}" for more in ("", "?more")], ["/a.js?more"])


async def test_second_file_is_loaded_for_a_marked_element_that_comes_later(site: Site, page: Page) -> None:
    await page.goto(site.add("/late"))
    await page.evaluate("document.body.innerHTML = '<button data-analytics=\"buy\">Buy</button>'")
    await page.click("button")
    await site.wait(lambda site: site.named("buy"))


async def test_page_is_counted_where_the_second_file_is_blocked(site: Site, page: Page) -> None:
    await page.route("**/a.js?more", lambda route: route.abort())
    await page.goto(site.add("/blocked", "<p>Text</p>", attributes="data-outbound data-vitals"))
    await page.click("p")
    await site.wait_names("pageview")


async def test_excluding_page_is_not_counted_where_the_second_file_is_blocked(site: Site, page: Page) -> None:
    """Without it no path can be told from another, and what is excluded must never be sent."""
    await page.route("**/a.js?more", lambda route: route.abort())
    await page.goto(site.add("/blocked", attributes='data-exclude="/secret"'))
    await page.evaluate("analytics('called')")
    await silent(site, page)


POLICIES = {
    "trusted types": "require-trusted-types-for 'script'",
    "no policy of trusted types": "require-trusted-types-for 'script'; trusted-types 'none'",
    "nonce": "script-src 'nonce-n1'; connect-src {home}",
    "nonce and strict-dynamic": "script-src 'nonce-n1' 'strict-dynamic'; connect-src {home}",
    "host": "script-src 'unsafe-inline' {home}/a.js; connect-src {home}",
}
WAYS = {
    "tag": """<script nonce="n1" src="{home}/a.js" data-exclude="/secret/*"></script>""",
    "module": """<script nonce="n1" type="module" src="{home}/a.js" data-exclude="/secret/*"></script>""",
    "import": """<script nonce="n1">import('{home}/a.js?exclude=/secret/*')</script>""",
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
async def test_second_file_is_loaded_under_the_page_s_content_security_policy(
    site: Site, page: Page, policy: str, way: str
) -> None:
    policy = policy.format(home=home(site))
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    await page.goto(site.add_raw("/strict", f"<!doctype html><title>Strict</title>{meta}{way.format(home=home(site))}"))
    await site.wait_names("pageview")

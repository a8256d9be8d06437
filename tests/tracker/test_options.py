"""Attributes mean what people and frameworks write, and excluded paths are excluded in every spelling."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from tests.tracker.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

BODY = """<a id="o" href="https://other.example/">O</a> <a id="d" href="/a.pdf">D</a>
<form id="f"><button id="b">F</button></form>
<script>
addEventListener('click', event => event.target.closest('a') && event.preventDefault());
addEventListener('submit', event => event.preventDefault());
</script>"""


async def names(site: Site, page: Page, attributes: str, body: str = BODY, *selectors: str) -> list[str]:
    await page.goto(site.add("/shop", body, attributes=attributes))
    for selector in selectors or ("#o", "#d", "#b"):
        await page.click(selector)
    await page.evaluate("analytics('end')")
    await site.wait(lambda site: site.named("end"))
    return [event["name"] for event in site.events[1:-1]]


ON = [
    "data-{}",
    'data-{}=""',
    'data-{}="true"',
    'data-{}="True"',
    'data-{}=" true "',
    'data-{}="1"',
    'data-{}="data-{}"',
]
OFF = [
    "",
    'data-{}="false"',
    'data-{}="FALSE"',
    'data-{}=" false "',
    'data-{}="0"',
    'data-{}="no"',
    'data-{}="off"',
    'data-{}="undefined"',
    'data-{}="null"',
]


@pytest.mark.parametrize("spelling", ON)
async def test_option_is_on(site: Site, page: Page, spelling: str) -> None:
    attributes = " ".join(spelling.replace("{}", name) for name in ("outbound", "downloads", "forms"))
    assert await names(site, page, attributes) == ["outbound", "download", "form"]


@pytest.mark.parametrize("spelling", OFF)
async def test_option_is_off(site: Site, page: Page, spelling: str) -> None:
    options = ("outbound", "downloads", "forms", "vitals", "404", "hash", "manual", "exclude", "api", "global")
    attributes = " ".join(spelling.replace("{}", name) for name in options)
    assert await names(site, page, attributes) == []
    assert site.events[0]["url"] == f"{site.origin}/shop"


async def test_what_react_and_vue_write_for_true_and_false(site: Site, page: Page) -> None:
    assert await names(site, page, 'data-downloads="true" data-outbound="false"') == ["download"]


@pytest.mark.parametrize("value", ["PDF, .zip", "pdf,zip", ".PDF .ZIP", "*.pdf;*.zip", "zip|pdf"])
async def test_endings_in_any_spelling(site: Site, page: Page, value: str) -> None:
    body = BODY + '<a id="z" href="/b.ZIP?x=1#y">Z</a> <a id="t" href="/c.txt">T</a>'
    assert await names(site, page, f'data-downloads="{value}"', body, "#d", "#z", "#t") == ["download", "download"]


@pytest.mark.parametrize(
    ("pattern", "path", "sent"),
    [
        ("/über/*", "/über/x", False),
        ("/über/*", "/%C3%BCber/x", False),
        ("/%C3%BCber/*", "/über/x", False),
        ("/%c3%bcber/*", "/%C3%BCber/x", False),
        ("/u\u0308ber/*", "/\u00fcber/x", False),
        ("/my page", "/my%20page", False),
        ("/%61dmin", "/admin", False),
        ("/admin", "/%61dmin", False),
        ("/admin", "/admin/", False),
        ("/admin/", "/admin", False),
        ("/admin/*", "/admin", False),
        ("/admin/*", "/admin/a/b", False),
        ("/admin*", "/administrators", False),
        ("/Admin", "/admin", False),
        ("admin", "/admin", False),
        ("//admin", "/admin", False),
        ("https://shop.example/admin", "/admin", False),
        ("/a, /b ,/c", "/b", False),
        ("/a;/b", "/b", False),
        ("/a\n/b", "/b", False),
        ("/a /b", "/b", False),
        ("*/private/*", "/x/private/y", False),
        ("/find?q=*", "/find?q=secret", False),
        ("/price(list)", "/price(list)", False),
        ("/a.b", "/a.b", False),
        ("/%E4", "/%e4", False),
        ("['/a', '/b']", "/a", False),
        ("['/a', '/b']", "/b", False),
        ("'/a', '/b'", "/b", False),
        ("/[slug]", "/[slug]", False),
        ("/a.b", "/aXb", True),
        ("/admin", "/administrators", True),
        ("/find?q=*", "/find", True),
        ("", "/admin", True),
        (" , ", "/admin", True),
    ],
)
async def test_path_is_excluded_in_every_spelling(site: Site, page: Page, pattern: str, path: str, sent: bool) -> None:
    await page.goto(site.add("/start", attributes=f'data-exclude="{pattern}"'))
    await page.evaluate("path => { history.pushState(0, '', path); analytics('there') }", path)
    await page.evaluate("history.pushState(0, '', '/end'); analytics('end')")
    await site.wait(lambda site: site.named("end"))
    assert len(site.named("there")) == sent
    assert len(site.named("pageview")) == 2 + sent
    assert all(event["url"].startswith(f"{site.origin}/") for event in site.events)


async def test_excluded_page_is_not_told_as_the_referrer(site: Site, page: Page) -> None:
    await page.goto(site.add("/open", attributes='data-exclude="/secret/*"'), referer=f"{site.origin}/secret/plan")
    await site.wait_names("pageview")
    assert "referrer" not in site.events[0]


async def test_excluded_route_in_the_fragment(site: Site, page: Page) -> None:
    address = site.add("/app/", attributes='data-hash data-exclude="/app/#/users/*"')
    await page.goto(f"{address}#/users/7")
    await page.evaluate("location.hash = '#/open'")
    await site.wait_names("pageview")
    assert site.events[0]["url"] == f"{site.origin}/app/open"

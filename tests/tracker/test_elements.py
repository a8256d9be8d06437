"""Clicks and forms."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from tests.tracker.site import Event, Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

STAY = """<script>
addEventListener('click', event =>
  event.composedPath().some(node => /^(a|area)$/.test(node.localName)) && event.preventDefault());
addEventListener('submit', event => event.preventDefault());
</script>"""
ALL = "data-outbound data-downloads data-forms"


async def sent(site: Site, page: Page, body: str, *selectors: str, attributes: str = ALL) -> list[Event]:
    """Opens a page with the body, clicks, and returns what was sent after the page view."""
    await page.goto(site.add("/shop", body + STAY, attributes=attributes))
    for selector in selectors:
        await page.click(selector)
    await page.evaluate("analytics('end')")
    await site.wait(lambda site: site.named("end"))
    return site.events[1:-1]


async def test_marked_element_sends_its_event_with_props(site: Site, page: Page) -> None:
    body = (
        '<button id="buy" data-analytics="add_to_cart" data-analytics-prop-plan="pro"'
        ' data-analytics-prop-plan-size="3"><b> Add it </b></button>'
    )
    (event,) = await sent(site, page, body, "b", attributes="")
    assert event["name"] == "add_to_cart"
    assert event["props"] == {"plan": "pro", "plan-size": "3"}
    assert event["element"] == {"id": "buy", "tag": "button", "text": "Add it"}


async def test_mark_without_a_name_is_a_click(site: Site, page: Page) -> None:
    (event,) = await sent(site, page, '<a data-analytics href="/x">Go</a>', "a", attributes="")
    assert event["name"] == "click"
    assert event["element"] == {"tag": "a", "text": "Go", "href": f"{site.origin}/x"}
    assert "props" not in event


async def test_marked_click_is_counted_though_the_page_stops_it(site: Site, page: Page) -> None:
    body = '<button data-analytics="kept" onclick="event.stopPropagation()">K</button>'
    (event,) = await sent(site, page, body, "button")
    assert event["name"] == "kept"


async def test_outbound_link(site: Site, page: Page) -> None:
    (event,) = await sent(site, page, '<a id="out" href="https://other.example/x?y=1"><i>Out</i></a>', "i")
    assert event["name"] == "outbound"
    assert event["element"] == {"id": "out", "tag": "a", "text": "Out", "href": "https://other.example/x?y=1"}
    assert event["url"] == f"{site.origin}/shop"


async def test_outbound_link_opened_with_the_middle_button(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop", '<a href="/a.pdf">A</a>' + STAY, attributes=ALL))
    await page.dispatch_event("a", "auxclick", {"button": 1})
    await page.dispatch_event("a", "auxclick", {"button": 2})
    await page.evaluate("analytics('end')")
    await site.wait_names("pageview", "download", "end")


async def test_link_inside_the_site_and_mail_link_send_nothing(site: Site, page: Page) -> None:
    body = '<a id="in" href="/x">In</a> <a id="mail" href="mailto:jo@shop.example">Mail</a> <a id="top">No link</a>'
    assert await sent(site, page, body, "#in", "#mail", "#top") == []


async def test_download_by_extension_wins_over_outbound(site: Site, page: Page) -> None:
    body = '<a href="https://files.example/Guide.PDF?v=2">Guide</a> <a id="own" download href="/data/raw">Raw</a>'
    events = await sent(site, page, body, "a", "#own")
    assert [(event["name"], event["element"]["href"]) for event in events] == [
        ("download", "https://files.example/Guide.PDF?v=2"),
        ("download", f"{site.origin}/data/raw"),
    ]


async def test_download_extensions_can_be_chosen(site: Site, page: Page) -> None:
    body = '<a id="a" href="/a.blend">A</a> <a id="b" href="/b.pdf">B</a>'
    (event,) = await sent(site, page, body, "#a", "#b", attributes='data-downloads="blend, stl"')
    assert event["element"]["id"] == "a"


async def test_marked_link_sends_one_event_only(site: Site, page: Page) -> None:
    body = '<a data-analytics="partner" href="https://other.example/">Out</a>'
    (event,) = await sent(site, page, body, "a")
    assert event["name"] == "partner"


async def test_form_is_reported_without_what_was_typed(site: Site, page: Page) -> None:
    body = '<form id="join" action="/join">Mail <input name="mail" value="jo@shop.example"><button>Join</button></form>'
    (event,) = await sent(site, page, body, "button")
    assert event["name"] == "form"
    assert event["element"] == {"id": "join", "tag": "form"}
    assert "jo@" not in str(event)


async def test_marked_form_is_reported_on_submitting_not_on_clicking(site: Site, page: Page) -> None:
    body = (
        '<form data-analytics="joined" data-analytics-prop-list="news"><input id="field"><button>Join</button></form>'
    )
    (event,) = await sent(site, page, body, "#field", "button", attributes="")
    assert event["name"] == "joined"
    assert event["props"] == {"list": "news"}


async def test_form_that_is_not_valid_is_not_reported(site: Site, page: Page) -> None:
    assert await sent(site, page, "<form><input required><button>Join</button></form>", "button") == []


async def test_links_and_forms_are_left_alone_unless_asked(site: Site, page: Page) -> None:
    body = '<a id="o" href="https://other.example/">O</a> <a id="d" href="/a.pdf">D</a> <form><button>F</button></form>'
    assert await sent(site, page, body, "#o", "#d", "button", attributes="") == []


async def test_click_that_leaves_the_page_is_still_sent(site: Site, page: Page) -> None:
    other = site.origin.replace("127.0.0.1", "localhost")
    await page.goto(site.add("/shop", f'<a href="{other}/gone">Out</a>', attributes=ALL))
    await site.wait_names("pageview")
    await page.click("a")
    await site.wait(lambda site: site.named("outbound"))
    assert site.named("outbound")[0]["element"]["href"] == f"{other}/gone"


async def test_download_of_generated_data_is_told_without_its_content(site: Site, page: Page) -> None:
    body = (
        '<a id="data" download="x.txt" href="data:text/plain,secret">Data</a>'
        '<a id="blob" download>Blob</a><script>'
        "document.getElementById('blob').href = URL.createObjectURL(new Blob(['secret']))</script>"
    )
    events = await sent(site, page, body, "#data", "#blob")
    assert [(event["name"], event["element"]["href"]) for event in events] == [
        ("download", "data:"),
        ("download", "blob:"),
    ]
    assert "secret" not in str(events)


async def test_image_map_and_svg_links_count(site: Site, page: Page) -> None:
    body = (
        '<img usemap="#map" width="50" height="50" src="data:image/svg+xml,<svg xmlns=%22http://www.w3.org/2000/svg%22/>">'
        '<map name="map"><area id="area" shape="rect" coords="0,0,50,50" href="https://other.example/map"></map>'
        '<svg width="100" height="40"><a id="new" href="/x.pdf"><rect width="50" height="40"/></a>'
        '<a id="old" xlink:href="https://other.example/svg"><rect x="50" width="50" height="40"/></a></svg>'
    )
    await page.goto(site.add("/shop", body + STAY, attributes=ALL))
    for selector in ("#area", "#new rect", "#old rect"):
        await page.dispatch_event(selector, "click", {"bubbles": True, "composed": True, "cancelable": True})
    await page.evaluate("analytics('end')")
    await site.wait(lambda site: site.named("end"))
    assert [(event["name"], event["element"]["href"]) for event in site.events[1:-1]] == [
        ("outbound", "https://other.example/map"),
        ("download", f"{site.origin}/x.pdf"),
        ("outbound", "https://other.example/svg"),
    ]


SHADOW = """<div id="host"></div><script>
const open = (host, html) => { const root = host.attachShadow({mode: 'open'}); root.innerHTML = html; return root };
const outer = open(document.getElementById('host'), `<div id="inner"></div>
  <a id="link" href="https://other.example/in"><i>Out</i></a>
  <button id="mark" data-analytics="buy" data-analytics-prop-plan="pro">Buy</button>
  <form id="join" onsubmit="return false"><button id="send">Join</button></form>`);
open(outer.getElementById('inner'), `<form id="deep" data-analytics="deep" onsubmit="return false">
  <button id="deeper">Deep</button></form>`);
</script>"""


@pytest.mark.parametrize("attributes", [ALL, ""], ids=["all options", "marks only"])
async def test_what_lies_in_open_shadow_roots_counts(site: Site, page: Page, attributes: str) -> None:
    events = await sent(site, page, SHADOW + STAY, "#link i", "#mark", "#send", "#deeper", attributes=attributes)
    expected = ["outbound", "buy", "form", "deep"] if attributes else ["buy", "deep"]
    assert [event["name"] for event in events] == expected
    assert [event["props"] for event in events if event["name"] == "buy"] == [{"plan": "pro"}]
    assert [event["element"] for event in events if event["name"] == "form"] == [{"id": "join", "tag": "form"}] * len(
        [event for event in events if event["name"] == "form"]
    )


async def test_form_in_a_shadow_root_sent_with_the_keyboard_counts(site: Site, page: Page) -> None:
    body = SHADOW.replace('<button id="send">', '<input id="field"><button id="send">') + STAY
    await page.goto(site.add("/shop", body, attributes=ALL))
    await page.focus("#field")
    await page.keyboard.press("Enter")
    await site.wait(lambda site: site.named("form"))


async def test_what_a_visitor_typed_into_a_marked_element_is_not_told(site: Site, page: Page) -> None:
    body = (
        '<div id="edit" contenteditable data-analytics="edit">secret</div>'
        '<textarea id="area" data-analytics="area">secret</textarea>'
        '<select id="pick" data-analytics="pick"><option>secret</option></select>'
    )
    events = await sent(site, page, body, "#edit", "#area", "#pick")
    assert {event["name"] for event in events} == {"edit", "area", "pick"}
    assert "secret" not in str(events)


@pytest.mark.parametrize(("value", "names"), [("true", ["click"]), ("", ["click"]), ("false", []), ("buy", ["buy"])])
async def test_mark_as_frameworks_write_it(site: Site, page: Page, value: str, names: list[str]) -> None:
    events = await sent(site, page, f'<button data-analytics="{value}">B</button>', "button")
    assert [event["name"] for event in events] == names


async def test_form_in_a_slot_counts_once(site: Site, page: Page) -> None:
    """It belongs to the page, though its events pass the shadow root that shows it."""
    body = """<div id="host"><form id="join" onsubmit="return false"><input name="getRootNode">
    <button id="send">Join</button></form></div>
    <script>document.getElementById('host').attachShadow({mode: 'open'}).innerHTML = '<slot></slot>'</script>"""
    events = await sent(site, page, body + STAY, "#send", "#send")
    assert [event["name"] for event in events] == ["form", "form"]

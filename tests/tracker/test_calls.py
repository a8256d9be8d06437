"""What a page sends by calling `analytics()`."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from tests.tracker.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

STUB = (
    "<script>window.analytics=window.analytics||function(){(analytics.q=analytics.q||[]).push(arguments)};"
    "analytics('early', {props: {n: 1}}); analytics('set', {user_id: 'u1'})</script>"
)


async def test_calls_before_loading_are_sent_after_the_pageview(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop", head=STUB))
    await site.wait_names("pageview", "early")
    assert site.events[1]["props"] == {"n": 1}


async def test_settings_made_before_loading_hold_for_the_first_pageview(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop", head=STUB))
    await site.wait_names("pageview", "early")
    assert [event["user_id"] for event in site.events] == ["u1", "u1"]


async def test_custom_event_carries_props_and_revenue(site: Site, page: Page) -> None:
    address = site.add("/shop")
    await page.goto(address)
    await page.evaluate(
        "analytics('purchase', {props: {plan: 'pro', n: 3, ok: true}, revenue: {amount: 12.5, currency: 'EUR'}})"
    )
    await site.wait_names("pageview", "purchase")
    event = site.events[1]
    assert event["props"] == {"plan": "pro", "n": 3, "ok": True}
    assert event["revenue"] == {"amount": 12.5, "currency": "EUR"}
    assert (event["site"], event["url"], event["title"]) == ("shop.example", address, "/shop")
    assert "referrer" not in event
    assert event["event_id"] != site.events[0]["event_id"]


async def test_exposure_carries_experiment_and_variant(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop"))
    await page.evaluate("analytics('exposure', {experiment: {id: 'cta', variant: 'b'}})")
    await site.wait_names("pageview", "exposure")
    assert site.events[1]["experiment"] == {"id": "cta", "variant": "b"}


async def test_no_person_or_session_is_named_unless_the_page_does(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop"))
    await site.wait_names("pageview")
    assert not {"user_id", "session_id", "props"} & site.events[0].keys()


async def test_set_names_person_and_session_until_it_is_taken_back(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop"))
    await page.evaluate("analytics('set', {user_id: 'u1', session_id: 's1'}); analytics('in')")
    await page.evaluate("analytics('set', {user_id: null}); analytics('out')")
    await site.wait_names("pageview", "in", "out")
    assert [(event.get("user_id"), event.get("session_id")) for event in site.events] == [
        (None, None),
        ("u1", "s1"),
        (None, "s1"),
    ]


async def test_set_is_forgotten_with_the_page(site: Site, page: Page) -> None:
    address = site.add("/shop")
    await page.goto(address)
    await page.evaluate("analytics('set', {user_id: 'u1'})")
    await page.reload()
    await page.evaluate("analytics('end')")
    await site.wait(lambda site: site.named("end"))
    assert "user_id" not in site.named("end")[0]


async def test_props_set_once_are_laid_under_each_event(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop"))
    await page.evaluate(
        "analytics('set', {props: {author: 'jo', tier: 'free'}}); analytics('read', {props: {tier: 'pro'}})"
    )
    await page.evaluate("analytics('pageview', {url: '/next'})")
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    assert site.named("read")[0]["props"] == {"author": "jo", "tier": "pro"}
    assert site.named("pageview")[1]["props"] == {"author": "jo", "tier": "free"}


async def test_event_keeps_the_values_it_was_called_with(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop"))
    await page.evaluate("const cart = {size: 1}; analytics('cart', {props: cart}); cart.size = 2")
    await site.wait_names("pageview", "cart")
    assert site.events[1]["props"] == {"size": 1}


@pytest.mark.parametrize(
    "call",
    ["const loop = {}; loop.loop = loop; analytics('odd', {props: {loop}})", "analytics('odd', {props: {n: 10n}})"],
)
async def test_what_json_cannot_hold_is_left_out_of_its_event(site: Site, page: Page, call: str) -> None:
    await page.goto(site.add("/shop"))
    assert await page.evaluate(f"(() => {{ {call}; analytics('good'); return 'went on' }})()") == "went on"
    await site.wait_names("pageview", "odd", "good")
    assert "props" not in site.events[1]


async def test_call_with_an_impossible_address_sends_nothing(site: Site, page: Page) -> None:
    await page.goto(site.add("/shop"))
    await page.evaluate("analytics('bad', {url: 'http://['}); analytics('good')")
    await site.wait_names("pageview", "good")

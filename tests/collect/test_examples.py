"""What is shown of a rejected event helps to find its sender, and identifies no person."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.url import CleanUrl
from analytics_server.collect.steps.examples import (
    ADDRESS_CHARS,
    NAME_CHARS,
    shown_address,
    shown_name,
    shown_page,
)
from analytics_server.config import SitesSection
from analytics_server.model import Site
from tests.collect.test_drop_counts import HEADLESS, VIEW
from tests.collect.world import World


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/pricing?plan=pro#top", ""),
        ("pricing", "pricing"),
        ("example.com/a", "example.com/a"),
        ("localhost:3000/a", "localhost:3000/a"),
        ("https:///a", "https://a"),
        ("https://exa mple/a?b", "https://exa mple/a"),
        ("HTTPS://me:secret@/a", "https:///a"),
        ("https://me@mail.example:secret@exa mple/a", "https://exa mple/a"),
        ("https://exa mple/a/anna@mail.example/b", "https://exa mple/a/*@*/b"),
        ("https://exa mple/a;jsessionid=77AF/b", "https://exa mple/a/b"),
        ("file:///srv/anna/index.html", "file:"),
        ("moz-extension://8f2c-77/popup.html", "moz-extension:"),
        ("chrome-extension://abc/popup.html", "chrome-extension:"),
        ("mailto:anna@mail.example", "mailto:"),
        ("data:text/html,secret", "data:"),
        ("about:blank", "about:"),
        ("", ""),
        ("  ", ""),
        ("https://exa mple/\x07a", "https://exa mple/ a"),
    ],
)
def test_an_address_is_shown_without_what_may_be_personal(url: str, shown: str) -> None:
    assert shown_address(url) == shown


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        (CleanUrl("", "/pricing/*@*?q=secret", {}), "/pricing/*@*"),
        (CleanUrl("app", "/a", {}), "app/a"),
        (CleanUrl("", "/" + "x" * 200, {}), "/" + "x" * (ADDRESS_CHARS - 2) + "…"),
    ],
)
def test_an_app_s_page_is_shown_without_its_query(page: CleanUrl, shown: str) -> None:
    assert shown_page(page) == shown


@given(st.text(max_size=400))
def test_what_is_shown_is_short_and_storable(text: str) -> None:
    for shown, most in ((shown_address(text), ADDRESS_CHARS), (shown_name(text), NAME_CHARS)):
        assert len(shown) <= most
        assert "?" not in shown
        assert "\ud800" not in shown
        assert "\x00" not in shown


@pytest.mark.parametrize(
    ("site", "shown"),
    [
        ("https://example.com/", "https://example.com/"),
        ("anna@mail.example", "*@*"),
        ("my site?email=a", "my site"),
        ("x" * 200, "x" * (NAME_CHARS - 1) + "…"),
    ],
)
def test_a_name_that_is_no_sites_is_shown(site: str, shown: str) -> None:
    assert shown_name(site) == shown


async def test_the_history_hears_of_every_drop_and_rejection_with_what_it_was_about() -> None:
    world = World(sites=SitesSection(create_unknown=False))
    site = make_site(world)
    await world.send([VIEW, VIEW], headers={"user-agent": HEADLESS})
    await world.send([{**VIEW, "user_agent": "curl/8.5.0"}], token="collect")
    await world.send({**VIEW, "url": "https://b.example/x"})
    await world.send({**VIEW, "referrer": "https://www.semalt.com/x"})
    await world.send({**VIEW, "url": "file:///x"})
    await world.send({**VIEW, "site": "b.example"})
    await world.send({**VIEW, "site": "not a site"})
    await world.send([{"site": "a.example", "url": "https://a.example/"}, {"name": "x"}])
    await world.send([VIEW], token="one-site")
    await world.send([{**VIEW, "site": "b.example"}], token="one-site")
    await world.send(b"{")
    event_id = "0192f0a0-0000-7000-8000-000000000000"
    for _ in range(2):
        await world.send({**VIEW, "event_id": event_id})
    heard = [(site_id, reason, kind, example, events) for site_id, _, reason, kind, example, events, _ in world.noted]
    assert heard == [
        (site, "bot", "headless", "HeadlessChrome", 2),
        (site, "bot", "library", "curl", 1),
        (site, "hostname", "", "b.example", 1),
        (site, "spam_referrer", "", "semalt.com", 1),
        (site, "bad_url", "", "file:", 1),
        ("b.example", "unknown_site", "", "", 1),
        ("", "bad_site", "", "not a site", 1),
        (site, "missing_name", "", "", 1),
        ("", "missing_site", "", "", 1),
        ("b.example", "forbidden_site", "", "", 1),
        ("", "bad_json", "", "", 1),
        (site, "duplicate", "", "", 1),
    ]
    assert all(at == int(world.now) for _, at, *_ in world.noted)
    assert [exists for *_, exists in world.noted] == [bool(site_id == site) for site_id, *_ in world.noted]
    told = {drop.reason for drop in (*world.drops.of_site(site), *world.drops.of_unknown_sites())}
    assert not told & {DropReason.DUPLICATE.value, "bad_json"}


def make_site(world: World) -> str:
    made = Site(site_id="a.example", allowed_hosts=("a.example",))
    world.sites._sites["a.example"] = made
    return made.site_id


async def test_what_an_address_may_not_send_any_more_is_counted() -> None:
    world = World(address_events_per_s=1)
    for _ in range(30):
        await world.send([VIEW, VIEW])
    limited = sum(events for _, _, reason, _, _, events, _ in world.noted if reason == "too_many_requests")
    assert limited > 0
    assert limited + len(world.wal.rows) == 60


async def test_a_client_is_not_told_which_site_a_misread_event_named() -> None:
    world = World()
    answer = await world.send([VIEW, {"site": "a.example"}])
    (rejected,) = msgspec.json.decode(answer.body)["rejected"]
    assert set(rejected) == {"index", "code", "message"}

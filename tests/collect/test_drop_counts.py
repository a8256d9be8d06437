"""What was not counted is told by site and reason, within bounds, and without anything of a visitor."""

from __future__ import annotations

import msgspec
import pytest

from analytics_server.collect.drop_counts import MAX_LISTED, MAX_SITES, MAX_UNKNOWN, MESSAGE_CHARS, DropCounts
from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.bot_reason import BotReason
from analytics_server.config import SitesSection
from tests.collect.world import World

HEADLESS = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/142.0.0.0"

VIEW = {"site": "a.example", "name": "pageview", "url": "https://a.example/"}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def counts(*known: str) -> DropCounts:
    return DropCounts(lambda site_id: site_id if site_id in known else None, Clock())


def told(world: World, site: str = "a.example") -> dict[str, tuple[int, bool]]:
    return {drop.reason: (drop.events, drop.rejected) for drop in world.drops.of_site(site)}


@pytest.mark.parametrize(
    ("headers", "fields", "reason"),
    [
        ({"user-agent": HEADLESS}, {}, "bot"),
        ({"dnt": "1"}, {}, "dnt"),
        ({"sec-gpc": "1"}, {}, "gpc"),
        ({"sec-purpose": "prefetch"}, {}, "prefetch"),
        ({}, {"referrer": "https://semalt.com/"}, "spam_referrer"),
    ],
)
async def test_each_drop_is_counted_for_its_site(headers: dict[str, str], fields: dict[str, str], reason: str) -> None:
    world = World()
    world.sites.get_or_create("a.example")
    await world.send(VIEW | fields, headers=headers)
    await world.send([{**VIEW, **fields, "site": " A.example "}, VIEW | fields], headers=headers)
    assert told(world) == {reason: (3, False)}
    assert world.drops.of_unknown_sites() == []
    assert world.drops.of_site("b.example") == []
    [drop] = world.drops.of_site("a.example")
    assert drop.about.endswith((BotReason.HEADLESS if reason == "bot" else DropReason(reason)).about)
    assert drop.remedy


async def test_a_host_that_is_not_allowed_is_named() -> None:
    world = World()
    site = world.sites.get_or_create("a.example")
    assert site is not None
    world.sites._sites["a.example"] = msgspec.structs.replace(site, allowed_hosts=("a.example",))
    await world.send({**VIEW, "url": "https://staging.a.example/secret"})
    [drop] = world.drops.of_site("a.example")
    assert (drop.reason, drop.events) == ("hostname", 1)
    assert "staging.a.example" in drop.about
    assert "secret" not in drop.about


async def test_rejections_count_too_and_repeated_events_don_t() -> None:
    world = World()
    event_id = "0192f0a0-0000-7000-8000-000000000000"
    for _ in range(2):
        await world.send({**VIEW, "event_id": event_id})
    await world.send({"site": "a.example", "name": "pageview"})
    assert told(world) == {"missing_url": (1, True)}


async def test_what_names_no_site_of_this_server_is_told_apart_until_there_is_one() -> None:
    world = World(sites=SitesSection(create_unknown=False))
    await world.send(VIEW)
    await world.send({**VIEW, "site": "not a site"})
    unknown = {(drop.site_id, drop.reason) for drop in world.drops.of_unknown_sites()}
    assert unknown == {("a.example", "unknown_site"), ("", "bad_site")}
    assert "create_unknown" in next(drop.remedy for drop in world.drops.of_unknown_sites() if drop.site_id)


async def test_bots_are_counted_by_their_kind() -> None:
    world = World()
    for user_agent in (HEADLESS, "curl/8.5.0", HEADLESS):
        await world.send([VIEW, VIEW], headers={"user-agent": user_agent})
    await world.send([{**VIEW, "user_agent": "curl/8.5.0"}, {**VIEW, "user_agent": "x"}], token="collect")
    [drop] = world.drops.of_site("a.example")
    assert (drop.reason, drop.events, drop.kinds) == ("bot", 8, {"headless": 4, "library": 3, "empty": 1})
    assert drop.about == f"It looks automated. {BotReason.EMPTY.about}"
    assert [world.sample("ingest_bots_total", kind=kind) for kind in ("headless", "library", "empty")] == [4, 3, 1]


def test_a_site_that_is_made_takes_its_counts_along() -> None:
    known: set[str] = set()
    drops = DropCounts(lambda site_id: site_id if site_id in known else None, Clock())
    drops.note("a.example", "bot", 2)
    known.add("a.example")
    assert drops.of_unknown_sites() == []
    assert [drop.events for drop in drops.of_site("a.example")] == [2]
    drops.note("a.example", "bot", 3)
    assert [drop.events for drop in drops.of_site("a.example")] == [5]


def test_invented_names_push_out_none_of_the_real_sites() -> None:
    drops = counts("a.example")
    drops.note("a.example", "bot")
    for number in range(MAX_UNKNOWN + 1):
        drops.note(f"invented-{number}.example", "unknown_site", message="x" * (MESSAGE_CHARS + 1))
    assert len(drops.of_site("a.example")) == 1
    assert drops.of_site("invented-0.example") == []
    assert len(drops.of_site("invented-1.example")) == 1
    listed = drops.of_unknown_sites()
    assert len(listed) == MAX_LISTED
    assert listed[0].site_id == f"invented-{MAX_UNKNOWN}.example"
    assert len(listed[0].about) == MESSAGE_CHARS


def test_the_site_noted_longest_ago_goes_first() -> None:
    sites = [f"{number}.example" for number in range(MAX_SITES + 1)]
    drops = counts(*sites)
    for site in (*sites[:MAX_SITES], sites[0], sites[MAX_SITES]):
        drops.note(site, "bot")
    assert [site for site in sites if not drops.of_site(site)] == [sites[1]]


def test_every_reason_says_what_it_is() -> None:
    assert all(reason.about and (reason.remedy or reason is DropReason.DUPLICATE) for reason in DropReason)

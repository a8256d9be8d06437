"""The directory of sites: ids, time zones, and sites made by their first event."""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.access.sites.site_settings import SiteSettings
from analytics_server.access.sites.sites import LOOK_S, Sites, valid_site_id
from analytics_server.config import SitesSection
from analytics_server.errors import ConfigError, Conflict, RequestError
from analytics_server.model import Site
from analytics_server.profiles.tables import STANDARD, UNKNOWN, profile_of
from analytics_server.store.protocol import Store
from analytics_server.zones import check_timezone
from tests.access.test_refresh import FakeStore, site_row
from tests.server import wait_for

ZONE_WARNING = "a site's time zone can't be used, another stands in for it: set an IANA name"


def sites(*rows: tuple[object, ...], **settings: object) -> tuple[Sites, FakeStore]:
    store = FakeStore(*rows)
    return Sites(cast(Store, store), SitesSection(**settings)), store  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "site_id"),
    [
        ("example.com", "example.com"),
        (" Example.COM ", "example.com"),
        ("localhost:8000", "localhost:8000"),
        ("[::1]", ""),
        ("a.example/shop", ""),
        ("x/../../y", ""),
        ("..", ""),
        ("a..b", ""),
        ("a\\b", ""),
        ("a%2fb", ""),
        ("a\x00b", ""),
        ("a.example\x1f", ""),
        ("a.example\u00a0", ""),
        ("\u212aelvin.example", "kelvin.example"),
        ("\u0661.example", ""),
        ("app_1", "app_1"),
        ("x" * 128, "x" * 128),
        ("x" * 129, ""),
        ("", ""),
        (".example", ""),
        ("-x", ""),
        ("two words", ""),
        ("a\nb", ""),
        ("a.example\n", "a.example"),
        ("ü.example", "ü.example"),
        ("xn--tda.example", "ü.example"),
        (" XN--TDA.Example. ", "ü.example"),
        ("Ü．example:8080", "ü.example:8080"),
        ("www.ü.example", "www.ü.example"),
        ("магазин", "магазин"),
        ("💩.example", "💩.example"),
        ("xn--a.example", "xn--a.example"),
        ("a.example.", "a.example"),
        ("ü.example/shop", ""),
        ("ü..example", ""),
        (".ü.example", ""),
        ("_ü.example", ""),
        ("a b.ü.example", ""),
        ("℀.example", ""),  # stands for a/c
        ("ü" * 129, ""),
        ("ü\u2028.example", ""),
        ("\ud800.example", ""),
        ("a'; --", ""),
    ],
)
def test_what_can_be_a_site_s_id(text: str, site_id: str) -> None:
    assert valid_site_id(text) == site_id


@given(text=st.text())
def test_an_id_has_one_spelling(text: str) -> None:
    site_id = valid_site_id(text)

    assert valid_site_id(site_id) == site_id
    assert not set("/\\?#%@ *'\"<>") & set(site_id)
    assert len(site_id) <= 128


@pytest.mark.parametrize("name", ["UTC", "Europe/Stockholm", "America/St_Johns", "Asia/Kathmandu"])
def test_time_zones_have_iana_names(name: str) -> None:
    assert str(check_timezone(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "Mars/Base", "../../etc/passwd", "/etc/localtime", "\x00", "a" * 5_000, "Europe", "zone.tab"),
        *("right/UTC", "right/Europe/Berlin", "posix/Europe/Berlin", "posixrules", "localtime", "Factory"),
        *("europe/berlin", " UTC", "UTC\n", "Etc/Unknown", "SystemV/AST4", "leapseconds", "+01:00", "GMT+1:00"),
    ],
)
def test_anything_else_is_no_time_zone(name: str) -> None:
    with pytest.raises(RequestError) as refused:
        check_timezone(name)

    assert refused.value.code == "bad_timezone"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("right/Europe/Berlin", "Europe/Berlin"),
        ("posix/UTC", "UTC"),
        ("europe/berlin", "Europe/Berlin"),
        ("Europe/Berln", "Europe/Berlin"),
        ("America/New York", "America/New_York"),
    ],
)
def test_a_time_zone_that_is_none_is_refused_with_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(RequestError, match=f"did you mean {meant}"):
        check_timezone(name)


async def test_a_time_zone_that_only_the_engine_lacks_is_refused() -> None:
    made, store = sites()
    store.zones = ["UTC", "Europe/Berlin"]

    await made.create("a.example", "Europe/Berlin")
    with pytest.raises(RequestError, match="This ClickHouse knows no time zone 'Asia/Tokyo'") as refused:
        await made.create("b.example", "Asia/Tokyo")
    assert refused.value.code == "bad_timezone"
    assert store.written == ["a.example"]


async def test_a_default_time_zone_that_only_the_engine_lacks_ends_the_start() -> None:
    made, store = sites(default_timezone="Asia/Tokyo")
    store.zones = ["UTC"]

    with pytest.raises(ConfigError, match="default_timezone"):
        await made.load()


@pytest.mark.parametrize(
    ("stored", "used"),
    [("right/Europe/Berlin", "Europe/Berlin"), ("posixrules", "UTC"), ("right/Mars", "UTC"), ("Asia/Tokyo", "UTC")],
)
async def test_another_zone_stands_in_for_a_stored_one_that_can_not_be_used(
    stored: str, used: str, caplog: pytest.LogCaptureFixture
) -> None:
    made, store = sites(site_row(Site(site_id="a.example", timezone=stored)))
    store.zones = ["UTC", "Europe/Berlin"]
    await made.load()
    await made.load()

    site = made.get("a.example")
    assert site == Site(site_id="a.example", timezone=used, stored_timezone=stored)
    assert [record.message for record in caplog.records].count(ZONE_WARNING) == 1
    assert await made.put(msgspec.structs.replace(site, timezone="UTC")) == Site(site_id="a.example", timezone="UTC")


async def test_a_site_that_can_not_be_read_leaves_the_others_alone() -> None:
    made, _ = sites(("a.example", '{"site_id": "a.example", "timezone": 3}', 0, 1), site_row(Site(site_id="b.example")))
    await made.load()

    assert made.all() == [Site(site_id="a.example", profile=UNKNOWN), Site(site_id="b.example")]


async def test_a_first_event_makes_a_site_that_is_written_in_the_background() -> None:
    made, store = sites(default_timezone="Europe/Stockholm")
    made.start()
    site = made.get_or_create("a.example")

    async def written() -> bool:
        return "a.example" in store.written

    assert site is not None
    assert site.timezone == "Europe/Stockholm"
    assert made.get_or_create("a.example") is site
    await wait_for(written)
    await made.close()


async def test_sites_are_read_again_when_another_server_has_changed_one_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("analytics_server.access.sites.sites.LOOK_S", 0.01)
    made, store = sites(site_row(Site(site_id="a.example")))
    await made.load()
    made.start()

    async def looks(more: int) -> None:
        until = store.looked + more

        async def done() -> bool:
            return store.looked >= until

        await wait_for(done, what=f"{more} looks")

    await looks(3)
    asked = store.asked
    await looks(3)
    assert store.asked == asked

    store.rows.append((*site_row(Site(site_id="a.example", profile="fr-exempt"))[:-1], 2))
    await looks(3)
    site = made.get("a.example")
    assert site is not None
    assert site.profile == "fr-exempt"
    assert store.asked == asked + 1
    await made.close()


def test_a_change_of_another_server_is_looked_for_well_within_a_second() -> None:
    """The rest of the second is for ClickHouse's answers."""
    assert LOOK_S <= 0.5


async def test_unknown_sites_stay_unknown_when_the_config_says_so() -> None:
    made, _ = sites(site_row(Site(site_id="a.example")), create_unknown=False)
    await made.load()

    assert made.get_or_create("a.example") == Site(site_id="a.example")
    assert made.get_or_create("b.example") is None


async def test_no_more_sites_than_the_limit() -> None:
    made, _ = sites(max_sites=2)

    assert [made.get_or_create(name) is not None for name in ("a", "b", "c", "a")] == [True, True, False, True]


@pytest.mark.parametrize("site", [Site(site_id="Upper"), Site(site_id=""), Site(site_id="a", timezone="X/Y")])
async def test_a_site_that_can_not_be_is_not_written(site: Site) -> None:
    made, store = sites()

    with pytest.raises(RequestError):
        await made.put(site)
    assert store.written == []
    assert made.all() == []


async def test_sites_are_listed_by_their_ids() -> None:
    made, _ = sites()
    for name in ("b", "a", "c"):
        await made.create(name)

    assert [site.site_id for site in made.all()] == ["a", "b", "c"]


async def test_a_deleted_site_does_not_come_back_with_its_next_event() -> None:
    made, store = sites(site_row(Site(site_id="a.example")))
    await made.load()

    assert await made.delete("a.example")
    assert not await made.delete("a.example")
    assert made.get("a.example") is made.get_or_create("a.example") is None
    assert made.all() == []
    store.rows[:] = [site_row(Site(site_id="a.example"), deleted=1)]
    await made.load()
    assert made.get_or_create("a.example") is None
    assert made.get_or_create("b.example") is not None


async def test_a_deleted_site_comes_back_when_it_is_made_again() -> None:
    made, _ = sites(site_row(Site(site_id="a.example"), deleted=1))
    await made.load()

    assert made.get_or_create("a.example") is None
    await made.create("a.example", "Europe/Stockholm")
    site = made.get_or_create("a.example")
    assert site is not None
    assert site.timezone == "Europe/Stockholm"


async def test_a_site_made_again_keeps_its_profile_unless_another_is_named() -> None:
    made, _ = sites(site_row(Site(site_id="a.example", profile="fr-exempt"), deleted=1))
    await made.load()

    assert (await made.create("a.example")).profile == "fr-exempt"
    await made.delete("a.example")
    assert (await made.create("a.example")).profile == "fr-exempt"
    await made.delete("a.example")
    named = await made.create("a.example", change=SiteSettings(profile=STANDARD).applied_to)
    assert named.profile == STANDARD


async def test_a_site_that_exists_is_not_made_again() -> None:
    made, store = sites()
    made.get_or_create("a.example")

    with pytest.raises(Conflict) as caught:
        await made.create("a.example")
    assert caught.value.code == "site_exists"
    assert store.written == []


async def test_changes_at_the_same_time_keep_each_other(migrated: Store) -> None:
    one, other = (Sites(migrated, SitesSection()) for _ in range(2))
    await one.create("both.example")
    changes = [SiteSettings(profile="fr-exempt"), SiteSettings(currency="EUR"), SiteSettings(events_per_s=7)]

    await asyncio.gather(*(one.change("both.example", change.applied_to) for change in changes))

    await other.load()
    site = other.get("both.example")
    assert site is not None
    assert (site.profile, site.currency, site.events_per_s) == ("fr-exempt", "EUR", 7)
    assert await one.change("none.example", lambda site: site) is None
    assert await one.delete("both.example")


async def test_a_site_taken_in_place_of_a_lost_one_has_the_strictest_profile() -> None:
    made, store = sites(site_row(Site(site_id="b.example")))
    await made.load()
    made.take_all()

    site = made.get_or_create("a.example")
    assert site is not None
    assert not profile_of(site.profile).by_user
    assert made.get_or_create("b.example") == Site(site_id="b.example")
    assert store.written == []


async def test_a_site_that_another_server_has_deleted_is_not_written_by_a_first_event_here() -> None:
    made, store = sites(site_row(Site(site_id="a.example"), deleted=1))
    assert made.get_or_create("a.example") is not None  # not known here yet
    await made.close()

    assert store.written == []
    assert made.get("a.example") is made.get_or_create("a.example") is None


async def test_a_site_deleted_before_it_was_written_stays_deleted() -> None:
    made, store = sites()
    made.get_or_create("a.example")
    assert await made.delete("a.example")
    await made.close()

    assert store.written == ["a.example"]  # once, as deleted
    assert made.get_or_create("a.example") is None


async def test_a_site_deleted_during_a_refresh_stays_deleted() -> None:
    made, store = sites(site_row(Site(site_id="a.example")))
    await made.load()
    store.meanwhile = lambda: made.delete("a.example")
    await made.load()

    assert made.get("a.example") is made.get_or_create("a.example") is None


async def test_a_deleted_site_does_not_come_back_although_the_table_was_damaged() -> None:
    made, store = sites()
    made.take_all()
    assert made.get_or_create("a.example") is not None
    assert await made.delete("a.example")
    store.rows[:] = [site_row(Site(site_id="a.example"), deleted=1)]
    await made.load()

    assert made.get("a.example") is made.get_or_create("a.example") is None


# ---- sites that older versions stored in another spelling ------------------


@pytest.mark.parametrize("spelling", ["müller.example", "xn--mller-kva.example"])
async def test_an_older_site_is_found_by_every_spelling_and_keeps_its_id(spelling: str) -> None:
    old = Site(site_id="xn--mller-kva.example", timezone="Europe/Berlin")
    made, store = sites(site_row(old))
    await made.load()

    assert made.get(spelling) == made.get_or_create(spelling) == old
    assert not made.may_create(spelling)
    assert made.all() == [old]
    changed = msgspec.structs.replace(old, timezone="UTC")
    assert await made.put(changed) == made.get(spelling) == changed
    assert store.written == ["xn--mller-kva.example"]


async def test_an_older_site_does_not_hide_one_of_that_very_spelling() -> None:
    made, _ = sites(site_row(Site(site_id="a.example.")), site_row(Site(site_id="a.example")))
    await made.load()

    assert made.get("a.example") == Site(site_id="a.example")
    assert made.get("a.example.") == Site(site_id="a.example.")


async def test_an_older_site_that_was_deleted_stays_so_until_it_comes_back_with_its_id() -> None:
    old = Site(site_id="xn--mller-kva.example")
    made, _ = sites(site_row(old))
    await made.load()

    assert await made.delete("müller.example")
    assert made.get_or_create("müller.example") is None
    assert made.get_or_create("xn--mller-kva.example") is None
    back = await made.create("müller.example")
    assert back.site_id == "xn--mller-kva.example"
    assert made.get("müller.example") == back


async def test_a_site_that_is_deleted_with_its_data_is_not_made_again_before_that_is_gone() -> None:
    made, _ = sites(site_row(Site(site_id="a.example", profile="fr-exempt")), site_row(Site(site_id="b.example")))
    await made.load()

    assert await made.delete("a.example", erase=True)
    assert await made.delete("b.example")
    assert made.removals() == {"a.example": True}
    with pytest.raises(Conflict) as refused:
        await made.create("a.example")
    assert refused.value.code == "site_being_erased"


async def test_of_a_site_that_was_deleted_before_the_data_can_be_removed_too() -> None:
    former = Site(site_id="a.example", profile="fr-exempt", removal="asked")
    made, store = sites(site_row(Site(site_id="b.example"), deleted=1), site_row(former, deleted=1))
    await made.load()

    assert await made.delete("b.example", erase=True)
    assert not await made.delete("c.example", erase=True)
    assert made.removals() == {"a.example": True, "b.example": True}
    await made.data_removed("a.example")
    store.rows[:] = [site_row(msgspec.structs.replace(former, removal="done"), deleted=1)]
    await made.load()

    assert made.removals() == {"a.example": False}
    assert (await made.create("a.example")).profile == "standard"
    assert made.removals() == {}

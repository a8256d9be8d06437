"""The kept days of saved funnels are compared with what events give."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from analytics_server.analyses.funnels.definition import FunnelBody
from analytics_server.analyses.funnels.materialized.builder import DayBuilder
from analytics_server.analyses.funnels.materialized.definitions import SavedFunnels
from analytics_server.analyses.funnels.materialized.maintenance import FunnelMaintenance
from analytics_server.doctor.funnel_days import FunnelDaysCheck
from analytics_server.doctor.report import Finding
from analytics_server.model import COLUMN_NAMES, Site
from analytics_server.query.context import zone_of
from analytics_server.saved.store import Kind, Saved
from analytics_server.store import migrate
from tests.doctor.place import NOVEMBER_S, Place, events

SITE_COLUMN = COLUMN_NAMES.index("site_id")
STEPS = [{"event": "pageview"}, {"event": "click"}]


class Sites:
    """Two sites, one of them not in UTC."""

    def get(self, site_id: str) -> Site:
        return Site(site_id=site_id, timezone="Europe/Stockholm" if site_id == "site-0" else "UTC")


def later() -> datetime:
    return datetime.fromtimestamp(NOVEMBER_S, UTC) + timedelta(days=90)


async def maintain(place: Place) -> None:
    """As a server does, until the days of all funnels are made."""
    saved = Saved(place.store)
    await saved.load()
    maintenance = FunnelMaintenance(place.store, SavedFunnels(saved), Sites(), later, settle_s=0.0)
    while await maintenance.round():
        pass


async def build_days(place: Place, after_s: float = 0.0) -> None:
    """As a server does when days of its funnels are missing, or out of date for a while."""

    def clock() -> datetime:
        return later() + timedelta(seconds=after_s)

    saved = Saved(place.store)
    await saved.load()
    for facts in SavedFunnels(saved).all_facts():
        await DayBuilder(place.store, clock, settle_s=0.0).build(facts, zone_of(Sites().get(facts.site_id)))


def checking(place: Place) -> FunnelDaysCheck:
    return FunnelDaysCheck(place.store, lambda what, number, total: None)


async def filled(place: Place) -> Finding:
    """Events and a funnel of each kind; what the check says."""
    await migrate(place.store)
    await place.insert(events(1))
    saved = Saved(place.store)
    for site_id, by in (("site-0", "session"), ("site-1", "visitor"), ("site-1", "user")):
        body = {"steps": STEPS, "by": by, "window": "6h"}
        await saved.put(Kind.FUNNEL, site_id, f"by {by}", msgspec.convert(body, FunnelBody))
    await maintain(place)
    return await checking(place).examine()


async def test_days_that_differ_from_events_are_named_and_thrown_away(any_place: Place) -> None:
    built, check = await filled(any_place), checking(any_place)
    days = int(str(built.facts["days"]))
    assert (built.status, built.facts["funnels"], built.facts["stale"], built.facts["wrong"]) == ("ok", 3, 0, [])
    assert days > 9

    ((build_id,),) = (
        await any_place.store.query("SELECT max(build_id) FROM funnel_days WHERE site_id = 'site-1'")
    ).rows
    await any_place.store.command(
        "ALTER TABLE funnel_days UPDATE subjects = subjects + 1 "
        f"WHERE build_id = {build_id} SETTINGS mutations_sync = 2"
    )
    found = await check.examine()
    assert found.status == "error"
    wrong = found.facts["wrong"]
    assert isinstance(wrong, list)
    (named,) = wrong
    assert named.startswith("site-1 ")
    assert named in found.message

    assert await check.repair() == "threw away the attempts of 1 day"
    mended = await check.examine()
    assert (mended.status, mended.facts["days"], mended.facts["wrong"]) == ("ok", days - 1, [])
    assert await check.repair() == ""
    await build_days(any_place)
    assert (await check.examine()).facts == built.facts


async def test_days_that_are_lost_in_part_are_wrong_and_those_of_late_events_out_of_date(place: Place) -> None:
    built = await filled(place)
    await place.store.command(
        "ALTER TABLE funnel_days DELETE WHERE site_id = 'site-0' AND level = 2 AND day = "
        "(SELECT min(day) FROM funnel_days WHERE site_id = 'site-0' AND level = 2) SETTINGS mutations_sync = 2"
    )
    await place.insert([row for row in events(2, 20) if row[SITE_COLUMN] == "site-1"])

    found = (await place.look())[FunnelDaysCheck.name]

    assert (found.status, len(str(found.facts["wrong"]).split(","))) == ("error", 1)
    assert int(str(found.facts["stale"])) > 0
    mended = (await place.look(repair=True))[FunnelDaysCheck.name]
    assert mended.repaired.startswith("threw away the attempts of")
    assert (mended.status, mended.facts["stale"]) == ("ok", 0)
    await build_days(place)
    assert int(str((await checking(place).examine()).facts["days"])) >= int(str(built.facts["days"]))


async def test_a_repair_leaves_alone_what_a_server_has_built_meanwhile(place: Place) -> None:
    built, check = await filled(place), checking(place)
    await place.insert([row for row in events(2, 20) if row[SITE_COLUMN] == "site-1"])
    stale = await check.examine()
    assert int(str(stale.facts["stale"])) > 0

    await build_days(place, after_s=600)
    assert (await check.repair()).startswith("threw away the attempts of")

    now = await checking(place).examine()
    assert (now.status, now.facts["stale"]) == ("ok", 0)
    assert int(str(now.facts["days"])) >= int(str(built.facts["days"]))


async def test_without_saved_funnels_there_is_nothing_to_compare(place: Place) -> None:
    await migrate(place.store)
    await place.insert(events(1))
    found = await checking(place).examine()
    assert (found.status, found.message) == ("ok", "No kept days of saved funnels are in use.")

"""What is counted is told exactly once, from memory and from the table of either engine, whatever fails between."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_server.config import Config, SitesSection
from analytics_server.drops import service as service_module
from analytics_server.drops.answer import DropsAnswer, DropsRequest
from analytics_server.drops.service import DropService
from analytics_server.errors import StoreAmbiguous
from analytics_server.model import Site
from analytics_server.store import Store
from tests.drops import oracle
from tests.drops.oracle import Noted

NOW = (datetime.now(UTC) + timedelta(hours=1)).replace(minute=20, second=0, microsecond=0)
"""A little ahead, so that ClickHouse deletes nothing that is still asked for."""
NOW_S = int(NOW.timestamp())
_numbers = count(1)


class LossyStore:
    """The store, whose next inserts fail after or before they took effect."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.failures: list[str] = []
        self.stall: asyncio.Event | None = None
        self.inserting = asyncio.Event()
        self.query = store.query

    async def insert(self, *arguments: object, **named: object) -> None:
        self.inserting.set()
        if self.stall is not None:
            await self.stall.wait()
        failure = self.failures.pop(0) if self.failures else ""
        if failure != "before":
            await self._store.insert(*arguments, **named)  # type: ignore[arg-type]
        if failure:
            raise StoreAmbiguous("The answer was lost.")


def make(store: Store | LossyStore, *, zone: str = "UTC") -> DropService:
    config = Config(sites=SitesSection(default_timezone=zone))
    return DropService(config, cast(Store, store), lambda: NOW)


def fresh_site() -> str:
    return f"s{next(_numbers)}.example"


def note(drops: DropService, *notes: Noted) -> None:
    for each in notes:
        drops.add(each.site_id, each.at_s, each.reason, each.kind, each.example, each.events, True)


async def ask(drops: DropService, site: str, date_range: str = "30d", zone: str = "UTC") -> DropsAnswer:
    return await drops.of_site(DropsRequest(site_id=site, date_range=date_range), Site(site_id=site, timezone=zone))


def by_reason(answer: DropsAnswer) -> dict[str, int]:
    assert sum(drop.events for drop in answer.drops) == sum(hour.events for hour in answer.hours)
    return {drop.reason: drop.events for drop in answer.drops}


async def test_what_is_written_and_what_is_not_add_up(store: Store) -> None:
    drops, other, site = make(store), make(store), fresh_site()
    note(drops, Noted(NOW_S, site, "bot", "library", "curl", 2))
    assert by_reason(await ask(drops, site)) == {"bot": 2}
    assert by_reason(await ask(other, site)) == {}
    await drops.write()
    note(drops, Noted(NOW_S, site, "bot", "crawler", "curl", 3), Noted(NOW_S - 3600, site, "bad_url", "", "/x", 1))
    note(other, Noted(NOW_S + 60, site, "bot", "library", "wget", 9))
    await other.write()
    answer = await ask(drops, site)
    assert by_reason(answer) == {"bot": 14, "bad_url": 1}
    bot, bad = answer.drops
    assert (bot.rejected, bad.rejected) == (False, True)
    assert bot.kinds == {"library": 11, "crawler": 3}
    assert [(each.value, each.events) for each in bot.examples] == [("wget", 9), ("curl", 5)]
    assert datetime.fromisoformat(bot.last_at) == NOW + timedelta(seconds=60)
    assert bot.remedy
    assert bad.remedy


@pytest.mark.parametrize("failures", [["after"], ["before"], ["after", "after", "before"]])
async def test_a_batch_in_doubt_counts_once(store: Store, failures: list[str]) -> None:
    lossy = LossyStore(store)
    drops, site = make(lossy), fresh_site()
    note(drops, Noted(NOW_S, site, "bot", "library", "curl", 2))
    lossy.failures = list(failures)
    for _ in failures:
        with pytest.raises(StoreAmbiguous):
            await drops.write()
    note(drops, Noted(NOW_S, site, "dnt", "", "", 1))
    assert by_reason(await ask(drops, site)) == {"bot": 2, "dnt": 1}
    await drops.close()
    assert by_reason(await ask(drops, site)) == {"bot": 2, "dnt": 1}
    assert by_reason(await ask(make(store), site)) == {"bot": 2, "dnt": 1}


async def test_equal_counts_of_several_minutes_are_no_repeated_batch(store: Store) -> None:
    drops, site = make(store), fresh_site()
    for _ in range(3):
        note(drops, Noted(NOW_S, site, "bot", "", "", 1))
        await drops.write()
    assert by_reason(await ask(drops, site)) == {"bot": 3}


async def test_a_question_during_a_write_counts_nothing_twice_and_misses_nothing(store: Store) -> None:
    lossy = LossyStore(store)
    drops, site = make(lossy), fresh_site()
    note(drops, Noted(NOW_S, site, "bot", "", "", 2))
    lossy.stall = asyncio.Event()
    writing = asyncio.create_task(drops.write())
    await lossy.inserting.wait()
    note(drops, Noted(NOW_S, site, "bot", "", "", 5))
    asking = asyncio.create_task(ask(drops, site))
    lossy.stall.set()
    await writing
    assert by_reason(await asking) == {"bot": 7}


async def test_a_stop_does_not_wait_for_a_store_that_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lossy = LossyStore(store)
    drops = make(lossy)
    monkeypatch.setattr(service_module, "CLOSE_TIMEOUT_S", 0.01)
    note(drops, Noted(NOW_S, fresh_site(), "bot", "", "", 2))
    lossy.stall = asyncio.Event()
    await drops.close()


async def test_nothing_older_than_thirty_days_is_told(store: Store) -> None:
    drops, site = make(store), fresh_site()
    day = 86_400
    note(drops, Noted(NOW_S - 30 * day - 1800, site, "bot", "", "", 1), Noted(NOW_S - 30 * day, site, "dnt", "", "", 1))
    assert by_reason(await ask(drops, site, "all")) == {"dnt": 1}
    await drops.write()
    assert by_reason(await ask(drops, site, "12mo")) == {"dnt": 1}


async def test_the_table_expires_after_thirty_days(store: Store) -> None:
    (row,) = (
        await store.query(
            "SELECT create_table_query, partition_key FROM system.tables "
            "WHERE database = currentDatabase() AND name = 'drops'"
        )
    ).rows
    assert "INTERVAL 30 DAY" in str(row[0]) or "toIntervalDay(30)" in str(row[0])
    assert row[1] == "toDate(bucket)"


async def test_names_that_no_site_has_are_told_to_whom_asks_for_all(store: Store) -> None:
    drops, site, unknown = make(store), fresh_site(), fresh_site()
    drops.add(unknown, NOW_S, "unknown_site", "", "", 4, False)
    drops.add("", NOW_S, "bad_site", "", "https://x", 1, False)
    note(drops, Noted(NOW_S, site, "bot", "", "", 1))
    request = DropsRequest(site_id="", date_range="day")
    everything = {(drop.site_id, drop.reason) for drop in (await drops.of_sites(request, None)).drops}
    assert {(unknown, "unknown_site"), ("", "bad_site"), (site, "bot")} <= everything
    own = await drops.of_sites(request, (site,))
    assert [(drop.site_id, drop.reason) for drop in own.drops] == [(site, "bot")]
    assert (await drops.of_sites(request, ())).drops == []
    named = await drops.of_site(DropsRequest(site_id=unknown, date_range="day"), None)
    assert (named.site_exists, by_reason(named)) == (False, {"unknown_site": 4})


ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe", "Europe/Berlin", "Asia/Kathmandu")
RANGES = ("day", "24h", "7d", "30d", "all", "realtime", "month")


@st.composite
def noted(draw: st.DrawFn) -> tuple[int, str, str, str, int, bool]:
    """Minutes before now, reason, kind, example, events, and whether it is written before the question."""
    reason = draw(st.sampled_from(["bot", "hostname", "dnt", "bad_url", "a_code_of_later"]))
    return (
        draw(st.one_of(st.integers(0, 120), st.integers(0, 31 * 1440))),
        reason,
        draw(st.sampled_from(["crawler", "library"])) if reason == "bot" else "",
        draw(st.sampled_from(["", "a", "b", "c"])),
        draw(st.integers(1, 50)),
        draw(st.booleans()),
    )


@settings(max_examples=12)
@given(notes=st.lists(noted(), max_size=25), zone=st.sampled_from(ZONES), name=st.sampled_from(RANGES))
def test_answers_are_those_of_brute_force(
    store_on_loop: tuple[Store, asyncio.Runner],
    notes: list[tuple[int, str, str, str, int, bool]],
    zone: str,
    name: str,
) -> None:
    store, runner = store_on_loop
    runner.run(_compare(store, notes, zone, name))


async def _compare(store: Store, notes: list[tuple[int, str, str, str, int, bool]], zone: str, name: str) -> None:
    drops, site = make(store), fresh_site()
    all_of_them = []
    for written in (True, False):
        for minutes, reason, kind, example, events, is_written in notes:
            if is_written is written:
                all_of_them.append(Noted(NOW_S - 60 * minutes, site, reason, kind, example, events))
                note(drops, all_of_them[-1])
        if written:
            await drops.write()
    answer = await ask(drops, site, name, zone)
    tz = ZoneInfo(zone)
    start, end = (datetime.fromisoformat(edge) for edge in answer.meta.date_range)
    wanted = oracle.asked_for(all_of_them, {site}, start, end, NOW)
    told = {
        (drop.site_id, drop.reason): (drop.events, drop.rejected, drop.kinds, drop.last_at) for drop in answer.drops
    }
    assert told == oracle.summaries(wanted, tz)
    assert {(hour.time, hour.reason): hour.events for hour in answer.hours} == oracle.hours(wanted, tz)
    for drop in answer.drops:
        shown = [(each.value, each.events) for each in drop.examples]
        assert shown == oracle.examples(wanted, site, drop.reason)

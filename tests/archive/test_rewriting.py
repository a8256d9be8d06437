"""Files that are written again: two people's erasures that share a day, a failure in between, and a changed zone."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from analytics_server.archive.rights import is_sum_of_some
from analytics_server.archive.site_files import SiteFiles
from analytics_server.archive.writer import DayWriter
from analytics_server.errors import StoreRetryable
from analytics_server.privacy.erasure_tables import ErasureTables
from analytics_server.privacy.scope import SiteScope
from tests.archive.directory import Archiving
from tests.archive.test_faults import PLAIN, at, erase, everything, set_zone, users


@pytest.mark.parametrize("order", ["after the file", "before the file", "before the other deletes", "in another order"])
async def test_two_people_leave_the_file_of_a_day_that_they_share(archiving: Archiving, order: str) -> None:
    """Two erasures on two servers, the second of which counts and deletes at any moment of the first."""
    store, day = archiving.place.store, (PLAIN, date(2026, 3, 5))
    people = {"anna": 1, "ben": 2, "carl": 3}
    await archiving.place.insert([at(5, hour, user) for user, count in people.items() for hour in range(count)])
    assert await archiving.made(sites=(PLAIN,)).run()
    both = [ErasureTables(store, user, SiteScope(), cluster="", zone_of=lambda _: "UTC") for user in ("anna", "ben")]
    for user in ("anna", "ben"):
        await store.insert("erasure_subjects", ("id", "user_id"), [[user], [user]])

    async def begins(tables: ErasureTables, user: str) -> None:
        await tables.collect(2**62)
        assert (await tables.archived_days()).keys() == {day}
        if order != "before the other deletes" or user == "anna":
            await erase(archiving, f"user_id = '{user}'")

    async def ends(tables: ErasureTables) -> None:
        await archiving.archive.rewrite(await tables.archived_days())
        left.remove(tables)

    left = both[:]
    await begins(both[0], "anna")
    if order == "after the file":
        await ends(both[0])
    await begins(both[1], "ben")
    if order == "before the other deletes":
        await ends(both[0])
        await store.command("ALTER TABLE erasure_keys DROP PARTITION 'anna'")  # as its end does
        await erase(archiving, "user_id = 'ben'")
    for tables in sorted(left, key=both.index, reverse=order == "in another order"):
        await ends(tables)

    assert users(archiving) == [("2026-03-05", "carl")] * 3
    assert await archiving.archive.unsearched(everything) == []


def test_a_number_is_a_sum_of_some_or_not() -> None:
    assert [number for number in range(-3, 14) if is_sum_of_some(number, [2, 3, 7])] == [0, 2, 3, 5, 7, 9, 10, 12]
    assert [number for number in range(-3, 3) if is_sum_of_some(number, [])] == [0]
    assert is_sum_of_some(3_000_000, [1_000_000] * 20)


async def test_a_zone_that_changes_while_a_day_is_written_moves_none_of_its_events(
    archiving: Archiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archiving.place.insert([at(5, 2, "anna"), at(5, 12, "ben"), at(6, 2, "carl")])
    real = DayWriter.write

    async def changing(self: DayWriter, *arguments: Any, **named: Any) -> Any:
        await set_zone(archiving, "America/New_York")
        return await real(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(DayWriter, "write", changing)
        assert await archiving.made(sites=(PLAIN,)).run()
    assert users(archiving) == [("2026-03-05", "anna"), ("2026-03-05", "ben"), ("2026-03-06", "carl")]
    assert {file.time_zone for file in archiving.manifests()[PLAIN].files} == {"UTC"}


async def test_files_that_were_rewritten_before_a_failure_are_in_the_audit_log(
    archiving: Archiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archiving.place.insert([at(day, hour, user) for day in (5, 6) for hour, user in ((1, "anna"), (2, "ben"))])
    assert await archiving.made(sites=(PLAIN,)).run()
    await erase(archiving)
    real = DayWriter.write

    async def failing(self: DayWriter, files: SiteFiles, day: date, *arguments: Any, **named: Any) -> Any:
        if day.day == 6:
            raise StoreRetryable("ClickHouse is away.")
        return await real(self, files, day, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(DayWriter, "write", failing)
        with pytest.raises(StoreRetryable):
            await archiving.archive.rewrite({(PLAIN, date(2026, 3, day)): [1] for day in (5, 6)})
    told = [entry.details for entry in archiving.noted.entries if entry.details["state"] == "rewritten"]
    assert told == [{"state": "rewritten", "files": "1", "first": "2026-03-05", "last": "2026-03-05"}]

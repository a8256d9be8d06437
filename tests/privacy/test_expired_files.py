"""Rows of dead letters and quarantined segments go with the age of their batch, site by site."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import cast

import pytest

from analytics_server.access.sites.sites import Sites
from analytics_server.batch_ids import new_batch_id
from analytics_server.config import PrivacySection
from analytics_server.model import Site
from analytics_server.privacy.expiry.expired_files import find_expired, remove_expired
from analytics_server.privacy.expiry.purge import Expiry
from analytics_server.privacy.expiry.site_removal import SiteRemoval
from analytics_server.store import Store
from tests.privacy.test_expiry import Noted
from tests.privacy.test_site_removal import GONE, LEFT, put_beside, rows_beside

BEFORE, AFTER = date(2026, 9, 21), date(2026, 9, 22)
"""The day of what `put_beside` writes, and the next one."""


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Dead letters and quarantine, with a row of each of two sites in both."""
    put_beside(tmp_path)
    return tmp_path / "dead-letters", tmp_path / "wal" / "quarantine"


def test_a_site_s_rows_go_the_day_after_and_the_other_s_stay(places: tuple[Path, Path]) -> None:
    assert remove_expired(*places, {GONE: BEFORE}, None) == {}
    assert [rows_beside(place) for place in places] == [[GONE, LEFT], [GONE, LEFT]]

    cuts = {GONE: AFTER, LEFT: BEFORE}
    found = find_expired(*places, cuts, None)
    assert found == remove_expired(*places, cuts, None) == {GONE: {"dead_letters": 1, "quarantined_segments": 1}}
    assert [rows_beside(place) for place in places] == [[LEFT], [LEFT]]
    assert remove_expired(*places, {GONE: AFTER, LEFT: BEFORE}, None) == {}


def test_a_quarantined_file_goes_as_a_whole_where_no_site_keeps_so_old_events(places: tuple[Path, Path]) -> None:
    letters, quarantine = places
    named, unnamed = quarantine / f"{new_batch_id(1_790_000_000.0):020d}.wal.1", quarantine / "nothing readable"
    for path in (named, unnamed):
        path.write_bytes(b"damaged")
    os.utime(unnamed, (datetime(2026, 9, 21, 23, tzinfo=UTC).timestamp(),) * 2)

    assert remove_expired(letters, quarantine, {GONE: BEFORE, LEFT: BEFORE}, BEFORE) == {}
    assert remove_expired(letters, quarantine, {GONE: AFTER}, None)[GONE] == {
        "dead_letters": 1,
        "quarantined_segments": 1,
    }
    assert len(list(quarantine.iterdir())) == 3

    found = find_expired(letters, quarantine, {LEFT: AFTER, GONE: AFTER}, AFTER)
    assert found == remove_expired(letters, quarantine, {LEFT: AFTER, GONE: AFTER}, AFTER)
    assert found == {"": {"quarantined_files": 3}, LEFT: {"dead_letters": 1}}
    assert list(quarantine.iterdir()) == []


async def test_what_expiry_or_a_removal_takes_out_of_files_is_told_before_it_is_done(
    places: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kill behind it would leave it untold: the process ends where it would tell of the end."""
    noted = Noted()
    sites = [Site(site_id=GONE, retention_days=30), Site(site_id=LEFT, retention_days=3_650)]
    expiry = Expiry(
        cast(Store, None),  # it is not asked
        lambda: sites,
        settings=PrivacySection(),
        letters=places[0],
        quarantine=places[1],
        cluster="",
        recorder=noted,
        holder="a test",
        clock=lambda: datetime(2026, 11, 30, tzinfo=UTC),
    )
    assert await expiry._remove_from_files() == {GONE: {"dead_letters": 1, "quarantined_segments": 1}}
    (told,) = noted.entries
    assert (told.action, told.site_id, told.rows) == ("expire", GONE, 2)
    assert told.details == {
        "state": "begun",
        "before": "2026-10-31",
        "dead_letters": "1",
        "quarantined_segments": "1",
    }
    assert await expiry._remove_from_files() == {}
    assert len(noted.entries) == 1

    removal = SiteRemoval(
        cast(Store, None),
        cast(Sites, Removed()),
        letters=places[0],
        quarantine=places[1],
        recorder=noted,
        holder="a test",
    )

    def killed(site_id: str) -> dict[str, int]:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(removal, "_clean_files", killed)
        for _ in range(3):
            with pytest.raises(OSError, match="killed"):
                await removal._clean_own_files()
    assert [(one.action, one.details) for one in noted.entries[1:]] == [("erase_site", {"state": "begun"})]
    await removal._clean_own_files()
    assert noted.entries[-1].details == {"state": "done", "dead_letters": "1", "quarantined_segments": "1"}
    assert [rows_beside(place) for place in places] == [[], []]


class Removed:
    """Sites of which one was removed with its data, by another server."""

    def removals(self) -> dict[str, bool]:
        return {LEFT: False}

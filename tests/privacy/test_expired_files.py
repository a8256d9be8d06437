"""Rows of dead letters and quarantined segments go with the age of their batch, site by site."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from analytics_server.batch_ids import new_batch_id
from analytics_server.privacy.expiry.expired_files import remove_expired
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

    assert remove_expired(*places, {GONE: AFTER, LEFT: BEFORE}, None) == {
        GONE: {"dead_letters": 1, "quarantined_segments": 1}
    }
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

    assert remove_expired(letters, quarantine, {LEFT: AFTER, GONE: AFTER}, AFTER) == {
        "": {"quarantined_files": 3},
        LEFT: {"dead_letters": 1},
    }
    assert list(quarantine.iterdir()) == []

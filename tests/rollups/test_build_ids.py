"""Build ids: newer ones are greater, whatever the clock says."""

from __future__ import annotations

from analytics_server.rollups.build_ids import first_build_id, new_build_id

NOW = 1_762_000_000.25


def test_newer_builds_have_greater_ids() -> None:
    ids = [new_build_id(NOW + number, 0) for number in range(100)]

    assert ids == sorted(set(ids))
    assert all(first_build_id(NOW + number) <= build_id for number, build_id in enumerate(ids))
    assert all(build_id < first_build_id(NOW + number + 0.001) for number, build_id in enumerate(ids))


def test_a_build_is_newer_than_the_one_before_even_if_the_clock_was_set_back() -> None:
    before = new_build_id(NOW, 0)

    assert new_build_id(NOW - 3_600, before) == before + 1


def test_builds_of_one_millisecond_have_room_to_differ() -> None:
    """Rows of two builds of a site with one id would be counted with each other."""
    assert first_build_id(NOW + 0.001) - first_build_id(NOW) == 1 << 20


def test_builds_of_earlier_versions_are_older_than_all_others() -> None:
    """They had 12 random bits."""
    long_after = int((NOW + 10 * 365 * 86_400) * 1000) << 12
    assert long_after < new_build_id(NOW, 0)
    assert new_build_id(NOW, long_after) < 1 << 63

"""Builds are told apart, and newer ones are greater, whatever a server's clock says."""

from __future__ import annotations

from analytics_server.query.build_ids import first_build_id, new_build_id

AT_S = 1_762_000_000.123


def test_a_build_is_not_smaller_than_the_moment_it_was_made_at() -> None:
    assert first_build_id(AT_S) <= new_build_id(AT_S) < first_build_id(AT_S + 0.002)


def test_a_build_is_greater_than_one_from_a_clock_that_is_ahead() -> None:
    ahead = new_build_id(AT_S + 3_600)
    assert new_build_id(AT_S, newest=ahead) == ahead + 1


def test_ids_of_earlier_versions_keep_their_meaning() -> None:
    assert first_build_id(1.5) == 1_500 * 4_096

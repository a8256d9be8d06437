"""Do Not Track and Global Privacy Control are obeyed when the site says so."""

from __future__ import annotations

import pytest

from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.privacy_signal import privacy_signal


@pytest.mark.parametrize(
    ("dnt", "gpc", "expected"),
    [
        (None, None, None),
        ("1", None, DropReason.DNT),
        (None, "1", DropReason.GPC),
        ("1", "1", DropReason.GPC),
        (" 1 ", None, DropReason.DNT),
        ("0", "0", None),
        ("unspecified", "?1", None),
        ("", "", None),
        ("11", "true", None),
    ],
)
def test_only_the_value_one_is_a_request(dnt: str | None, gpc: str | None, expected: DropReason | None) -> None:
    assert privacy_signal(dnt, gpc, respect_dnt=True, respect_gpc=True) is expected


def test_each_signal_can_be_switched_off() -> None:
    assert privacy_signal("1", "1", respect_dnt=True, respect_gpc=False) is DropReason.DNT
    assert privacy_signal("1", None, respect_dnt=False, respect_gpc=True) is None
    assert privacy_signal("1", "1", respect_dnt=False, respect_gpc=False) is None

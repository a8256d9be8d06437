"""Numbers of SQL are shown as they are, and what is no number is never shown as one."""

from __future__ import annotations

import pytest

from analytics_server.query.answer import whole_number


@pytest.mark.parametrize(("value", "shown"), [(0, 0), (2**63, 2**63), ("18446744073709551615", 2**64 - 1)])
def test_a_whole_number_may_come_as_a_text(value: object, shown: int) -> None:
    assert whole_number(value) == shown


@pytest.mark.parametrize("value", [None, "", 1.5, "a"])
def test_what_is_no_whole_number_is_not_taken_for_zero(value: object) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        whole_number(value)

"""How much a regular expression stands for is told without compiling it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.query.language.regexps import MOST_WEIGHT, weight_of


@pytest.mark.parametrize(
    ("pattern", "least", "most"),
    [
        ("", 0, 0),
        ("/blog/.*", 8, 8),
        ("^/(de|en)/produkt/[0-9]+$", 20, 40),
        ("a{1000}", 1_000, 1_000),
        ("(a{100}){100}", 10_000, 10_300),
        ("((a{1,100}){1,100}){2,}", 20_000, 20_700),
        ("[a-z]{3,500}", 2_000, 4_000),
        (r"\p{L}{100}", 30_000, 30_000),
        (r"\pL{100}", 30_000, 30_000),
        (r"[\p{L}x]{100}", 30_000, 31_000),
        (r"a\{1000}", 7, 10),
        (r"\\{1000}", 1_000, 1_000),
        ("[{1000}]", 4, 10),
        ("[]a]{500}", 2_000, 3_000),
        ("{1000}", 0, 0),
        ("(((", 0, 0),
        (")))a{9}", 9, 20),
        ("|".join(f"/page-{n}" for n in range(100)), 700, 900),
    ],
)
def test_weight(pattern: str, least: int, most: int) -> None:
    assert least <= weight_of(pattern) <= most


@given(st.text(alphabet="ab(){}[]|*+?\\pP^,0123456789", max_size=200))
def test_any_text_has_a_weight(pattern: str) -> None:
    assert weight_of(pattern) >= 0
    assert weight_of(f"(?:{pattern.replace('(', '').replace(')', '')})") >= 0


def test_what_people_write_is_far_below_the_limit() -> None:
    assert weight_of(r"^(https?://)?([\w-]+\.)+[\w]{2,63}(/[^?#]*)?(\?.*)?$") < MOST_WEIGHT / 10

"""One rule for upper and lower case: what folds to the same is found, by the pattern as by the folding."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_server.spelling.case_folding import RANGES, fold, pattern

SAME = [
    ("σίσυφος", "ΣΊΣΥΦΟΣ"),
    ("σίσυφος", "Σι\u0301συφοσ"),
    ("straße", "STRASSE"),
    ("straße", "STRAẞE"),
    ("Maſſe", "MASSE"),
    ("café", "CAFE\u0301"),
    ("İstanbul", "istanbul"),
    ("ISPARTA", "ısparta"),
    ("i\u0307zmir", "IZMIR"),
    ("việt", "VIE\u0323\u0302T"),
    ("việt", "VI\u00ca\u0323T"),
    ("Ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ"),
    ("ᾳ", "ΑΙ"),
    ("ﬁne", "FINE"),
    ("office", "oﬃce"),
    ("kelvin", "\u212aELVIN"),
    ("ÅNGSTRÖM", "\u212bngstro\u0308m"),
    ("\u01c5ungla", "\u01c6ungla"),
    ("привет", "ПРИВЕТ"),
    ("한글", unicodedata.normalize("NFD", "한글")),
    ("a-b]c[d^e\\f", "A-B]C[D^E\\F"),
    (".*", ".*"),
    ("", ""),
]
OTHER = [("e", "é"), ("σ", "ο"), ("ss", "s"), ("i", "l"), ("n", "ñ"), (".*", "ab"), ("日", "本"), ("1", "i")]
ALPHABET = "aAbßẞsSſσςΣiIİıkK\u212aéÉe\u0301fﬁﬀlüÜ日-]^[\\.*(|"


def equal(one: str, other: str) -> bool:
    return re.fullmatch(pattern(one), other) is not None


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_is_one_without_case_is_found_both_ways(one: str, other: str) -> None:
    assert fold(one) == fold(other)
    assert equal(one, other)
    assert equal(other, one)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_other_texts_stay_others(one: str, other: str) -> None:
    assert fold(one) != fold(other)
    assert not equal(one, other)
    assert not equal(other, one)


@settings(max_examples=300)
@given(one=st.text(ALPHABET, max_size=4), other=st.text(ALPHABET, max_size=4))
def test_the_pattern_fits_what_folds_to_the_same(one: str, other: str) -> None:
    assert equal(one, other) is (fold(one) == fold(other))


@settings(max_examples=300)
@given(text=st.text(max_size=12))
def test_a_text_fits_its_own_pattern_and_folding_twice_changes_nothing(text: str) -> None:
    assert equal(text, text)
    assert equal(text, fold(text))
    assert fold(fold(text)) == fold(text)


def test_every_character_that_folds_is_known() -> None:
    """A newer Unicode has characters in other places: then `RANGES` must grow."""
    left_out = (range(0xAC00, 0xD7A4), range(0xD800, 0xE000), range(0x2F800, 0x2FA20))
    every = (code for code in range(0x110000) if not any(code in part for part in (*RANGES, *left_out)))
    assert [hex(code) for code in every if fold(chr(code)) != chr(code)] == []


def test_a_long_row_of_joining_letters_stays_short() -> None:
    assert len(pattern("s" * 2_048)) < 2_048 * 300
    assert equal("s" * 40, "ß" + "S" * 38)

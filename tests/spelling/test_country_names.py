"""The table of countries: every code and name leads to one country, and codes of none are apart from it."""

from __future__ import annotations

import pytest

from analytics_server.errors import RequestError
from analytics_server.spelling.countries import OTHER_CODES, countries, country_code, country_lists, country_name


def test_every_code_and_name_leads_to_its_country() -> None:
    for code, country in countries().items():
        for text in (
            code,
            code.lower(),
            country.name,
            *set(country.aliases).difference([country.alpha3]),
            country.name.upper(),
        ):
            assert country_code(text, "here") == code, text
        assert country_name(code) == country.name


def test_the_lists_belong_together_and_names_are_distinct() -> None:
    lists = country_lists()
    assert dict(zip(lists["codes"], lists["names"], strict=True)) == {c: one.name for c, one in countries().items()}
    assert len(set(lists["names"])) == len(lists["names"]) == len(countries()) >= 250


def test_codes_of_no_country_are_taken_as_they_are() -> None:
    for code in OTHER_CODES - set(countries()):
        assert country_code(code.lower(), "here") == code
        assert country_name(code) == code


@pytest.mark.parametrize("text", ["YY", "Q1", "1", "Atlantis", "x" * 2_048, "'; --", "*"])
def test_what_is_no_country_is_refused(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        country_code(text, "filters[0]")
    assert caught.value.code == "unknown_country"
    assert len(caught.value.message) < 400

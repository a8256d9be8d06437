"""The table of countries: complete, and no name means two of them."""

from __future__ import annotations

import re
from collections import defaultdict
from importlib import resources

import msgspec
import pytest


class _Country(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    alpha3: str
    aliases: list[str]


COUNTRIES = msgspec.json.decode(
    resources.files("analytics_server.spelling").joinpath("countries.json").read_bytes(), type=dict[str, _Country]
)


@pytest.mark.parametrize("code", sorted(COUNTRIES))
def test_a_country_has_a_code_a_name_and_aliases_of_its_own(code: str) -> None:
    country = COUNTRIES[code]
    known = [country.name, *country.aliases]

    assert re.fullmatch(r"[A-Z]{2}", code)
    assert re.fullmatch(r"[A-Z]{3}", country.alpha3)
    assert country.name.strip() == country.name != ""
    assert all(alias.strip() == alias != "" for alias in country.aliases)
    assert len({each.casefold() for each in known}) == len(known)


def test_no_name_or_code_means_two_countries() -> None:
    codes: dict[str, set[str]] = defaultdict(set)
    for code, country in COUNTRIES.items():
        for text in (code, country.alpha3, country.name, *country.aliases):
            codes[text.casefold()].add(code)

    assert not {text: found for text, found in codes.items() if len(found) > 1}


def test_all_of_iso_3166_and_kosovo_are_there() -> None:
    assert len(COUNTRIES) == 250
    assert list(COUNTRIES) == sorted(COUNTRIES)


@pytest.mark.parametrize(
    ("code", "name", "alpha3", "alias"),
    [
        ("US", "United States", "USA", "America"),
        ("GB", "United Kingdom", "GBR", "Great Britain"),
        ("DE", "Germany", "DEU", "Deutschland"),
        ("TR", "Türkiye", "TUR", "Turkey"),
        ("CI", "Côte d'Ivoire", "CIV", "Ivory Coast"),
        ("CZ", "Czechia", "CZE", "Czech Republic"),
        ("XK", "Kosovo", "XKX", "Kosova"),
        ("PS", "Palestine", "PSE", "Palestinian Territories"),
        ("TW", "Taiwan", "TWN", "Taiwan, Province of China"),
        ("HK", "Hong Kong", "HKG", "Hong Kong SAR"),
        ("CD", "DR Congo", "COD", "Democratic Republic of the Congo"),
        ("CG", "Congo", "COG", "Republic of the Congo"),
        ("KR", "South Korea", "KOR", "Republic of Korea"),
        ("KP", "North Korea", "PRK", "DPRK"),
        ("MK", "North Macedonia", "MKD", "Macedonia"),
        ("SZ", "Eswatini", "SWZ", "Swaziland"),
        ("CV", "Cape Verde", "CPV", "Cabo Verde"),
        ("BA", "Bosnia and Herzegovina", "BIH", "Bosnia & Herzegovina"),
        ("AQ", "Antarctica", "ATA", ""),
    ],
)
def test_countries_are_named_as_people_name_them(code: str, name: str, alpha3: str, alias: str) -> None:
    country = COUNTRIES[code]

    assert (country.name, country.alpha3) == (name, alpha3)
    assert not alias or alias in country.aliases

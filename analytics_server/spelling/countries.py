"""Countries by code and name: what filters on them take, and what answers show.

The table is `countries.json`: ISO 3166-1 and Kosovo. Geo files know a few codes more, which stand for no country but
are stored as they came; filters take those that ISO 3166-1 leaves to its users or keeps reserved. Pure.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib import resources
from string import ascii_uppercase

import msgspec

from analytics_server.errors import RequestError

CODE_CHARS = 2

OTHER_CODES = frozenset(
    {
        *("AA", "ZZ"),
        *(f"Q{second}" for second in "MNOPQRSTUVWXYZ"),
        *(f"X{second}" for second in ascii_uppercase),
        *("AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "FX", "IC", "SU", "TA", "UN"),
        "AP",
    }
)  # fmt: skip
"""Codes that ISO 3166-1 leaves to its users or keeps reserved, and Asia/Pacific of older geo files."""

NEAREST_CHARS = 120

_APART = re.compile(r"[^\w]+|_")


class Country(msgspec.Struct, frozen=True):
    """One country of the table."""

    name: str
    alpha3: str
    aliases: tuple[str, ...] = ()


@cache
def countries() -> dict[str, Country]:
    """All countries by their two-letter code."""
    packed = resources.files("analytics_server.spelling").joinpath("countries.json").read_bytes()
    return msgspec.json.decode(packed, type=dict[str, Country])


@cache
def country_lists() -> Mapping[str, tuple[str, ...]]:
    """`codes` and, in the same order, `names`."""
    return {"codes": tuple(countries()), "names": tuple(country.name for country in countries().values())}


def country_name(code: str) -> str:
    """The name, or the code where it has none."""
    country = countries().get(code)
    return code if country is None else country.name


def country_code(text: str, place: str) -> str:
    """The code of a country by its code of two letters or one of its names. Raises `RequestError`.

    Codes of three letters are refused with the code that is stored: two ways to write a code invite mistakes. Case,
    accents and punctuation don't matter. `place`: where it stands in the request, for messages.
    """
    if len(text) == CODE_CHARS and (code := text.upper()) in OTHER_CODES and code not in countries():
        return code
    found = _known().get(_key(text))
    if found is None:
        raise RequestError(
            f"There is no country {text[:NEAREST_CHARS]!r} ({place}).{_nearest(text)} Write a code such as DE"
            ' or a name such as Germany; "" is unknown.',
            code="unknown_country",
        )
    return found


@cache
def _known() -> dict[str, str]:
    found = {}
    for code, country in countries().items():
        for text in (*country.aliases, country.name, code):
            if text != country.alpha3:
                found[_key(text)] = code
    return found


@cache
def _of_three_letters() -> dict[str, str]:
    return {country.alpha3: code for code, country in countries().items()}


def _key(text: str) -> str:
    """Without capitals, accents, punctuation and articles."""
    plain = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    words = _APART.sub(" ", plain.casefold().replace("&", " and ")).split()
    return " ".join(words[1:] if len(words) > 1 and words[0] == "the" else words)


def _nearest(text: str) -> str:
    code = _of_three_letters().get(text.upper())
    if code is None:
        close = difflib.get_close_matches(_key(text[:NEAREST_CHARS]), _known(), n=1, cutoff=0.6)
        if not close:
            return ""
        code = _known()[close[0]]
    return f" Did you mean {country_name(code)!r} ({code})?"

"""Filters on sources and referrers find what beacons are stored with, however it is written."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.collect.enrich.agent import AgentParser
from analytics_server.collect.enrich.first_touch import FirstTouch
from analytics_server.collect.enrich.geo import GeoLocator
from analytics_server.collect.enrich.referrer import ReferrerClassifier
from analytics_server.collect.enrich.url import UrlCleaner
from analytics_server.collect.formats.beacon import Beacon
from analytics_server.model import SESSION_ATTRIBUTES
from analytics_server.query.language.conditions import Match, matches
from analytics_server.query.language.filters import parse_filters
from analytics_server.spelling.source_names import SPAM, load_sources

SOURCES = load_sources()
CLEANER = UrlCleaner((), True, 2_048)
FIRST_TOUCH = FirstTouch(CLEANER, ReferrerClassifier(SOURCES), AgentParser(10), GeoLocator(""))

SHOWN = [name for kind, names in SOURCES.kinds.items() if kind != SPAM for name in names]
HOSTS = [
    host.strip("=").replace(".*", ".com")
    for kind, names in SOURCES.kinds.items()
    if kind != SPAM
    for hosts in names.values()
    for host in hosts
]
PRODUCTS = [spelling for names in SOURCES.ad_products.values() for found in names.values() for spelling in found]
TAGS = [*SHOWN, *HOSTS, *PRODUCTS, *(spelling for found in SOURCES.aliases.values() for spelling in found)]
OWN_AND_A_PRODUCT = ("Google Ads",)
"""Shown for the host of a known source, but as a tag the name of an advertisement, which is stored by its network."""

words = st.text(st.characters(exclude_categories=("C", "Zl", "Zp"), exclude_characters="@"), max_size=40)
cased = st.sampled_from((str, str.lower, str.upper, str.title))
known = st.builds(
    lambda name, case, space, around: around.replace("_", case(name).replace(" ", space)),
    st.sampled_from(TAGS),
    cased,
    st.sampled_from((" ", "-", "_", "")),
    st.sampled_from(("_", "_", " _ ", "_-ads", "www._", "cpc _", "https://www._/a?b", "_ newsletter")),
)
odd = st.sampled_from(
    ("direct", "(not set)", "NULL", "  ", "https://News.example/A/?b=c", "xn--mller-kva.example", "MÜLLER.de")
)
tags = st.one_of(known, words, odd, words.map(lambda text: f"www.{text}.Example"))
labels = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?", fullmatch=True)
hosts = st.one_of(st.sampled_from(HOSTS), st.lists(labels, min_size=2, max_size=3).map(".".join))
paths = st.sampled_from(("", "/", "/a", "/A/b/", "/caf%C3%A9/", "/café", "/a?b=c", "/a/#d", "?e"))


def stored(query: str = "", referrer: str = "") -> dict[str, str] | None:
    """The attributes of a session that begins so; None for spam."""
    url = f"https://own-site.example/?{query}"
    page = CLEANER.clean(url)
    assert page is not None
    beacon = Beacon(site="own-site.example", name="pageview", url=url, referrer=referrer)
    attributes = FIRST_TOUCH.read(beacon, page, "192.0.2.1", "", "")
    return None if attributes is None else dict(zip(SESSION_ATTRIBUTES, attributes, strict=True))


def sought(dimension: str, text: str, *, operator: str = "is") -> tuple[str, ...]:
    """What a filter looks for."""
    (match,) = matches(parse_filters([[operator, dimension, [text]]]))
    assert isinstance(match, Match)
    return match.spellings


@given(tags, st.sampled_from(("utm_source", "ref", "source")))
def test_every_tag_finds_the_source_that_it_is_stored_by(text: str, key: str) -> None:
    found = stored(f"{key}={quote(text, safe='')}")
    assert found is not None
    if text.strip() not in OWN_AND_A_PRODUCT:
        assert found["source"] in sought("visit:source", text)
        if "*" not in text:
            assert found["source"] in sought("visit:source", text, operator="matches_wildcard")
    assert found["source"] in sought("visit:source", found["source"])


@given(st.sampled_from(("http://", "https://", "HTTPS://")), st.sampled_from(("", "www.")), hosts, paths)
def test_every_referrer_finds_its_source_and_itself(scheme: str, www: str, host: str, path: str) -> None:
    raw = f"{scheme}{www}{host}{path}"
    found = stored(referrer=raw)
    if found is None or not found["referrer"]:
        return
    assert found["source"] in sought("visit:source", raw)
    assert found["source"] in sought("visit:source", f"{www}{host}")
    without_scheme = re.sub("^[^:]*://", "", raw)
    for text in (raw, without_scheme, found["referrer"]):
        assert found["referrer"] in sought("visit:referrer", text)


@pytest.mark.parametrize("name", SHOWN)
def test_a_name_that_is_shown_stands_for_itself_alone(name: str) -> None:
    assert sought("visit:source", name) == (name,)


@given(words)
def test_what_is_stored_finds_nothing_else_when_it_is_given_again(text: str) -> None:
    """So a row of the dashboard that is chosen as a filter keeps its numbers."""
    found = stored(f"utm_source={quote(text, safe='')}")
    assert found is not None
    assert sought("visit:source", found["source"]) == (found["source"],)

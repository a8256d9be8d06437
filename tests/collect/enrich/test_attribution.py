"""Where a session came from: referrer, campaign tags and click ids together, a row of `attribution.json` a case."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from analytics_server.collect.enrich.agent import AgentParser
from analytics_server.collect.enrich.first_touch import FirstTouch
from analytics_server.collect.enrich.geo import GeoLocator
from analytics_server.collect.enrich.referrer import ReferrerClassifier
from analytics_server.collect.enrich.url import CLICK_ID_KEYS, UrlCleaner
from analytics_server.collect.formats.beacon import Beacon
from analytics_server.model import SESSION_ATTRIBUTES
from analytics_server.spelling.source_names import load_sources

CASES = msgspec.json.decode(
    Path(__file__).with_name("attribution.json").read_bytes(), type=list[tuple[str, str, str, str, str]]
)
SOURCES = load_sources()
CLEANER = UrlCleaner((), True, 2_048)
FIRST_TOUCH = FirstTouch(CLEANER, ReferrerClassifier(SOURCES), AgentParser(10), GeoLocator(""))


def touch(query: str, referrer: str) -> dict[str, str]:
    url = f"https://example.com/?{query}"
    page = CLEANER.clean(url)
    assert page is not None
    beacon = Beacon(site="example.com", name="pageview", url=url, referrer=referrer)
    attributes = FIRST_TOUCH.read(beacon, page, "192.0.2.1", "", "")
    assert attributes is not None
    return dict(zip(SESSION_ATTRIBUTES, attributes, strict=True))


@pytest.mark.parametrize(("query", "referrer", "source", "medium", "channel"), CASES)
def test_a_session_is_attributed(query: str, referrer: str, source: str, medium: str, channel: str) -> None:
    found = touch(query, referrer)
    assert (found["source"], found["utm_medium"], found["channel"]) == (source, medium, channel)


def test_the_cases_are_many_and_each_once() -> None:
    assert len({(query, referrer) for query, referrer, *_ in CASES}) == len(CASES) >= 150


@pytest.mark.parametrize("spelling", ["newsletter", "Newsletter", "NEWSLETTER"])
def test_the_tag_keeps_its_spelling(spelling: str) -> None:
    assert touch(f"utm_source={spelling}", "")["utm_source"] == spelling


def test_every_click_id_has_a_network_and_a_case() -> None:
    assert tuple(SOURCES.click_ids) == CLICK_ID_KEYS
    seen = {pair.partition("=")[0].lower() for query, *_ in CASES for pair in query.split("&")}
    assert seen.issuperset(CLICK_ID_KEYS)


def test_click_ids_and_ad_products_name_sources_of_the_list() -> None:
    names = {name for entry in SOURCES.kinds.values() for name in entry}
    for click in SOURCES.click_ids.values():
        assert names.issuperset((click.source, *click.also))
    for products in SOURCES.ad_products.values():
        assert names.issuperset(products)


def test_the_documentation_lists_every_click_id() -> None:
    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    table = text.partition("<!-- click-ids -->")[2].partition("<!-- end: click-ids -->")[0]
    listed = {
        cell for line in table.splitlines() for cell in re.findall(r"`(\w+)`", line.split("|")[1] if line else "")
    }
    assert listed == set(CLICK_ID_KEYS)


def test_the_same_referrer_of_two_sites_is_told_apart_by_their_hosts() -> None:
    page = CLEANER.clean("https://a.example/")
    assert page is not None
    beacon = Beacon(
        site="a.example", name="pageview", url="https://a.example/", referrer="https://www.blog.a.example/x/"
    )
    found = [
        FIRST_TOUCH.read(beacon, page, "192.0.2.1", "", "", allowed_hosts)
        for allowed_hosts in ((), ("a.example", "blog.a.example"))
    ]
    assert [attributes and attributes[:3] for attributes in found] == [
        ("blog.a.example/x", "blog.a.example", "Referral"),
        ("", "Direct", "Direct"),
    ]

"""Campaign tags and click ids of a page's URL."""

from __future__ import annotations

import pytest

from analytics_server.collect.enrich.campaign import NO_CAMPAIGN, Campaign, campaign
from analytics_server.collect.enrich.url import UrlCleaner

CLEANER = UrlCleaner((), True, 2_048)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", NO_CAMPAIGN),
        ("page=2&x=utm_source", NO_CAMPAIGN),
        (
            "utm_source=a&utm_medium=b&utm_campaign=c&utm_content=d&utm_term=e",
            Campaign("a", "b", "c", "d", "e"),
        ),
        ("UTM_SOURCE=A", Campaign(utm_source="A")),
        ("ref=producthunt", Campaign(ref="producthunt")),
        ("source=partner", Campaign(ref="partner")),
        ("source=partner&ref=friend", Campaign(ref="friend")),
        ("utm_source=x&ref=friend", Campaign(utm_source="x", ref="friend")),
        ("gclid=abc", Campaign(click_id_kind="gclid")),
        ("fbclid=abc&gclid=def", Campaign(click_id_kind="gclid")),
        ("li_fat_id=abc", Campaign(click_id_kind="li_fat_id")),
    ],
)
def test_reads_tags_and_the_kind_of_click_id(query: str, expected: Campaign) -> None:
    url = CLEANER.clean("https://example.com/?" + query)
    assert url is not None
    assert campaign(url.query) == expected


def test_a_url_without_tags_costs_no_new_object() -> None:
    assert campaign({}) is NO_CAMPAIGN

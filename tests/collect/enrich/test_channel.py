"""Channels follow GA4's rules, in their order."""

from __future__ import annotations

import pytest

from analytics_server.collect.enrich.campaign import NO_CAMPAIGN, Campaign
from analytics_server.collect.enrich.channel import Channel, channel, source
from analytics_server.collect.enrich.referrer import ReferrerClassifier
from analytics_server.spelling.source_names import DIRECT, Referrer, load_sources

CLASSIFIER = ReferrerClassifier(load_sources())


def _channel(host: str, tags: Campaign) -> str:
    referrer = CLASSIFIER.classify(host, "example.com")
    origin = source(tags, referrer, CLASSIFIER)
    return str(channel(origin, tags, referrer is not DIRECT))


def _tags(
    utm_source: str = "", utm_medium: str = "", utm_campaign: str = "", click: str = "", ref: str = ""
) -> Campaign:
    return Campaign(utm_source, utm_medium, utm_campaign, ref=ref, click_id_kind=click)


CASES: tuple[tuple[str, Campaign, str], ...] = (
    # host of the referrer, tags, channel
    ("", _tags("google", "cpc", "Summer Cross-Network"), "Cross-network"),
    ("", _tags("amazon", "cpc", "cross-network"), "Cross-network"),
    ("", _tags("", "", "cross-network"), "Cross-network"),
    ("", _tags("amazon", "cpc"), "Paid Shopping"),
    ("", _tags("ebay", "paid"), "Paid Shopping"),
    ("", _tags("google", "cpc", "spring shopping"), "Paid Shopping"),
    ("", _tags("facebook", "cpc", "shop"), "Paid Shopping"),
    ("", _tags("google", "ppc", "e-shop"), "Paid Shopping"),
    ("", _tags("google", "cpc", "workshop"), "Paid Search"),
    ("", _tags("google", "cpc", "workshop and eshop"), "Paid Shopping"),
    ("", _tags("google", "cpc", "eshop"), "Paid Shopping"),
    ("", _tags("google", "cpc"), "Paid Search"),
    ("", _tags("Google", "CPC"), "Paid Search"),
    ("", _tags("bing", "ppc"), "Paid Search"),
    ("", _tags("duckduckgo", "paid_search"), "Paid Search"),
    ("", _tags("google", "retargeting"), "Paid Search"),
    ("", _tags("google", "cpm"), "Paid Search"),
    ("www.google.com", _tags("", "cpc"), "Paid Search"),
    ("www.google.com", _tags(click="gclid"), "Paid Search"),
    ("www.google.de", _tags(click="gbraid"), "Paid Search"),
    ("www.google.de", _tags(click="wbraid"), "Paid Search"),
    ("www.bing.com", _tags(click="msclkid"), "Paid Search"),
    ("", _tags("google", "", click="gclid"), "Paid Search"),
    ("www.bing.com", _tags(click="gclid"), "Organic Search"),
    ("www.google.com", _tags(click="fbclid"), "Organic Search"),
    ("", _tags("facebook", "cpc"), "Paid Social"),
    ("", _tags("fb", "paid"), "Paid Social"),
    ("", _tags("ig", "paid-social"), "Paid Social"),
    ("l.facebook.com", _tags("", "cpc"), "Paid Social"),
    ("", _tags("linkedin", "cpm"), "Paid Social"),
    ("", _tags("youtube", "cpc"), "Paid Video"),
    ("vimeo.com", _tags("", "paidvideo"), "Paid Video"),
    ("", _tags("site", "display"), "Display"),
    ("", _tags("site", "banner"), "Display"),
    ("", _tags("site", "expandable"), "Display"),
    ("", _tags("site", "interstitial"), "Display"),
    ("", _tags("site", "cpm"), "Display"),
    ("", _tags("facebook", "display"), "Display"),
    ("", _tags("site", "cpc"), "Paid Other"),
    ("", _tags("newsletter", "paid"), "Paid Other"),
    ("chatgpt.com", _tags("", "cpc"), "Paid Other"),
    ("", _tags("site", "retargeting"), "Paid Other"),
    ("www.amazon.de", NO_CAMPAIGN, "Organic Shopping"),
    ("", _tags("amazon", "referral"), "Organic Shopping"),
    ("", _tags("newsletter", "email", "shop"), "Email"),
    ("t.co", NO_CAMPAIGN, "Organic Social"),
    ("l.facebook.com", _tags(click="fbclid"), "Organic Social"),
    ("", _tags("anyone", "social"), "Organic Social"),
    ("", _tags("anyone", "social-network"), "Organic Social"),
    ("", _tags("anyone", "sm"), "Organic Social"),
    ("www.google.com", _tags("", "social media"), "Organic Social"),
    ("www.youtube.com", NO_CAMPAIGN, "Organic Video"),
    ("", _tags("anyone", "ourvideos"), "Organic Video"),
    ("chatgpt.com", NO_CAMPAIGN, "AI Assistants"),
    ("", _tags("chatgpt.com"), "AI Assistants"),
    ("gemini.google.com", NO_CAMPAIGN, "AI Assistants"),
    ("", _tags("perplexity", "organic"), "AI Assistants"),
    ("www.google.com", NO_CAMPAIGN, "Organic Search"),
    ("com.google.android.googlequicksearchbox", NO_CAMPAIGN, "Organic Search"),
    ("", _tags("google"), "Organic Search"),
    ("", _tags("anyone", "organic"), "Organic Search"),
    ("www.bing.com", _tags("", "email"), "Email"),
    ("mail.google.com", NO_CAMPAIGN, "Email"),
    ("", _tags("newsletter", "email"), "Email"),
    ("", _tags("newsletter", "E-Mail"), "Email"),
    ("", _tags("e_mail"), "Email"),
    ("", _tags(ref="email"), "Email"),
    ("", _tags("partner", "affiliate"), "Affiliates"),
    ("", _tags("partner", "affiliates"), "Affiliates"),
    ("blog.example", _tags("", "affiliate"), "Affiliates"),
    ("", _tags("podcast", "audio"), "Audio"),
    ("", _tags("sms"), "SMS"),
    ("", _tags("anyone", "sms"), "SMS"),
    ("", _tags("anyone", "push"), "Mobile Push Notifications"),
    ("", _tags("anyone", "web-push"), "Mobile Push Notifications"),
    ("", _tags("anyone", "mobile-app"), "Mobile Push Notifications"),
    ("", _tags("anyone", "notification"), "Mobile Push Notifications"),
    ("", _tags("firebase"), "Mobile Push Notifications"),
    ("blog.example", NO_CAMPAIGN, "Referral"),
    ("github.com", NO_CAMPAIGN, "Referral"),
    ("", _tags("anyone", "referral"), "Referral"),
    ("", _tags("", "app"), "Referral"),
    ("", _tags("", "link"), "Referral"),
    ("", _tags("newsletter"), "Email"),
    ("", _tags("partner"), "Referral"),
    ("", _tags(ref="friend"), "Referral"),
    ("blog.example", _tags("direct"), "Referral"),
    ("", NO_CAMPAIGN, "Direct"),
    ("www.example.com", NO_CAMPAIGN, "Direct"),
    ("", _tags(click="fbclid"), "Organic Social"),
    ("", _tags("", "", "spring"), "Direct"),
    ("", _tags("", "something"), "Direct"),
    ("", _tags("direct"), "Direct"),
)


@pytest.mark.parametrize(("host", "tags", "expected"), CASES)
def test_groups_as_ga4_does(host: str, tags: Campaign, expected: str) -> None:
    assert _channel(host, tags) == expected


def test_the_cases_cover_every_channel() -> None:
    assert {expected for _, _, expected in CASES} == {str(one) for one in Channel}


def test_channels_are_in_the_order_they_are_tried() -> None:
    assert [str(one) for one in Channel] == [
        "Cross-network",
        "Paid Shopping",
        "Paid Search",
        "Paid Social",
        "Paid Video",
        "Display",
        "Paid Other",
        "Organic Shopping",
        "Organic Social",
        "Organic Video",
        "AI Assistants",
        "Organic Search",
        "Email",
        "Affiliates",
        "Audio",
        "SMS",
        "Mobile Push Notifications",
        "Referral",
        "Direct",
    ]


@pytest.mark.parametrize("kind", [*load_sources().kinds, "direct", ""])
def test_a_session_without_tags_gets_the_channel_it_would_get_with_an_unknown_tag(kind: str) -> None:
    name = "Direct" if kind == "direct" else "any"
    for has_referrer in (False, True):
        plain = channel(Referrer(name, kind), NO_CAMPAIGN, has_referrer)
        assert plain == channel(Referrer(name, kind), Campaign(utm_content="x"), has_referrer)


@pytest.mark.parametrize(
    ("tags", "host", "expected"),
    [
        (_tags("fb", ref="hn"), "www.google.com", Referrer("Facebook", "social")),
        (_tags(ref="hn"), "www.google.com", Referrer("Google", "search")),
        (_tags(ref="hn"), "blog.example", Referrer("Hacker News", "social")),
        (_tags("newsletter"), "mail.google.com", Referrer("newsletter", "email")),
        (NO_CAMPAIGN, "www.google.com", Referrer("Google", "search")),
        (NO_CAMPAIGN, "", Referrer("Direct", "direct")),
        (_tags(utm_medium="email"), "", Referrer("Direct", "direct")),
    ],
)
def test_tags_and_referrer_name_the_source(tags: Campaign, host: str, expected: Referrer) -> None:
    assert source(tags, CLASSIFIER.classify(host), CLASSIFIER) == expected

"""Hosts and campaign sources get their names and kinds."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from analytics_server.collect.enrich.referrer import ReferrerClassifier
from analytics_server.spelling.source_names import DIRECT, Referrer, load_sources

SOURCES = load_sources()
CLASSIFIER = ReferrerClassifier(SOURCES)


@pytest.mark.parametrize(
    ("host", "name", "kind"),
    [
        ("www.google.com", "Google", "search"),
        ("google.com", "Google", "search"),
        ("www.google.co.uk", "Google", "search"),
        ("www.google.com.br", "Google", "search"),
        ("www.google.se", "Google", "search"),
        ("www.google.cat", "Google", "search"),
        ("com.google.android.googlequicksearchbox", "Google", "search"),
        ("news.google.com", "Google News", "referral"),
        ("docs.google.com", "Google Docs", "referral"),
        ("classroom.google.com", "classroom.google.com", "referral"),
        ("google.com.evil.example", "google.com.evil.example", "referral"),
        ("notgoogle.com", "notgoogle.com", "referral"),
        ("mail.google.com", "Gmail", "email"),
        ("com.google.android.gm", "Gmail", "email"),
        ("gemini.google.com", "Gemini", "ai"),
        ("shopping.google.com", "Google Shopping", "shopping"),
        ("www.bing.com", "Bing", "search"),
        ("cn.bing.com", "Bing", "search"),
        ("duckduckgo.com", "DuckDuckGo", "search"),
        ("html.duckduckgo.com", "DuckDuckGo", "search"),
        ("search.yahoo.com", "Yahoo!", "search"),
        ("uk.search.yahoo.com", "Yahoo!", "search"),
        ("search.yahoo.co.jp", "Yahoo!", "search"),
        ("mail.yahoo.com", "Yahoo! Mail", "email"),
        ("yandex.ru", "Yandex", "search"),
        ("ya.ru", "Yandex", "search"),
        ("www.yandex.com.tr", "Yandex", "search"),
        ("m.baidu.com", "Baidu", "search"),
        ("www.ecosia.org", "Ecosia", "search"),
        ("www.qwant.com", "Qwant", "search"),
        ("search.brave.com", "Brave Search", "search"),
        ("www.startpage.com", "Startpage", "search"),
        ("kagi.com", "Kagi", "search"),
        ("m.search.naver.com", "Naver", "search"),
        ("search.seznam.cz", "Seznam", "search"),
        ("l.facebook.com", "Facebook", "social"),
        ("m.facebook.com", "Facebook", "social"),
        ("l.instagram.com", "Instagram", "social"),
        ("t.co", "X", "social"),
        ("x.com", "X", "social"),
        ("lnkd.in", "LinkedIn", "social"),
        ("com.linkedin.android", "LinkedIn", "social"),
        ("old.reddit.com", "Reddit", "social"),
        ("www.pinterest.co.uk", "Pinterest", "social"),
        ("mastodon.social", "Mastodon", "social"),
        ("bsky.app", "Bluesky", "social"),
        ("www.threads.net", "Threads", "social"),
        ("news.ycombinator.com", "Hacker News", "social"),
        ("web.whatsapp.com", "WhatsApp", "social"),
        ("t.me", "Telegram", "social"),
        ("org.telegram.messenger", "Telegram", "social"),
        ("away.vk.com", "VK", "social"),
        ("www.youtube.com", "YouTube", "video"),
        ("youtu.be", "YouTube", "video"),
        ("vimeo.com", "Vimeo", "video"),
        ("www.twitch.tv", "Twitch", "video"),
        ("www.amazon.de", "Amazon", "shopping"),
        ("smile.amazon.co.uk", "Amazon", "shopping"),
        ("aws.amazon.com", "AWS", "referral"),
        ("www.ebay.com.au", "eBay", "shopping"),
        ("shop.myshopify.com", "Shopify", "shopping"),
        ("chatgpt.com", "ChatGPT", "ai"),
        ("chat.openai.com", "ChatGPT", "ai"),
        ("claude.ai", "Claude", "ai"),
        ("www.perplexity.ai", "Perplexity", "ai"),
        ("copilot.microsoft.com", "Copilot", "ai"),
        ("chat.deepseek.com", "DeepSeek", "ai"),
        ("chat.mistral.ai", "Mistral", "ai"),
        ("outlook.live.com", "Outlook", "email"),
        ("eur01.safelinks.protection.outlook.com", "Outlook", "email"),
        ("mail.proton.me", "Proton Mail", "email"),
        ("github.com", "GitHub", "referral"),
        ("en.wikipedia.org", "Wikipedia", "referral"),
        ("semalt.com", "Referrer spam", "spam"),
        ("www.blog.example", "blog.example", "referral"),
        ("wwwx.example", "wwwx.example", "referral"),
        ("com.example.app", "com.example.app", "referral"),
        ("localhost", "localhost", "referral"),
        ("[::1]", "[::1]", "referral"),
        ("...", "...", "referral"),
    ],
)
def test_names_the_source_behind_a_host(host: str, name: str, kind: str) -> None:
    assert CLASSIFIER.classify(host, "example.com") == Referrer(name, kind)
    assert CLASSIFIER.classify(host) == Referrer(name, kind)


@pytest.mark.parametrize(
    ("host", "page", "direct"),
    [
        ("", "example.com", True),
        ("example.com", "example.com", True),
        ("www.example.com", "example.com", True),
        ("example.com", "www.example.com", True),
        ("blog.example.com", "example.com", False),
        ("example.com", "blog.example.com", False),
        ("example.com", "", False),
        ("www.google.com", "google.com", True),
    ],
)
def test_the_sites_own_host_is_no_referrer(host: str, page: str, direct: bool) -> None:
    assert (CLASSIFIER.classify(host, page) is DIRECT) is direct


@pytest.mark.parametrize(
    ("host", "allowed_hosts", "direct"),
    [
        ("blog.a.example", ("a.example", "blog.a.example"), True),
        ("www.blog.a.example", ("a.example", "blog.a.example"), True),
        ("blog.a.example", ("a.example", "www.blog.a.example"), True),
        ("blog.a.example", ("a.example", "blog.a.example:8443"), True),
        ("xn--mller-kva.example", ("müller.example",), True),
        ("müller.example", ("xn--mller-kva.example",), True),
        ("deep.blog.a.example", ("*.a.example",), True),
        ("a.example", ("*.a.example",), False),
        ("nota.example", ("*.a.example",), False),
        ("shop.a.example", ("a.example", "blog.a.example"), False),
        ("www.google.com", ("a.example",), False),
        ("[::1]", ("[::1]",), True),
        ("[::1]", ("[::1]:8080",), True),
    ],
)
def test_the_sites_other_hosts_are_no_referrers(host: str, allowed_hosts: tuple[str, ...], direct: bool) -> None:
    assert (CLASSIFIER.classify(host, "elsewhere.example", allowed_hosts) is DIRECT) is direct


@pytest.mark.parametrize(
    ("utm_source", "name", "kind", "medium"),
    [
        ("google", "Google", "search", ""),
        ("Google", "Google", "search", ""),
        ("adwords", "Google", "search", "cpc"),
        ("bing", "Bing", "search", ""),
        ("fb", "Facebook", "social", ""),
        ("facebook", "Facebook", "social", ""),
        ("ig", "Instagram", "social", ""),
        ("twitter", "X", "social", ""),
        ("t.co", "X", "social", ""),
        ("linkedin", "LinkedIn", "social", ""),
        ("youtube", "YouTube", "video", ""),
        ("chatgpt.com", "ChatGPT", "ai", ""),
        ("www.reddit.com", "Reddit", "social", ""),
        ("https://www.producthunt.com/posts/x", "Product Hunt", "social", ""),
        ("newsletter", "newsletter", "email", ""),
        ("Newsletter", "newsletter", "email", ""),
        ("partner.example", "partner.example", "", ""),
        ("referrer spam", "referrer spam", "", ""),
        ("https://", "https://", "", ""),
    ],
)
def test_campaign_sources_have_aliases(utm_source: str, name: str, kind: str, medium: str) -> None:
    assert CLASSIFIER.named(utm_source) == Referrer(name, kind, medium)


def test_the_list_names_many_hosts_and_each_once() -> None:
    hosts = Counter(host for names in SOURCES.kinds.values() for entry in names.values() for host in entry)
    assert len(hosts) > 500
    assert hosts.most_common(1)[0][1] == 1
    assert set(SOURCES.kinds) == {
        "search",
        "social",
        "video",
        "shopping",
        "ai",
        "email",
        "affiliate",
        "referral",
        "spam",
    }


def test_entries_are_lower_case_hosts_and_names_are_unique() -> None:
    for kind, names in SOURCES.kinds.items():
        if kind == "spam":  # international hosts too: test_spam_referrers.py
            continue
        for hosts in names.values():
            assert hosts
            for host in hosts:
                assert re.fullmatch(r"=?[a-z0-9-]+(\.[a-z0-9-]+)*(\.\*)?", host), host
    names_seen = Counter(name for names in SOURCES.kinds.values() for name in names)
    assert names_seen.most_common(1)[0][1] == 1


def test_each_alias_is_of_a_known_name_and_spelt_once() -> None:
    names = {name for entry in SOURCES.kinds.values() for name in entry}
    assert SOURCES.aliases.keys() <= names
    tables = (SOURCES.aliases, *SOURCES.ad_products.values())
    spellings = Counter(spelling for table in tables for entry in table.values() for spelling in entry)
    assert spellings.most_common(1)[0][1] == 1
    assert all(spelling == spelling.lower() for spelling in spellings)


def test_each_listed_host_leads_to_its_own_name() -> None:
    for kind, names in SOURCES.kinds.items():
        for name, hosts in names.items():
            for host in hosts:
                plain = host.lstrip("=").replace(".*", ".se")
                assert CLASSIFIER.classify(plain) == Referrer(name, kind)

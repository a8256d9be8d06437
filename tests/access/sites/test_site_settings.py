"""Settings of a site: what is taken, how it is spelt, and what is refused with which words."""

from __future__ import annotations

import pytest

from analytics_server.access.sites.exclusions import MOST_CHARS, MOST_RULES, RULE_CHARS
from analytics_server.access.sites.site_settings import SiteSettings
from analytics_server.errors import RequestError
from analytics_server.model import Site

SITE = Site(site_id="a.example", timezone="Europe/Berlin", allowed_hosts=("a.example",), currency="SEK")


def test_what_is_left_out_stays() -> None:
    assert SiteSettings().applied_to(SITE) == SITE


def test_values_are_stored_in_one_spelling_and_once() -> None:
    site = SiteSettings(
        currency=" eur ",
        events_per_s=7,
        allowed_hosts=("https://Shop.example/x",),
        excluded_paths=("/admin/**", " /admin/** "),
        excluded_hosts=("STAGING.example", "*.Preview.example", "xn--mller-kva*.example", "staging.*"),
        excluded_countries=("germany", "DE", "se"),
        excluded_props=(" plan = internal ",),
    ).applied_to(SITE)

    assert (site.currency, site.events_per_s, site.allowed_hosts) == ("EUR", 7, ("shop.example",))
    assert site.excluded_paths == ("/admin/**",)
    assert site.excluded_hosts == ("staging.example", "*.preview.example", "xn--mller-kva*.example", "staging.*")
    assert site.excluded_countries == ("DE", "SE")
    assert site.excluded_props == ("plan=internal",)
    assert SiteSettings(currency="", excluded_paths=()).applied_to(site).excluded_paths == ()


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"excluded_paths": ("admin",)}, "bad_exclusion", "excluded_paths[0] is 'admin': a path begins with a slash"),
        ({"excluded_paths": ("/a", "/**")}, "bad_exclusion", "excluded_paths[1] is '/**': it stands for every page"),
        ({"excluded_paths": ("/a\nb",)}, "bad_exclusion", "control characters"),
        ({"excluded_hosts": ("*",)}, "bad_exclusion", "it stands for every host"),
        ({"excluded_hosts": ("https://*-a.example/",)}, "bad_exclusion", "a host alone"),
        ({"excluded_hosts": ("exa mple",)}, "bad_exclusion", "no host is called so"),
        ({"excluded_countries": ("Atlantis",)}, "bad_exclusion", "excluded_countries[0]: There is no country"),
        ({"excluded_countries": ("",)}, "bad_exclusion", "it is empty"),
        ({"excluded_props": ("plan",)}, "bad_exclusion", "write the property's key and its value"),
        ({"excluded_props": ("=x",)}, "bad_exclusion", "write the property's key and its value"),
        ({"currency": "euro"}, "bad_currency", "three letters"),
        ({"currency": "€€€"}, "bad_currency", "three letters"),
        ({"allowed_hosts": ("*",)}, "bad_allowed_hosts", "allowed_hosts[0]"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_with_what_to_write(change: dict[str, object], code: str, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        SiteSettings(**change).applied_to(SITE)  # type: ignore[arg-type]

    assert caught.value.code == code
    assert words in caught.value.message


def test_as_many_and_as_long_rules_as_are_allowed_are_taken_and_one_more_is_not() -> None:
    most = tuple(f"/{number}" for number in range(MOST_RULES))
    longest = "/" + "x" * (RULE_CHARS - 1)

    assert SiteSettings(excluded_paths=most).applied_to(SITE).excluded_paths == most
    assert SiteSettings(excluded_paths=(longest,)).applied_to(SITE).excluded_paths == (longest,)
    with pytest.raises(RequestError, match=f"{MOST_RULES + 1} rules, {MOST_RULES} are allowed"):
        SiteSettings(excluded_paths=(*most, "/more")).applied_to(SITE)
    with pytest.raises(RequestError, match=f"{RULE_CHARS + 1} characters, {RULE_CHARS} are allowed"):
        SiteSettings(excluded_paths=(f"{longest}x",)).applied_to(SITE)


def test_the_rules_of_a_site_may_be_so_long_together() -> None:
    long = tuple(f"/{number:0{RULE_CHARS - 1}}" for number in range(MOST_CHARS // RULE_CHARS - 1))
    rest = RULE_CHARS - len("DE") - len("k=v")
    below = SiteSettings(excluded_paths=(*long, "/" + "x" * (rest - 1))).applied_to(SITE)
    full = SiteSettings(excluded_countries=("DE",), excluded_props=("k=v",)).applied_to(below)

    assert sum(map(len, (*full.excluded_paths, *full.excluded_countries, *full.excluded_props))) == MOST_CHARS
    with pytest.raises(RequestError, match=r"have 4,098 characters together, 4,096 are allowed") as caught:
        SiteSettings(excluded_countries=("DE", "SE")).applied_to(full)
    assert caught.value.code == "bad_exclusion"
    assert SiteSettings(currency="EUR").applied_to(full).currency == "EUR"

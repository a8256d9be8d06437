"""Hosts: one spelling, whatever was sent, and what an entry of `allowed_hosts` means."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analytics_server.spelling.host_names import (
    AllowedHosts,
    allowed_host,
    encoded_host,
    host_name,
    host_spellings,
    readable_host,
)

MUELLER = ("müller.example", "MÜLLER.example", "xn--mller-kva.example", "XN--MLLER-KVA.Example", "müller.example.")


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        *((sent, "müller.example") for sent in MUELLER),
        ("mu\u0308ller.example", "müller.example"),
        ("ｍüller．example", "müller.example"),
        ("müller。example", "müller.example"),
        ("müller｡example", "müller.example"),
        ("xn--mller-kva.example:8080", "müller.example:8080"),
        ("www.xn--mller-kva.example", "www.müller.example"),
        ("\u212aelvin.example", "kelvin.example"),
        ("Example.COM.", "example.com"),
        ("xn--strae-oqa.example", "straße.example"),
        ("straße.example", "straße.example"),
        ("xn--p1ai", "рф"),
        ("xn--ls8h.example", "💩.example"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
        # Punycode of what no host is, or spelt in a way that no browser does, stays as it is.
        ("xn--a.example", "xn--a.example"),
        ("xn--mller-KVA-.example", "xn--mller-kva-.example"),
        ("xn--.example", "xn--.example"),
        ("xn--mller-kva" + "z" * 50 + ".example", "xn--mller-kva" + "z" * 50 + ".example"),
        ("", ""),
        (".", ""),
    ],
)
def test_a_host_has_one_spelling(sent: str, shown: str) -> None:
    assert readable_host(sent) == shown


@given(text=st.text(st.sampled_from("aÄüßxn--.:wW。．\u200dİ💩é1_") | st.characters(), max_size=40))
@example(text="xn--xn---epa.example")
@example(text="\ud800.example")
def test_reading_twice_changes_nothing(text: str) -> None:
    shown = readable_host(text)

    assert readable_host(shown) == shown


@pytest.mark.parametrize("shown", ["müller.example", "рф", "www.straße.example:80", "💩.example", "example.com", "a.b"])
def test_a_browser_s_spelling_leads_back(shown: str) -> None:
    sent = encoded_host(shown)

    assert sent.isascii()
    assert readable_host(sent) == shown


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("www.example.com", "example.com"),
        ("WWW.www.example.com", "example.com"),
        ("www.com", "www.com"),
        ("www.xn--mller-kva.example", "müller.example"),
    ],
)
def test_www_is_no_part_of_a_host_s_name(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize(
    ("text", "whole", "found"),
    [
        ("example.com", True, ("example.com",)),
        ("Example.com", True, ("Example.com", "example.com")),
        ("example.com:8080", True, ("example.com:8080", "example.com")),
        ("example.com.", True, ("example.com.", "example.com")),
        ("müller.example", True, ("müller.example", "xn--mller-kva.example")),
        ("xn--mller-kva.example", True, ("xn--mller-kva.example", "müller.example")),
        ("MÜLLER.example", True, ("MÜLLER.example", "müller.example", "xn--mller-kva.example")),
        ("192.0.2.1", True, ("192.0.2.1",)),
        ("[::1]", True, ("[::1]",)),
        ("", True, ("",)),
        # A piece of a host: nothing is taken off, or it would be found everywhere.
        (".", False, (".",)),
        (":8080", False, (":8080",)),
        ("müller.", False, ("müller.", "xn--mller-kva.")),
        ("*.xn--mller-kva.example", False, ("*.xn--mller-kva.example", "*.müller.example")),
    ],
)
def test_a_filter_finds_every_spelling(text: str, whole: bool, found: tuple[str, ...]) -> None:
    assert host_spellings(text, whole=whole) == found


@given(text=st.text(max_size=30), whole=st.booleans())
def test_any_text_can_be_filtered_by(text: str, whole: bool) -> None:
    found = host_spellings(text, whole=whole)

    assert found[0] == text
    assert len(found) <= 3
    assert text == "" or "" not in found


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("b13.example", "b13.example"),
        (" B13.Example ", "b13.example"),
        ("https://b13.example", "b13.example"),
        ("HTTPS://B13.example/", "b13.example"),
        ("https://b13.example/path?x=1#top", "b13.example"),
        ("//b13.example", "b13.example"),
        ("b13.example/", "b13.example"),
        ("b13.example/path", "b13.example"),
        ("b13.example:8080", "b13.example"),
        ("http://b13.example:8080/a", "b13.example"),
        ("b13.example:", "b13.example"),
        ("b13.example.", "b13.example"),
        ("www.b13.example", "www.b13.example"),
        ("*.b13.example", "*.b13.example"),
        ("https://*.b13.example:443/", "*.b13.example"),
        ("*.com", "*.com"),
        ("xn--mller-kva.example", "müller.example"),
        ("*.xn--mller-kva.example", "*.müller.example"),
        ("ＭÜLLER．example", "müller.example"),
        ("localhost", "localhost"),
        ("http://localhost:3000", "localhost"),
        ("my_host", "my_host"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:8080", "192.0.2.1"),
        ("http://192.0.2.1/", "192.0.2.1"),
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
        ("http://[2001:DB8:0::1]:8080/", "[2001:db8::1]"),
        ("2001:db8::1", "[2001:db8::1]"),
        ("capacitor://localhost", "localhost"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_an_entry_is_understood_as_its_host(entry: str, host: str) -> None:
    assert allowed_host(entry) == host
    assert allowed_host(host) == host


@pytest.mark.parametrize(
    "entry",
    [
        *(
            "",
            " ",
            "*",
            "*.*",
            "*.",
            "*..",
            "*example.com",
            "a.*.example",
            "example.*",
            "**.example.com",
            "*.*.example",
        ),
        *("exa mple", "a.example,b.example", "a.example b.example", "a.example;b.example", "'a.example'"),
        *("http://", "https:///path", "/path", "?", "#", ".", "..", "a..b", ".example.com", ":8080", "a.example:port"),
        *("user@a.example", "https://user:pw@a.example/", "a.example\x00", "a\\b", "%61.example", "a.example:1:2"),
        *("256.1.1.1", "1.2.3", "a.example.1", "0x7f.1", "*.192.0.2.1", "*.[::1]", "[::1", "[a.example]", "[]"),
        *("a" * 64 + ".example", ".".join(["a" * 49] * 6), "ü" * 63 + ".example", "\ud800.example"),
        *("mailto:a@a.example", "javascript:alert(1)"),
    ],
)
def test_what_can_match_no_page_is_refused_with_what_to_write(entry: str) -> None:
    with pytest.raises(ValueError, match=r"write|leave|may stand|a host has"):
        allowed_host(entry)


@given(text=st.text(st.sampled_from("aü.*:/[]1 @#%") | st.characters(), max_size=30))
def test_what_an_entry_means_is_itself_an_entry(text: str) -> None:
    try:
        host = allowed_host(text)
    except ValueError:
        return
    assert allowed_host(host) == host
    assert AllowedHosts((text,)).hold(f"a.{host[2:]}" if host.startswith("*.") else host)


@pytest.mark.parametrize(
    ("entries", "host", "held"),
    [
        (("example.com",), "example.com", True),
        (("example.com",), "www.example.com", True),
        (("www.example.com",), "example.com", True),
        (("example.com",), "shop.example.com", False),
        (("*.example.com",), "shop.example.com", True),
        (("*.example.com",), "a.b.example.com", True),
        (("*.example.com",), "www.example.com", True),
        (("*.example.com",), "example.com", False),
        (("*.example.com",), "notexample.com", False),
        (("*.example.com",), "example.com.evil.example", False),
        (("xn--mller-kva.example",), "müller.example", True),
        (("müller.example",), "xn--mller-kva.example", True),
        (("*.xn--mller-kva.example",), "shop.müller.example", True),
        # as older versions stored them
        (("https://b13.example",), "b13.example", True),
        (("b13.example:8080", ""), "b13.example", True),
        (("*",), "b13.example", False),
        (("*", "b13.example"), "a.example", False),
        (("192.0.2.1",), "192.0.2.1", True),
        (("::1",), "[::1]", True),
        (("example.com",), "", False),
        (("*.example.com",), "", False),
    ],
)
def test_which_hosts_a_site_allows(entries: tuple[str, ...], host: str, held: bool) -> None:
    assert AllowedHosts(entries).hold(host) is held


def test_what_is_too_long_for_a_host_is_not_read() -> None:
    """Reading Punycode takes time that grows with the square of its length: the first would take days."""
    label = "xn--" + "b" * 60
    for host in ("xn--" + "a" * 10_000_000, label, f"{label}.example", ".".join(["xn--mller-kva"] * 80)):
        assert readable_host(host) == host
    assert readable_host("xn--mller-kva.example:8080") == "müller.example:8080"

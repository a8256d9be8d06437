"""URLs are reduced to what may be stored, whatever is sent."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.collect.enrich.url import (
    CAMPAIGN_VALUE_CHARS,
    CLICK_ID_KEYS,
    CleanReferrer,
    UrlCleaner,
    mask_emails,
)

MAX_CHARS = 2_048
KEYS = ("page", "q", "id")
EMAIL = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")


HOMES = ("/home", "/Users")
"""Where people's own directories lie."""


@pytest.fixture(scope="module")
def cleaner() -> UrlCleaner:
    return UrlCleaner(KEYS, True, MAX_CHARS)


@pytest.mark.parametrize(
    ("raw", "hostname", "path"),
    [
        ("https://example.com", "example.com", "/"),
        ("https://example.com/", "example.com", "/"),
        ("HTTP://EXAMPLE.COM/A/b", "example.com", "/A/b"),
        ("https://example.com:443/a", "example.com", "/a"),
        ("http://localhost:3000/a", "localhost", "/a"),
        ("https://example.com./a", "example.com", "/a"),
        ("https://user:pw@example.com/a", "example.com", "/a"),
        ("https://user@evil.example@example.com/a", "example.com", "/a"),
        ("https://BÜCHER.example/ä", "bücher.example", "/ä"),
        ("https://xn--bcher-kva.example/%C3%A4", "bücher.example", "/ä"),
        ("https://XN--BCHER-KVA.example.:8443/", "bücher.example", "/"),
        ("https://www.ｂücher．example/", "www.bücher.example", "/"),
        ("https://xn--a.example/", "xn--a.example", "/"),
        ("https://ü.example：8080/", "ü.example", "/"),
        ("https://[2001:DB8::1]:8080/a", "[2001:db8::1]", "/a"),
        ("https://192.0.2.1/a", "192.0.2.1", "/a"),
        ("https://example.com/a#token=secret", "example.com", "/a"),
        ("https://example.com?page=2", "example.com", "/?page=2"),
        ("https://example.com#top", "example.com", "/"),
        ("  https://example.com/a \n", "example.com", "/a"),
        ("https://example.com/a b", "example.com", "/a b"),
        ("https://example.com/a%20b%20", "example.com", "/a b"),
        ("https://example.com/caf%C3%A9", "example.com", "/café"),
        ("https://example.com/caf%c3%a9?q=th%c3%a9", "example.com", "/café?q=thé"),
        ("https://example.com/caf%e9", "example.com", "/caf%E9"),
        ("https://example.com/a%2Fb%00", "example.com", "/a%2Fb%00"),
        ("https://example.com//a/../b", "example.com", "//a/../b"),
    ],
)
def test_keeps_host_and_path(cleaner: UrlCleaner, raw: str, hostname: str, path: str) -> None:
    url = cleaner.clean(raw)
    assert url is not None
    assert (url.hostname, url.path) == (hostname, path)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        " ",
        "example.com/a",
        "/a",
        "//example.com/a",
        "https:",
        "https://",
        "https:///a",
        "https:/example.com",
        "https://./a",
        "https://:80/a",
        "https://user@/a",
        "https://exa mple.com/",
        "https://exa<mple.com/",
        "https://℀.example/",
        "https://example.com:port/",
        "https://example.com:123456/",
        "https://exam%70le.com/",
        "https://[::1/",
        "https://example.com\\@evil.example/",
        "https://" + "a" * 254 + "/",
        "data:text/html,<b>",
        "javascript:alert(1)",
        "javascript://example.com/%0aalert(1)",
        "file:///etc/passwd",
        "file://host/etc/passwd",
        "about:blank",
        "blob:https://example.com/1",
        "chrome-extension://abcdef/page.html",
        "ftp://example.com/a",
        "android-app://com.example/",
        "https://example.com/a\x00b",
        "https://example.com/a\r\nSet-Cookie: x",
        "https://example.com/a\x7f",
        "https://example.com/a\x85b",
        "https://example.com/a\u2028b",
        "https://example.com/\ud800",
        "https://example.com/" + "a" * MAX_CHARS,
    ],
)
def test_refuses_what_is_no_page(cleaner: UrlCleaner, raw: str) -> None:
    assert cleaner.clean(raw) is None


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("page=2", "?page=2"),
        ("page=2&secret=x&q=a+b", "?page=2&q=a+b"),
        ("q=1&page=2&q=3", "?q=1&page=2&q=3"),
        ("secret=x", ""),
        ("utm_source=x&gclid=abc", ""),
        ("PAGE=2", ""),
        ("p%61ge=2", ""),
        ("page", "?page"),
        ("page=", "?page="),
        ("&&page=2&", "?page=2"),
        ("page=a=b", "?page=a=b"),
        ("q=a%26token%3D1", "?q=a%26token%3D1"),
        ("q=x ", "?q=x"),
        ("secret=x&amp;page=2&amp;amp;q=1", "?page=2&q=1"),
        ("amp;page=2", "?page=2"),
        ("page=2?utm_source=x", "?page=2"),
        ("page=2?x=1", "?page=2?x=1"),
        ("", ""),
    ],
)
def test_keeps_only_allow_listed_query_keys_in_order(cleaner: UrlCleaner, query: str, kept: str) -> None:
    url = cleaner.clean(f"https://example.com/a?{query}")
    assert url is not None
    assert url.path == "/a" + kept


@pytest.mark.parametrize(
    ("path", "masked"),
    [
        ("/user/jane@example.com/edit", "/user/*@*/edit"),
        ("/user/jane%40example.com", "/user/*@*"),
        ("/user/jane%2540example.com", "/user/*@*"),
        ("/user/jane%28x%29%40example.com", "/user/*@*"),
        ("/user/j%61ne@ex%61mple%2ecom", "/user/*@*"),
        ("/user/jane%40example%2Ecom", "/user/*@*"),
        ("/a;mail=jane.doe+tag@mail.example.co.uk;b", "/a;mail=*@*;b"),
        ("/?q=jane@example.com", "/?q=*@*"),
        ("/?q=ask%20jane%40example.com%20now&page=2", "/?q=*@*&page=2"),
        ("/?id=jäne@exämple.de", "/?id=*@*"),
        ("/@jane", "/@jane"),
        ("/@jane@mastodon.example", "/*@*"),
        ("/npm/react@18.2.0/umd", "/npm/react@18.2.0/umd"),
        ("/vue@next", "/vue@next"),
        ("/page/404", "/page/404"),
    ],
)
def test_masks_what_looks_like_an_email_address(cleaner: UrlCleaner, path: str, masked: str) -> None:
    url = cleaner.clean("https://example.com" + path)
    assert url is not None
    assert url.path == masked


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/shop;jsessionid=1A2B3C4D.node1", "/shop"),
        ("/shop;JSESSIONID=1A2B/cart;v=2;sid=77?q=red", "/shop/cart;v=2?q=red"),
        ("/;;sid=1jsessionid=2", "/;"),
        ("/a;PHPSESSID=x;session_id=y", "/a"),
        ("/shop;js%65ssionid=1A2B", "/shop"),
        ("/a;inside=1;sidebar=2", "/a;inside=1;sidebar=2"),
        ("/jsessionid=1", "/jsessionid=1"),
    ],
)
def test_a_sessions_id_in_the_path_is_not_kept(cleaner: UrlCleaner, path: str, kept: str) -> None:
    url = cleaner.clean(f"https://example.com{path}")
    assert url is not None
    assert url.path == kept
    referrer = cleaner.clean_referrer(f"https://example.com{path}")
    assert referrer is not None
    assert "1A2B" not in referrer.text
    assert cleaner.clean_href(path) == kept


def test_masking_can_be_switched_off() -> None:
    url = UrlCleaner(KEYS, False, MAX_CHARS).clean("https://example.com/jane@example.com?utm_term=a@b.example")
    assert url is not None
    assert url.path == "/jane@example.com"
    assert url.query["utm_term"] == "a@b.example"


def test_campaign_values_are_decoded_bounded_and_masked(cleaner: UrlCleaner) -> None:
    url = cleaner.clean(
        "https://example.com/?UTM_Source=news+letter&utm_source=second&utm_medium=%20e%2Dmail%0A&utm_campaign="
        + "c" * 900
        + "&utm_content=jane%40example.com&utm_term=%ED%A0%80%00x&ref=&source=partner"
    )
    assert url is not None
    assert url.path == "/"
    assert url.query == {
        "utm_source": "news letter",
        "utm_medium": "e-mail",
        "utm_campaign": "c" * CAMPAIGN_VALUE_CHARS,
        "utm_content": "*@*",
        "utm_term": "\ufffd\ufffd\ufffdx",
        "source": "partner",
    }


@pytest.mark.parametrize("key", CLICK_ID_KEYS)
def test_of_a_click_id_only_its_kind_is_kept(cleaner: UrlCleaner, key: str) -> None:
    url = cleaner.clean(f"https://example.com/?{key.upper()}=Secret-123&{key}=again")
    assert url is not None
    assert url.query == {key: "1"}
    assert "Secret" not in repr(url)


def test_an_empty_click_id_is_none(cleaner: UrlCleaner) -> None:
    url = cleaner.clean("https://example.com/?gclid=&fbclid")
    assert url is not None
    assert url.query == {}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("https://www.google.com/", CleanReferrer("google.com", "google.com")),
        ("https://www.news.example/a/", CleanReferrer("news.example", "news.example/a")),
        ("https://www.news.example/a/ /;sid=1//", CleanReferrer("news.example", "news.example/a")),
        ("https://www.www.news.example/", CleanReferrer("news.example", "news.example")),
        ("https://www.example/", CleanReferrer("www.example", "www.example")),
        ("https://wwwnews.example/", CleanReferrer("wwwnews.example", "wwwnews.example")),
        ("https://xn--mller-kva.example/", CleanReferrer("müller.example", "müller.example")),
        ("https://MÜLLER.example/", CleanReferrer("müller.example", "müller.example")),
        ("https://xn--strae-oqa.example/", CleanReferrer("straße.example", "straße.example")),
        ("https://xn--a.example/", CleanReferrer("xn--a.example", "xn--a.example")),
        ("https://xn--0.example/", CleanReferrer("xn--0.example", "xn--0.example")),
        ("https://News.Example/a/b?q=secret#x", CleanReferrer("news.example", "news.example/a/b")),
        ("https://u:p@news.example:8443/a", CleanReferrer("news.example", "news.example/a")),
        ("https://news.example/caf%c3%a9/", CleanReferrer("news.example", "news.example/café")),
        ("https://news.example/jane@example.com", CleanReferrer("news.example", "news.example/*@*")),
        ("android-app://com.google.android.gm/", CleanReferrer("com.google.android.gm", "com.google.android.gm")),
        (
            "android-app://com.example.app/https/host/path?x",
            CleanReferrer("com.example.app", "com.example.app"),
        ),
        ("https://news.example/a?" + "q" * MAX_CHARS, CleanReferrer("news.example", "news.example")),
        ("", None),
        ("about:client", None),
        ("news.example", None),
        ("javascript:alert(1)", None),
        ("ftp://news.example/a", None),
        ("https://news.example/\x00a", None),
    ],
)
def test_referrer_keeps_host_and_path(cleaner: UrlCleaner, raw: str, expected: CleanReferrer | None) -> None:
    assert cleaner.clean_referrer(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("https://Other.example/a?page=2&secret=1#x", "https://other.example/a?page=2"),
        ("http://u:p@other.example", "http://other.example/"),
        ("/files/report.pdf?token=1", "/files/report.pdf"),
        ("next?page=2", "next?page=2"),
        ("/caf%c3%a9", "/café"),
        ("java%73cript:steal()", "java%73cript:steal()"),
        ("https://other.example/caf%c3%a9", "https://other.example/café"),
        ("../up/jane@example.com", "../up/*@*"),
        ("?page=2&x=1", "?page=2"),
        ("//cdn.example/a?x=1", "//cdn.example/a"),
        ("#section", "#"),
        ("", ""),
        ("mailto:jane@example.com?subject=x", "mailto:"),
        ("MAILTO:jane@example.com", "mailto:"),
        ("tel:+46701234567", "tel:"),
        ("sms:+46701234567", "sms:"),
        ("javascript:steal()", "javascript:"),
        ("data:text/html;base64,AAAA", "data:"),
        ("blob:https://example.com/uuid", "blob:"),
        ("https://", ""),
        ("//", ""),
        ("a" * 40 + ":x", ""),
        ("/a\x00b", ""),
        ("/" + "a" * MAX_CHARS, ""),
    ],
)
def test_link_target_is_cleaned_or_reduced_to_its_scheme(cleaner: UrlCleaner, raw: str, expected: str) -> None:
    assert cleaner.clean_href(raw) == expected


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("https://a.example", "/"),
        ("https://a.example/", "/"),
        ("https://a.example//", "/"),
        ("https://a.example/b/", "/b"),
        ("https://a.example/b//", "/b"),
        ("https://a.example/b", "/b"),
        ("https://a.example/b/?page=2", "/b?page=2"),
        ("https://a.example/?page=2", "/?page=2"),
        ("https://a.example/b/?q=a/", "/b?q=a/"),
        ("https://a.example/b/;jsessionid=1", "/b"),
        ("https://a.example/b/#top", "/b"),
        ("https://a.example/b%2F", "/b%2F"),
    ],
)
def test_a_final_slash_can_be_stripped(raw: str, path: str) -> None:
    url = UrlCleaner(KEYS, True, MAX_CHARS, strip_slash=True).clean(raw)

    assert url is not None
    assert url.path == path


@pytest.mark.parametrize(
    ("raw", "hostname", "path"),
    [
        ("capacitor://localhost/cart?page=2&secret=1#x", "localhost", "/cart?page=2"),
        ("ionic://localhost", "localhost", "/"),
        ("TAURI://localhost/", "localhost", "/"),
        ("app://bundle/index.html", "bundle", "/index.html"),
        ("app://./index.html", "app", "/index.html"),
        ("app:///index.html", "app", "/index.html"),
        ("app://MÜLLER.example/", "müller.example", "/"),
        ("my-shop+app://main/a", "main", "/a"),
        (
            "chrome-extension://cjpalhdlnbpafiamejdnhcphjbkeiagm/popup.html",
            "cjpalhdlnbpafiamejdnhcphjbkeiagm",
            "/popup.html",
        ),
        ("moz-extension://0f4b8a3e-2a8c-4f0e-9d3b-0123456789ab/popup.html", "moz-extension", "/popup.html"),
        ("safari-web-extension://0F4B8A3E-2A8C-4F0E-9D3B-0123456789AB/a", "safari-web-extension", "/a"),
        ("vscode-webview://0f4b8a3e2a8c4f0e9d3b0123456789ab/a", "vscode-webview", "/a"),
        ("/index.html", "", "/index.html"),
        ("/cart?page=2&x=1", "", "/cart?page=2"),
        ("/", "", "/"),
        (" /caf%C3%A9 ", "", "/café"),
        (f"{HOMES[0]}/settings", "", f"{HOMES[0]}/settings"),
        ("/users/jane@example.com", "", "/users/*@*"),
        ("file:///index.html", "file", "/index.html"),
        (f"file:///C:{HOMES[1]}/anna/x.html", "file", "/x.html"),
        (f"file:///C:{HOMES[1]}/anna/x.html?page=2&name=anna#top", "file", "/x.html?page=2"),
        (f"file:///C:{HOMES[1]}/anna", "file", "/"),
        (f"file://{HOMES[1]}/anna.mueller", "file", "/"),
        (f"file://{HOMES[1]}/anna/", "file", "/"),
        ("file:///C:%5CUsers%5Canna%5Cx.html", "file", "/x.html"),
        ("file:///home%252Fanna%252Fx.html", "file", "/x.html"),
        ("file://server/share/anna/x.htm", "file", "/x.htm"),
        ("content://com.android.providers/anna/x.pdf", "content", "/x.pdf"),
        (f"{HOMES[1]}/anna/Desktop/x.html", "", "/x.html"),
        (f"{HOMES[0]}/anna/www/x.html", "", "/x.html"),
        (f"/C:{HOMES[1]}/anna/x.html", "", "/x.html"),
        ("/var/mobile/Containers/Bundle/Application/0F4B/App.app/www/index.html", "", "/index.html"),
        ("/android_asset/www/index.html", "", "/index.html"),
        ("capacitor://localhost/_app_file_/var/mobile/Containers/Data/anna.png", "localhost", "/"),
    ],
)
def test_pages_of_apps_keep_nothing_that_names_a_person(
    cleaner: UrlCleaner, raw: str, hostname: str, path: str
) -> None:
    url = cleaner.clean_app(raw)

    assert url is not None
    assert (url.hostname, url.path) == (hostname, path)
    assert "anna" not in hostname + path
    assert cleaner.clean(raw) is None


@pytest.mark.parametrize(
    "raw",
    [
        *(
            "",
            " ",
            "index.html",
            "//evil.example/a",
            "/\\evil.example",
            "\\\\server\\x",
            "C:\\Users\\anna\\x.html",
            "?a",
            "#a",
        ),
        *("https://exa mple.com/", "http://", "wss://a.example/", "ftp://a.example/", "javascript://a/%0aalert(1)"),
        *("javascript:alert(1)", "data:text/html,x", "about:blank", "about://blank", "blob:https://a.example/1"),
        *("chrome://newtab/", "view-source://a", "mailto:a@b.example", "android-app://com.example/", "1app://x/"),
        *("/a\x00b", "app://x/\ud800", "/" + "a" * MAX_CHARS),
    ],
)
def test_refuses_what_is_no_app_s_page(cleaner: UrlCleaner, raw: str) -> None:
    assert cleaner.clean_app(raw) is None


def test_the_longest_path_alone_is_kept(cleaner: UrlCleaner) -> None:
    url = cleaner.clean_app("/" + "a" * (MAX_CHARS - 1))

    assert url is not None
    assert len(url.path) == MAX_CHARS


def test_campaigns_are_read_in_apps_too(cleaner: UrlCleaner) -> None:
    url = cleaner.clean_app("capacitor://localhost/?utm_source=push&utm_medium=push")

    assert url is not None
    assert url.query == {"utm_source": "push", "utm_medium": "push"}


def test_the_same_url_is_parsed_once(cleaner: UrlCleaner) -> None:
    raw = "https://example.com/cached?page=1"
    assert cleaner.clean(raw) is cleaner.clean(raw)


def test_text_without_an_address_is_returned_as_it_is() -> None:
    text = "Order 40 of 100% wool"
    assert mask_emails(text) == text
    assert mask_emails("write to jane@example.com, please") == "write to *@*, please"


_texts = st.text(st.characters(), max_size=60)
_PIECES = (
    *("https://", "http:", "//", "/", "@", "%40", "%2540", "?", "&", "#", "=", "page", "utm_source", "gclid", ".", ":"),
    *(
        "example.com",
        "jane",
        "com",
        " ",
        "\\",
        "[::1]",
        "mailto:",
        "www.",
        "xn--",
        "mller-kva",
        "java",
        "%73",
        "%20",
        "%C3",
        "%a9",
        "%3A",
        "%2f",
        "%6",
        "..",
        "%",
        "25",
        "40",
        ";",
        "\t",
        "İ",
        "ß",
    ),
)
_pieces = st.lists(st.sampled_from(_PIECES), max_size=20).map("".join)
_anything = st.one_of(
    _texts, _pieces, st.tuples(_pieces, _texts).map("".join), _pieces.map(lambda text: "https://example.com/" + text)
)
_local = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,15}", fullmatch=True)
_domain = st.from_regex(r"[a-z0-9][a-z0-9-]{0,10}(\.[a-z0-9-]{1,8}){0,2}\.[a-z]{2,6}", fullmatch=True)


@given(raw=_anything)
def test_never_raises_and_is_bounded(raw: str) -> None:
    cleaner = UrlCleaner(KEYS, True, MAX_CHARS)
    url = cleaner.clean(raw)
    if url is not None:
        assert url.path.startswith("/")
        assert len(url.path) <= 3 * len(raw) + 1
        assert len(url.hostname) <= 253
        (url.hostname + url.path + "".join(url.query.values())).encode()
        assert all(len(value) <= CAMPAIGN_VALUE_CHARS for value in url.query.values())
    referrer = cleaner.clean_referrer(raw)
    if referrer is not None:
        referrer.text.encode()
    cleaner.clean_href(raw).encode()
    app = cleaner.clean_app(raw)
    if app is not None:
        assert app.path.startswith("/")
        (app.hostname + app.path).encode()


@given(raw=_anything)
def test_cleaning_twice_changes_nothing(raw: str) -> None:
    cleaner = UrlCleaner(KEYS, True, MAX_CHARS)
    url = cleaner.clean(raw)
    if url is not None:
        again = cleaner.clean(f"https://{url.hostname}{url.path}")
        assert again is not None
        assert (again.hostname, again.path) == (url.hostname, url.path)
    referrer = cleaner.clean_referrer(raw)
    if referrer is not None:
        assert cleaner.clean_referrer("https://" + referrer.text) == referrer
    href = cleaner.clean_href(raw)
    assert cleaner.clean_href(href) == href


@given(
    local=_local,
    domain=_domain,
    at=st.sampled_from(["@", "%40", "%2540"]),
    quoted=st.booleans(),
    where=st.sampled_from(
        ["/{}", "/u/{}/x", "/?q={}", "/?q=a+{}+b", "/?utm_term={}", "/;m={}", "/%20{}", "/#{}", "/?x={}"]
    ),
)
def test_never_keeps_an_email_address(local: str, domain: str, at: str, quoted: bool, where: str) -> None:
    cleaner = UrlCleaner(KEYS, True, MAX_CHARS)
    address = quote(local, safe="") + at + domain if quoted else local + at + domain
    raw = "https://example.com" + where.format(address)
    url = cleaner.clean(raw)
    referrer = cleaner.clean_referrer(raw)
    assert url is not None
    assert referrer is not None
    for text in (url.path, *url.query.values(), referrer.text, cleaner.clean_href(raw)):
        assert not EMAIL.search(text)
        assert not EMAIL.search(unquote(unquote(text)))


@pytest.mark.parametrize("unit", ["@", "%", "%40", "%2540", "a@", "a.", "/@", "&page=", "%25", "[", "..@"])
def test_hostile_repetition_takes_no_more_than_linear_time(unit: str) -> None:
    cleaner = UrlCleaner(KEYS, True, 1_000_000)
    raw = "https://example.com/" + unit * (900_000 // len(unit))
    assert cleaner.clean(raw) is not None

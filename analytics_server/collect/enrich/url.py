"""Turns what a client sends as a URL into what may be stored of it.

Constraint: nothing that can identify a person may get through by accident, so a
query key is kept only when it is allow-listed, the fragment, user info, port and a
session's id in the path are dropped, and anything that looks like an e-mail address becomes `*@*`. Paths
have one spelling, the one that people read (`percent_encoding`). Cleaning a cleaned URL changes nothing. Parsing is
one regular expression instead of `urllib.parse`: it is several times faster, never
raises, and takes exactly the schemes wanted. Answers are cached by the raw string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

from analytics_server.collect.enrich.cache import GenerationCache
from analytics_server.percent_encoding import readable

UTM_KEYS: Final = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")
SOURCE_KEYS: Final = ("ref", "source")
CLICK_ID_KEYS: Final = (
    "gclid",
    "gbraid",
    "wbraid",
    "gad_source",
    "dclid",
    "msclkid",
    "ttclid",
    "twclid",
    "li_fat_id",
    "sccid",
    "rdt_cid",
    "epik",
    "qclid",
    "yclid",
    "vmcid",
    "tblci",
    "dicbo",
    "irclickid",
    "awc",
    "cjevent",
    "ransiteid",
    "mc_eid",
    "mkt_tok",
    "_hsenc",
    "_kx",
    "fbclid",
    "igshid",
    "igsh",
    "srsltid",
    "ysclid",
)
"""Ids of ads first, then of affiliates and mailings, then what is added to any link: the first one counts."""

CACHED_URLS = 8_192
CACHED_HREFS = 2_048
CAMPAIGN_VALUE_CHARS = 255
HOST_CHARS = 253
SCHEME_CHARS = 32
MASK = "*@*"

_CLICK_IDS = frozenset(CLICK_ID_KEYS)
_CAMPAIGN_KEYS = frozenset((*UTM_KEYS, *SOURCE_KEYS))
_LONGEST_KEY = max(map(len, (*UTM_KEYS, *CLICK_ID_KEYS)))

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#\\]*)([^?#]*)(?:\?([^#]*))?", re.IGNORECASE | re.ASCII)
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s\"#%/:<>?@\[\\\]^`{|}]+)(?::[0-9]{0,5})?")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE | re.ASCII)
_HTML_AND = re.compile(r"&(?:amp;|amp%3b)*|^(?:amp;|amp%3b)+|\?(?=utm_)", re.IGNORECASE)
"""`&` also as it is written in HTML, and a second `?` before a campaign tag."""
_UNSTORABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line separators and lone surrogates (no UTF-8 can hold those)."""
_AROUND = "".join(map(chr, range(0x21)))
"""What browsers strip around a URL: C0 controls and space (WHATWG URL § 4.4)."""

_TOKEN = re.compile(r"[^/?&=#;,:\s<>()\"]+")
_SESSION = re.compile(r";(?:j?session_?id|phpsessid|sid)=[^/?#;]*", re.IGNORECASE)
"""Where servers put a session's id for browsers without cookies: who has it is that visitor."""

_AT = re.compile(r"@|%(?:25)*40")
_DOT_AND_LABEL = re.compile(r"(?:\.|%(?:25)*2[eE])(?:[^\W\d_]|%)")

_NOTHING: Mapping[str, str] = MappingProxyType({})


class CleanUrl(NamedTuple):
    """What is kept of a page's URL.

    `hostname` is lower case, as sent in Punycode or Unicode, without port and trailing
    dot. `path` begins with `/` and carries the allow-listed query keys in the order they
    were sent. `query` holds only campaign keys (lower case; the first of each): `utm_*`,
    `ref` and `source` decoded and masked; of a click id only that it is there ("1").
    """

    hostname: str
    path: str
    query: Mapping[str, str]


class CleanReferrer(NamedTuple):
    """`host` for the classifier; `text` is what is stored: host and path, no query, no `/` at the end.

    The host has one spelling, `host_name`'s.
    """

    host: str
    text: str


def host_name(host: str) -> str:
    """A host as it is compared and shown: without `www.`, labels in Punycode (RFC 3492) as the letters they are."""
    while host.startswith("www.") and "." in host[4:]:
        host = host[4:]
    if "xn--" not in host:
        return host
    return ".".join(_letters(label) if label.startswith("xn--") else label for label in host.split("."))


def _letters(label: str) -> str:
    """What a label in Punycode stands for; the label itself where that can be no host."""
    try:
        found = label[4:].encode("ascii").decode("punycode")
    except ValueError:
        return label
    fits = found.isprintable() and found == found.lower() and not found.isascii() and _HOST.fullmatch(found)
    return found if fits and not found.startswith("xn--") else label


def mask_emails(text: str) -> str:
    """Replace each run of characters that holds an e-mail address by `*@*`.

    Percent-encoded `@` and `.` count, also doubly encoded ones. A run ends at a URL
    delimiter, white space or a quote, so a bit too much is masked rather than too
    little. `react@18.2.0` and `@name` aren't addresses.
    """
    if "@" not in text and "40" not in text:
        return text
    return _TOKEN.sub(_masked, text)


def _masked(match: re.Match[str]) -> str:
    token = match[0]
    at = _AT.search(token, 1)
    return token if at is None or _DOT_AND_LABEL.search(token, at.end()) is None else MASK


class UrlCleaner:
    """Cleans page URLs, referrers and link targets; owns their caches.

    `query_keys` are compared exactly, as sent. `max_chars` bounds the raw text.
    """

    __slots__ = ("_hrefs", "_keep", "_mask", "_max_chars", "_referrers", "_urls")

    def __init__(self, query_keys: Sequence[str], mask_emails: bool, max_chars: int) -> None:
        self._keep = frozenset(query_keys)
        self._mask = mask_emails
        self._max_chars = max_chars
        self._urls: GenerationCache[str, CleanUrl] = GenerationCache(CACHED_URLS)
        self._referrers: GenerationCache[str, CleanReferrer] = GenerationCache(CACHED_URLS)
        self._hrefs: GenerationCache[str, str] = GenerationCache(CACHED_HREFS)

    def clean(self, raw: str) -> CleanUrl | None:
        """The page's URL, or None: not http(s), no host, too long, or a control character in it."""
        found = self._urls.young.get(raw)
        if found is None:
            found = self._urls.get(raw)
            if found is None:
                found = self._clean(raw)
                if found is not None:
                    self._urls.put(raw, found)
        return found

    def clean_referrer(self, raw: str) -> CleanReferrer | None:
        """The referrer, or None when it names no host.

        Of one that is too long only the host is kept. `android-app://` is a host without path.
        """
        found = self._referrers.get(raw)
        if found is None:
            found = self._clean_referrer(raw)
            if found is not None:
                self._referrers.put(raw, found)
        return found

    def clean_href(self, raw: str) -> str:
        """A link's target: cleaned like a page's URL, with its scheme.

        Relative ones stay relative; a mere fragment is `#`; of any other scheme (`mailto:`,
        `tel:`, `javascript:`, `data:` …) only the scheme is kept; what can't be kept is "".
        """
        found = self._hrefs.get(raw)
        if found is None:
            found = self._clean_href(raw)
            self._hrefs.put(raw, found)
        return found

    def _clean_href(self, raw: str) -> str:
        if len(raw) > self._max_chars:
            return ""
        text = raw.strip(_AROUND)
        if not text.isprintable() and _UNSTORABLE.search(text):
            return ""
        scheme = _SCHEME.match(text)
        if scheme is None:
            return self._clean_relative(text)
        name = scheme[1].lower()
        if name in ("http", "https"):
            page = self._clean(text)
            return "" if page is None else f"{name}://{page.hostname}{page.path}"
        return f"{name}:" if len(name) <= SCHEME_CHARS else ""

    def _clean(self, raw: str) -> CleanUrl | None:
        if len(raw) > self._max_chars:
            return None
        parts = _parse(raw)
        if parts is None or parts[0] not in ("http", "https"):
            return None
        _, host, path, query = parts
        if not query:
            return CleanUrl(host, self._stored(path), _NOTHING)
        kept, campaign = self._split_query(query)
        return CleanUrl(host, self._stored(f"{path}?{kept}" if kept else path), campaign)

    def _clean_referrer(self, raw: str) -> CleanReferrer | None:
        parts = _parse(raw[: self._max_chars])
        if parts is None:
            return None
        scheme, host, path, _ = parts
        if scheme == "android-app":
            return CleanReferrer(host, host)
        host = host_name(host)
        if scheme not in ("http", "https"):
            return None
        path = "" if len(raw) > self._max_chars else self._stored(path).rstrip(" /")
        return CleanReferrer(host, host + path)

    def _clean_relative(self, text: str) -> str:
        if text.startswith("#"):
            return "#"
        path, _, query = text.partition("#")[0].partition("?")
        if path.startswith("//"):
            page = self._clean(f"https:{path}?{query}")
            return "" if page is None else f"//{page.hostname}{page.path}"
        kept = self._split_query(query)[0] if query else ""
        # Decoded, a name might begin with a scheme.
        return self._stored(f"{path}?{kept}" if kept else path, decode=path[:1] in ("", "/", "."))

    def _stored(self, path: str, *, decode: bool = True) -> str:
        if decode and "%" in path:
            path = readable(mask_emails(path) if self._mask else path)
        if ";" in path:
            path = _SESSION.sub("", path)
        path = path.rstrip(" ")
        return mask_emails(path) if self._mask else path

    def _split_query(self, query: str) -> tuple[str, Mapping[str, str]]:
        """The allow-listed pairs as sent, and the campaign's values."""
        kept: list[str] = []
        campaign: dict[str, str] = {}
        odd = "?" in query or "amp" in query or "AMP" in query
        for pair in _HTML_AND.split(query) if odd else query.split("&"):
            key, _, value = pair.partition("=")
            if key in self._keep:
                kept.append(pair)
            if not value or len(key) > _LONGEST_KEY:
                continue
            key = key.lower()
            if key in campaign:
                continue
            if key in _CAMPAIGN_KEYS:
                if decoded := self._decoded(value):
                    campaign[key] = decoded
            elif key in _CLICK_IDS:
                campaign[key] = "1"
        return "&".join(kept), campaign or _NOTHING

    def _decoded(self, value: str) -> str:
        text = _UNSTORABLE.sub("", unquote_plus(value, errors="replace"))
        return (mask_emails(text) if self._mask else text).strip()[:CAMPAIGN_VALUE_CHARS].rstrip()


def _parse(raw: str) -> tuple[str, str, str, str] | None:
    """Scheme, host, path and query of an absolute URL with a valid host."""
    text = raw.strip(_AROUND)
    if not text.isprintable() and _UNSTORABLE.search(text):
        return None
    match = _URL.match(text)
    if match is None:
        return None
    scheme, authority, path, query = match.groups()
    host_port = _HOST.fullmatch(authority.rpartition("@")[2])
    if host_port is None:
        return None
    host = host_port[1].lower().rstrip(".")
    if not host or len(host) > HOST_CHARS or path.startswith("\\"):
        return None
    return scheme.lower(), host, path or "/", query or ""

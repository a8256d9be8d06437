"""URL normalization: turns what a client sends as a URL into what may be stored of it.

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
from analytics_server.spelling.host_names import HOST_CHARS, MOST_READ_CHARS, host_name, readable_host

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
_APP_URL = re.compile(
    r"(?:([a-z][a-z0-9+.-]*)://([^/?#\\]*)|(?=/(?![/\\])))([^?#]*)(.*)", re.IGNORECASE | re.ASCII | re.DOTALL
)
_NO_APPS = frozenset(
    (
        *("http", "https", "ws", "wss", "ftp", "ftps", "javascript", "vbscript", "data", "blob", "about", "mailto"),
        *("android-app", "brave", "chrome", "chrome-error", "chrome-search", "devtools", "edge", "opera", "resource"),
        *("view-source", "vivaldi"),
    )
)
"""Schemes of pages on the web, of scripts and of the browser's own pages."""
_LOCAL = frozenset({"file", "content", "filesystem"})
_PRIVATE_HOSTS = frozenset({"moz-extension", "safari-extension", "safari-web-extension"})
"""Their hosts are made up for each installation: who knows one knows that person's browser."""
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")
_LOCAL_PATH = re.compile(
    r"^/[a-z](?::|%3a|\|)|^/(?:users|home)/.+\.(?:x?html?)$"
    r"|^/(?:sdcard|media|mnt|volumes|root|run/user)/|/(?:private/var|var/mobile|var/containers|var/folders"
    r"|storage/emulated|android_asset|data/user|data/data)/",
    re.IGNORECASE | re.ASCII,
)
"""Paths that lie on a device, though the address does not say so."""
_SEPARATOR = re.compile(r"[/\\]|%(?:25)*(?:2f|5c)", re.IGNORECASE)
_DOCUMENT = re.compile(r"\.(?:[msx]?html?|svg|xml|pdf)$", re.IGNORECASE)
_DOT_AND_LABEL = re.compile(r"(?:\.|%(?:25)*2[eE])(?:[^\W\d_]|%)")

_NOTHING: Mapping[str, str] = MappingProxyType({})


class CleanUrl(NamedTuple):
    """What is kept of a page's URL.

    `hostname` has its one spelling (`readable_host`), without port. `path` begins with `/`
    and carries the allow-listed query keys in the order they were sent. `query` holds only
    campaign keys (lower case; the first of each): `utm_*`, `ref` and `source` decoded and
    masked; of a click id only that it is there ("1").
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

    `query_keys` are compared exactly, as sent. `max_chars` bounds the raw text. `strip_slash`: a path but `/` alone
    ends with no slash.
    """

    __slots__ = ("_apps", "_hrefs", "_keep", "_mask", "_max_chars", "_referrers", "_strip_slash", "_urls")

    def __init__(
        self, query_keys: Sequence[str], mask_emails: bool, max_chars: int, *, strip_slash: bool = False
    ) -> None:
        self._keep = frozenset(query_keys)
        self._mask = mask_emails
        self._max_chars = max_chars
        self._strip_slash = strip_slash
        self._apps: GenerationCache[str, CleanUrl] = GenerationCache(CACHED_HREFS)
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

    def clean_app(self, raw: str) -> CleanUrl | None:
        """The page of an app or extension, whose address is not http's, or None: then it is no such address.

        `capacitor://localhost/cart` is host and path, as a page's is. Where a host tells one installation from
        another (Firefox's and Safari's extensions), and where there is none, the scheme stands for it. Of a local
        file only its own name is kept, if it is a document's: directories are named after people. A path alone has
        no host.
        """
        found = self._apps.get(raw)
        if found is None:
            found = self._clean_app(raw)
            if found is not None:
                self._apps.put(raw, found)
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
        return None if len(raw) > self._max_chars else self._read(raw)

    def _read(self, raw: str) -> CleanUrl | None:
        parts = _parse(raw)
        if parts is None or parts[0] not in ("http", "https"):
            return None
        _, host, path, query = parts
        kept, campaign = self._split_query(query) if query else ("", _NOTHING)
        path = self._stored(f"{path}?{kept}" if kept else path)
        if self._strip_slash:
            path, mark, kept = path.partition("?")
            path = f"{path.rstrip('/') or '/'}{mark}{kept}"
        return CleanUrl(host, path, campaign)

    def _clean_app(self, raw: str) -> CleanUrl | None:
        if len(raw) > self._max_chars:
            return None
        text = raw.strip(_AROUND)
        if not text.isprintable() and _UNSTORABLE.search(text):
            return None
        found = _APP_URL.fullmatch(text)
        if found is None or (scheme := (found[1] or "").lower()) in _NO_APPS:
            return None
        host = _HOST.fullmatch(found[2] or "")
        path, rest = found[3], found[4]
        if scheme in _LOCAL or _LOCAL_PATH.search(path):
            path = f"/{name}" if _DOCUMENT.search(name := _SEPARATOR.split(path)[-1]) else "/"
        page = self._read(f"https://x{path if path.startswith('/') else '/'}{rest}")
        if page is None:
            return None
        hostname = readable_host(host[1]) if host is not None and scheme not in _LOCAL else ""
        if not hostname.strip(".") or scheme in _PRIVATE_HOSTS or _UUID.search(hostname):
            hostname = scheme
        return page._replace(hostname=hostname)

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
    if host_port is None or len(host_port[1]) > MOST_READ_CHARS:
        return None
    host = readable_host(host_port[1])
    if not host_port[1].isascii():  # what a sign stands for may be none of a host's
        mapped = _HOST.fullmatch(host)
        host = mapped[1] if mapped is not None else ""
    if not host or len(host) > HOST_CHARS or path.startswith("\\"):
        return None
    return scheme.lower(), host, path or "/", query or ""

"""Names the source behind a referrer's host or a `utm_source`: Google, search; Reddit, social.

The list is `sources.json`, packed beside this module: kind → name → hosts. A host entry
covers its subdomains, and the longest entry wins (`mail.google.com` is Gmail);
`amazon.*` covers every country's ending and all subdomains; `=google.*` every
country's ending but only the bare host and `www`, `m`, `images`, because the other
subdomains are products that aren't the search. Android packages are hosts like any
other. A source that is not listed goes by its host without `www.`, kind "referral". Hosts of referrer spam are listed
in `spam_referrers.txt`, one a line; a look-up takes them with the others, a dictionary read for each label.

A `utm_source` is compared without case, spaces, `-` and `_`. A name with "ads", "cpc" or the like before or
behind it (`fb-ads`, `google_cpc`) is that source's advertisement, as are the products of `ad_products`.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import NamedTuple

import msgspec

from analytics_server.collect.enrich.cache import GenerationCache
from analytics_server.spelling.host_names import AllowedHosts, host_name

CACHED_HOSTS = 8_192
CACHED_SITES = 1_024
SOURCE_CHARS = 255
REFERRAL = "referral"
SPAM = "spam"
SPAM_NAME = "Referrer spam"
SPAM_HOSTS = "spam_referrers.txt"

_OWN_PREFIXES = frozenset({"", "www", "m", "images"})
_SECOND_LEVEL = frozenset({"co", "com", "org", "net", "ne", "or"})
_GENERIC_ENDINGS = frozenset({"com", "net", "org", "cat"})
_COUNTRY_CODE_CHARS = 2

_SEPARATORS = re.compile(r"[\s_-]+")
_AD_SUFFIX = re.compile(r"(.*?)[\s._-]*(?:ads?|advertising|cpc|ppc|cpm|paid|sponsored)", re.DOTALL)
_AD_PREFIX = re.compile(r"(?:ads?|cpc|ppc|paid|sponsored)[\s._-]+(.*)", re.DOTALL)
_EMAIL = re.compile(r"(?:^|[^a-z])(?:e[-_ ]?mail(?:ing)?s?|mailings?|newsletters?)(?![a-z])")
_NO_SOURCE = frozenset({"direct", "(direct)", "none", "(none)", "(not set)", "null", "undefined"})
"""What tools write where there is no source."""


class Referrer(NamedTuple):
    """A source: its display name, and its kind.

    Kinds: search, social, video, shopping, ai, email, affiliate, referral, spam; "direct" when
    there is no referrer; "" for a `utm_source` that isn't a known name. `medium`: the medium that the name of an
    ad product or a click id stands for, or "".
    """

    name: str
    kind: str
    medium: str = ""


DIRECT = Referrer("Direct", "direct")


class ClickId(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a click id proves: its network, the medium, and further sources that this network's clicks come from."""

    source: str
    medium: str
    also: list[str] = []


class Sources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`sources.json`: kind → name → hosts, and name → further spellings in `utm_source`.

    `ad_products`: medium → name → spellings that mean an advertisement; `click_ids`: by query key.
    """

    kinds: dict[str, dict[str, list[str]]]
    aliases: dict[str, list[str]]
    ad_products: dict[str, dict[str, list[str]]]
    click_ids: dict[str, ClickId]


def load_sources() -> Sources:
    """Read the packed lists: the sources, and the hosts of referrer spam as one source more."""
    packed = resources.files("analytics_server.collect.enrich")
    sources = msgspec.json.decode(packed.joinpath("sources.json").read_bytes(), type=Sources)
    spam = spam_hosts(packed.joinpath(SPAM_HOSTS).read_text(encoding="utf-8"))
    return msgspec.structs.replace(sources, kinds={**sources.kinds, SPAM: {SPAM_NAME: spam}})


def spam_hosts(text: str) -> list[str]:
    """The hosts of a list with one a line; lines that begin with # are none."""
    return [host_name(line) for line in text.splitlines() if line and not line.startswith("#")]


class ReferrerClassifier:
    """Looks hosts and campaign sources up; remembers the answers by host."""

    __slots__ = ("_aliases", "_any_ending", "_by_name", "_clicks", "_hosts", "_known", "_own", "_own_ending")

    def __init__(self, sources: Sources, cache_size: int = CACHED_HOSTS) -> None:
        self._known: GenerationCache[str, Referrer] = GenerationCache(cache_size)
        self._own: GenerationCache[tuple[str, ...], AllowedHosts] = GenerationCache(CACHED_SITES)
        self._hosts: dict[str, Referrer] = {}
        self._any_ending: dict[str, Referrer] = {}
        self._own_ending: dict[str, Referrer] = {}
        self._aliases: dict[str, Referrer] = {}
        self._by_name: dict[str, Referrer] = {}
        for kind, names in sources.kinds.items():
            for name, hosts in names.items():
                self._by_name[name] = referrer = Referrer(name, kind)
                if kind != SPAM:
                    self._aliases[_squeezed(name.lower())] = referrer
                for host in hosts:
                    self._enter(host, referrer)
        for name, spellings in sources.aliases.items():
            self._aliases.update((_squeezed(spelling), self._by_name[name]) for spelling in spellings)
        for medium, products in sources.ad_products.items():
            for name, spellings in products.items():
                product = self._by_name[name]._replace(medium=medium)
                self._aliases.update((_squeezed(spelling), product) for spelling in spellings)
        self._clicks = {
            key: (self._by_name[click.source]._replace(medium=click.medium), frozenset((click.source, *click.also)))
            for key, click in sources.click_ids.items()
        }

    def classify(self, host: str, page_hostname: str = "", allowed_hosts: tuple[str, ...] = ()) -> Referrer:
        """The source behind a referrer's host; `DIRECT` for none, and for the page's and the site's own hosts."""
        if not host or (page_hostname and host_name(host) == host_name(page_hostname)):
            return DIRECT
        if allowed_hosts and self.own_hosts(allowed_hosts).hold(host):
            return DIRECT
        referrer = self._known.get(host)
        if referrer is None:
            referrer = self._look_up(host) or Referrer(host_name(host), REFERRAL)
            self._known.put(host, referrer)
        return referrer

    def is_known(self, referrer: Referrer) -> bool:
        """Is it of the list, not a host that goes by itself?"""
        return self._by_name.get(referrer.name) is referrer

    def named(self, utm_source: str) -> Referrer:
        """The source a campaign tag names: by alias, else as a known host, else the text in lower case, kind "".

        `DIRECT` for words that mean no source; kind "email" for a newsletter by any name; `medium` for ads.
        """
        lower = utm_source.lower()
        if lower in _NO_SOURCE:
            return DIRECT
        known = self._alias(lower)
        if known is not None:
            return known
        host = lower.partition("://")[2] or lower
        host = host.partition("/")[0]
        if "." in host:
            known = self._look_up(host)
        return known or Referrer(host_name(lower)[:SOURCE_CHARS], "email" if _EMAIL.search(lower) else "")

    def clicked(self, click_id_kind: str, found: Referrer) -> Referrer:
        """The source, now that a click id of this kind is known too; it names one where there is none."""
        click = self._clicks.get(click_id_kind)
        if click is None:
            return found
        network, sources = click
        if found is DIRECT:
            return network
        if not found.kind:
            return found._replace(kind=network.kind, medium=network.medium)
        if network.kind in ("email", "affiliate") or (found.name in sources and not found.medium):
            return found._replace(medium=network.medium)
        return found

    def _alias(self, lower: str) -> Referrer | None:
        known = self._aliases.get(_squeezed(lower))
        if known is None and (match := _AD_SUFFIX.fullmatch(lower) or _AD_PREFIX.fullmatch(lower)):
            known = self._aliases.get(_squeezed(match[1]))
            if known is not None and not known.medium:
                known = known._replace(medium="cpc")
        return known

    def own_hosts(self, allowed_hosts: tuple[str, ...]) -> AllowedHosts:
        """The hosts that a site allows, read once."""
        found = self._own.get(allowed_hosts)
        if found is None:
            found = AllowedHosts(allowed_hosts)
            self._own.put(allowed_hosts, found)
        return found

    def _enter(self, host: str, referrer: Referrer) -> None:
        if host.endswith(".*"):
            own = host.startswith("=")
            (self._own_ending if own else self._any_ending)[host.strip("=").removesuffix(".*")] = referrer
        else:
            self._hosts[host] = referrer

    def _look_up(self, host: str) -> Referrer | None:
        rest = host
        while True:
            found = self._hosts.get(rest)
            if found is not None:
                return found
            _, dot, rest = rest.partition(".")
            if not dot:
                return self._by_label(host)

    def _by_label(self, host: str) -> Referrer | None:
        """`…label.com`, `…label.se` and `…label.co.uk` against the entries with any ending."""
        labels = host.split(".")
        country = len(labels[-1]) == _COUNTRY_CODE_CHARS
        if len(labels) < 2 or not (country or labels[-1] in _GENERIC_ENDINGS):
            return None
        ending = 2 if country and len(labels) > 2 and labels[-2] in _SECOND_LEVEL else 1
        label = labels[-ending - 1]
        found = self._any_ending.get(label)
        if found is None and ".".join(labels[: -ending - 1]) in _OWN_PREFIXES:
            found = self._own_ending.get(label)
        return found


def _squeezed(name: str) -> str:
    return _SEPARATORS.sub("", name)

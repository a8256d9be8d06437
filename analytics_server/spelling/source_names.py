"""Names of traffic sources: the one spelling that is stored, and that filters on `visit:source` are read to.

The list is `sources.json`, packed beside this module: kind → name → hosts. A host entry
covers its subdomains, and the longest entry wins (`mail.google.com` is Gmail);
`amazon.*` covers every country's ending and all subdomains; `=google.*` every
country's ending but only the bare host and `www`, `m`, `images`, because the other
subdomains are products that aren't the search. Android packages are hosts like any
other. Hosts of referrer spam are listed
in `spam_referrers.txt`, one a line; a look-up takes them with the others, a dictionary read for each label.

A `utm_source` is compared without case, spaces, `-` and `_`. A name with "ads", "cpc" or the like before or
behind it (`fb-ads`, `google_cpc`) is that source's advertisement, as are the products of `ad_products`. Beacons and
filters read names by this one rule, so that what a beacon was sent with finds it.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import NamedTuple

import msgspec

from analytics_server.spelling.host_names import host_name, host_spellings, readable_host

SOURCE_CHARS = 255
AD_CHARS = 64
"""A longer name is that of no advertisement: looking for one takes time that grows with the square of its length."""
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
_EMAIL = re.compile(r"(?:^|[^a-z])(?:e[-_ ]?mail(?:ing)?s?|mailings?|news[-_ ]?letters?)(?![a-z])")
_PORT = re.compile(r":[0-9]{0,5}$", re.ASCII)
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
    packed = resources.files("analytics_server.spelling")
    sources = msgspec.json.decode(packed.joinpath("sources.json").read_bytes(), type=Sources)
    spam = spam_hosts(packed.joinpath(SPAM_HOSTS).read_text(encoding="utf-8"))
    return msgspec.structs.replace(sources, kinds={**sources.kinds, SPAM: {SPAM_NAME: spam}})


def spam_hosts(text: str) -> list[str]:
    """The hosts of a list with one a line; lines that begin with # are none."""
    return [host_name(line) for line in text.splitlines() if line and not line.startswith("#")]


class SourceNames:
    """Looks sources up by a host or a campaign tag."""

    __slots__ = ("_aliases", "_any_ending", "_exactly", "_hosts", "_own_ending", "by_name")

    def __init__(self, sources: Sources) -> None:
        self._hosts: dict[str, Referrer] = {}
        self._any_ending: dict[str, Referrer] = {}
        self._own_ending: dict[str, Referrer] = {}
        self._aliases: dict[str, Referrer] = {}
        self._exactly: set[str] = set()
        self.by_name: dict[str, Referrer] = {}
        for kind, names in sources.kinds.items():
            for name, hosts in names.items():
                self.by_name[name] = referrer = Referrer(name, kind)
                if kind != SPAM:
                    self._aliases[_squeezed(name.lower())] = referrer
                    self._exactly.add(name.lower())
                for host in hosts:
                    self._enter(host, referrer)
        for name, spellings in sources.aliases.items():
            self._aliases.update((_squeezed(spelling), self.by_name[name]) for spelling in spellings)
            self._exactly.update(spellings)
        for medium, products in sources.ad_products.items():
            for name, spellings in products.items():
                product = self.by_name[name]._replace(medium=medium)
                self._aliases.update((_squeezed(spelling), product) for spelling in spellings)
                self._exactly.difference_update(spellings)

    def is_known(self, referrer: Referrer) -> bool:
        """Is it of the list, not a host that goes by itself?"""
        return self.by_name.get(referrer.name) is referrer

    def always_named(self, text: str) -> str:
        """The known name that all versions read in this text, or ""; those before read no ads, and whole names only."""
        if text in self.by_name:
            return text
        lower = text.lower()
        return self._aliases[_squeezed(lower)].name if lower in self._exactly else ""

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
            known = self.look_up(host)
        return known or Referrer(host_name(lower)[:SOURCE_CHARS].strip(), "email" if _EMAIL.search(lower) else "")

    def _alias(self, lower: str) -> Referrer | None:
        known = self._aliases.get(_squeezed(lower))
        if (
            known is None
            and len(lower) <= AD_CHARS
            and (match := _AD_SUFFIX.fullmatch(lower) or _AD_PREFIX.fullmatch(lower))
        ):
            known = self._aliases.get(_squeezed(match[1]))
            if known is not None and not known.medium:
                known = known._replace(medium="cpc")
        return known

    def _enter(self, host: str, referrer: Referrer) -> None:
        if host.endswith(".*"):
            own = host.startswith("=")
            (self._own_ending if own else self._any_ending)[host.strip("=").removesuffix(".*")] = referrer
        else:
            self._hosts[host] = referrer

    def look_up(self, host: str) -> Referrer | None:
        """The known source of a host, a spam one too."""
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


@cache
def source_names() -> SourceNames:
    """The packed list, read once."""
    return SourceNames(load_sources())


def source_spellings(text: str) -> tuple[str, ...]:
    """A whole source in a filter and the other ways in which it may be stored.

    A name that is shown stands for itself. Else it is the name that a beacon's tag of this text is stored by, and the
    text itself, where versions before stored it as it was sent. An address that is no known source's is that tag, or
    the referrer, which is stored by its host.
    """
    names = source_names()
    tag = text.strip()[:SOURCE_CHARS].rstrip()
    if not tag:
        return (DIRECT.name,)
    always = names.always_named(tag)
    if always:
        return (always,)
    found = [names.named(tag).name]
    _, scheme, rest = tag.partition("://")
    if scheme and (host := re.split(r"[/?#]", rest, maxsplit=1)[0]):
        host = readable_host(_PORT.sub("", host.rpartition("@")[2]))
        known = names.look_up(host)
        found.append(known.name if known is not None else host_name(host))
    spelt = (text, *found, *(host_spellings(text) if "xn--" in text.lower() else ()))
    return tuple(dict.fromkeys(spelt))

"""Names of hosts: the one spelling that people read, and the hosts that a site allows.

`müller.example`, `MÜLLER.example.`, `xn--mller-kva.example` and `ｍüller．example` are one host (UTS 46). It is
stored and shown as letters. What IDNA refuses and browsers take all the same (emoji, underscores) is left as it is:
a host is never lost for its spelling. Pure; almost all hosts are plain ASCII and take the short way.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import idna

HOST_CHARS = 253
PORT_CHARS = 7
"""Of `:65535.`, which a host as it is sent may end with."""
LABEL_CHARS = 63
"""Of a label in Punycode, as the domain name system counts them."""

_PUNYCODE = re.compile(r"(?<![^.:])xn--[^.:]{1,59}(?![^.:])")
"""A label of at most `LABEL_CHARS`: reading a longer one, which none is, takes time that grows with its square."""
MOST_READ_CHARS = 4 * HOST_CHARS
"""A longer text is no host in any spelling, and is not looked at."""
_PREFIX = "xn--"
_JOINERS = "\u200c\u200d"
"""Invisible, but scripts need them."""
_FORBIDDEN = re.compile(r"[\s\"#%/:<>?@\[\\\]^`{|}]")
"""What no host may hold (WHATWG URL, forbidden host code points)."""
_ASCII_LABEL = re.compile(r"[a-z0-9_-]+")
_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")
_SCHEME = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE | re.ASCII)
_PORT = re.compile(r":[0-9]{0,5}$", re.ASCII)
_IPV6 = re.compile(r"\[([0-9a-fA-F:.]+)\](?::[0-9]{0,5})?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
"""A last label that makes browsers read the whole host as an IPv4 address."""


def readable_host(host: str) -> str:
    """The host in lower case, without a dot at the end, Punycode (RFC 3492) as the letters it stands for.

    A port stays. Reading twice changes nothing.
    """
    return _spelt(host).rstrip(".")


def host_name(host: str) -> str:
    """A host as hosts are compared, and sources shown: in its one spelling, without `www.`."""
    host = readable_host(host) or host
    while host.startswith("www.") and "." in host[4:]:
        host = host[4:]
    return host


def encoded_host(host: str) -> str:
    """The host with every label in ASCII, as browsers send it: the other way round of `readable_host`."""
    if host.isascii():
        return host
    parts = re.split(r"([.:])", host)
    return "".join(part if part.isascii() else _PREFIX + part.encode("punycode").decode() for part in parts)


def host_spellings(text: str, *, whole: bool = True) -> tuple[str, ...]:
    """A host in a filter and the other ways in which it may be stored, the given one first.

    Older versions stored hosts as they were sent. Of a `whole` host the port and the last dot are no part.
    """
    if text.isascii() and text.islower() and _PREFIX not in text and ":" not in text and not text.endswith("."):
        return (text,)
    shown = readable_host(_PORT.sub("", text) if text.count(":") == 1 else text) if whole else _spelt(text)
    if not shown:
        return (text,)
    try:
        sent = encoded_host(shown)
    except UnicodeError:  # half of a surrogate pair
        sent = shown
    return tuple(dict.fromkeys((text, shown, sent)))


def is_label(label: str) -> bool:
    """May this stand between the dots of a host in its one spelling? Letters of all scripts, and emoji."""
    if label.isascii():
        return _ASCII_LABEL.fullmatch(label) is not None
    try:
        idna.check_label(label)
    except (idna.IDNAError, ValueError):
        return any(unicodedata.category(char) == "So" for char in label) and _may_be_shown(label)
    return True


def allowed_host(entry: str) -> str:
    """The host that an entry of `allowed_hosts` means, in its one spelling; `*.example.com` for all subdomains.

    An address stands for its host, without scheme, port and path. Raises `ValueError` saying what to write instead.
    """
    text = _SCHEME.sub("", entry.strip(), count=1) if _SCHEME.match(entry.strip()) else entry.strip()
    text = re.split(r"[/?#]", text, maxsplit=1)[0]
    if "@" in text:
        raise ValueError("it has a user's name in it: write the host alone, such as example.com")
    any_below = text.startswith("*.")
    host = text.removeprefix("*.")
    if not host:
        raise ValueError("there is no host in it: write one such as example.com, or leave the list empty for any host")
    if "*" in host or (any_below and host.strip(".") == ""):
        raise ValueError(
            "* may stand only for all subdomains of a host, as in *.example.com: leave the list empty for any host"
        )
    address = _address(host)
    if address:
        if any_below:
            raise ValueError("an address has no subdomains: write it without *.")
        return address
    host = readable_host(_PORT.sub("", host))
    labels = host.split(".")
    if not all(map(is_label, labels)):
        raise ValueError("no host is called so: write one such as example.com, *.example.com or localhost")
    encoded = encoded_host(host).split(".")
    if max(map(len, encoded)) > LABEL_CHARS or sum(map(len, encoded)) + len(encoded) - 1 > HOST_CHARS:
        raise ValueError(f"a host has {HOST_CHARS} characters at most, and {LABEL_CHARS} between two dots")
    if _NUMBER.fullmatch(labels[-1]):
        raise ValueError("it ends like an IPv4 address and is none: write one such as 192.0.2.1, or a host's name")
    return f"*.{host}" if any_below else host


class AllowedHosts:
    """A site's allowed hosts, read once: in any spelling, with and without `www.`; `*.example.com`: all subdomains.

    Entries that can't be understood, which older versions took, allow nothing.
    """

    __slots__ = ("_names", "_parents")

    def __init__(self, entries: Iterable[str]) -> None:
        names: set[str] = set()
        parents: set[str] = set()
        for entry in entries:
            try:
                host = allowed_host(entry)
            except ValueError:
                continue
            if host.startswith("*."):
                parents.add(host[2:])
            else:
                names.add(host_name(host))
        self._names, self._parents = frozenset(names), frozenset(parents)

    def hold(self, host: str) -> bool:
        """Is it one of the site's hosts?"""
        if host in self._names or host_name(host) in self._names:
            return True
        if not self._parents:
            return False
        parent = readable_host(host).partition(".")[2]
        while parent:
            if parent in self._parents:
                return True
            parent = parent.partition(".")[2]
        return False


def _address(host: str) -> str:
    """An IP address as pages' hosts write it, IPv6 in brackets; empty when it is none."""
    bracketed = _IPV6.fullmatch(host)
    try:
        if bracketed is not None or host.count(":") > 1:
            return f"[{ipaddress.IPv6Address(bracketed[1] if bracketed else host).compressed}]"
        return str(ipaddress.IPv4Address(_PORT.sub("", host).rstrip(".")))
    except ValueError:
        return ""


def _spelt(host: str) -> str:
    if len(host) > MOST_READ_CHARS:
        return host.lower()
    if host.isascii():
        host = host.lower()
        if _PREFIX not in host or len(host) > HOST_CHARS + PORT_CHARS:
            return host
    return _remembered(host) if len(host) <= HOST_CHARS else _international(host)


def _international(host: str) -> str:
    if not host.isascii():
        host = _mapped(host)
    return _PUNYCODE.sub(_letters, host) if _PREFIX in host else host


_remembered = lru_cache(2_048)(_international)
"""A site's tags name one host again and again. Long texts are not kept."""


def _mapped(host: str) -> str:
    """Compatibility forms as the characters they stand for, in lower case and composed."""
    try:
        return idna.uts46_remap(host, std3_rules=False)
    except (idna.IDNAError, ValueError):
        return unicodedata.normalize("NFC", host.lower()).translate(_DOTS)


def _letters(match: re.Match[str]) -> str:
    """What a label in Punycode stands for; the label itself where that can be no host, or is spelt another way."""
    label = match[0]
    try:
        found = label[len(_PREFIX) :].encode("ascii").decode("punycode")
        fits = (
            not found.isascii()
            and not found.startswith(_PREFIX)
            and "." not in found
            and _may_be_shown(found)
            and _mapped(found) == found
            and _PREFIX + found.encode("punycode").decode() == label
        )
    except (ValueError, OverflowError):
        return label
    return found if fits else label


def _may_be_shown(label: str) -> bool:
    return _FORBIDDEN.search(label) is None and all(char.isprintable() or char in _JOINERS for char in label)


def is_loopback(host: str) -> bool:
    """Is it this machine's own: `localhost`, or an address that no packet to leaves the machine? Brackets may stand."""
    name = host.strip("[]").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback

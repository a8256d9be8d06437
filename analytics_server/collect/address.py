"""The client's IP address behind proxies: reads X-Forwarded-For, Forwarded or the operator's header from the right.

Only hops that a trusted proxy wrote count: the right-most entry that is no trusted
proxy is the client. What stands further left the client may have forged. So `Forwarded` (RFC 7239) is taken to
pieces from its end as well: a quotation mark that the client leaves open must not swallow what the proxy added.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from analytics_server.errors import ConfigError

MAX_HOPS = 32
FORWARDED_FOR, FORWARDED = "x-forwarded-for", "forwarded"


class AddressRanges:
    """Addresses and networks, e.g. "127.0.0.1", "10.0.0.0/8", "2001:db8::/32".

    Raises `ValueError` naming the one that is none.
    """

    __slots__ = ("_networks", "_single")

    def __init__(self, texts: Iterable[str]) -> None:
        self._networks: list[tuple[socket.AddressFamily, int, int]] = []
        self._single: set[str] = set()
        for text in texts:
            try:
                network = _unmapped(ipaddress.ip_network(text, strict=False))
            except ValueError as error:
                raise ValueError(f"{text!r} is no address or network") from error
            if network.prefixlen == network.max_prefixlen:
                self._single.add(str(network.network_address))
                continue
            family = socket.AF_INET6 if network.version == 6 else socket.AF_INET
            self._networks.append((family, int(network.network_address), int(network.netmask)))

    def __bool__(self) -> bool:
        return bool(self._networks or self._single)

    def __contains__(self, address: str) -> bool:
        """Does one of them hold the address, as `bare` spells it?"""
        if address in self._single:
            return True
        if not self._networks:
            return False
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            number = int.from_bytes(socket.inet_pton(family, address), "big")
        except (OSError, ValueError):  # ValueError: a NUL in it
            return False
        return any(kind == family and number & mask == prefix for kind, prefix, mask in self._networks)


class AddressResolver:
    """`trusted` are addresses or networks, e.g. "127.0.0.1", "10.0.0.0/8"; `header`: the only one that is read.

    Without it X-Forwarded-For is, and Forwarded where there is none.
    """

    def __init__(self, trusted: Sequence[str], header: str = "") -> None:
        self.headers: tuple[str, ...] = (header.lower(),) if header else (FORWARDED_FOR, FORWARDED)
        """Names in lower case: the first that a request has is read."""
        try:
            self._proxies = AddressRanges(trusted)
        except ValueError as error:
            raise ConfigError(f"[server] trusted_proxies: {error}.") from error
        self._known: dict[str, bool] = {}

    def client(self, peer: str, get_all: Callable[[str], Sequence[str]]) -> str:
        """The client's address; `get_all` gives all headers of a name in the order received, or nothing."""
        for name in self.headers:
            if lines := get_all(name):
                return self.resolve(peer, lines, name)
        return self.resolve(peer, ())

    def resolve(self, peer: str, forwarded: Sequence[str], header: str = FORWARDED_FOR) -> str:
        """The client's address; `forwarded` are the headers of that name in the order received."""
        if peer.startswith("::ffff:"):
            peer = bare(peer) or peer
        if not forwarded or not self._proxies or not self.trusts(peer):
            return peer
        if header == FORWARDED:
            return self._client(map(_for, _from_right(",".join(forwarded))), peer)
        if len(forwarded) == 1 and "," not in forwarded[0]:
            return self._client(forwarded, peer)
        return self._client(reversed([hop for line in forwarded for hop in line.split(",")]), peer)

    def _client(self, hops: Iterable[str], peer: str) -> str:
        """`hops` from the right."""
        for hop in islice(hops, MAX_HOPS):
            address = bare(hop)
            if not address:
                return peer
            if address not in self._proxies:
                return address
        return peer

    def trusts(self, peer: str) -> bool:
        """Is this the address of a trusted proxy? Remembered: there are few peers."""
        known = self._known.get(peer)
        if known is None:
            known = bare(peer) in self._proxies
            if len(self._known) > 1_000:
                self._known.clear()
            self._known[peer] = known
        return known


Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_MAPPED_PREFIX = bytes(10) + b"\xff\xff"


def _unmapped(network: Network) -> Network:
    """IPv4 for a network of IPv4 addresses that is written in IPv6, such as ::ffff:10.0.0.0/104."""
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        number = int(network.network_address) - int(_MAPPED.network_address)
        return ipaddress.IPv4Network((number, network.prefixlen - _MAPPED.prefixlen))
    return network


def network_of(address: str) -> str:
    """What of an address stands for one client: all of IPv4, the /64 network of IPv6, of which a client has all.

    A client is counted and hashed by it: the lower half of an IPv6 address changes every few hours. An IPv4 address
    written in IPv6 (::ffff:192.0.2.1) is the IPv4 address; what is no address is left as it is.
    """
    if ":" not in address:
        return address
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):  # ValueError: a NUL in it
        return address
    if packed.startswith(_MAPPED_PREFIX):
        return socket.inet_ntop(socket.AF_INET, packed[len(_MAPPED_PREFIX) :])
    return packed[:8].hex()


def shortened(address: str, count: int) -> str:
    """The network that is left when so many bytes are taken from the end: 192.0.0.0 of 192.0.2.1 for two.

    Of IPv6 they are taken from the /64 network, which is what a client has. What is no address is left as it is.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    size = _NETWORK_BYTES if family == socket.AF_INET6 else _IPV4_BYTES
    try:
        packed = socket.inet_pton(family, address.partition("%")[0])
    except (OSError, ValueError):  # ValueError: a NUL in it
        return address
    kept = max(0, size - count)
    return socket.inet_ntop(family, packed[:kept] + bytes(len(packed) - kept))


_IPV4_BYTES, _NETWORK_BYTES = 4, 8

_PAIR = re.compile(r'[ \t]*([^\s=;,"]+)=("(?:[^"\\]|\\.)*"|[^\s";,]*)[ \t]*(?:;|$)')
_ESCAPED = re.compile(r"\\(.)")


def _from_right(text: str) -> Iterator[str]:
    """The elements of a list with quoted strings, the last one first."""
    end, quoted = len(text), False
    for at in range(end - 1, -1, -1):
        char = text[at]
        if char == '"' and (not at or text[at - 1] != "\\"):
            quoted = not quoted
        elif char == "," and not quoted:
            yield text[at + 1 : end]
            end = at
    yield text[:end]


def _for(element: str) -> str:
    """The node that an element of Forwarded names: `for="[2001:db8::1]:4711";proto=https`; empty when it is unclear."""
    found, at, end = "", 0, len(element.rstrip(" \t"))
    while at < end:
        pair = _PAIR.match(element, at, end)
        if pair is None:
            return ""
        if pair[1].lower() == "for":
            if found:
                return ""
            found = pair[2]
        at = pair.end()
    return _ESCAPED.sub(r"\1", found[1:-1]) if found.startswith('"') else found


_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)", re.ASCII)
"""The usual spelling without leading zeroes needs no second look (01 and the like fall through)."""


def bare(hop: str) -> str:
    """An address without port, brackets and zone, in one spelling; "" if it is none.

    An IPv4 address that came through an IPv6 socket (::ffff:192.0.2.1) is the IPv4 address it stands for.
    """
    text = hop.strip(' \t"')
    if _IPV4.fullmatch(text):
        return text
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    text = text.partition("%")[0]
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        address = socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, ValueError):  # ValueError: a NUL in it
        return ""
    return address.removeprefix("::ffff:") if "." in address else address

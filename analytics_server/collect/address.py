"""The client's IP address behind proxies: reads X-Forwarded-For from the right.

Only hops that a trusted proxy wrote count: the right-most entry that is no trusted
proxy is the client. What stands further left the client may have forged.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence

from analytics_server.errors import ConfigError

MAX_HOPS = 32


class AddressResolver:
    """`trusted` are addresses or networks, e.g. "127.0.0.1", "10.0.0.0/8"."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._networks: list[tuple[socket.AddressFamily, int, int]] = []
        self._single: set[str] = set()
        for text in trusted:
            try:
                network = ipaddress.ip_network(text, strict=False)
            except ValueError as error:
                raise ConfigError(f"[server] trusted_proxies: {text!r} is no address or network.") from error
            network = _unmapped(network)
            if network.prefixlen == network.max_prefixlen:
                self._single.add(str(network.network_address))
                continue
            family = socket.AF_INET6 if network.version == 6 else socket.AF_INET
            self._networks.append((family, int(network.network_address), int(network.netmask)))
        self._known: dict[str, bool] = {}

    def resolve(self, peer: str, forwarded: Sequence[str]) -> str:
        """The client's address; `forwarded` are the X-Forwarded-For headers in the order received."""
        if peer.startswith("::ffff:"):
            peer = bare(peer) or peer
        if not forwarded or not (self._networks or self._single) or not self._trusts(peer):
            return peer
        if len(forwarded) == 1 and "," not in forwarded[0]:
            return self._client((forwarded[0],), peer)
        return self._client([hop for header in forwarded for hop in header.split(",")][-MAX_HOPS:], peer)

    def _client(self, hops: Sequence[str], peer: str) -> str:
        for hop in reversed(hops):
            address = bare(hop)
            if not address:
                return peer
            if not self._is_trusted(address):
                return address
        return peer

    def _trusts(self, peer: str) -> bool:
        """Is this the address of a trusted proxy? Remembered: there are few peers."""
        known = self._known.get(peer)
        if known is None:
            known = self._is_trusted(bare(peer))
            if len(self._known) > 1_000:
                self._known.clear()
            self._known[peer] = known
        return known

    def _is_trusted(self, address: str) -> bool:
        if address in self._single:
            return True
        if not self._networks:
            return False
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            number = int.from_bytes(socket.inet_pton(family, address), "big")
        except OSError:
            return False
        return any(kind == family and number & mask == prefix for kind, prefix, mask in self._networks)


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

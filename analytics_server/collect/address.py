"""Whose request is it, behind proxies? Reads X-Forwarded-For from the right.

Only hops that a trusted proxy wrote count: the right-most entry that is no trusted
proxy is the client. What stands further left the client may have forged.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from analytics_server.errors import ConfigError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_HOPS = 32


class AddressResolver:
    """`trusted` are addresses or networks, e.g. "127.0.0.1", "10.0.0.0/8"."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._networks: list[Network] = []
        for text in trusted:
            try:
                self._networks.append(ipaddress.ip_network(text, strict=False))
            except ValueError as error:
                raise ConfigError(f"[server] trusted_proxies: {text!r} is no address or network.") from error
        self._known: dict[str, bool] = {}

    def resolve(self, peer: str, forwarded: Sequence[str]) -> str:
        """The client's address; `forwarded` are the X-Forwarded-For headers in the order received."""
        if not forwarded or not self._networks or not self._trusts(peer):
            return peer
        hops = [hop.strip() for header in forwarded for hop in header.split(",")]
        for hop in reversed(hops[-MAX_HOPS:]):
            address = _bare(hop)
            if not address:
                return peer
            if not self._is_trusted(address):
                return address
        return peer

    def _trusts(self, peer: str) -> bool:
        """Is this the address of a trusted proxy? Remembered: there are few peers."""
        known = self._known.get(peer)
        if known is None:
            known = self._is_trusted(_bare(peer))
            if len(self._known) > 1_000:
                self._known.clear()
            self._known[peer] = known
        return known

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


def _bare(hop: str) -> str:
    """An address without port, brackets and zone; "" if it is none."""
    text = hop.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    text = text.partition("%")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""

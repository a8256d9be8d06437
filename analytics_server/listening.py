"""Listening sockets, and addresses as they are written.

Why not leave it to `loop.create_server`: it binds IPv6 sockets for IPv6 alone, so `::` would refuse
every IPv4 client, and with port 0 it gives each address of a name a port of its own. Here `::`
(and "") is dual stack, by one socket per family, so that an IPv4 client's address stays an IPv4
address; and all sockets share one port.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Sequence
from typing import Any

from analytics_server.errors import ConfigError

PORT_TRIES = 20
"""With port 0: how often to look for a port that is free on every address."""
BACKLOG = 1_024
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}

Address = tuple[str, int]


def open_sockets(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for the setting `[server] host`. Raises `ConfigError`."""
    shown = address_text(without_brackets(host), port)
    try:
        wanted = _resolve(without_brackets(host))
        for _ in range(PORT_TRIES):
            try:
                return _bind_all(wanted, port)
            except OSError as error:
                if port or len(wanted) == 1 or error.errno != errno.EADDRINUSE:
                    raise
        raise OSError(errno.EADDRINUSE, "")
    except OSError as error:
        known = error.errno is not None and error.errno > 0
        raise ConfigError(
            f"Can't listen on {shown}: {os.strerror(error.errno or 0) if known else error.strerror}. "
            "Stop the program that uses it, or choose another [server] host or port (--host, --port)."
        ) from error


def addresses_of(sockets: Sequence[socket.socket]) -> list[Address]:
    """Where the sockets are bound, with the scope of a link-local address."""
    return [(socket.getnameinfo(found.getsockname(), _NUMERIC)[0], found.getsockname()[1]) for found in sockets]


def reachable(bound: Sequence[Address]) -> list[Address]:
    """The same addresses as a client on this machine reaches them, IPv4 first: loopback for a wildcard."""
    found = [(LOOPBACK.get(host, host), port) for host, port in bound]
    return sorted(found, key=lambda address: ":" in address[0])


def address_text(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def without_brackets(host: str) -> str:
    """A setting written as in a URL, `[::1]`, means the address."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def base_url(host: str, port: int, *, tls: bool = False) -> str:
    """`http://host:port`, with an IPv6 address in brackets and its zone escaped (RFC 6874); `https` with TLS."""
    return f"{'https' if tls else 'http'}://{address_text(host.replace('%', '%25'), port)}"


_Place = tuple[socket.AddressFamily, tuple[Any, ...]]
"""A family and an address to bind in it."""
_NO_IPV6 = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""What a kernel says that has IPv6 switched off."""
_NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


def _resolve(host: str) -> list[_Place]:
    """Families and addresses to bind, without a port. A wildcard of IPv6 brings the one of IPv4."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if isinstance(address, ipaddress.IPv6Address):
            if address.ipv4_mapped is not None:
                host = str(address.ipv4_mapped)
            elif int(address) == 0:
                host = ""
    if not host:
        return [(socket.AF_INET, ("0.0.0.0", 0)), (socket.AF_INET6, ("::", 0))]
    infos = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, place) for family, _, _, _, place in infos))


def _bind_all(wanted: Sequence[_Place], port: int) -> list[socket.socket]:
    """One socket per address, all with one port. IPv6 may be missing where there is something else to listen on."""
    bound: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, place in wanted:
            try:
                made = socket.socket(family, socket.SOCK_STREAM)
                bound.append(made)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                made.bind((place[0], port, *place[2:]))
            except OSError as error:
                if family != socket.AF_INET6 or error.errno not in _NO_IPV6:
                    raise
                missing = error
                if bound and bound[-1].family == family:
                    bound.pop().close()
                continue
            port = made.getsockname()[1]
        if missing is not None and not bound:
            raise missing
        for made in bound:
            made.listen(BACKLOG)
    except OSError:
        for made in bound:
            made.close()
        raise
    return bound

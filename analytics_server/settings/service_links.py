"""Environment variables that Kubernetes and container links invent, told apart from settings by their shape.

For a service named `analytics-server` Kubernetes puts `ANALYTICS_SERVER_PORT=tcp://10.96.0.12:8000`,
`ANALYTICS_SERVER_SERVICE_HOST` and more into every container of the namespace (unless
`enableServiceLinks: false`), and links of docker and podman do the same. They share the prefix
of the settings without being meant as settings. A name alone is not enough: the value has to
be what such a variable holds, so that a misspelt setting is still refused.

Names and values are those of Kubernetes' `envvars.FromServices` and of docker's legacy links.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

_PROTOCOL = "TCP|UDP|SCTP"
_URL = re.compile(r"(?:tcp|udp|sctp)://\S+:\d{1,5}(?:-\d{1,5})?", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,5}(?:-\d{1,5})?")
_LINK_NAME = re.compile(r"/[^/\s]+/[^/\s]+")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


_SHAPES = (
    (re.compile(r".+_SERVICE_HOST"), _is_address),
    (re.compile(r".+_SERVICE_PORT(?:_[A-Z0-9_]+)?"), _NUMBER.fullmatch),
    (re.compile(rf".+_PORT(?:_\d+_(?:{_PROTOCOL})(?:_START|_END)?)?"), _URL.fullmatch),
    (re.compile(rf".+_PORT_\d+_(?:{_PROTOCOL})_PROTO"), re.compile(_PROTOCOL, re.IGNORECASE).fullmatch),
    (re.compile(rf".+_PORT_\d+_(?:{_PROTOCOL})_PORT(?:_START|_END)?"), _NUMBER.fullmatch),
    (re.compile(rf".+_PORT_\d+_(?:{_PROTOCOL})_ADDR"), _is_address),
    (re.compile(r".+_NAME"), _LINK_NAME.fullmatch),
)
"""Shape of the name, then of the value. The start of each is the service's or the link's name in capitals."""

_LINK_END = re.compile(r"_(?:NAME|PORT)\Z")


def service_links(environment: Mapping[str, str], prefix: str) -> frozenset[str]:
    """Names of the variables below `prefix` that announce a service or a linked container.

    A link also copies the other container's own variables as `ALIAS_ENV_…`, with any value: they
    count where the alias has announced itself with a name or a port.
    """
    found = {
        name
        for name, value in environment.items()
        if name.startswith(prefix) and any(shape.fullmatch(name) and fits(value.strip()) for shape, fits in _SHAPES)
    }
    aliases = {_LINK_END.sub("", name) for name in found if _LINK_END.search(name)}
    copies = (
        name
        for name in environment
        if name.startswith(prefix) and any(name.startswith(f"{alias}_ENV_") for alias in aliases)
    )
    return frozenset(found) | frozenset(copies)

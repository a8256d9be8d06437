"""Referrers in filters: the one spelling that is stored, host and path, beside the one that was given.

A referrer is stored without scheme, `www.`, port, query and final slash. Versions before kept `www.` and the slash,
so that a filter looks for what was given too. Pure.
"""

from __future__ import annotations

import re

from analytics_server.spelling.host_names import host_name, host_spellings

_SCHEME = re.compile(r"(?:([a-z][a-z0-9+.-]*):)?//", re.IGNORECASE | re.ASCII)
_PORT = re.compile(r":[0-9]{0,5}$", re.ASCII)
_HOST_ALONE = "android-app"


def referrer_spellings(text: str, *, whole: bool) -> tuple[str, ...]:
    """A referrer in a filter, or with `whole` = False a part of one, and the ways to write its host."""
    found = (text, stored_referrer(text)) if whole else (text,)
    return tuple(dict.fromkeys(spelt for each in found for spelt in _of_hosts(each)))


def stored_referrer(text: str) -> str:
    """An address, or host and path, as it is stored but for how its path is encoded."""
    scheme = _SCHEME.match(text.strip())
    rest = re.split(r"[?#]", text.strip()[scheme.end() if scheme else 0 :], maxsplit=1)[0]
    host, slash, path = rest.partition("/")
    if scheme:
        host = _PORT.sub("", host.rpartition("@")[2])
        if (scheme[1] or "").lower() == _HOST_ALONE:
            return host.lower()
    return f"{host_name(host)}{slash}{path}".rstrip(" /")


def _of_hosts(text: str) -> tuple[str, ...]:
    host, slash, path = text.partition("/")
    return tuple(f"{each}{slash}{path}" for each in host_spellings(host, whole=False))

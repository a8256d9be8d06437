"""Who an event counts as: a keyed hash with the day's salt, forgotten with it.

visitor = BLAKE2b-64(key = the UTC day's random salt; day, site, address, user agent).
The day is hashed too, so an id never spans two days even where an old day has no salt
of its own (imports). The site is hashed, so nobody can be followed from site to site.
An IPv6 address counts by its /64 network: the lower half changes every few hours on
the same device. Address and user agent are forgotten once this returns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from analytics_server.collect.address import network_of

DAY_S = 86_400

_blake2b = hashlib.blake2b


class VisitorHasher:
    """Hashes with the salts it is given; `salt_of(day)` takes days since 1970."""

    __slots__ = ("_enabled", "_salt_of")

    def __init__(self, salt_of: Callable[[int], bytes], *, enabled: bool) -> None:
        self._salt_of = salt_of
        self._enabled = enabled

    def identify(self, site_id: str, address: str, user_agent: str, day: int) -> int:
        """The visitor's 64-bit id on that day; 0 when ids are switched off."""
        if ":" in address:
            address = network_of(address)
        return self._hash(day, f"{day}\n{site_id}\n{address}\n{user_agent}")

    def identify_user(self, site_id: str, user_id: str, day: int) -> int:
        """The id for a server-side event that tells a user but neither address nor user agent."""
        return self._hash(day, f"{day}\n{site_id}\nuser\n{user_id}")

    def _hash(self, day: int, text: str) -> int:
        if not self._enabled:
            return 0
        digest = _blake2b(text.encode("utf-8", "replace"), digest_size=8, key=self._salt_of(day)).digest()
        return int.from_bytes(digest, "little") or 1

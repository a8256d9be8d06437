"""The keyed hash by which a user is remembered without the id: of opt-outs, erasures and certificates.

The key is random, made once and shared by all servers. With the key a guess can be tested, so the hash is
pseudonymous; without a guess it identifies no person.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

from analytics_server.errors import StoreRetryable
from analytics_server.store.lease import Lease, leased
from analytics_server.store.protocol import Store

KEY_BYTES = 32
HASH_BYTES = 16
LEASE_S = 20.0
PAUSE_S = (0.1, 1.0)
"""Of two that meet both withdraw, and come again at different times."""
ATTEMPTS = 60
"""For longer than a lease that a killed process has left."""


class UserHashes:
    """Hashes of user ids; `load` first, and again at intervals."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._key = b""

    async def load(self) -> None:
        """Read the key, or make it: one of all servers does, under a lease. Raises a store error.

        Call it again once servers that start together have made theirs: one of an earlier version takes no lease.
        """
        found = await self._read()
        if not found and not self._key:
            found = await self._make()
        if found:
            self._key = bytes.fromhex(found)

    async def _make(self) -> str:
        for _ in range(ATTEMPTS):
            async with leased(Lease(self._store, "privacy-key", holder="start", ttl_s=LEASE_S)) as taken:
                if found := await self._read():
                    return found
                if taken:
                    key = secrets.token_bytes(KEY_BYTES).hex()
                    made_at = datetime.fromtimestamp(self._clock(), UTC)
                    await self._store.insert("privacy_keys", ("key", "created_at"), [[key], [made_at]])
                    await self._store.catch_up(["privacy_keys"])
                    return await self._read()
            await asyncio.sleep(random.uniform(*PAUSE_S))
        raise StoreRetryable("Another server is making the key of opt-outs, and does not come to an end: try again.")

    async def _read(self) -> str:
        """The oldest key counts: a second server that came later takes it over."""
        answer = await self._store.query("SELECT key FROM privacy_keys ORDER BY created_at, key LIMIT 1")
        return str(answer.rows[0][0]) if answer.rows else ""

    def of(self, user_id: str) -> str:
        """The hash of a user id, hex; about two microseconds."""
        return hashlib.blake2b(
            user_id.encode("utf-8", "surrogatepass"), key=self._key, digest_size=HASH_BYTES
        ).hexdigest()

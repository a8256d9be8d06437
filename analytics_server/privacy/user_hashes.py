"""The keyed hash by which a user is remembered without the id: of opt-outs, erasures and certificates.

The key is random, made once and shared by all servers. Whoever has the key can test a guess, so the hash is
pseudonymous; it leads back to nobody without one.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

from analytics_server.store.protocol import Store

KEY_BYTES = 32
HASH_BYTES = 16


class UserHashes:
    """Hashes of user ids; `load` first, and again at intervals."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._key = b""

    async def load(self) -> None:
        """Read the key, or make it. Raises a store error.

        Call it again once all servers that start together have made theirs: one whose clock is behind may have stored
        an older key since.
        """
        found = await self._read()
        if not found and not self._key:
            made_at = datetime.fromtimestamp(self._clock(), UTC)
            await self._store.insert(
                "privacy_keys", ("key", "created_at"), [[secrets.token_bytes(KEY_BYTES).hex()], [made_at]]
            )
            await self._store.catch_up(["privacy_keys"])
            found = await self._read()
        if found:
            self._key = bytes.fromhex(found)

    async def _read(self) -> str:
        """The oldest key counts: a second server that came later takes it over."""
        answer = await self._store.query("SELECT key FROM privacy_keys ORDER BY created_at, key LIMIT 1")
        return str(answer.rows[0][0]) if answer.rows else ""

    def of(self, user_id: str) -> str:
        """The hash of a user id, hex; about two microseconds."""
        return hashlib.blake2b(
            user_id.encode("utf-8", "surrogatepass"), key=self._key, digest_size=HASH_BYTES
        ).hexdigest()

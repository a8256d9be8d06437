"""Last use of credentials: kept in memory, read from and flushed to `credential_uses` in the background.

A use costs one look-up; it is written at most once in `step_s` and credential, so that a token that asks a thousand
times a second writes one row a day. What is not written when the process dies is lost, and written with the next use.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from analytics_server.errors import StoreError
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

DAY_S = 86_400
WRITE_S = 5.0
MOST_KNOWN = 100_000
"""So many credentials are remembered; one more forgets them all, which costs a row each."""


class CredentialUses:
    """Last uses by a credential's id, in whole steps (a token's in days)."""

    def __init__(self, store: Store, *, step_s: int = DAY_S, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._step_s = step_s
        self._clock = clock
        self._known: dict[str, int] = {}
        self._unwritten: dict[str, int] = {}

    def note(self, id_: str) -> None:
        """The credential was used now."""
        now = int(self._clock()) // self._step_s * self._step_s
        if self._known.get(id_, 0) < now:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[id_] = self._unwritten[id_] = now

    def known_s(self, id_: str) -> int:
        """When the credential was last used here, in seconds since 1970; 0 if that is not known."""
        return self._known.get(id_, 0)

    async def read(self) -> dict[str, datetime]:
        """The last uses of all credentials, those of other servers too. Raises a store error."""
        answer = await self._store.query(
            "SELECT id, toUnixTimestamp(max(used_at)) FROM credential_uses GROUP BY id", {}
        )
        found = {str(id_): int(str(at)) for id_, at in answer.rows}
        for id_, at in self._known.items():
            found[id_] = max(at, found.get(id_, 0))
        return {id_: datetime.fromtimestamp(at, UTC) for id_, at in found.items()}

    async def write(self) -> None:
        """Write what is new. Raises a store error; what was not written then is kept for the next time."""
        if not self._unwritten:
            return
        new, self._unwritten = self._unwritten, {}
        times = [datetime.fromtimestamp(at, UTC) for at in new.values()]
        try:
            await self._store.insert("credential_uses", ("id", "used_at"), [list(new), times])
        except BaseException:
            self._unwritten = new | self._unwritten
            raise

    async def run(self) -> None:
        """Write at intervals until cancelled."""
        while True:
            await asyncio.sleep(WRITE_S)
            try:
                await self.write()
            except StoreError as error:
                log.debug("uses of credentials not written", extra={"reason": error.message[:200]})

    async def close(self) -> None:
        """Write the rest."""
        try:
            await self.write()
        except StoreError as error:
            log.debug("uses of credentials not written", extra={"reason": error.message[:200]})

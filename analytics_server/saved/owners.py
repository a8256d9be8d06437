"""Private things of people who were removed: deleted by the server, wherever the person was removed.

A person may be removed here, on another server, by a command or by a provider's answer, and any of them may be killed
in between. So what decides is what is stored: of whom there is nobody any more, nothing private stays. An id is never
given twice, so nobody sees these things meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from analytics_server.access.people.accounts import Accounts
from analytics_server.errors import StoreError
from analytics_server.saved.store import Saved

log = logging.getLogger(__name__)

LOOK_S = 5.0


class OwnerWatch:
    """`has_lost`: are rows of a table missing? Of people who are not there by damage nothing is deleted."""

    def __init__(self, saved: Saved, people: Accounts, has_lost: Callable[[str], bool]) -> None:
        self._saved = saved
        self._people = people
        self._has_lost = has_lost

    async def run(self) -> None:
        """Delete at intervals until cancelled: a task to own."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.clean()
            except StoreError as error:
                log.debug("private things of removed people not deleted", extra={"reason": type(error).__name__})

    async def clean(self) -> int:
        """Delete what belongs to nobody any more; how much that was. Raises a store error."""
        owners = self._saved.owners()
        if not owners or self._has_lost("people"):
            return 0
        await self._people.refresh()
        missing = [owner for owner in owners if self._people.person(owner) is None]
        gone = await self._people.gone(missing) if missing else frozenset[str]()
        if not gone:
            return 0
        deleted = await self._saved.delete_private(gone)
        log.info("private things of removed people are deleted", extra={"people": len(gone), "things": deleted})
        return deleted

"""Refused calls in the audit log: each one while there are few; at a higher rate one entry a minute and kind.

Constraint: a stranger can neither fill the log nor this memory. The kinds of refusals are the endpoints and codes of
this program, so what a minute adds is bounded by their number. What was done, such as a link for a new password, is
told by whom or what it concerns: accounts and public sites that there are.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from analytics_server.http.audit import OK, AuditEntry

MINUTE_US = 60_000_000
MOST_SINGLE = 10
"""So many of a minute have an entry of their own."""


class Refusals:
    """What strangers were refused, or did, in the current minute."""

    def __init__(self) -> None:
        self._minute = -1
        self._single = 0
        self._counted: dict[tuple[str, ...], tuple[AuditEntry, int]] = {}

    @property
    def is_counting(self) -> bool:
        """Are there refusals that have no entry yet?"""
        return bool(self._counted)

    def is_single(self, entry: AuditEntry, at_us: int) -> bool:
        """May the refusal have an entry of its own? Otherwise it is counted. First take what is `due`."""
        if at_us // MINUTE_US != self._minute:
            self._minute, self._single = at_us // MINUTE_US, 0
        self._single += 1
        if self._single <= MOST_SINGLE:
            return True
        if entry.outcome != OK:
            entry = msgspec.structs.replace(entry, site_id="", resource="")
        key = (entry.operation, entry.outcome, entry.site_id, entry.resource)
        first, times = self._counted.get(key, (entry, 0))
        self._counted[key] = (first, times + 1)
        return False

    def due(self, at_us: int, *, all_: bool = False) -> Iterator[AuditEntry]:
        """The entries of a minute that is over, one for each kind, which are forgotten here; `all_`: of any minute."""
        if not self._counted or (at_us // MINUTE_US == self._minute and not all_):
            return
        counted, self._counted = self._counted, {}
        for entry, times in counted.values():
            details = {**entry.details, "times": str(times), "within": "1 minute"}
            yield msgspec.structs.replace(entry, query_hash="", details=details)

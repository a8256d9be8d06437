"""From when on a site's events are counted by the present definitions: an answer says so where its range crosses that.

What an event is fixed as when it is taken (active or passive, session, source, path) is stored with it, so that events
of before keep their meaning. The migration that came with new definitions wrote the moment for every site that had
events (`definitions`, schema/0010); a site without a row has had them from its first event on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from analytics_server.query.language.time_range import TimeRange
from analytics_server.store.protocol import Store

ABOUT = {
    2: "engagement, scroll and web vitals count as events, and may have opened sessions without a page",
}
"""By version: how events of before it are counted."""


class Definitions:
    """Reads the table once: rows are written by migrations only."""

    def __init__(self, store: Store, *, timeout_s: float) -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._since: dict[str, list[tuple[datetime, int]]] | None = None

    async def load(self) -> None:
        """Call it before `warnings`. Raises a store error."""
        if self._since is not None:
            return
        answer = await self._store.query(
            "SELECT site_id, version, min(since) FROM definitions GROUP BY site_id, version ORDER BY version",
            timeout_s=self._timeout_s,
        )
        found: dict[str, list[tuple[datetime, int]]] = {}
        for site_id, version, since in answer.rows:
            assert isinstance(since, datetime), "min of a DateTime64 column"
            found.setdefault(str(site_id), []).append((since, int(str(version))))
        self._since = found

    def warnings(self, site_id: str, ranges: Sequence[TimeRange]) -> list[str]:
        """What to say of ranges that together lie on both sides of a change."""
        start, end = min(one.start for one in ranges), max(one.end for one in ranges)
        return [
            f"The definitions of the numbers changed on {since.astimezone(ranges[0].zone):%Y-%m-%d %H:%M}: of before,"
            f" {ABOUT[version]}. See docs/metrics.md, Changes of the definitions."
            for since, version in (self._since or {}).get(site_id, ())
            if version in ABOUT and start < since < end
        ]

"""How many events were dropped or rejected, by site and reason, since this process started.

"Nothing arrives" is the first question of every new operator, and the counters of `/metrics` know no
sites. In memory only and bounded: `MAX_SITES` sites that exist and `MAX_UNKNOWN` names that none
has, the one noted longest ago goes first, so that invented names push out none of the real sites.
It holds nothing of a visitor: names of sites, reasons, numbers and times.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from analytics_server.access.sites.sites import valid_site_id
from analytics_server.collect.drops import DropReason
from analytics_server.collect.rejections import OF_REQUESTS, RejectionCode
from analytics_server.model import DropCount

MAX_SITES = 1_000
MAX_UNKNOWN = 100
MAX_LISTED = 10
MESSAGE_CHARS = 300

History = Callable[[str, int, str, str, str, int, bool], None]
"""What keeps counts beyond this process: site or "", seconds since 1970, reason, kind, example, events, and whether
there is such a site."""


class _Count:
    __slots__ = ("at_ms", "events", "kinds", "message")

    def __init__(self) -> None:
        self.events = 0
        self.at_ms = 0
        self.message = ""
        self.kinds: dict[str, int] = {}


_Sites = OrderedDict[str, dict[str, _Count]]


class DropCounts:
    """`stored` gives the id under which a site is stored, or None; `clock` gives seconds since 1970."""

    def __init__(
        self, stored: Callable[[str], str | None], clock: Callable[[], float], history: History | None = None
    ) -> None:
        self._stored = stored
        self._clock = clock
        self._history = history
        self._known: _Sites = OrderedDict()
        self._unknown: _Sites = OrderedDict()

    def note(
        self, site: str, reason: str, events: int = 1, message: str = "", kind: str = "", example: str = ""
    ) -> None:
        """Count events that named `site` (as sent). `reason`: a drop's, or a rejection's code; `kind`: a bot's.

        Repeated events, which count once, and requests refused before an event was read go to the history only.
        """
        site_id = valid_site_id(site)
        stored = self._stored(site_id)
        known = stored is not None
        site_id = stored or site_id
        now = self._clock()
        if self._history is not None:
            self._history(site_id, int(now), reason, kind, example, events, known)
        if reason != DropReason.DUPLICATE and (site or reason not in _OF_REQUESTS):
            self._note_latest(site_id, known, reason, events, message, kind, now)

    def _note_latest(
        self, site_id: str, known: bool, reason: str, events: int, message: str, kind: str, now: float
    ) -> None:
        sites, most = (self._known, MAX_SITES) if known else (self._unknown, MAX_UNKNOWN)
        reasons = sites.get(site_id)
        if reasons is None:
            if len(sites) >= most:
                sites.popitem(last=False)
            reasons = sites[site_id] = self._unknown.pop(site_id, {}) if known else {}
        sites.move_to_end(site_id)
        count = reasons.get(reason)
        if count is None:
            count = reasons[reason] = _Count()
        count.events += events
        count.at_ms = int(now * 1000)
        count.message = message[:MESSAGE_CHARS]
        if kind:
            count.kinds[kind] = count.kinds.get(kind, 0) + events

    def of_site(self, site_id: str) -> list[DropCount]:
        """A site's counts, the latest first; `MAX_LISTED` at most."""
        return _listed([(site_id, self._known.get(site_id) or self._unknown.get(site_id) or {})])

    def of_unknown_sites(self) -> list[DropCount]:
        """Counts of events that named a site which does not exist, the latest first; `MAX_LISTED` at most."""
        return _listed(item for item in self._unknown.items() if self._stored(item[0]) is None)


_DROPS: dict[str, DropReason] = {reason.value: reason for reason in DropReason}
_REJECTIONS: dict[str, RejectionCode] = {code.value: code for code in RejectionCode}
_OF_REQUESTS = OF_REQUESTS | {RejectionCode.TOO_MANY_REQUESTS.value}


def _listed(sites: Iterable[tuple[str, dict[str, _Count]]]) -> list[DropCount]:
    found = [(count.at_ms, site_id, code, count) for site_id, counts in sites for code, count in counts.items()]
    found.sort(key=lambda item: item[0], reverse=True)
    return [_described(site_id, code, count) for _, site_id, code, count in found[:MAX_LISTED]]


def _described(site_id: str, code: str, count: _Count) -> DropCount:
    drop = _DROPS.get(code)
    known = drop or _REJECTIONS.get(code)
    return DropCount(
        site_id=site_id,
        reason=code,
        rejected=drop is None,
        events=count.events,
        last_at_ms=count.at_ms,
        about=count.message or ("" if drop is None else drop.about),
        kinds=dict(count.kinds),
        remedy="" if known is None else known.remedy,
    )

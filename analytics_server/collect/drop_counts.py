"""How many events were dropped or rejected, by site and reason, since this process started.

"Nothing arrives" is the first question of every new user, and the counters of `/metrics` know no
sites. In memory only and bounded: `MAX_SITES` sites that exist and `MAX_UNKNOWN` names that none
has, the one noted longest ago goes first, so that invented names push out none of the real sites.
It holds nothing of a visitor: names of sites, reasons, numbers and times.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from analytics_server.access.sites import valid_site_id
from analytics_server.collect.drops import DropReason
from analytics_server.model import DropCount

MAX_SITES = 1_000
MAX_UNKNOWN = 100
MAX_LISTED = 10
MESSAGE_CHARS = 300

REMEDIES = {
    "unknown_site": "Create the site (analytics-server site create), or set [sites] create_unknown = true. "
    "Is its name spelled right in data-site?",
    "too_many_requests": "Raise [limits] site_events_per_s.",
    "missing_url": "Send the page's address as url.",
    "bad_url": "Pages need an http or https address; those of apps, extensions and files are counted where the site has"
    " allow_apps.",
}
"""What to do about a rejection, by its code, where its own message doesn't say."""


class _Count:
    __slots__ = ("at_ms", "events", "kinds", "message")

    def __init__(self) -> None:
        self.events = 0
        self.at_ms = 0
        self.message = ""
        self.kinds: dict[str, int] = {}


_Sites = OrderedDict[str, dict[str, _Count]]


class DropCounts:
    """`exists` says whether a site of this id is there; `clock` gives seconds since 1970."""

    def __init__(self, exists: Callable[[str], bool], clock: Callable[[], float]) -> None:
        self._exists = exists
        self._clock = clock
        self._known: _Sites = OrderedDict()
        self._unknown: _Sites = OrderedDict()

    def note(self, site: str, reason: str, events: int = 1, message: str = "", kind: str = "") -> None:
        """Count events that named `site` (as sent). `reason`: a drop's, or a rejection's code; `kind`: a bot's."""
        site_id = valid_site_id(site)
        known = self._exists(site_id)
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
        count.at_ms = int(self._clock() * 1000)
        count.message = message[:MESSAGE_CHARS]
        if kind:
            count.kinds[kind] = count.kinds.get(kind, 0) + events

    def of_site(self, site_id: str) -> list[DropCount]:
        """A site's counts, the latest first; `MAX_LISTED` at most."""
        return _listed([(site_id, self._known.get(site_id) or self._unknown.get(site_id) or {})])

    def of_unknown_sites(self) -> list[DropCount]:
        """Counts of events that named a site which does not exist, the latest first; `MAX_LISTED` at most."""
        return _listed(item for item in self._unknown.items() if not self._exists(item[0]))


_DROPS: dict[str, DropReason] = {reason.value: reason for reason in DropReason}


def _listed(sites: Iterable[tuple[str, dict[str, _Count]]]) -> list[DropCount]:
    found = [(count.at_ms, site_id, code, count) for site_id, counts in sites for code, count in counts.items()]
    found.sort(key=lambda item: item[0], reverse=True)
    return [_described(site_id, code, count) for _, site_id, code, count in found[:MAX_LISTED]]


def _described(site_id: str, code: str, count: _Count) -> DropCount:
    drop = _DROPS.get(code)
    return DropCount(
        site_id=site_id,
        reason=code,
        rejected=drop is None,
        events=count.events,
        last_at_ms=count.at_ms,
        about=count.message or ("" if drop is None else drop.about),
        kinds=dict(count.kinds),
        remedy=REMEDIES.get(code, "") if drop is None else drop.remedy,
    )

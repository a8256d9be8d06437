"""Time zones: which names may be used, and what stands in for one that may not.

A site's zone is given to Python (ranges and buckets), to ClickHouse (grouping) and to browsers (the page), so a
name must be known to all three. Python reads any file below its zone directories, also those that are no IANA
names: copies of all zones under `right/` (with leap seconds) and `posix/`, the machine's own `localtime`. Whether
the running ClickHouse knows a name is asked by `access.sites`, which has the store.
"""

from __future__ import annotations

import difflib
import re
from zoneinfo import ZoneInfo, available_timezones

from analytics_server.errors import RequestError

UTC_NAME = "UTC"
LONGEST_NAME = 64

_IANA = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")
_COPIES = ("right/", "posix/", "SystemV/", "posixrules/")
_NO_PLACE = frozenset({"localtime", "posixrules", "Factory", "leapseconds", "Etc/Unknown", "US/Pacific-New"})


def find_zone(name: str) -> ZoneInfo | None:
    """The zone of an IANA name; None for anything else, also for what only some of the three readers know."""
    if len(name) > LONGEST_NAME or not _IANA.fullmatch(name) or name.startswith(_COPIES) or name in _NO_PLACE:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def base_zone(name: str) -> ZoneInfo:
    """What is used instead of a name that can't be: the zone it is a copy of, else UTC."""
    for copies in _COPIES:
        if name.startswith(copies) and (base := find_zone(name.removeprefix(copies))) is not None:
            return base
    return ZoneInfo(UTC_NAME)


def refusal(name: str) -> str:
    """One sentence for who gave a name that can't be used, with the nearest that can."""
    near = _nearest(name)
    remedy = f"did you mean {near}?" if near else "use an IANA name such as Europe/Stockholm."
    return f"{name[:LONGEST_NAME]!r} is no time zone that Python, ClickHouse and browsers all know: {remedy}"


def _nearest(name: str) -> str:
    if len(name) > LONGEST_NAME:
        return ""
    base = base_zone(name).key
    if base != UTC_NAME or name.endswith(f"/{UTC_NAME}"):
        return base
    folded = {zone.casefold(): zone for zone in available_timezones()}
    wanted = name.strip().replace(" ", "_").casefold()
    close = [wanted] if wanted in folded else difflib.get_close_matches(wanted, folded, n=1, cutoff=0.8)
    return folded[close[0]] if close and find_zone(folded[close[0]]) is not None else ""


def check_timezone(name: str) -> ZoneInfo:
    """The zone of an IANA name. Raises `RequestError`."""
    zone = find_zone(name)
    if zone is None:
        raise RequestError(refusal(name), code="bad_timezone")
    return zone

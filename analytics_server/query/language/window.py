"""How long after something a later event still counts: seconds, or a text such as "30m", "24h" or "7d". Pure."""

from __future__ import annotations

import re

from analytics_server.errors import RequestError

MOST_S = 90 * 86_400
"""Longest window: 90 days."""

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_TEXT = re.compile(r"([0-9]{1,9})([smhd])")


def parse_window(value: int | str, place: str = "window") -> int:
    """The window in seconds, 1 to `MOST_S`. Raises `RequestError` (bad_window)."""
    if isinstance(value, str):
        found = _TEXT.fullmatch(value)
        seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    else:
        seconds = value
    if not 1 <= seconds <= MOST_S:
        raise RequestError(
            f'{place} can\'t be {str(value)[:40]!r}: give seconds, or a text such as "30m", "24h" or "7d", from 1 s to'
            f" {MOST_S // 86_400} days.",
            code="bad_window",
        )
    return seconds

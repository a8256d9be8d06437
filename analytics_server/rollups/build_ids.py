"""Ids of the builds of derived tables (`day_totals`, `funnel_days`): greater is newer, and two servers' differ.

build id = milliseconds since 1970 | random (12 bits)
"""

from __future__ import annotations

import secrets

_RANDOM_BITS = 12


def new_build_id(now: float, after: int) -> int:
    """A new id; `now` in seconds since 1970. Greater than `after`, whatever the clock says."""
    return max(first_build_id(now) | secrets.randbits(_RANDOM_BITS), after + 1)


def first_build_id(moment_s: float) -> int:
    """The least id of a build that is begun at that time (seconds since 1970) or later."""
    return int(moment_s * 1000) << _RANDOM_BITS

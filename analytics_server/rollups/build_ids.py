"""Ids of the builds of derived tables (`day_totals`, `funnel_days`): greater is newer, and two builds' differ.

build id = milliseconds since 1970 | random (20 bits)

Rows of a build are found by its id within a site: two builds of a site with one id would be counted with each other. So
ids have to differ among all builds of a site, also where several servers build in the same millisecond. Until 0.1 there
were 12 random bits; those ids are less than all others, and so older, whenever they were made.
"""

from __future__ import annotations

import secrets

_RANDOM_BITS, _FORMER_RANDOM_BITS = 20, 12
_FORMER_END = 1 << 56
"""No earlier id is as great, and no other one as small."""


def new_build_id(now: float, after: int) -> int:
    """A new id; `now` in seconds since 1970. Greater than `after`, whatever the clock says."""
    return max(first_build_id(now) | secrets.randbits(_RANDOM_BITS), after + 1)


def first_build_id(moment_s: float) -> int:
    """The least id of a build that is begun at that time (seconds since 1970) or later."""
    return int(moment_s * 1000) << _RANDOM_BITS


def begun_before(column: str, moment_s: float) -> str:
    """SQL: the builds in a column that were begun before a time (seconds since 1970), those of earlier versions too."""
    former = int(moment_s * 1000) << _FORMER_RANDOM_BITS
    return f"({column} < {former} OR {column} >= {_FORMER_END} AND {column} < {first_build_id(moment_s)})"

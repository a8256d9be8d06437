"""Ids of builds: of the totals of a day, and of a saved funnel's day.

An id holds when the build was made, so newer builds are greater and ids compare with a moment, and some random bits, so
that two servers that build the same day at the same time differ.
"""

from __future__ import annotations

import secrets

_RANDOM_BITS = 12


def first_build_id(at_s: float) -> int:
    """The smallest id of the builds made from a moment on, in seconds since 1970."""
    return int(at_s * 1000) << _RANDOM_BITS


def new_build_id(at_s: float, newest: int = 0) -> int:
    """An id for a build made at a moment, in seconds since 1970; greater than the `newest` that is there."""
    return max(first_build_id(at_s) | secrets.randbits(_RANDOM_BITS), newest + 1)

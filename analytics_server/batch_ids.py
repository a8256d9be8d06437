"""Ids of batches: what their bits mean, how they are made, and the SQL that compares them.

    batch id (63 bits) = milliseconds since 2020 (41) | random (21) | historic (1)

A batch is one WAL segment: its id is the segment's file name, and stands in the column `batch_id` of every row of
`events` that it becomes. It begins with a time, so the order of ids is the order of batches, and "arrived since" is a
comparison of ids, which the skip index on the column answers. Ids are unique without coordination between servers.
No other module knows the layout.
"""

from __future__ import annotations

import hashlib
import secrets

EPOCH_S = 1_577_836_800
"""2020, where batch ids begin; seconds since 1970."""

_TIME_BITS, _LOW_BITS = 41, 22
_LOW_MASK = (1 << _LOW_BITS) - 1

OF_BATCH = "batch_id = {batch:UInt64}"
"""SQL: the rows of one batch."""

ARRIVED_SINCE = "batch_id >= {arrived_since:UInt64}"
"""SQL: the rows of batches that were begun at or after a time; the parameter is that time's `first_batch_id`."""

FINGERPRINT = "count(), sum(sipHash64(batch_id))"
"""SQL: two columns that change when a batch arrives among the chosen rows."""


def new_batch_id(now: float, after: int = 0, *, historic: bool = False) -> int:
    """A new id; `now` in seconds since 1970.

    Later than `after` even if the clock was set back: the order of the ids is that of the segments.
    """
    ms = max(_milliseconds(now), (after >> _LOW_BITS) + 1 if after else 0)
    return ms << _LOW_BITS | secrets.randbits(_LOW_BITS - 1) << 1 | historic


def first_batch_id(moment_s: float) -> int:
    """The least id of a batch that is begun at that time (seconds since 1970) or later; 0 before 2020."""
    return _milliseconds(moment_s) << _LOW_BITS


def derived_batch_id(batch_id: int, *, purpose: bytes) -> int:
    """Another id of the same millisecond, always the same one for a batch and a purpose (of at most 16 bytes)."""
    digest = hashlib.blake2b(str(batch_id).encode(), digest_size=8, person=purpose).digest()
    made = batch_id & ~_LOW_MASK | int.from_bytes(digest, "big") & _LOW_MASK
    return made if made != batch_id else made ^ 1


def is_historic(batch_id: int) -> bool:
    """Was the segment opened for events of past months? Told by the id, and so by the file's name.

    Only a hint for the order of delivery and for which segments were open: older programs set the bit at random.
    """
    return bool(batch_id & 1)


def created_ms(batch_id: int) -> int:
    """When a batch was begun, milliseconds since 1970."""
    return (batch_id >> _LOW_BITS) + EPOCH_S * 1000


def _milliseconds(moment_s: float) -> int:
    """Since 2020, within the bits there are."""
    return min(max(int((moment_s - EPOCH_S) * 1000), 0), (1 << _TIME_BITS) - 1)

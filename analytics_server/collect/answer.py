"""What the beacon endpoints answer: what became of the events, or why the request as a whole was refused."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from analytics_server.collect.formats.beacon import Rejection
from analytics_server.collect.formats.warnings import EventWarning, Warnings
from analytics_server.errors import AnalyticsError

ACCEPTED_ONE = b'{"accepted":1,"dropped":{},"rejected":[]}'
_encode_json = msgspec.json.Encoder().encode


class BeaconAnswer(msgspec.Struct, frozen=True):
    """What the front sends back."""

    status: int
    body: bytes
    retry_after_s: int | None = None


class Accepted(msgspec.Struct, frozen=True):
    """`more_warnings`: how many there were beyond those that are listed."""

    accepted: int
    dropped: dict[str, int]
    rejected: list[Rejection]
    warnings: list[EventWarning] | UnsetType = UNSET
    more_warnings: int | UnsetType = UNSET


ONE = BeaconAnswer(202, ACCEPTED_ONE)
"""The usual answer, always the same object."""


def accept(accepted: int, dropped: dict[str, int], rejected: list[Rejection], warnings: Warnings) -> BeaconAnswer:
    """The answer for events that were read: how many were taken, and what became of the others."""
    shown, more = warnings.shown()
    return BeaconAnswer(202, _encode_json(Accepted(accepted, dropped, rejected, shown or UNSET, more or UNSET)))


def refuse(error: AnalyticsError) -> BeaconAnswer:
    """The answer for a request that failed as a whole."""
    body = _encode_json({"error": {"code": error.code, "message": error.message}})
    return BeaconAnswer(error.status, body, error.retry_after_s)

"""Warnings: what an answer says of events that were taken although a side field was not as it should be.

Bounded: an answer holds so many entries, the rest is only counted.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from analytics_server.collect.formats.names import FieldNames, own_name

FIELD_CHARS = 80
"""A property's key may be as long as the request."""


class WarningCode(StrEnum):
    """What became of a field. `about` is what the documentation says of it."""

    about: str

    def __new__(cls, value: str, about: str) -> WarningCode:
        member = str.__new__(cls, value)
        member._value_ = value
        member.about = about
        return member

    MADE_TEXT = ("made_text", "It was no text: the text of the number or truth value, or compact JSON, is stored.")
    MADE_NUMBER = ("made_number", "It was text, or a number as people write it (`99,00`): the number is stored.")
    MADE_BOOLEAN = ("made_boolean", "It was `1`, `0` or text such as `yes` or `off`: the truth value is used.")
    CUT = ("cut", "It was too long: its beginning is stored.")
    CLAMPED = ("clamped", "It was above the largest value: that one is stored.")
    LEFT_OUT = ("left_out", "It could not be used: the event is stored without it.")


class EventWarning(msgspec.Struct, frozen=True):
    """What became of one field of one event."""

    index: int
    field: str
    code: WarningCode


class Warnings:
    """Collects the warnings of one request; `index` is the event that is being read."""

    __slots__ = ("counts", "entries", "index", "most", "names")

    def __init__(self, most: int) -> None:
        self.most = most
        self.index = 0
        self.names: list[FieldNames] | None = None
        """By an event's index, what its format calls the fields; None where that is as `/track` does."""
        self.entries: list[EventWarning] | None = None
        self.counts: dict[WarningCode, int] | None = None
        """How many there are of each code; None while there are none."""

    def warn(self, field: str, code: WarningCode) -> None:
        """Note what became of a field of the current event."""
        if self.counts is None or self.entries is None:
            self.counts, self.entries = {}, []
        self.counts[code] = self.counts.get(code, 0) + 1
        if len(self.entries) < self.most:
            self.entries.append(EventWarning(self.index, field[:FIELD_CHARS], code))

    def include(self, other: Warnings) -> None:
        """Add what an earlier step has noted of the same request."""
        if other.counts is None or other.entries is None:
            return
        self.entries = [*other.entries, *(self.entries or ())][: self.most]
        mine = self.counts or {}
        self.counts = {
            code: mine.get(code, 0) + other.counts.get(code, 0)
            for code in WarningCode
            if code in mine or code in other.counts
        }

    def shown(self) -> tuple[list[EventWarning], int]:
        """The entries in the order of the request, by the format's own names, and how many more there were."""
        if self.counts is None or self.entries is None:
            return [], 0
        entries = sorted(self.entries, key=_by_index)
        if (names := self.names) is not None:
            entries = [EventWarning(one.index, own_name(one.field, names[one.index]), one.code) for one in entries]
        return entries, sum(self.counts.values()) - len(self.entries)


def _by_index(entry: EventWarning) -> int:
    return entry.index

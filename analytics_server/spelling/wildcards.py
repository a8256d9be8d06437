"""Wildcard patterns over a text: `*` stands for anything but a slash, `**` for anything.

Constraint: patterns and texts both come from outside, and a beacon waits for the answer. So all patterns of a list are
one automaton whose states are the bits of a number (Baeza-Yates and Gonnet's Shift-And): the time grows with the
text alone, whatever the patterns are, where a regular expression's may grow with its square and more. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_PARTS = re.compile(r"\*+|[^*]")


class Wildcards:
    """Patterns, read once. `slashes` false: `*` stands for anything, too, as in hosts."""

    __slots__ = ("_accepting", "_beyond", "_first", "_letters", "_rules", "_within")

    def __init__(self, patterns: Sequence[str], *, slashes: bool = True) -> None:
        self._letters: dict[str, int] = {}
        """By character: the states that it leads on from."""
        self._first = self._beyond = self._within = self._accepting = 0
        """States at the start, those that any character leaves as they are, those that all but a slash do, the end."""
        self._rules: dict[int, int] = {}
        """By accepting state, the pattern's place in the list."""
        at = 0
        for index, pattern in enumerate(patterns):
            self._first |= 1 << at
            for part in _PARTS.findall(pattern):
                if part == "*" and slashes:
                    self._within |= 1 << at
                elif part.startswith("*"):
                    self._beyond |= 1 << at
                else:
                    self._letters[part] = self._letters.get(part, 0) | 1 << at
                    at += 1
            self._accepting |= 1 << at
            self._rules[at] = index
            at += 1

    def find(self, text: str) -> int:
        """The place of the first pattern that the whole text fits, or -1."""
        states, letters, beyond = self._first, self._letters, self._beyond
        within = beyond | self._within
        for char in text:
            states = (states & letters.get(char, 0)) << 1 | states & (beyond if char == "/" else within)
            if not states:
                return -1
        states &= self._accepting
        return self._rules[(states & -states).bit_length() - 1] if states else -1

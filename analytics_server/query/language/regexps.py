"""Cost of a regular expression: how much work it makes for each character it is matched with.

RE2 needs time in proportion to the text, but the factor is the size of the compiled expression: a few characters such
as `(a{100}){10}` stand for a thousand instructions, and a block of rows is matched in one go that no time limit
interrupts. So the instructions are estimated here, without compiling anything. Pure.
"""

from __future__ import annotations

import re

MOST_WEIGHT = 4_000
"""Instructions of one expression."""

_REPEATED = re.compile(r"\{(\d{1,6})(,(\d{0,6}))?\}")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]?", re.DOTALL)
_UNICODE_CLASS = re.compile(r"\\[pP](\{\^?\w+\}|.)")
_UNICODE_WEIGHT = 300


def weight_of(pattern: str) -> int:
    """About so many instructions; never less than the characters that mean something."""
    sums: list[int] = [0]
    atom = at = 0
    while at < len(pattern):
        if found := _REPEATED.match(pattern, at):
            most = max(int(found[1]), int(found[3] or 0), 1)
            sums[-1] += atom * (most - 1)
            atom *= most
            at = found.end()
            continue
        character = pattern[at]
        if character == "(":
            sums.append(0)
            atom, at = 0, at + 1
            continue
        if character == ")":
            atom = (sums.pop() if len(sums) > 1 else 0) + 2
            at += 1
        elif character == "[":
            found = _CLASS.match(pattern, at)
            end = found.end() if found else at + 1
            atom, at = 4 + (end - at) // 4 + _UNICODE_WEIGHT * pattern.count("\\p", at, end), end
        elif found := _UNICODE_CLASS.match(pattern, at):
            atom, at = _UNICODE_WEIGHT, found.end()
        else:
            atom, at = 1, at + (2 if character == "\\" else 1)
        sums[-1] += atom
    return sum(sums)

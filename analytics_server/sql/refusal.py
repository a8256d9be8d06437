"""Refusals of a SQL text: what is wrong, where in the caller's own text, and how to mend it.

Nothing here ever quotes SQL that was printed for ClickHouse: only the caller's own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from analytics_server.errors import RequestError

SHOWN_CHARS = 80


@dataclass(frozen=True, slots=True)
class TextPosition:
    """A place in the caller's text; both count from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


class SqlRefused(RequestError):
    """The query can't be run as it stands. `place` is where the fault lies, if that is known."""

    code = "sql_not_allowed"

    def __init__(self, message: str, *, code: str | None = None, place: TextPosition | None = None) -> None:
        super().__init__(f"{_capital(str(place))}: {message}" if place else message, code=code)
        self.place = place


def place_of(text: str, offset: int) -> TextPosition:
    """Line and column of a character of the text."""
    before = text[:offset]
    return TextPosition(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def shown(text: str) -> str:
    """A name or piece of the caller's text, fit for a message."""
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN_CHARS else f"{flat[:SHOWN_CHARS]}…"


def nearest(name: str, names: list[str]) -> str:
    """A sentence that suggests the closest of the names, or none."""
    folded = {candidate.lower(): candidate for candidate in names}
    close = get_close_matches(name[:SHOWN_CHARS].lower(), list(folded), n=1, cutoff=0.6)
    return f" Did you mean {folded[close[0]]}?" if close else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

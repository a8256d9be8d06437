"""Where filters look up the saved goals and segments that they name: an interface, so that filters know no store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from analytics_server.query.language.conditions import Condition


@dataclass(frozen=True, slots=True)
class SavedGoal:
    """A saved goal: what must hold of its events, and the currency that its revenue is counted in ("": any)."""

    name: str
    conditions: tuple[Condition, ...]
    currency: str = ""


class Library(Protocol):
    """Where filters look up what they name."""

    def goal(self, id_or_name: str, *, place: str) -> SavedGoal:
        """The goal of that name or id. Raises `RequestError` (unknown_goal)."""

    def goals(self) -> list[SavedGoal]:
        """All goals of the site by name: what `event:goal` groups by."""

    def segment(self, id_or_name: str, *, place: str) -> tuple[Condition, ...]:
        """The conditions of a segment. Raises `RequestError` (unknown_segment)."""

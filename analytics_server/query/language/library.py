"""Where filters look up the saved goals and segments that they name: an interface, so that filters know no store."""

from __future__ import annotations

from typing import Protocol

from analytics_server.query.language.conditions import Condition


class Library(Protocol):
    """Where filters look up what they name."""

    def goal(self, id_or_name: str, *, place: str) -> tuple[Condition, ...]:
        """What must hold of an event of the goal. Raises `RequestError` (unknown_goal)."""

    def goals(self) -> list[tuple[str, tuple[Condition, ...]]]:
        """All goals of the site by name: what `event:goal` groups by."""

    def segment(self, id_or_name: str, *, place: str) -> tuple[Condition, ...]:
        """The conditions of a segment. Raises `RequestError` (unknown_segment)."""

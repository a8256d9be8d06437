"""Buffered answers (`wait_end_of_query=1`): one bound on their memory for all requests together.

A client that waits for the whole answer is told of a late fault by the status. An answer for which there is no room is
sent as it comes: its fault is then written behind its rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class HeldAnswers:
    """`most_bytes`: of all answers that are held at once. Only the event loop calls it."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes

    @property
    def left(self) -> int:
        """How many bytes could still be held."""
        return self._left

    @contextmanager
    def entered(self) -> Iterator[HeldAnswer]:
        """While an answer is made and sent."""
        answer = HeldAnswer(self)
        try:
            yield answer
        finally:
            self._left += answer.size

    def _take(self, size: int) -> bool:
        if size > self._left:
            return False
        self._left -= size
        return True


class HeldAnswer:
    """One answer's part of that memory."""

    def __init__(self, of: HeldAnswers) -> None:
        self._of = of
        self.size = 0

    def has_room(self, piece: bytes) -> bool:
        """Count the piece as held, if there is room for it."""
        has_room = self._of._take(len(piece))
        self.size += len(piece) if has_room else 0
        return has_room

"""Counts the rows of a streamed answer by its pieces: lines of NDJSON, and of CSV those that end outside of quotes."""

from __future__ import annotations


class RowTally:
    """The last line counts also without an end. In an answer that broke off it may be a part of a row."""

    __slots__ = ("_heads", "_is_begun", "_is_quoted", "_kind", "_known", "_lines")

    def __init__(self, kind: str, *, heads: int = 0) -> None:
        """`kind`: `csv` or `ndjson`; of any other, pieces tell nothing. `heads`: lines in front that are no rows."""
        self._kind = kind
        self._heads = heads
        self._lines: int | None = None
        self._known: int | None = None
        self._is_quoted = False
        self._is_begun = False

    @property
    def rows(self) -> int | None:
        """How many have passed; None where that can't be told, and before the first piece."""
        if self._lines is None:
            return self._known
        return max(0, self._lines + self._is_begun - self._heads)

    def feed(self, piece: bytes) -> None:
        """The next piece, which may begin and end anywhere."""
        if self._kind not in ("csv", "ndjson"):
            return
        ended = piece.count(b"\n") if self._kind == "ndjson" else self._ended_rows(piece)
        self._lines = (self._lines or 0) + ended
        if piece:
            self._is_begun = self._is_quoted or not piece.endswith(b"\n")

    def take(self, piece: bytes, known: int | None) -> None:
        """The next piece, where it may be known how many rows there are as far as its end."""
        if known is None:
            self.feed(piece)
        else:
            self._known = known

    def _ended_rows(self, piece: bytes) -> int:
        ended = 0
        *lines, rest = piece.split(b"\n")
        for line in lines:
            self._is_quoted ^= line.count(b'"') % 2 == 1
            ended += not self._is_quoted
        self._is_quoted ^= rest.count(b'"') % 2 == 1
        return ended

"""CSV injection: texts that a spreadsheet would take for a formula are made harmless before they are sent.

Titles, paths and properties come from visitors. A cell that begins with one of = + - @, a tab or a line end is run as
a formula by spreadsheets, also behind spaces and quotes, and in its full-width form. Such a cell gets an apostrophe in
front ("CSV injection": OWASP, https://owasp.org/www-community/attacks/CSV_Injection). ClickHouse quotes texts and
nothing else, so numbers below zero stay numbers.
"""

from __future__ import annotations

import re

_SKIPPED = rb"[\x00-\x20\x7f']|\"\"|\xc2\xa0|\xc2\xad|\xe2\x80[\x80-\x8f]|\xe2\x81\xa0|\xe3\x80\x80|\xef\xbb\xbf"
"""What may stand before the mark: spaces of all kinds, controls, quotes, invisible marks."""

_MARK = rb"[=+\-@]|\xef\xbc[\x9d\x8b\x8d\xa0]|\xef\xb9[\xa2\xa3\xa6\xab]|\xe2\x88\x92"
"""= + - @, their full-width and small forms, and the minus sign."""

_DANGEROUS = re.compile(rb"\"(?:[\t\r\n]|(?:" + _SKIPPED + rb")*+(?:" + _MARK + rb"))")
_CELL = re.compile(rb"\"(?:[^\"]++|\"\")*+\"")


class HarmlessCells:
    """Takes ClickHouse's CSV in pieces of any size, gives the same with dangerous texts made harmless."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> bytes:
        """What can be sent after this piece: whole rows."""
        data = self._rest + piece
        end = _end_of_rows(data)
        self._rest = data[end:]
        return _harmless(data[:end])

    def end(self) -> bytes:
        """The last row, if no line end follows it."""
        rest, self._rest = self._rest, b""
        return _harmless(rest)


def _end_of_rows(data: bytes) -> int:
    """Where the last whole row ends: behind a line end with as many quotes before it as make pairs."""
    quotes, end = data.count(b'"'), len(data)
    while (at := data.rfind(b"\n", 0, end)) >= 0:
        quotes -= data.count(b'"', at, end)
        if quotes % 2 == 0:
            return at + 1
        end = at
    return 0


def _harmless(rows: bytes) -> bytes:
    if _DANGEROUS.search(rows) is None:
        return rows
    return _CELL.sub(_mend, rows)


def _mend(cell: re.Match[bytes]) -> bytes:
    text = cell[0]
    return b"\"'" + text[1:] if _DANGEROUS.match(text) else text

"""Formats that an answer may have, and the FORMAT clause at the end of a text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from analytics_server.sql.refusal import SqlRefused, shown

DEFAULT = "TabSeparated"
NATIVE = "Native"
ROWS_WITH_TYPES = "RowBinaryWithNamesAndTypes"
_TSV = "text/tab-separated-values; charset=UTF-8"
_CSV = "text/csv; charset=UTF-8; header="
_JSON = "application/json; charset=UTF-8"
_LINES = "application/x-ndjson; charset=UTF-8"
_BYTES = "application/octet-stream"
_TEXT = "text/plain; charset=UTF-8"
FORMATS: dict[str, str] = {
    **{f"{name}{tail}": _TSV for name in ("TabSeparated", "TSV") for tail in ("", "WithNames", "WithNamesAndTypes")},
    **{f"{name}{tail}": _TSV for name in ("TabSeparatedRaw", "TSVRaw") for tail in ("", "WithNames")},
    "CSV": f"{_CSV}absent",
    "CSVWithNames": f"{_CSV}present",
    "CSVWithNamesAndTypes": f"{_CSV}present",
    **dict.fromkeys(("JSON", "JSONCompact", "JSONStrings", "JSONCompactStrings"), _JSON),
    **dict.fromkeys(("JSONColumns", "JSONCompactColumns", "JSONColumnsWithMetadata", "JSONObjectEachRow"), _JSON),
    **dict.fromkeys(("JSONEachRow", "JSONStringsEachRow", "JSONLines", "NDJSON"), _LINES),
    **{
        f"JSONCompact{kind}EachRow{tail}": _LINES
        for kind in ("", "Strings")
        for tail in ("", "WithNames", "WithNamesAndTypes")
    },
    **{f"RowBinary{tail}": _BYTES for tail in ("", "WithNames", "WithNamesAndTypes")},
    NATIVE: _BYTES,
    "Parquet": "application/vnd.apache.parquet",
    "Arrow": "application/vnd.apache.arrow.file",
    "ArrowStream": "application/vnd.apache.arrow.stream",
    **{f"Pretty{kind}{tail}": _TEXT for kind in ("", "Compact", "Space") for tail in ("", "MonoBlock", "NoEscapes")},
    "Vertical": _TEXT,
    "Markdown": "text/markdown; charset=UTF-8",
    "Values": _TEXT,
    "XML": "application/xml; charset=UTF-8",
    "Null": _TEXT,
}
"""Name → type of content."""

_FOLDED = {name.lower(): name for name in FORMATS}
_TOKEN = re.compile(
    r"""\s++
    |--[^\n]*+
    |/\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z)
    |'(?:[^'\\]++|\\.)*+(?:'|\\?\Z)      # what is not closed reaches to the end: no part is looked at twice
    |`(?:[^`\\]++|\\.)*+(?:`|\\?\Z)
    |"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)
    |\w++
    |.""",
    re.DOTALL | re.VERBOSE,
)
CLAUSE_CHARS = 100
"""The most that a FORMAT clause adds to a text."""
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


def known_format(name: str) -> str:
    """The format as ClickHouse spells it. Raises `SqlRefused` (bad_format)."""
    found = _FOLDED.get(name.lower())
    if found is None:
        raise SqlRefused(f"There is no format {shown(name)} here.", code="bad_format")
    return found


@dataclass(frozen=True, slots=True)
class Word:
    """A word, sign or quoted text, and where it ends. `depth`: of the brackets around it."""

    text: str
    start: int
    end: int
    depth: int


def words_of(text: str) -> list[Word]:
    """What a text consists of, without spaces and comments."""
    words, depth = [], 0
    for found in _TOKEN.finditer(text):
        piece = found[0]
        if piece.isspace() or piece.startswith(("--", "/*")):
            continue
        depth -= piece in _CLOSING
        words.append(Word(piece, found.start(), found.end(), depth))
        depth += piece in _OPENING
    return words


def without_format(text: str) -> tuple[str, str]:
    """The text without its FORMAT clause and the semicolons at its end, and the clause's format or "".

    Raises `SqlRefused` (bad_format).
    """
    words = words_of(text)
    while words and words[-1].text == ";":
        text = text[: words.pop().start]
    for at in range(len(words) - 2, 0, -1):
        word, name = words[at], words[at + 1]
        if word.text.upper() != "FORMAT" or word.depth or not name.text.isidentifier():
            continue
        behind = words[at + 2 :]
        if behind and behind[0].text.upper() != "SETTINGS":
            continue
        return f"{text[: word.start].rstrip()} {text[name.end : words[-1].end]}".rstrip(), known_format(name.text)
    return text, ""


def begins_a_row(beginning: bytes) -> bool:
    """Does the beginning of an answer in `RowBinaryWithNamesAndTypes` hold more than names and types?"""
    try:
        columns, at = _number(beginning, 0)
        for _ in range(2 * columns):
            length, at = _number(beginning, at)
            at += length
    except IndexError:
        return False
    return at < len(beginning)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends. Raises `IndexError` where the data end before."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return value, at

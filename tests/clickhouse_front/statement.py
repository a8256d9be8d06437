"""Reads just enough of a statement to treat it as ClickHouse's HTTP handler does.

Owns: what kind of statement it is, where the data of an INSERT begins, which format
the answer has, and that there is only one statement. Works on bytes, because the data
of an INSERT follows the SQL in the same body and need not be text. No SQL grammar:
only a tokeniser that knows quotes, comments and parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.clickhouse_front.errors import EngineError

_TOKEN = re.compile(
    rb"""(?P<blank>\s+|--[^\n]*|/\*.*?\*/)
      |(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`)
      |(?P<word>\w+)
      |(?P<mark>.)""",
    re.DOTALL | re.VERBOSE,
)

_ANSWERING = frozenset({"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK", "KILL", "FROM"})
"""First words of statements that answer with rows."""

_READING = _ANSWERING - {"KILL", "CHECK"}


@dataclass(slots=True, frozen=True)
class Statement:
    """A statement's outline. `data_at` is where the data of an INSERT begins, -1 if none follows."""

    first_word: str
    format: str = ""
    format_at: int = -1
    settings_at: int = -1
    data_at: int = -1

    @property
    def is_insert(self) -> bool:
        return self.first_word == "INSERT"

    @property
    def answers_rows(self) -> bool:
        return self.first_word in _ANSWERING

    @property
    def only_reads(self) -> bool:
        return self.first_word in _READING

    def insert_from_file(self, text: bytes, path: str) -> bytes:
        """The same INSERT, reading its data from a file instead of from the body."""
        at = self.settings_at if self.settings_at >= 0 else self.format_at
        quoted = path.replace("\\", "\\\\").replace("'", "\\'").encode()
        return (
            text[:at]
            + b" FROM INFILE '"
            + quoted
            + b"' "
            + text[at : self.format_at]
            + b" FORMAT "
            + self.format.encode()
        )

    def without_format(self, text: bytes) -> bytes:
        return text if self.format_at < 0 else text[: self.format_at]


def outline(text: bytes) -> Statement:
    """The outline of the statement at the head of `text`. Raises `EngineError` for what HTTP does not allow."""
    first = ""
    settings_at = format_at = -1
    format_name = ""
    words = _outer_words(text)
    for word, start, _end in words:
        if word == ";":
            _refuse_second_statement(text[start + 1 :])
            break
        first = first or word
        if first == "INSERT":
            if word in ("SELECT", "WITH", "VALUES"):
                return Statement(first_word=first)
            if word == "INFILE":
                raise EngineError("Query has infile and was send directly to server", "UNKNOWN_TYPE_OF_QUERY")
        if word == "OUTFILE":
            raise EngineError("INTO OUTFILE is not allowed", "INTO_OUTFILE_NOT_ALLOWED")
        if word == "SETTINGS" and settings_at < 0:
            settings_at = start
        if word == "FORMAT":
            name = next(words, None)
            if name is not None and name[0] not in ("(", ",", ";"):
                format_at, format_name = start, text[name[1] : name[2]].decode("ascii", "replace")
                if first == "INSERT":
                    return Statement(
                        first_word=first,
                        format=format_name,
                        format_at=format_at,
                        settings_at=settings_at,
                        data_at=_data_after(text, name[2]),
                    )
    return Statement(first_word=first, format=format_name, format_at=format_at, settings_at=settings_at)


def _outer_words(text: bytes) -> Iterator[tuple[str, int, int]]:
    """Words and semicolons outside quotes, comments and parentheses, in upper case, with their place."""
    depth = 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "mark":
            mark = token.group()
            if mark in b"([{":
                depth += 1
            elif mark in b")]}":
                depth -= 1
            elif mark == b";" and depth <= 0:
                yield ";", token.start(), token.end()
        elif kind == "word" and depth <= 0:
            yield token.group().decode("utf-8", "replace").upper(), token.start(), token.end()


def _refuse_second_statement(rest: bytes) -> None:
    for token in _TOKEN.finditer(rest):
        if token.lastgroup != "blank" and token.group() != b";":
            raise EngineError(
                "Syntax error (Multi-statements are not allowed): failed after the first semicolon", "SYNTAX_ERROR"
            )


def _data_after(text: bytes, end_of_format: int) -> int:
    """Data begins after blanks and at most one line break that follow the format's name."""
    match = re.compile(rb"[ \t\f]*\r?\n?").match(text, end_of_format)
    return match.end() if match else end_of_format

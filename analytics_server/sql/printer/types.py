"""ClickHouse's types that a query may name, in casts and parameters: an allow-list with a parser of its own.

Types that read anything but plain values (aggregate states, JSON with dynamic columns, nested
tables) are not among them. A type is printed from what was read, never from the caller's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from analytics_server.zones import find_zone

MAX_DEPTH = 8
MAX_FIXED_BYTES = 256
MAX_PARTS = 64

PLAIN = (
    *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64, 128, 256)),
    "Float32",
    "Float64",
    "Bool",
    "String",
    "UUID",
    "Date",
    "Date32",
    "DateTime",
    "IPv4",
    "IPv6",
)
"""Types without arguments."""

ALIASES = {
    "TINYINT": "Int8",
    "SMALLINT": "Int16",
    "INT": "Int32",
    "INTEGER": "Int32",
    "BIGINT": "Int64",
    "FLOAT": "Float32",
    "REAL": "Float32",
    "DOUBLE": "Float64",
    "BOOL": "Bool",
    "BOOLEAN": "Bool",
    "TEXT": "String",
    "VARCHAR": "String",
    "CHAR": "String",
    "DATE": "Date",
    "TIMESTAMP": "DateTime",
    "DATETIME": "DateTime",
}
"""Names from other databases, in any case of letters."""

DIGITS = {"Decimal32": 9, "Decimal64": 18, "Decimal128": 38, "Decimal256": 76}
WRAPPERS = {"Nullable": 1, "LowCardinality": 1, "Array": 1, "Map": 2}
FAMILIES = (*PLAIN, "DateTime64", "FixedString", "Decimal", *DIGITS, *WRAPPERS, "Tuple")
"""All names that may be used."""

_TOKEN = re.compile(r"\s*(?:(?P<word>\w+)|(?P<text>'[^'\\]*')|(?P<mark>[(),]))")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


class BadSqlType(ValueError):
    """The text names no type that may be used; the message says why."""


@dataclass(frozen=True, slots=True)
class SqlType:
    """A type: its family and its arguments. `names` are those of a named tuple's elements."""

    family: str
    parts: tuple[SqlType, ...] = ()
    numbers: tuple[int, ...] = ()
    zone: str = ""
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        arguments = [str(number) for number in self.numbers]
        if self.zone:
            arguments.append(f"'{self.zone}'")
        if self.names:
            arguments += [f"{name} {part}" for name, part in zip(self.names, self.parts, strict=True)]
        else:
            arguments += [str(part) for part in self.parts]
        return f"{self.family}({', '.join(arguments)})" if arguments else self.family


def is_zone(text: str) -> bool:
    """May the text be given to ClickHouse as a time zone? It must be a zone's name: never the path of a file."""
    return find_zone(text) is not None


def parse_type(text: str) -> SqlType:
    """Read a type. Raises `BadSqlType`."""
    reader = _Reader(text)
    kind = reader.kind(0)
    reader.end()
    return kind


class _Reader:
    """Walks over the tokens of one type."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._parts = 0

    def kind(self, depth: int) -> SqlType:
        self._parts += 1
        if depth > MAX_DEPTH or self._parts > MAX_PARTS:
            raise BadSqlType("the type has too many parts")
        name = self._take()
        family = name if name in FAMILIES else ALIASES.get(name.upper(), "")
        if not family:
            raise BadSqlType(f"there is no type {name[:40]!r} here")
        if family in PLAIN and family != "DateTime":
            return SqlType(family)
        if not self._match("("):
            if family == "DateTime":
                return SqlType(family)
            if family == "DateTime64":
                return SqlType(family, numbers=(3,))
            raise BadSqlType(f"{family} needs arguments in parentheses")
        kind = self._arguments(family, depth)
        self._expect(")")
        return kind

    def end(self) -> None:
        if self._at != len(self._tokens):
            raise BadSqlType("there is something behind the type")

    def _arguments(self, family: str, depth: int) -> SqlType:
        if family == "DateTime":
            return SqlType(family, zone=self._zone())
        if family == "DateTime64":
            digits = self._number(9)
            return SqlType(family, numbers=(digits,), zone=self._zone() if self._match(",") else "")
        if family == "FixedString":
            return SqlType(family, numbers=(self._number(MAX_FIXED_BYTES, least=1),))
        if family in DIGITS:
            return SqlType(family, numbers=(self._number(DIGITS[family]),))
        if family == "Decimal":
            precision = self._number(76, least=1)
            scale = self._number(precision) if self._match(",") else 0
            return SqlType(family, numbers=(precision, scale))
        if family == "Tuple":
            return self._tuple(depth)
        parts = [self.kind(depth + 1)]
        while self._match(","):
            parts.append(self.kind(depth + 1))
        if len(parts) != WRAPPERS[family]:
            raise BadSqlType(f"{family} has {WRAPPERS[family]} argument(s)")
        return SqlType(family, tuple(parts))

    def _tuple(self, depth: int) -> SqlType:
        names, parts = [], []
        while True:
            following = self._tokens[self._at + 1] if self._at + 1 < len(self._tokens) else ""
            if following not in ("(", ")", ",", ""):
                name = self._take()
                if not _NAME.fullmatch(name):
                    raise BadSqlType("a tuple's element has a name of letters, digits and underscores")
                names.append(name)
            parts.append(self.kind(depth + 1))
            if not self._match(","):
                break
        if names and len(names) != len(parts):
            raise BadSqlType("all elements of a tuple have names, or none")
        return SqlType("Tuple", tuple(parts), names=tuple(names))

    def _zone(self) -> str:
        text = self._take()
        zone = text[1:-1]
        if not text.startswith("'") or not is_zone(zone):
            raise BadSqlType("a time zone is a quoted name such as 'Europe/Berlin'")
        return zone

    def _number(self, most: int, least: int = 0) -> int:
        text = self._take()
        if not text.isascii() or not text.isdigit() or len(text) > 4 or not least <= int(text) <= most:
            raise BadSqlType(f"a number from {least} to {most} is expected")
        return int(text)

    def _take(self) -> str:
        if self._at >= len(self._tokens):
            raise BadSqlType("the type ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _match(self, mark: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == mark:
            self._at += 1
            return True
        return False

    def _expect(self, mark: str) -> None:
        if not self._match(mark):
            raise BadSqlType(f"a {mark!r} is expected")


def _tokens(text: str) -> Iterator[str]:
    at = 0
    text = text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise BadSqlType("there is a character that no type has")
        yield found["word"] or found["text"] or found["mark"]
        at = found.end()

"""Values of parameters (`param_name=…`): texts in an address, turned into what a body of `/api/v1/sql` would hold."""

from __future__ import annotations

import re
from collections.abc import Mapping

from analytics_server.sql.printer.types import BadSqlType, SqlType, parse_type
from analytics_server.sql.refusal import SqlRefused, shown

_DECLARED = re.compile(r"\{\s*(?P<name>[A-Za-z_]\w*)\s*:(?P<type>[^{}]+)\}", re.ASCII)
_ELEMENT = re.compile(r"\s*(?:'(?P<text>(?:[^'\\]|\\.|'')*)'|(?P<bare>[^,'\[\]\s]+))\s*(?P<end>,|$)", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPE_OR_QUOTES = re.compile(r"\\(.)|''", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "f": "\f"}
NULLS = ("\\N", "NULL", "null")


def typed_values(text: str, given: Mapping[str, str]) -> dict[str, object]:
    """The values that the text names, each as its declared type wants it; others are left out.

    Raises `SqlRefused` (bad_parameter) for a value that can't be read.
    """
    values: dict[str, object] = {}
    for found in _DECLARED.finditer(text):
        name = found["name"]
        if name not in given or name in values:
            continue
        try:
            kind = parse_type(found["type"])
        except BadSqlType:
            continue  # the guard says so, and where
        try:
            values[name] = _value(given[name], kind)
        except ValueError:
            raise SqlRefused(
                f"The parameter {name} is declared as {kind}: {shown(given[name])} is no such value.",
                code="bad_parameter",
            ) from None
    return values


def _value(text: str, kind: SqlType) -> object:
    if kind.family == "Nullable":
        return None if text in NULLS else _value(text, kind.parts[0])
    if kind.family == "LowCardinality":
        return _value(text, kind.parts[0])
    if kind.family == "Array":
        return _array(text, kind.parts[0])
    return _plain(_unescaped(text), kind)


def _plain(text: str, kind: SqlType) -> object:
    if "Int" in kind.family:
        return int(text)
    if kind.family.startswith("Float"):
        return float(text)
    if kind.family == "Bool":
        if text.lower() not in ("0", "1", "false", "true"):
            raise ValueError(text)
        return text.lower() in ("1", "true")
    return text


def _array(text: str, kind: SqlType) -> list[object]:
    """`['a', 'b']` or `[1,2]`."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError(text)
    inner, at = text[1:-1].strip(), 0
    values: list[object] = []
    while at < len(inner):
        found = _ELEMENT.match(inner, at)
        if found is None:
            raise ValueError(text)
        values.append(_plain(found["bare"] if found["text"] is None else _unquoted(found["text"]), kind))
        at = found.end()
    return values


def _unescaped(text: str) -> str:
    """A cell of TSV: quotes are signs like others."""
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), text)


def _unquoted(text: str) -> str:
    """What stands between quotes: two of them are one."""
    return _ESCAPE_OR_QUOTES.sub(lambda found: "'" if found[1] is None else _ESCAPED.get(found[1], found[1]), text)

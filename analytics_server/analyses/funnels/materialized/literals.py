"""Values as literals: a view's SELECT is stored, so it can't have parameters.

The only place where a text becomes part of SQL. Everything that isn't a plain printable ASCII character is written
as the escapes of its UTF-8 bytes, so that no lexer can be of another opinion about where the literal ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _-./:,;=+*#@!?&()[]<>|^~")
_PARAMETER = re.compile(r"\{(\w+):(String|Array\(String\)|UInt64|Array\(UInt64\))\}")


def quote(text: str) -> str:
    """A ClickHouse string literal. Raises `ValueError` for a lone surrogate, which no text in UTF-8 has."""
    return "'" + "".join(chr(byte) if byte in _PLAIN else f"\\x{byte:02X}" for byte in text.encode()) + "'"


def inline(sql: str, values: Mapping[str, object]) -> str:
    """The same SQL with its parameters as literals."""
    return _PARAMETER.sub(lambda match: _literal(values[match[1]]), sql)


def _literal(value: object) -> str:
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(_literal(one) for one in value)}]"
    raise TypeError(f"{type(value).__name__} has no literal here.")

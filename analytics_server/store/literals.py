"""Values as SQL literals: the only place that quotes a text for a statement.

What can be a parameter is one. Literals are for where ClickHouse takes none: mutations, settings, definitions of
views, and the statements that are printed for users' SQL.
"""

from __future__ import annotations

_ESCAPES = str.maketrans(
    {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0", "\b": "\\b", "\f": "\\f"}
)
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _-./:,;=+*#@!?&()[]<>|^~")


def literal(value: str | int | float, *, plain: bool = False) -> str:
    """A text or a number as SQL writes it.

    `plain`: a text is written with plain printable ASCII characters alone, all others as the escapes of their UTF-8
    bytes, so that no lexer can be of another opinion about where the literal ends. Raises `ValueError` for a lone
    surrogate then, which no text in UTF-8 has.
    """
    if not isinstance(value, str):
        return str(value)
    if plain:
        return "'" + "".join(chr(byte) if byte in _PLAIN else f"\\x{byte:02X}" for byte in value.encode()) + "'"
    return f"'{value.translate(_ESCAPES)}'"

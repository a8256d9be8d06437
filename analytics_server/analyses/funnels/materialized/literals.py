"""Values as SQL literals: a materialized view's SELECT is stored, so it can't have parameters.

The only place where a text becomes part of SQL. Everything that isn't a plain printable ASCII character is written
as the escapes of its UTF-8 bytes, so that no lexer can be of another opinion about where the literal ends.
"""

from __future__ import annotations

from collections.abc import Sequence

from analytics_server.query.parameters import Binder

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _-./:,;=+*#@!?&()[]<>|^~")


def quote(text: str) -> str:
    """A ClickHouse string literal. Raises `ValueError` for a lone surrogate, which no text in UTF-8 has."""
    return "'" + "".join(chr(byte) if byte in _PLAIN else f"\\x{byte:02X}" for byte in text.encode()) + "'"


class Literals(Binder):
    """Binds each value by its literal instead of a parameter."""

    def bind(self, value: str | int | Sequence[str], kind: str) -> str:
        """The literal of a text, a number or a list of texts."""
        if isinstance(value, int):
            return str(value)
        return quote(value) if isinstance(value, str) else f"[{', '.join(map(quote, value))}]"

    def name(self, name: str, value: object, kind: str) -> str:
        """Refused: only a parameter has a name."""
        raise TypeError(f"{name} can't be a parameter here.")

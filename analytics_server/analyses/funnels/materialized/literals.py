"""Values of a statement bound as literals: a materialized view's SELECT is stored, so it can't have parameters."""

from __future__ import annotations

from collections.abc import Sequence

from analytics_server.query.parameters import Binder
from analytics_server.store.literals import literal


class Literals(Binder):
    """Binds each value by its literal instead of a parameter."""

    def bind(self, value: str | int | Sequence[str], kind: str) -> str:
        """The literal of a text, a number or a list of texts."""
        if isinstance(value, str | int):
            return literal(value, plain=True)
        return f"[{', '.join(literal(text, plain=True) for text in value)}]"

    def name(self, name: str, value: object, kind: str) -> str:
        """Refused: only a parameter has a name."""
        raise TypeError(f"{name} can't be a parameter here.")

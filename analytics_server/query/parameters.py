"""Bound parameters of SQL: each value gets a name and is sent as a `{name:Type}` parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

TEXT = "String"
TEXTS = "Array(String)"
COUNT = "UInt64"
SMALL_NUMBER = "UInt8"
COUNTS = "Array(UInt64)"
MOMENTS_S = "Array(UInt32)"
OFFSETS_S = "Array(Int32)"
DAY = "Date"
DAYS = "Array(Date)"
MOMENT = "DateTime64(6, 'UTC')"


@dataclass(slots=True)
class Binder:
    """Collects parameters; a value bound twice keeps its first name."""

    values: dict[str, object] = field(default_factory=dict)

    def bind(self, value: str | int | Sequence[str], kind: str) -> str:
        """A placeholder for a text, a number or a list of texts."""
        stored: object = value if isinstance(value, str | int) else list(value)
        for name, known in self.values.items():
            if name.startswith("p_") and known == stored:
                return f"{{{name}:{kind}}}"
        return self.name(f"p_{len(self.values)}", stored, kind)

    def name(self, name: str, value: object, kind: str) -> str:
        """A placeholder with a name of its own; names that begin with p_ are taken."""
        self.values[name] = value
        return f"{{{name}:{kind}}}"

    def moment(self, name: str, value: datetime) -> str:
        """A placeholder for an instant, exact to the microsecond."""
        return self.name(name, show_moment(value), MOMENT)


def show_moment(moment: datetime) -> str:
    """An instant as ClickHouse reads it: UTC, exact to the microsecond."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")

"""What a query may name besides `events` and `sessions`: databases, tables of constant rows, and constants.

Empty for plain SQL. A database tool asks for more than data: which databases, tables and columns there are, who it is,
and which version answers. All of that is written out here, as literals; nothing of the engine's own is read for it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from analytics_server.store.literals import literal

Cell = str | int

_EMPTY = {"String": "''", "UUID": "toUUID('00000000-0000-0000-0000-000000000000')", "Array": "[]", "Nullable": "NULL"}
"""The empty value of families of types; 0 of all others."""


@dataclass(frozen=True, slots=True)
class VirtualTable:
    """A table of constant rows. `columns`: name → ClickHouse type, in order; `rows` hold the values of the first ones.

    The columns behind the rows' last value are empty: '' or 0 of their type.
    """

    columns: Mapping[str, str]
    rows: Sequence[tuple[Cell, ...]]

    def scoped(self, wanted: Container[str] | None) -> str:
        """The subquery that stands for the table, with the wanted columns (None: all)."""
        names = [name for name in self.columns if wanted is None or name in wanted] or list(self.columns)[:1]
        if not self.rows:
            return f"(SELECT {', '.join(self._empty(name) for name in names)} WHERE 0)"
        given = list(self.columns)[: len(self.rows[0])]
        held = [name for name in given if name in names] or given[:1]
        places = [given.index(name) for name in held]
        rows = ", ".join(f"tuple({', '.join(literal(row[place]) for place in places)})" for row in self.rows)
        types = ", ".join(self.columns[name] for name in held)
        listed = ", ".join(
            f"tupleElement(`__cells`, {held.index(name) + 1}) AS `{name}`" if name in held else self._empty(name)
            for name in names
        )
        cells = f"CAST([{rows}], {literal(f'Array(Tuple({types}))')})"
        return f"(SELECT {listed} FROM (SELECT arrayJoin({cells}) AS `__cells`))"

    def _empty(self, name: str) -> str:
        type_ = self.columns[name]
        value = _EMPTY.get(type_.partition("(")[0], "0")
        return f"CAST({value}, {literal(type_)}) AS `{name}`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """`databases`: names that may stand before the names of tables. `tables`: by database and name.

    `constants`: what functions without arguments give, by name in small letters. `drops_settings`: settings of the
    text that can't be followed are left out instead of refused.
    """

    databases: frozenset[str] = frozenset()
    tables: Mapping[tuple[str, str], VirtualTable] = field(default_factory=dict)
    constants: Mapping[str, Cell] = field(default_factory=dict)
    drops_settings: bool = False


EMPTY = Catalog()

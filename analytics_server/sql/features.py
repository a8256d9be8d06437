"""What the engine that runs a query has: the smaller build of the engine in process lacks some of what a server has.

Asked of the engine itself, never guessed from its kind or version.
"""

from __future__ import annotations

from dataclasses import dataclass

UNLISTED = frozenset({"date_trunc", "grouping", "untuple", "sumMap", "minMap", "maxMap"})
"""What every engine has without naming it among its functions: it is read as something else."""


@dataclass(frozen=True, slots=True)
class EngineFeatures:
    """`functions`: the names it knows, None for all; `wide_decimals`: arithmetic on Decimals of more than 18 digits;
    `rare_joins`: SEMI, ANTI and ASOF."""

    functions: frozenset[str] | None = None
    wide_decimals: bool = True
    rare_joins: bool = True

    def has_function(self, name: str) -> bool:
        """Does the engine know a function of this name?"""
        return self.functions is None or name in UNLISTED or name in self.functions


EVERYTHING = EngineFeatures()
"""A ClickHouse server of a recent version."""

"""The functions that a query may call: the allow-list, read from functions.json.

A function that is not listed is refused, whatever ClickHouse knows. What is listed reads
nothing but its arguments: no file, socket, table, dictionary, setting or name of the
server; and its time and memory grow no faster than its arguments and its result.
Aggregates may carry combinators (`countIf`, `sumArray`, `uniqOrNull`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import msgspec

from analytics_server.sql.function_names import ALIASES
from analytics_server.sql.refusal import nearest

AGGREGATES = "Aggregates"
WINDOWS = "Window functions"
COMBINATORS = {
    "If": "Only rows for which one more argument is true.",
    "Array": "Over the elements of arrays.",
    "Map": "Over the values of maps, key by key.",
    "ForEach": "Element by element of arrays.",
    "Distinct": "Each different value once.",
    "OrNull": "NULL if there were no rows.",
    "OrDefault": "The type's default if there were no rows.",
}
"""Endings that change an aggregate, two at most: `sumIf(x, condition)`."""

MAX_COMBINATORS = 2

STATES = {
    "State": "The unfinished result of a group, to be merged; of count, sum, avg, min, max and the uniq functions.",
    "Merge": "The result of unfinished ones: uniqMerge(u) of uniqState(x) AS u.",
}
"""Endings of the aggregates below, by themselves: `uniqMerge(u) OVER (…)` of `uniqState(visitor_id) AS u` by day."""

WITH_STATES = frozenset({"count", "sum", "avg", "min", "max", "uniq", "uniqExact", "uniqCombined", "uniqHLL12"})

NO_COMBINATORS = frozenset({"groupConcat", "sumMap", "minMap", "maxMap"})
TYPE_ARGUMENT = frozenset({"JSONExtract", "accurateCast", "accurateCastOrNull", "accurateCastOrDefault"})
"""Functions with a type's name among their arguments: it must be a literal that the type list knows."""

TIMES = "Dates and times"
ZONE_PLACES = {
    "now": 0,
    "now64": 1,
    "makeDate": 3,
    "makeDateTime": 6,
    **dict.fromkeys(("dateDiff", "date_diff", "age"), 3),
    **dict.fromkeys(
        (
            *("toDateTime64", "toDateTime64OrNull", "parseDateTime", "formatDateTime", "fromUnixTimestamp"),
            *("toWeek", "toYearWeek", "toDayOfWeek", "toStartOfWeek", "toLastDayOfWeek"),
            *("dateTrunc", "date_trunc", "dateName", "toStartOfInterval"),
            *(
                f"{verb}{unit}s"
                for verb in ("add", "subtract")
                for unit in ("Year", "Quarter", "Month", "Week", "Day", "Hour", "Minute", "Second", "Millisecond")
            ),
        ),
        2,
    ),
    "toString": 1,
}
"""From which argument on a function may read a time zone; the other functions of times: from the second on.

ClickHouse opens the zone's file: of one named `file:/…` any file of the host, and waits without end for one that never
ends, with all other queries that name a zone. So a zone must be a text that can be looked at here.
"""


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """One function: how it is called and what it gives."""

    name: str
    signature: str
    about: str


@dataclass(frozen=True, slots=True)
class Called:
    """A function as a query calls it, its name as ClickHouse spells it."""

    name: str
    base: Function
    family: str

    @property
    def is_aggregate(self) -> bool:
        """Does the call aggregate the rows of a group?"""
        return self.family == AGGREGATES

    @property
    def zone_place(self) -> int | None:
        """The first argument that may be a time zone; None: no argument is."""
        return ZONE_PLACES.get(self.name, 1 if self.family == TIMES else None)

    @property
    def takes_window(self) -> bool:
        """May OVER follow the call?"""
        return self.family in (AGGREGATES, WINDOWS)


class Functions:
    """All functions by family and by name. Names are found in any case of letters."""

    def __init__(self, families: dict[str, list[Function]]) -> None:
        self.families = families
        self._by_name = {function.name: (function, family) for family, all_ in families.items() for function in all_}
        self._by_folded = ALIASES | {name.lower(): name for name in reversed(self._by_name)}

    def find(self, name: str) -> Called | None:
        """The function a name means, with its combinators; None if it is not listed."""
        if exact := self._exact(name):
            function, family = self._by_name[exact]
            return Called(exact, function, family)
        return self._combined(name)

    def suggest(self, name: str) -> str:
        """A sentence naming the closest function, or nothing."""
        return nearest(name, self._names)

    @cached_property
    def _names(self) -> list[str]:
        return list(self._by_name)

    def _exact(self, name: str) -> str | None:
        return name if name in self._by_name else self._by_folded.get(name.lower())

    def _combined(self, name: str) -> Called | None:
        endings: list[str] = []
        rest = name
        for state in STATES:
            merged = self._exact(name.removesuffix(state)) if name.endswith(state) else None
            if merged is not None and merged in WITH_STATES:
                return Called(merged + state, *self._by_name[merged])
        while len(endings) < MAX_COMBINATORS:
            ending = next((each for each in COMBINATORS if rest.endswith(each) and each not in endings), None)
            if ending is None:
                return None
            rest = rest[: -len(ending)]
            endings.append(ending)
            found = self._exact(rest)
            if found is not None:
                function, family = self._by_name[found]
                if family != AGGREGATES or found in NO_COMBINATORS:
                    return None
                return Called(found + "".join(reversed(endings)), function, family)
        return None


def load_functions() -> Functions:
    """Read the list that comes with the package."""
    text = files(__package__).joinpath("functions.json").read_bytes()
    return Functions(msgspec.json.decode(text, type=dict[str, list[Function]]))

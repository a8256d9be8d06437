"""The tree of conditions: what must hold of an event and its session.

`filters` builds the tree from JSON; `query.sql.render` turns it into SQL. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from analytics_server.percent_encoding import spellings
from analytics_server.query.dimensions import ACTIVE_EVENT, GOAL, SESSION, Dimension, ValueKind
from analytics_server.spelling.case_folding import weight
from analytics_server.spelling.host_names import host_spellings
from analytics_server.spelling.referrers import referrer_spellings
from analytics_server.spelling.source_names import source_spellings

TextMethod = Literal["is", "contains", "matches", "matches_wildcard"]
NumberMethod = Literal["gt", "gte", "lt", "lte"]
Method = TextMethod | NumberMethod

HOSTS = frozenset({"event:hostname", "visit:entry_page_hostname", "visit:exit_page_hostname"})
"""The dimensions whose values are hosts. A referrer begins with one, and a source may be one."""

_METHODS: tuple[TextMethod, ...] = ("is", "contains", "matches", "matches_wildcard")
COMPARISONS: tuple[NumberMethod, ...] = ("gt", "gte", "lt", "lte")
"""Operators that compare numbers."""

OPERATORS: dict[str, tuple[Method, bool]] = {
    **{method: (method, False) for method in _METHODS},
    **{f"{method}_not": (method, True) for method in _METHODS if method != "is"},
    "is_not": ("is", True),
    **{method: (method, False) for method in COMPARISONS},
}
"""Operator → how values are compared, and whether the result is turned round."""


@dataclass(frozen=True, slots=True)
class Match:
    """One comparison: the dimension's value meets any of the values.

    Of a property or an experiment that an event does not carry, only `is_not` is true besides what an empty value is.
    """

    dimension: Dimension
    method: Method
    values: tuple[str, ...]
    negated: bool
    case_sensitive: bool = True

    @property
    def spellings(self) -> tuple[str, ...]:
        """The values in every spelling that is stored: those of versions before were not always spelt one way."""
        name = self.dimension.name
        if self.method == "matches":
            return self.values
        if name == "visit:source":
            return _each_once(one for value in self.values for one in self._of_source(value))
        if name in HOSTS:
            return _each_once(self._of_hosts())
        if self.dimension.values is not ValueKind.PATH:
            return self.values
        values: Iterable[str] = self.values
        if name == "visit:referrer":
            values = (one for value in values for one in referrer_spellings(value, whole=self._is_whole(value)))
        exactly = self.case_sensitive
        return _each_once(one for value in values for one in spellings(value, case_sensitive=exactly))

    def _is_whole(self, value: str) -> bool:
        """Is the value compared as it stands, with the whole of what is stored?"""
        return self.method == "is" or (self.method == "matches_wildcard" and "*" not in value)

    def _of_source(self, value: str) -> tuple[str, ...]:
        if self._is_whole(value):
            return source_spellings(value)
        return host_spellings(value, whole=False) if "xn--" in value.lower() else (value,)

    def _of_hosts(self) -> Iterable[str]:
        found: dict[str, str] = {}
        for value in self.values:
            for one in host_spellings(value, whole=self.method == "is"):
                found.setdefault(one if self.case_sensitive else one.lower(), one)
        return found.values()


def _each_once(spelt: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(spelt))


@dataclass(frozen=True, slots=True)
class And:
    """All of the conditions hold (on the same event)."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of the conditions holds."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class HasDone:
    """Some event of the session meets the condition, whenever it happened, also outside the range."""

    condition: Condition
    negated: bool


@dataclass(frozen=True, slots=True)
class DoneInOrder:
    """Events of the session meet the conditions one after the other, each later than the one before."""

    steps: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class GoalEvents:
    """The condition holds, and the event is an active one, or one that meets `passive` too (`goal_filters`)."""

    condition: Condition
    passive: Condition | None


@dataclass(frozen=True, slots=True)
class SavedFilter:
    """A saved goal or segment, which stands for its condition.

    `name` is what it was chosen by, which may be its id; `goal` and `currency` are those of a goal.
    """

    kind: Literal["goal", "segment"]
    name: str
    condition: Condition
    goal: str = ""
    currency: str = ""


Condition = Match | And | Or | Not | HasDone | DoneInOrder | GoalEvents | SavedFilter

NO_EVENT = Or(())
"""What a goal that does not exist stands for where it is left out."""

_THE_SESSION = Match(SESSION, "is", (), negated=False)
_ACTIVE = Match(ACTIVE_EVENT, "is", (), negated=False)


def matches(conditions: Sequence[Condition]) -> Iterator[Match]:
    """All comparisons that the trees make on an event and its session, left to right.

    `has_done` and `sequence` are one comparison of the session; what they compare on its other events is in
    `all_matches`.
    """
    return _walk(conditions, deep=False)


def all_matches(conditions: Sequence[Condition]) -> Iterator[Match]:
    """All comparisons, those inside has_done and sequence too."""
    return _walk(conditions, deep=True)


def count_done(conditions: Sequence[Condition]) -> int:
    """How many has_done and sequence there are: each reads events of its own."""
    found = 0
    for condition in conditions:
        match condition:
            case HasDone():
                found += 1 + count_done((condition.condition,))
            case DoneInOrder():
                found += 1 + count_done(condition.steps)
            case Not() | SavedFilter():
                found += count_done((condition.condition,))
            case GoalEvents():
                found += count_done((condition.condition, *([condition.passive] if condition.passive else [])))
            case And() | Or():
                found += count_done(condition.conditions)
    return found


def patterns(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """The regular expressions written by the client, for a check before the query runs."""
    return tuple(value for match in all_matches(conditions) if match.method == "matches" for value in match.values)


def folded_weight(conditions: Sequence[Condition]) -> int:
    """How much is to be compared without case, in characters: each becomes a part of a regular expression."""
    return sum(weight(value) for match in all_matches(conditions) if not match.case_sensitive for value in match.values)


def normalise(condition: Condition) -> list[object]:
    """The condition as JSON again, with full names."""
    match condition:
        case Match():
            operator = next(name for name, how in OPERATORS.items() if how == (condition.method, condition.negated))
            options = [] if condition.case_sensitive else [{"case_sensitive": False}]
            values: list[object] = list(condition.values)
            if condition.method in COMPARISONS:
                values = [msgspec.json.decode(value) for value in condition.values]
            return [operator, condition.dimension.name, values, *options]
        case And():
            return ["and", [normalise(inner) for inner in condition.conditions]]
        case Or():
            return ["or", [normalise(inner) for inner in condition.conditions]]
        case Not(condition=SavedFilter(condition=inner) as saved) if inner == NO_EVENT:
            return ["is_not", GOAL.name, [saved.name]]
        case Not():
            return ["not", normalise(condition.condition)]
        case HasDone():
            return ["has_not_done" if condition.negated else "has_done", normalise(condition.condition)]
        case DoneInOrder():
            return ["sequence", [normalise(inner) for inner in condition.steps]]
        case GoalEvents():
            return normalise(condition.condition)
        case SavedFilter():
            return [condition.kind, condition.name]


def _walk(conditions: Sequence[Condition], *, deep: bool) -> Iterator[Match]:
    for condition in conditions:
        match condition:
            case Match():
                yield condition
            case HasDone():
                yield _THE_SESSION
                if deep:
                    yield from _walk((condition.condition,), deep=deep)
            case DoneInOrder():
                yield _THE_SESSION
                if deep:
                    yield from _walk(condition.steps, deep=deep)
            case GoalEvents():
                yield _ACTIVE
                yield from _walk((condition.condition,), deep=deep)
            case Not() | SavedFilter():
                yield from _walk((condition.condition,), deep=deep)
            case And() | Or():
                yield from _walk(condition.conditions, deep=deep)

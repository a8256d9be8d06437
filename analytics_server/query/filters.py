"""Filters: from nested JSON lists to a checked tree, and from the tree to SQL.

A filter is `[operator, dimension, [values]]`, or `and`, `or`, `not` around others.
The list of filters is an `and`. The whole tree is a statement about one event and its
session; a session is kept when at least one of its events in the range satisfies it.
Pure; the depth, the number of filters and of values are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from analytics_server.errors import RequestError
from analytics_server.query.binding import TEXT, TEXTS, Binder
from analytics_server.query.fields import Dimension, Scope, find_dimension, nearest
from analytics_server.query.library import Library

MAX_DEPTH = 8
MAX_FILTERS = 64
MAX_VALUES = 1_000
MAX_VALUE_CHARS = 2_048
MAX_PATTERNS = 20
MAX_PATTERN_CHARS = 500
MAX_NEEDLES = 200

Method = Literal["is", "contains", "matches", "matches_wildcard"]

_METHODS: tuple[Method, ...] = ("is", "contains", "matches", "matches_wildcard")
OPERATORS: dict[str, tuple[Method, bool]] = {
    **{method: (method, False) for method in _METHODS},
    **{f"{method}_not": (method, True) for method in _METHODS if method != "is"},
    "is_not": ("is", True),
}
"""Operator → how values are compared, and whether the result is turned round."""

_COMBINING = ("and", "or", "not")
_LATER = ("has_done", "has_not_done", "segment")


@dataclass(frozen=True, slots=True)
class Match:
    """One comparison: the dimension's value meets any of the values."""

    dimension: Dimension
    method: Method
    values: tuple[str, ...]
    negated: bool
    case_sensitive: bool = True


@dataclass(frozen=True, slots=True)
class Both:
    """All of the conditions hold (on the same event)."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """At least one of the conditions holds."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Neither:
    """The condition does not hold."""

    condition: Condition


Condition = Match | Both | Either | Neither
Column = Callable[[Dimension], str]


def parse_filters(
    raw: Sequence[object], library: Library | None = None, *, place: str = "filters"
) -> tuple[Condition, ...]:
    """The top-level conditions, all of which must hold. Raises `RequestError`.

    `library`: where goals and segments are looked up; without one, naming them is an error (what is
    saved must not refer to other saved things). `place`: where the filters stand, for messages.
    """
    conditions = tuple(_parse(item, f"{place}[{index}]", 1, library) for index, item in enumerate(raw))
    if sum(1 for _ in matches(conditions)) > MAX_FILTERS:
        raise RequestError(f"A query may hold {MAX_FILTERS} filters at most.", code="bad_filter")
    return conditions


def matches(conditions: Sequence[Condition]) -> Iterator[Match]:
    """All comparisons of the trees, left to right."""
    for condition in conditions:
        match condition:
            case Match():
                yield condition
            case Neither():
                yield from matches((condition.condition,))
            case Both() | Either():
                yield from matches(condition.conditions)


def is_about_events(condition: Condition) -> bool:
    """Does the truth of the condition depend on single events, not on the session alone?"""
    return any(match.dimension.scope is Scope.EVENT for match in matches((condition,)))


def patterns(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """The regular expressions written by the client, for a check before the query runs."""
    return tuple(value for match in matches(conditions) if match.method == "matches" for value in match.values)


def normalise(condition: Condition) -> list[object]:
    """The condition as JSON again, with full names."""
    match condition:
        case Match():
            operator = next(name for name, how in OPERATORS.items() if how == (condition.method, condition.negated))
            options = [] if condition.case_sensitive else [{"case_sensitive": False}]
            return [operator, condition.dimension.name, list(condition.values), *options]
        case Both():
            return ["and", [normalise(inner) for inner in condition.conditions]]
        case Either():
            return ["or", [normalise(inner) for inner in condition.conditions]]
        case Neither():
            return ["not", normalise(condition.condition)]


def render(condition: Condition, column: Column, binder: Binder) -> str:
    """The condition as SQL over the columns that `column` names."""
    match condition:
        case Match():
            sql = _render_match(condition, column(condition.dimension), binder)
            return f"NOT ({sql})" if condition.negated else sql
        case Both():
            return "(" + " AND ".join(render(inner, column, binder) for inner in condition.conditions) + ")"
        case Either():
            return "(" + " OR ".join(render(inner, column, binder) for inner in condition.conditions) + ")"
        case Neither():
            return f"NOT ({render(condition.condition, column, binder)})"


def wildcard_pattern(wildcard: str) -> str:
    """`*` stands for anything but a slash, `**` for anything; the whole value must fit."""
    parts = ({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*)", wildcard) if part)
    return r"(?s)\A" + "".join(parts) + r"\z"


def _render_match(match: Match, column: str, binder: Binder) -> str:
    if match.method == "is":
        if match.case_sensitive:
            return f"{column} IN {binder.bind(match.values, TEXTS)}"
        # By RE2's case folding: the engine in process is built without lowerUTF8.
        whole = rf"(?i)\A(?:{'|'.join(map(re.escape, match.values))})\z"
        return f"match({column}, {binder.bind(whole, TEXT)})"
    if match.method == "contains":
        search = "multiSearchAny" if match.case_sensitive else "multiSearchAnyCaseInsensitiveUTF8"
        return f"{search}({column}, {binder.bind(match.values, TEXTS)})"
    expressions = match.values if match.method == "matches" else tuple(map(wildcard_pattern, match.values))
    return "(" + " OR ".join(f"match({column}, {binder.bind(text, TEXT)})" for text in expressions) + ")"


def _parse(item: object, place: str, depth: int, library: Library | None) -> Condition:
    if depth > MAX_DEPTH:
        raise _bad(f"{place} is nested more than {MAX_DEPTH} deep")
    if not isinstance(item, list) or not item or not isinstance(item[0], str):
        raise _bad(f'{place} must be a list that begins with an operator, such as ["is", "event:page", ["/"]]')
    operator = item[0]
    if operator in ("and", "or"):
        if len(item) != 2 or not isinstance(item[1], list) or not item[1]:
            raise _bad(f'{place} must be ["{operator}", [filter, …]] with at least one filter')
        inner = tuple(_parse(part, f"{place}[1][{index}]", depth + 1, library) for index, part in enumerate(item[1]))
        return Both(inner) if operator == "and" else Either(inner)
    if operator == "not":
        if len(item) != 2:
            raise _bad(f'{place} must be ["not", filter]')
        return Neither(_parse(item[1], f"{place}[1]", depth + 1, library))
    return _parse_match(operator, item, place)


def _parse_match(operator: str, item: list[object], place: str) -> Match:
    if operator in _LATER:
        raise RequestError(
            f"The operator {operator!r} in {place} is not supported by this version.", code="unsupported_operator"
        )
    if operator not in OPERATORS:
        raise RequestError(
            f"There is no operator {operator!r} ({place}).{nearest(operator, [*OPERATORS, *_COMBINING])}",
            code="unknown_operator",
        )
    match item[1:]:
        case [str() as name, list() as values]:
            case_sensitive = True
        case [str() as name, list() as values, {"case_sensitive": bool() as case_sensitive, **rest}] if not rest:
            pass
        case _:
            raise _bad(
                f'{place} must be ["{operator}", dimension, [values]], with {{"case_sensitive": false}} if wanted'
            )
    method, negated = OPERATORS[operator]
    dimension = find_dimension(name)
    if dimension.scope is Scope.TIME:
        raise _bad(f"{place} filters on {name!r}: choose times by date_range instead")
    if not case_sensitive and method not in ("is", "contains"):
        raise _bad(f"{place}: case_sensitive goes with is and contains; in a regular expression write (?i)")
    return Match(dimension, method, _parse_values(values, method, place), negated, case_sensitive)


def _parse_values(values: list[object], method: Method, place: str) -> tuple[str, ...]:
    most, chars = {
        "is": (MAX_VALUES, MAX_VALUE_CHARS),
        "contains": (MAX_NEEDLES, MAX_VALUE_CHARS),
    }.get(method, (MAX_PATTERNS, MAX_PATTERN_CHARS))
    texts = tuple(value for value in values if isinstance(value, str))
    if len(texts) != len(values):
        raise _bad(f"{place}[2] must hold texts only: properties are stored as text")
    if not 0 < len(texts) <= most:
        raise _bad(f"{place}[2] must hold 1 to {most} values, not {len(texts)}")
    if any(len(text) > chars for text in texts):
        raise _bad(f"{place}[2] holds a value of more than {chars} characters")
    if method == "contains" and "" in texts:
        raise _bad(f"{place}[2] holds an empty text, which every value contains")
    return texts


def _bad(message: str) -> RequestError:
    return RequestError(f"{message}.", code="bad_filter")

"""Filters: from nested JSON lists to a checked tree of conditions.

A filter is `[operator, dimension, [values]]`, or `and`, `or`, `not` around others, or
`has_done` around one that any event of the session may meet, or `sequence` around several
that events of the session meet in order, or the name of a saved goal or segment, which
stands for its conditions. The list of filters is an `and`. The whole tree is a statement
about one event and its session; a session is kept when at least one of its events in the
range satisfies it. Pure; the depth, the number of filters and of values are bounded. The
tree itself is in `conditions`, how values are read in `filter_values`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import contains, eq
from typing import Literal

from analytics_server.errors import RequestError
from analytics_server.query.dimensions import ACTIVE_EVENT, GOAL, Scope, find_dimension, nearest
from analytics_server.query.language.conditions import (
    NO_EVENT,
    OPERATORS,
    And,
    Condition,
    DoneInOrder,
    HasDone,
    Match,
    Method,
    Not,
    Or,
    SavedFilter,
    all_matches,
    count_done,
)
from analytics_server.query.language.filter_values import bad_filter, check_operator, read_texts, read_values
from analytics_server.query.language.library import Library
from analytics_server.query.language.shapes import MAX_SEQUENCE, MIN_SEQUENCE
from analytics_server.spelling.case_folding import fold

MAX_DEPTH = 8
MAX_FILTERS = 64
MAX_LISTS = 2 * MAX_FILTERS * (1 + MAX_DEPTH)
"""Each filter and each operator around some is two lists; so many there can be."""

MAX_DONE = 8

COMBINING = ("and", "or", "not", "has_done", "has_not_done", "sequence", "goal", "segment")
"""Operators around other filters, or in front of a saved thing's name."""

_SAVED: dict[str, Literal["goal", "segment"]] = {"goal": "goal", GOAL.name: "goal", "segment": "segment"}


def parse_filters(
    raw: Sequence[object], library: Library | None = None, *, place: str = "filters"
) -> tuple[Condition, ...]:
    """The top-level conditions, all of which must hold. Raises `RequestError`.

    `library`: where goals and segments are looked up; without one, naming them is an error (what is
    saved must not refer to other saved things). `place`: where the filters stand, for messages.
    """
    _check_size(raw, place)
    conditions = tuple(_parse(item, f"{place}[{index}]", 1, library) for index, item in enumerate(raw))
    if sum(match.dimension is not ACTIVE_EVENT for match in all_matches(conditions)) > MAX_FILTERS:
        raise bad_filter(f"{place} may hold {MAX_FILTERS} filters at most, those of its goals and segments included")
    if count_done(conditions) > MAX_DONE:
        raise bad_filter(f"{place} may hold {MAX_DONE} times has_done, has_not_done and sequence at most")
    return conditions


def _check_size(raw: Sequence[object], place: str) -> None:
    """Refuse what can only be too many filters before each is looked at. Raises `RequestError`."""
    lists = 0
    left: list[Sequence[object]] = [raw]
    while left:
        inner = [item for item in left.pop() if isinstance(item, list)]
        lists += len(inner)
        if lists > MAX_LISTS:
            raise bad_filter(f"{place} may hold {MAX_FILTERS} filters at most")
        left += inner


def _parse(item: object, place: str, depth: int, library: Library | None) -> Condition:
    if depth > MAX_DEPTH:
        raise bad_filter(f"{place} is nested more than {MAX_DEPTH} deep")
    if not isinstance(item, list) or not item or not isinstance(item[0], str):
        raise bad_filter(f'{place} must be a list that begins with an operator, such as ["is", "event:page", ["/"]]')
    operator = item[0]
    if operator in ("and", "or"):
        if len(item) != 2 or not isinstance(item[1], list) or not item[1]:
            raise bad_filter(f'{place} must be ["{operator}", [filter, …]] with at least one filter')
        inner = tuple(_parse(part, f"{place}[1][{index}]", depth + 1, library) for index, part in enumerate(item[1]))
        return And(inner) if operator == "and" else Or(inner)
    if operator in ("not", "has_done", "has_not_done"):
        if len(item) != 2:
            raise bad_filter(f'{place} must be ["{operator}", filter]')
        condition = _parse(item[1], f"{place}[1]", depth + 1, library)
        return Not(condition) if operator == "not" else HasDone(condition, negated=operator == "has_not_done")
    if operator == "sequence":
        steps = item[1] if len(item) == 2 else None
        if not isinstance(steps, list) or not MIN_SEQUENCE <= len(steps) <= MAX_SEQUENCE:
            raise bad_filter(f'{place} must be ["sequence", [filter, …]] with {MIN_SEQUENCE} to {MAX_SEQUENCE} filters')
        return DoneInOrder(
            tuple(_parse(step, f"{place}[1][{index}]", depth + 1, library) for index, step in enumerate(steps))
        )
    if operator in ("goal", "segment"):
        if len(item) != 2:
            raise bad_filter(f'{place} must be ["{operator}", name or id]')
        names = item[1] if isinstance(item[1], list) else [item[1]]
        return _parse_named("is", operator, names, place, library, case_sensitive=True)
    return _parse_match(operator, item, place, library)


def _parse_match(operator: str, item: list[object], place: str, library: Library | None) -> Condition:
    if operator not in OPERATORS:
        raise RequestError(
            f"There is no operator {operator!r} ({place}).{nearest(operator, [*OPERATORS, *COMBINING])}",
            code="unknown_operator",
        )
    match item[1:]:
        case [str() as name, list() as values]:
            case_sensitive = True
        case [str() as name, list() as values, {"case_sensitive": bool() as case_sensitive, **rest}] if not rest:
            pass
        case _:
            raise bad_filter(
                f'{place} must be ["{operator}", dimension, [values]], with {{"case_sensitive": false}} if wanted'
            )
    if name in _SAVED:
        return _parse_named(operator, name, values, place, library, case_sensitive=case_sensitive)
    method, negated = OPERATORS[operator]
    dimension = find_dimension(name)
    if dimension.scope is Scope.TIME:
        raise bad_filter(f"{place} filters on {name!r}: choose times by date_range instead")
    check_operator(dimension, operator, method, place)
    if not case_sensitive and method not in ("is", "contains", "matches_wildcard"):
        raise bad_filter(
            f"{place}: case_sensitive goes with is, contains and matches_wildcard; in a regular expression write (?i)"
        )
    return Match(dimension, method, read_values(dimension, method, values, place), negated, case_sensitive)


def _parse_named(
    operator: str, name: str, raw: list[object], place: str, library: Library | None, *, case_sensitive: bool
) -> Condition:
    """Saved goals or segments, chosen by name or id; any of them will do. Of no goal no event is left out."""
    kind = _SAVED[name]
    method, negated = OPERATORS[operator]
    if library is None:
        raise bad_filter(
            f"{place} names a {kind}, but what is saved can't refer to other saved things: write its filters out"
        )
    values = read_texts(raw, method, place)
    if method == "is" and case_sensitive:
        known = values
    elif kind == "goal" and method in ("is", "contains", "matches_wildcard"):
        known = _goals_like(values, library, method, case_sensitive=case_sensitive)
        if not known and not negated:
            raise RequestError(
                f"No goal has such a name ({place}): GET /api/v1/goals lists those there are.", code="unknown_goal"
            )
    else:
        others = ", contains or matches_wildcard" if kind == "goal" else ""
        raise bad_filter(f"{place}: a {kind} is chosen by its name or id, with is{others}")
    conditions: list[SavedFilter] = []
    for value in dict.fromkeys(known):
        if kind == "goal":
            try:
                goal = library.goal(value, place=place)
            except RequestError as error:
                if negated and error.code == "unknown_goal":
                    continue  # no event is one of it
                raise
            conditions.append(SavedFilter(kind, value, all_of(goal.conditions), goal.name, goal.currency))
        else:
            conditions.append(SavedFilter(kind, value, all_of(library.segment(value, place=place))))
    if not conditions:
        conditions.append(SavedFilter(kind, values[0], NO_EVENT))
    found = conditions[0] if len(conditions) == 1 else Or(tuple(conditions))
    return Not(found) if negated else found


def _goals_like(values: Sequence[str], library: Library, method: Method, *, case_sensitive: bool) -> tuple[str, ...]:
    """The names of the goals that are, contain or fit one of the texts."""

    def seen(text: str) -> str:
        return text if case_sensitive else fold(text)

    compare = {"is": eq, "contains": contains, "matches_wildcard": _fits}[method]
    texts = [seen(value) for value in values]
    return tuple(goal.name for goal in library.goals() if any(compare(seen(goal.name), text) for text in texts))


def _fits(name: str, wildcard: str) -> bool:
    """Does the whole name fit? Each star stands for anything; piece after piece, so that no wildcard takes long."""
    first, *pieces = re.split(r"\*+", wildcard)
    if not pieces:
        return name == first
    last = pieces.pop()
    if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    at, end = len(first), len(name) - len(last)
    for piece in pieces:
        at = name.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def all_of(conditions: tuple[Condition, ...]) -> Condition:
    """One condition that holds when all of them do."""
    return conditions[0] if len(conditions) == 1 else And(conditions)

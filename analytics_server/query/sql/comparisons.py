"""One comparison as SQL over one column.

Wildcards and comparisons without case become regular expressions of RE2, which are made here and hold nothing that a
client could have written as one. Pure; values are bound.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from analytics_server.query.dimensions import ValueKind
from analytics_server.query.language.conditions import COMPARISONS, Match
from analytics_server.query.parameters import SMALL_NUMBER, TEXT, TEXTS, Binder
from analytics_server.spelling import case_folding

MOST_EXPRESSION_CHARS = 20_000
"""Values without case are alternatives of one regular expression up to this length: RE2 compiles no endless ones."""

LARGEST_NUMBER = 255
MOST_SEARCHED = 255
"""So many texts ClickHouse searches for at once."""


def render_comparison(match: Match, column: str, binder: Binder) -> str:
    """Does the column's value meet any of the match's values? Whether it is negated doesn't matter here."""
    if match.method in COMPARISONS:
        return _compare_numbers(match, binder)
    if match.method == "is" and match.case_sensitive:
        return f"{column} IN {binder.bind(match.spellings, TEXTS)}"
    if match.method == "contains" and match.case_sensitive:
        parts = _in_parts(match.spellings, MOST_SEARCHED)
        found = " OR ".join(f"multiSearchAny({column}, {binder.bind(part, TEXTS)})" for part in parts)
        return f"({found})" if " OR " in found else found
    found = " OR ".join(f"match({column}, {binder.bind(text, TEXT)})" for text in _expressions(match))
    return found if match.method in ("is", "contains") and " OR " not in found else f"({found})"


def _in_parts(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


def wildcard_pattern(wildcard: str, *, slashes: bool = True, literal: Callable[[str], str] = re.escape) -> str:
    """`**` stands for anything, `*` for anything but a slash if `slashes` part the values; the whole value must fit."""
    stars = {"**": ".*", "*": "[^/]*" if slashes else ".*"}
    parts = (stars.get(part) or literal(part) for part in re.split(r"(\*\*|\*)", wildcard) if part)
    return r"(?s)\A" + "".join(parts) + r"\z"


def _expressions(match: Match) -> Iterable[str]:
    """The regular expressions any of which a value must fit."""
    literal = re.escape if match.case_sensitive else case_folding.pattern
    match match.method:
        case "matches":
            return match.spellings
        case "matches_wildcard":
            slashes = match.dimension.values is ValueKind.PATH
            return [wildcard_pattern(text, slashes=slashes, literal=literal) for text in match.spellings]
        case "is":
            return [rf"\A(?:{part})\z" for part in _alternatives(map(literal, match.spellings))]
    return list(_alternatives(map(literal, match.spellings)))


def _alternatives(expressions: Iterable[str]) -> Iterator[str]:
    """Expressions put together, as long as the result isn't too long."""
    held: list[str] = []
    length = 0
    for expression in expressions:
        if held and length + len(expression) > MOST_EXPRESSION_CHARS:
            yield "|".join(held)
            held, length = [], 0
        held.append(expression)
        length += len(expression)
    if held:
        yield "|".join(held)


def _compare_numbers(match: Match, binder: Binder) -> str:
    """By the least whole number that is large enough, as what is stored is whole and not negative."""
    value = float(match.values[0])
    least = math.floor(value) + 1 if match.method in ("gt", "lte") else math.ceil(value)
    bound = binder.bind(min(max(least, 0), LARGEST_NUMBER), SMALL_NUMBER)
    sign = ">=" if match.method in ("gt", "gte") else "<"
    return f"{match.dimension.number} {sign} {bound}"

"""The values of a filter: read once, to what is stored.

`""` is no value: of a source and a channel the word `Direct`, which is stored for none. Countries are named by any of
their codes and names. Numbers come as numbers or as texts. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from analytics_server.errors import RequestError
from analytics_server.query.dimensions import SCROLL_STEP, Dimension, ValueKind
from analytics_server.query.language.conditions import COMPARISONS, Method
from analytics_server.spelling.countries import country_code, country_name

MAX_VALUES = 1_000
MAX_VALUE_CHARS = 2_048
MAX_PATTERNS = 20
MAX_PATTERN_CHARS = 500
MAX_NEEDLES = 200

_NUMBER = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")
_CLASSES = tuple(str(depth) for depth in range(0, 101, SCROLL_STEP))


def check_operator(dimension: Dimension, operator: str, method: Method, place: str) -> None:
    """Does the operator go with the dimension's values? Raises `RequestError` (bad_filter)."""
    number = dimension.values is ValueKind.NUMBER
    if method in COMPARISONS and not number:
        raise bad_filter(
            f"{place}: {operator} compares numbers, and {dimension.name} has texts: use is, contains or matches, or"
            " event:scroll_depth"
        )
    if number and method not in COMPARISONS and method != "is":
        raise bad_filter(
            f"{place}: {operator} looks into texts, and {dimension.name} is a number: use"
            f" {', '.join(COMPARISONS)}, is or is_not"
        )


def read_values(dimension: Dimension, method: Method, raw: Sequence[object], place: str) -> tuple[str, ...]:
    """The values as they are stored. Raises `RequestError` (bad_filter, unknown_country)."""
    if method in COMPARISONS:
        return (_number(raw, place),)
    if dimension.values is ValueKind.NUMBER:
        return _classes(dimension, read_texts([_as_text(value) for value in raw], method, place), place)
    texts = read_texts(raw, method, place)
    whole = method in ("is", "matches_wildcard")
    if dimension.absent and whole:
        return tuple(text or dimension.absent for text in texts)
    if method == "is" and dimension.values in (ValueKind.COUNTRY_CODE, ValueKind.COUNTRY_NAME):
        codes = tuple(text and country_code(text, f"{place}[2][{index}]") for index, text in enumerate(texts))
        return codes if dimension.values is ValueKind.COUNTRY_CODE else tuple(map(country_name, codes))
    return texts


def read_texts(values: Sequence[object], method: Method, place: str) -> tuple[str, ...]:
    """The values as they were sent. Raises `RequestError` (bad_filter)."""
    most, chars = {
        "is": (MAX_VALUES, MAX_VALUE_CHARS),
        "contains": (MAX_NEEDLES, MAX_VALUE_CHARS),
    }.get(method, (MAX_PATTERNS, MAX_PATTERN_CHARS))
    texts = tuple(value for value in values if isinstance(value, str))
    if len(texts) != len(values):
        raise bad_filter(f"{place}[2] must hold texts only: properties are stored as text")
    if not 0 < len(texts) <= most:
        raise bad_filter(f"{place}[2] must hold 1 to {most} values, not {len(texts)}")
    if any(len(text) > chars for text in texts):
        raise bad_filter(f"{place}[2] holds a value of more than {chars} characters")
    if method == "contains" and "" in texts:
        raise bad_filter(
            f'{place}[2] holds an empty text, which every value contains: what has no value is found by is and [""]'
        )
    return texts


def bad_filter(message: str) -> RequestError:
    """The refusal of a filter that can't be read."""
    return RequestError(f"{message}.", code="bad_filter")


def _number(raw: Sequence[object], place: str) -> str:
    """The one number that values are compared with."""
    text = _as_text(raw[0]) if len(raw) == 1 else None
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        raise bad_filter(f"{place}[2] must hold one number, such as [75]")
    return str(_as_text(float(text)))


def _as_text(value: object) -> object:
    """A number as text, without a fraction that is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return str(int(value)) if isinstance(value, int) or (math.isfinite(value) and value.is_integer()) else str(value)


def _classes(dimension: Dimension, texts: tuple[str, ...], place: str) -> tuple[str, ...]:
    for text in texts:
        if text not in _CLASSES:
            raise bad_filter(
                f"{place}[2] holds {text[:40]!r}, which is no value of {dimension.name}: it has 0, {SCROLL_STEP}, …,"
                " 100, each for the ten from there on. For any other depth use gte and lt"
            )
    return texts

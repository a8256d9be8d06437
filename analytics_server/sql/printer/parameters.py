"""The values of a query's parameters: each is checked against the type that the text declares.

They travel beside the query, as ClickHouse's own parameters, never inside its text.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from analytics_server.sql.printer.expressions import PARAMETER
from analytics_server.sql.printer.types import SqlType
from analytics_server.sql.refusal import SqlRefused, shown

MAX_PARAMETERS = 100
MAX_TEXT_CHARS = 10_000
MAX_ELEMENTS = 10_000

_INTEGER = re.compile(r"(U?)Int(\d+)")
_DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?P<parts>\.\d{1,9})?", re.ASCII)
_EPOCH_SECONDS = re.compile(r"\d{10}(?P<parts>\.\d{1,9})?", re.ASCII)
"""A Unix timestamp, as the engine reads it: with less or more than ten digits it may mean something else."""
MOST_EPOCH_SECONDS = 2**32 - 1


class _Unfit(ValueError):
    """What the type would want instead."""


def bind_parameters(declared: Mapping[str, SqlType], given: Mapping[str, object]) -> dict[str, object]:
    """The parameters as they are sent. Raises `SqlRefused` (bad_parameter)."""
    missing = sorted(declared.keys() - given.keys())
    if missing:
        raise _bad(f"The parameter {missing[0]} is not in params.")
    superfluous = sorted(given.keys() - declared.keys())
    if superfluous:
        raise _bad(
            f"params holds {shown(superfluous[0])}, which the query does not name: write {{name:Type}} in the query."
        )
    bound: dict[str, object] = {}
    for name, kind in declared.items():
        try:
            bound[PARAMETER + name] = _fit(given[name], kind)
        except _Unfit as error:
            raise _bad(f"The parameter {name} is declared as {kind}: it must be {error}.") from None
    return bound


def check_names(given: Mapping[str, object]) -> None:
    """Bounds on what is sent, before anything is read."""
    if len(given) > MAX_PARAMETERS:
        raise _bad(f"params may hold {MAX_PARAMETERS} values at most.")


def _bad(message: str) -> SqlRefused:
    return SqlRefused(message, code="bad_parameter")


def _fit(value: object, kind: SqlType) -> object:
    family = kind.family
    if family == "Nullable":
        return None if value is None else _fit(value, kind.parts[0])
    if family == "LowCardinality":
        return _fit(value, kind.parts[0])
    if family == "Array":
        return _array(value, kind.parts[0])
    if family in ("Map", "Tuple"):
        raise _Unfit("a single value or an array: maps and tuples can't be parameters")
    if found := _INTEGER.fullmatch(family):
        return _integer(value, signed=not found[1], bits=int(found[2]))
    if family in ("Float32", "Float64"):
        if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
            raise _Unfit("a number")
        return repr(float(value))
    if family == "Bool":
        if not isinstance(value, bool):
            raise _Unfit("true or false")
        return "true" if value else "false"
    return _text(value, kind)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _array(value: object, kind: SqlType) -> list[object]:
    if not isinstance(value, list):
        raise _Unfit("an array")
    if len(value) > MAX_ELEMENTS:
        raise _Unfit(f"an array of up to {MAX_ELEMENTS} elements")
    if kind.family in ("Array", "Nullable"):
        raise _Unfit("an array of plain values")
    fitted = [_fit(element, kind) for element in value]
    if _INTEGER.fullmatch(kind.family):
        return [int(str(element)) for element in fitted]
    if kind.family.startswith("Float"):
        return [float(str(element)) for element in fitted]
    return fitted


def _integer(value: object, *, signed: bool, bits: int) -> str:
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _Unfit(f"a whole number from {least} to {most}")
    return str(value)


def _text(value: object, kind: SqlType) -> str:
    if kind.family.startswith("Decimal") and isinstance(value, int | float) and not isinstance(value, bool):
        value = repr(value)
    if not isinstance(value, str):
        raise _Unfit("a text in quotes" if kind.family in ("String", "FixedString") else f"a text that is a {kind}")
    if len(value) > MAX_TEXT_CHARS:
        raise _Unfit(f"a text of up to {MAX_TEXT_CHARS} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Unfit("valid Unicode") from None
    if not _is_one(value, kind):
        raise _Unfit(f"a text that is a {kind}")
    return value


def _is_one(text: str, kind: SqlType) -> bool:
    try:
        match kind.family:
            case "Date" | "Date32":
                return bool(_DATE.fullmatch(text) and date.fromisoformat(text))
            case "DateTime" | "DateTime64":
                return _is_moment(text, with_parts=kind.family == "DateTime64")
            case "UUID":
                return str(uuid.UUID(text)) == text.lower()
            case "IPv4":
                return bool(IPv4Address(text))
            case "IPv6":
                return bool(IPv6Address(text))
            case "FixedString":
                return len(text.encode()) <= kind.numbers[0]
            case family if family.startswith("Decimal"):
                return _DECIMAL.fullmatch(text) is not None and Decimal(text).is_finite()
    except (ValueError, AddressValueError, InvalidOperation):
        return False
    return True


def _is_moment(text: str, *, with_parts: bool) -> bool:
    """`with_parts`: may parts of a second stand behind it?"""
    if found := _EPOCH_SECONDS.fullmatch(text):
        is_one = with_parts or int(text[:10]) <= MOST_EPOCH_SECONDS
    else:
        found = _MOMENT.fullmatch(text)
        is_one = found is not None and bool(datetime.fromisoformat(text[:19]))
    return is_one and found is not None and (with_parts or not found["parts"])

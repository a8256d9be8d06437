"""Reads an event whose shapes are not as they should be: a fault in a side field never costs the event.

Text is made of what has an obvious text, a number of what reads as one; what remains is left out, and a
warning says so. Only what makes the event meaningless is a rejection: no site, no name, a url or a time that
is none. It is much slower than the typed decoder, so that one is tried first (native.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import cast

import msgspec

from analytics_server.collect.formats.beacon import (
    Beacon,
    Element,
    Exposure,
    MisreadEvent,
    Number,
    PropValue,
    Rejection,
    Revenue,
    Screen,
)
from analytics_server.collect.formats.names import NO_NAMES, FieldNames, code_of, own_name
from analytics_server.collect.formats.warnings import WarningCode, Warnings

Fields = Mapping[str, object]
_JSON_TYPES: Mapping[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "an array",
}

_DIGITS_MOST = 40
_DECIMAL = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_POINT = re.compile(r"([+-]?)([0-9]*)\.([0-9]*)")
_COMMA = re.compile(r"([+-]?)([0-9]*),([0-9]+)")
_GROUPED = re.compile(
    r"([+-]?)([1-9][0-9]{0,2}(?:([., '\u2019\u00a0\u202f])[0-9]{3})(?:\3[0-9]{3})*)(?:([.,])([0-9]+))?"
)
_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
"""Words for a truth value, in lower case."""

_NO_DIGIT = re.compile(r"[^0-9]")


def read_event(fields: object, index: int, warnings: Warnings, names: FieldNames = NO_NAMES) -> Beacon | Rejection:
    """The event, with warnings for what was changed or left out, or why it can't be taken.

    `names`: what the format calls the fields that a rejection may name; warnings name them as `/track` does.
    """
    if not isinstance(fields, dict):
        return Rejection(
            index, "bad_event", f"An event must be an object, not {_JSON_TYPES.get(type(fields), 'null')}."
        )
    if (fault := _fault(fields)) is not None:
        field, kind, message = fault
        named = own_name(field, names)
        site = fields.get("site")
        text = message.format(named)
        return MisreadEvent(index, code_of(kind, named), text, site=site if isinstance(site, str) else "")
    warnings.index = index
    return _Reader(fields, warnings).event()


def text_of(value: PropValue) -> str | None:
    """The obvious text of a number or truth value; None when it has none."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    try:
        return str(value)
    except ValueError:  # an integer of thousands of digits
        return None


def plain_decimal(text: str) -> str | None:
    """The decimal that a text means as people write numbers: `99,00`, `1.234,50`, `1,234.50`, `1 234,50`.

    None when it is none, and when it may be either of two: `1,234`.
    """
    text = text.strip().replace("\u2212", "-")
    if len(text) > _DIGITS_MOST:
        return None
    if _DECIMAL.fullmatch(text):
        return text
    if grouped := _GROUPED.fullmatch(text):
        sign, whole, separator, point, decimals = grouped.groups()
        repeated = whole.count(separator) > 1
        if point != separator and (point or repeated or separator != ","):
            return f"{sign}{_NO_DIGIT.sub('', whole)}.{decimals or 0}"
        return None
    pointed = _COMMA.fullmatch(text) or _POINT.fullmatch(text)
    if pointed is None or not (pointed[2] or pointed[3]):
        return None
    sign, whole, decimals = pointed.groups()
    return f"{sign}{whole or 0}.{decimals or 0}"


def _fault(fields: Fields) -> tuple[str, str, str] | None:
    """What makes the event meaningless: field, kind of rejection, message."""
    for field in ("site", "name"):
        if field not in fields:
            return field, "missing", "The event has no {}."
        if not isinstance(fields[field], str) or (field == "name" and not fields[field]):
            return field, "bad", "{} must be a text that is not empty."
    if not isinstance(fields.get("url"), str | None) and fields["name"] == "pageview":
        return "url", "bad", "{} must be a text: an absolute http or https address."
    timestamp = fields.get("timestamp")
    if isinstance(timestamp, bool) or not isinstance(timestamp, str | int | float | None):
        return "timestamp", "bad", "{} must be ISO 8601 or an epoch number, since the year 2000."
    return None


class _Reader:
    """Reads the fields of one event; site, name, url and timestamp have their types (`_fault`)."""

    __slots__ = ("_fields", "_warn")

    def __init__(self, fields: Fields, warnings: Warnings) -> None:
        self._fields = fields
        self._warn = warnings.warn

    def event(self) -> Beacon:
        get, text, number = self._fields.get, self._text, self._number
        return Beacon(
            site=cast(str, get("site")),
            name=cast(str, get("name")),
            url=self._text_only("url", get("url")),
            referrer=text("referrer", get("referrer")),
            title=text("title", get("title")),
            event_id=self._text_only("event_id", get("event_id")),
            session_id=text("session_id", get("session_id")),
            user_id=text("user_id", get("user_id")),
            timestamp=cast("str | Number | None", get("timestamp")),
            sent_at=self._time(get("sent_at")),
            screen=self._screen(get("screen")),
            language=text("language", get("language")),
            scroll_depth=number("scroll_depth", get("scroll_depth")),
            engagement_ms=number("engagement_ms", get("engagement_ms")),
            element=self._element(get("element")),
            revenue=self._revenue(get("revenue")),
            experiment=self._experiment(get("experiment")),
            props=self._props(get("props")),
            interactive=self._flag("interactive", get("interactive")),
            ip=text("ip", get("ip")),
            user_agent=text("user_agent", get("user_agent")),
        )

    def _text_only(self, field: str, value: object) -> str | None:
        """A text as it is: what is made of anything else would be none of its kind."""
        if value is None or isinstance(value, str):
            return value
        self._warn(field, WarningCode.LEFT_OUT)
        return None

    def _time(self, value: object) -> str | Number | None:
        if value is None or (isinstance(value, str | int | float) and not isinstance(value, bool)):
            return value
        self._warn("sent_at", WarningCode.LEFT_OUT)
        return None

    def _text(self, field: str, value: object) -> str | None:
        if value is None or isinstance(value, str):
            return value
        text = text_of(value) if isinstance(value, int | float) else None
        self._warn(field, WarningCode.LEFT_OUT if text is None else WarningCode.MADE_TEXT)
        return text

    def _number(self, field: str, value: object) -> Number | None:
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        decimal = plain_decimal(value) if isinstance(value, str) else None
        self._warn(field, WarningCode.LEFT_OUT if decimal is None else WarningCode.MADE_NUMBER)
        return None if decimal is None else float(decimal)

    def _flag(self, field: str, value: object) -> bool | None:
        """A truth value; the words for it that people write."""
        if value is None or isinstance(value, bool):
            return value
        text = text_of(value) if isinstance(value, str | int | float) else None
        flag = _FLAGS.get((text or "").strip().lower())
        self._warn(field, WarningCode.LEFT_OUT if flag is None else WarningCode.MADE_BOOLEAN)
        return flag

    def _object(self, field: str, value: object) -> Fields | None:
        if value is None or isinstance(value, dict):
            return value
        self._warn(field, WarningCode.LEFT_OUT)
        return None

    def _screen(self, value: object) -> Screen | None:
        if (screen := self._object("screen", value)) is None:
            return None
        return Screen(
            width=self._number("screen.width", screen.get("width")),
            height=self._number("screen.height", screen.get("height")),
            touch=self._number("screen.touch", screen.get("touch")),
        )

    def _element(self, value: object) -> Element | None:
        if (element := self._object("element", value)) is None:
            return None
        return Element(
            id=self._text("element.id", element.get("id")),
            tag=self._text("element.tag", element.get("tag")),
            text=self._text("element.text", element.get("text")),
            href=self._text("element.href", element.get("href")),
        )

    def _revenue(self, value: object) -> Revenue | None:
        if (revenue := self._object("revenue", value)) is None:
            return None
        amount, currency = revenue.get("amount"), revenue.get("currency")
        if isinstance(amount, str | int | float) and not isinstance(amount, bool) and isinstance(currency, str):
            return Revenue(amount=amount, currency=currency)
        self._warn("revenue", WarningCode.LEFT_OUT)
        return None

    def _experiment(self, value: object) -> Exposure | None:
        if (experiment := self._object("experiment", value)) is None:
            return None
        name = self._text("experiment.id", experiment.get("id"))
        variant = self._text("experiment.variant", experiment.get("variant"))
        if name is not None and variant is not None:
            return Exposure(id=name, variant=variant)
        self._warn("experiment", WarningCode.LEFT_OUT)
        return None

    def _props(self, value: object) -> dict[str, PropValue] | None:
        if (props := self._object("props", value)) is None:
            return None
        return {key: self._prop(key, one) for key, one in props.items()}

    def _prop(self, key: str, value: object) -> PropValue:
        if value is None or isinstance(value, str | int | float):
            return value
        try:
            text = msgspec.json.encode(value).decode()
        except (RecursionError, ValueError):
            self._warn(f"props.{key}", WarningCode.LEFT_OUT)
            return None
        self._warn(f"props.{key}", WarningCode.MADE_TEXT)
        return text

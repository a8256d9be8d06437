"""Validation of an event's values: checked and made storable.

Owns what a field may hold (docs/beacons.md lists it). What a side field may not hold is mended or left out, with
a warning: nothing here costs the event. Control characters, line separators and lone surrogates never reach the
store; every other character does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from analytics_server.collect.enrich.url import UrlCleaner, mask_emails
from analytics_server.collect.formats.beacon import Beacon, PropValue, Revenue
from analytics_server.collect.formats.leniency import plain_decimal, text_of
from analytics_server.collect.formats.warnings import WarningCode, Warnings
from analytics_server.config import LimitsSection

MAX_ENGAGEMENT_MS = 86_400_000
MAX_REVENUE = Decimal(10) ** 13
MAX_PIXELS = 100_000
LANGUAGE_CHARS = 35
EXPERIMENT_CHARS = 120
REGION_CHARS, SCRIPT_CHARS = 2, 4

_UNSTORABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_AMOUNT = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?")
"""What Decimal() reads is more: underscores, exponents, NaN, the digits of every script."""

_CURRENCY = re.compile(r"[A-Za-z]{3}")
_LANGUAGE = re.compile(r"(?!und(?![a-z]))[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*", re.IGNORECASE)
"""A language has two or three letters: longer words, which the RFC reserves, are `null`, `POSIX` and the like."""
_NO_REVENUE: tuple[str | int, str] = (0, "")
_NO_DETAILS = (0, 0, "", "", "", "", 0, "", "", "")
_NOTHING = (*_NO_DETAILS, None)


class DetailReader:
    """Reads the columns from scroll_depth to props, and other free text."""

    __slots__ = ("_limits", "_mask", "_urls")

    def __init__(self, urls: UrlCleaner, limits: LimitsSection, *, mask: bool) -> None:
        self._urls = urls
        self._limits = limits
        self._mask: Callable[[str], str] | None = mask_emails if mask else None

    def read(self, beacon: Beacon, warnings: Warnings) -> tuple[object, ...]:
        """The columns from scroll_depth to props."""
        element, revenue, experiment = beacon.element, beacon.revenue, beacon.experiment
        if (
            element is None
            and revenue is None
            and experiment is None
            and beacon.scroll_depth is None
            and beacon.engagement_ms is None
        ):
            return (*_NO_DETAILS, self._props(beacon.props, warnings)) if beacon.props else _NOTHING
        scroll = number("scroll_depth", beacon.scroll_depth, 100, warnings)
        engagement = number("engagement_ms", beacon.engagement_ms, MAX_ENGAGEMENT_MS, warnings)
        element_id = tag = text = href = ""
        if element is not None:
            element_id, tag = cut(element.id, 128), cut(element.tag, 32).lower()
            text = self.text(element.text, 256)
            href = self._urls.clean_href(element.href) if element.href else ""
        amount, currency = _NO_REVENUE if revenue is None else _revenue(revenue, warnings)
        test = variant = ""
        if experiment is not None:
            test, variant = cut(experiment.id, EXPERIMENT_CHARS), cut(experiment.variant, EXPERIMENT_CHARS)
            if not test or not variant:
                test = variant = ""
                warnings.warn("experiment", WarningCode.LEFT_OUT)
        return (
            scroll,
            engagement,
            element_id,
            tag,
            text,
            href,
            amount,
            currency,
            test,
            variant,
            self._props(beacon.props, warnings) if beacon.props else None,
        )

    def _props(self, props: dict[str, PropValue], warnings: Warnings) -> dict[str, str]:
        limits = self._limits
        if len(props) > limits.props:
            props = self._first(props, warnings)
        kept: dict[str, str] = {}
        for key, value in props.items():
            if value is None:
                continue
            if not key or len(key) > limits.prop_key_chars or not storable(key):
                warnings.warn(f"props.{key}", WarningCode.LEFT_OUT)
                continue
            text = value if type(value) is str else text_of(value)
            if text is None:
                warnings.warn(f"props.{key}", WarningCode.LEFT_OUT)
                continue
            if len(text) > limits.prop_value_chars:
                text = text[: limits.prop_value_chars]
                warnings.warn(f"props.{key}", WarningCode.CUT)
            kept[key] = text if text.isprintable() else printable(text)
        return kept

    def _first(self, props: dict[str, PropValue], warnings: Warnings) -> dict[str, PropValue]:
        """The first properties that can be kept, as many as an event may have."""
        limits = self._limits
        first: dict[str, PropValue] = {}
        for key, value in props.items():
            if value is None:
                continue
            if len(first) < limits.props and 0 < len(key) <= limits.prop_key_chars and storable(key):
                first[key] = value
            else:
                warnings.warn(f"props.{key}", WarningCode.LEFT_OUT)
        return first

    def text(self, value: str | None, cap: int) -> str:
        """Text that people wrote: cut, made storable, e-mail addresses masked."""
        if not value:
            return ""
        value = cut(value, cap)
        return self._mask(value) if self._mask is not None and "@" in value else value


def identifier(field: str, value: str, cap: int, warnings: Warnings) -> str:
    """The id, or nothing: cutting it, or taking characters out, could make one of two."""
    if len(value) <= cap and storable(value):
        return value
    warnings.warn(field, WarningCode.LEFT_OUT)
    return ""


def cut(value: str | None, cap: int) -> str:
    """Text of at most `cap` characters, control characters taken out."""
    if not value:
        return ""
    value = value[:cap]
    return value if value.isprintable() else printable(value)


def printable(value: str) -> str:
    """Control characters and their like become spaces."""
    return _UNSTORABLE.sub(" ", value).strip()


def storable(value: str) -> bool:
    """Does the text hold nothing that must not reach the store?"""
    return value.isprintable() or _UNSTORABLE.search(value) is None


def number(field: str, value: float | None, most: int, warnings: Warnings) -> int:
    """A whole number from 0 to `most`."""
    if value is None:
        return 0
    if 0 <= value <= most:
        return round(value)
    above = most < value < math.inf
    warnings.warn(field, WarningCode.CLAMPED if above else WarningCode.LEFT_OUT)
    return most if above else 0


def _revenue(revenue: Revenue, warnings: Warnings) -> tuple[str | int, str]:
    """Amount and currency, both or neither; an amount may be spelt as people write it."""
    if (read := revenue_of(revenue.amount, revenue.currency)) is not None:
        return read
    amount = plain_decimal(revenue.amount) if isinstance(revenue.amount, str) else revenue.amount
    if amount is not None and (read := revenue_of(amount, revenue.currency.strip())) is not None:
        if amount != revenue.amount:
            warnings.warn("revenue.amount", WarningCode.MADE_NUMBER)
        return read
    warnings.warn("revenue", WarningCode.LEFT_OUT)
    return _NO_REVENUE


def revenue_of(amount: float | str, currency: str) -> tuple[str, str] | None:
    """Amount with four decimals and ISO 4217 code as they are stored; None when either can't be."""
    if (isinstance(amount, str) and _AMOUNT.fullmatch(amount) is None) or _CURRENCY.fullmatch(currency) is None:
        return None
    try:
        value = Decimal(str(amount))
    except (InvalidOperation, ValueError):
        return None
    if not value.is_finite() or value.copy_abs() >= MAX_REVENUE:
        return None
    return f"{value:.4f}", currency.upper()


def screen_of(width: float, height: float) -> str:
    """`WIDTHxHEIGHT` in whole pixels; empty when that can be no screen."""
    if not (0 < width < MAX_PIXELS and 0 < height < MAX_PIXELS):
        return ""
    return f"{int(width)}x{int(height)}"


def language_of(value: str) -> str:
    """The first tag of a language list in its normal form (RFC 5646, section 2.1.1), e.g. "en-GB".

    Also of a POSIX locale such as `en_GB.UTF-8`; empty when it is no language.
    """
    tag = value.partition(",")[0].partition(";")[0].partition(".")[0].partition("@")[0].strip()[:LANGUAGE_CHARS]
    if _LANGUAGE.fullmatch(tag) is None:
        return ""
    subtags = tag.replace("_", "-").lower().split("-")
    for at, subtag in enumerate(subtags[1:], 1):
        if len(subtags[at - 1]) == 1 or "x" in subtags[:at]:
            continue  # an extension's or a private one
        if len(subtag) == REGION_CHARS:
            subtags[at] = subtag.upper()
        elif len(subtag) == SCRIPT_CHARS and subtag.isalpha():
            subtags[at] = subtag.title()
    return "-".join(subtags)

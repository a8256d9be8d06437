"""The values of an event, checked and made storable; each fault is a `Reject` with its code.

Owns what a field may hold (docs/beacons.md lists it). Control characters, line
separators and lone surrogates never reach the store; every other character does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from analytics_server.collect.payload import Beacon, PropValue
from analytics_server.collect.url import UrlCleaner, mask_emails
from analytics_server.config import LimitsSection

MAX_ENGAGEMENT_MS = 86_400_000
MAX_REVENUE = Decimal(10) ** 13
MAX_PIXELS = 100_000
LANGUAGE_CHARS = 35

_UNSTORABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_AMOUNT = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?")
"""What Decimal() reads is more: underscores, exponents, NaN, the digits of every script."""

_CURRENCY = re.compile(r"[A-Za-z]{3}")
_NO_DETAILS = (0, 0, "", "", "", "", 0, "", "", "")


class Reject(Exception):
    """Leaves the steps for one event with its rejection's code and message."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message


class DetailReader:
    """Reads the columns from scroll_depth to props, and other free text."""

    __slots__ = ("_limits", "_mask", "_urls")

    def __init__(self, urls: UrlCleaner, limits: LimitsSection, *, mask: bool) -> None:
        self._urls = urls
        self._limits = limits
        self._mask: Callable[[str], str] | None = mask_emails if mask else None

    def read(self, beacon: Beacon, name: str) -> tuple[object, ...]:
        """The columns from scroll_depth to props."""
        element, revenue, experiment = beacon.element, beacon.revenue, beacon.experiment
        if experiment is None and name == "exposure":
            raise Reject("missing_experiment", "An exposure needs experiment.id and experiment.variant.")
        if (
            element is None
            and revenue is None
            and experiment is None
            and beacon.scroll_depth is None
            and beacon.engagement_ms is None
        ):
            return (*_NO_DETAILS, self._props(beacon.props) if beacon.props else None)
        scroll = number("scroll_depth", beacon.scroll_depth, 100)
        engagement = number("engagement_ms", beacon.engagement_ms, MAX_ENGAGEMENT_MS)
        element_id = tag = text = href = ""
        if element is not None:
            element_id, tag = cut(element.id, 128), cut(element.tag, 32).lower()
            text = self.text(element.text, 256)
            href = self._urls.clean_href(element.href) if element.href else ""
        amount: str | int = 0
        currency = ""
        if revenue is not None:
            amount, currency = revenue_of(revenue.amount, revenue.currency)
        test = variant = ""
        if experiment is not None:
            test, variant = cut(experiment.id, 120), cut(experiment.variant, 120)
            if not test or not variant:
                raise Reject("bad_experiment", "experiment.id and experiment.variant must not be empty.")
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
            self._props(beacon.props) if beacon.props else None,
        )

    def _props(self, props: dict[str, PropValue]) -> dict[str, str]:
        limits = self._limits
        if len(props) > limits.props:
            raise Reject("bad_props", f"props may have {limits.props} keys; this event has {len(props)}.")
        kept: dict[str, str] = {}
        for key, value in props.items():
            if not key or len(key) > limits.prop_key_chars or not storable(key):
                raise Reject("bad_props", f"A key of props must be 1 to {limits.prop_key_chars} printable characters.")
            if value is None:
                continue
            text = value if type(value) is str else scalar(value)
            if len(text) > limits.prop_value_chars:
                raise Reject(
                    "bad_props", f"props.{key[:40]} has {len(text)} characters; {limits.prop_value_chars} are allowed."
                )
            kept[key] = text if text.isprintable() else printable(text)
        return kept

    def text(self, value: str | None, cap: int) -> str:
        """Text that people wrote: cut, made storable, e-mail addresses masked."""
        if not value:
            return ""
        value = cut(value, cap)
        return self._mask(value) if self._mask is not None and "@" in value else value


def identifier(field: str, value: str | None, cap: int) -> str:
    if not value:
        return ""
    if len(value) > cap or not storable(value):
        raise Reject(f"bad_{field}", f"{field} must be at most {cap} printable characters.")
    return value


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
    return value.isprintable() or _UNSTORABLE.search(value) is None


def scalar(value: PropValue) -> str:
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Reject("bad_props", "Numbers in props must be finite.")
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    try:
        return str(value)
    except ValueError as error:  # an integer of thousands of digits
        raise Reject("bad_props", "A number in props has too many digits.") from error


def number(field: str, value: float | None, most: int) -> int:
    if value is None:
        return 0
    if not 0 <= value <= most:
        raise Reject(f"bad_{field}", f"{field} must lie between 0 and {most}.")
    return round(value)


def revenue_of(amount: float | str, currency: str) -> tuple[str, str]:
    if isinstance(amount, str) and _AMOUNT.fullmatch(amount) is None:
        raise Reject("bad_revenue", "revenue.amount must be a number, or a text of digits such as 12.50.")
    try:
        value = Decimal(str(amount))
    except (InvalidOperation, ValueError) as error:
        raise Reject("bad_revenue", "revenue.amount must be a number.") from error
    if not value.is_finite() or value.copy_abs() >= MAX_REVENUE:
        raise Reject("bad_revenue", "revenue.amount must be a finite number below 10^13.")
    if _CURRENCY.fullmatch(currency) is None:
        raise Reject("bad_revenue", "revenue.currency must be an ISO 4217 code such as EUR.")
    return f"{value:.4f}", currency.upper()


def screen_of(width: float, height: float) -> str:
    if not (0 < width < MAX_PIXELS and 0 < height < MAX_PIXELS):
        return ""
    return f"{int(width)}x{int(height)}"


def language_of(value: str) -> str:
    """The first tag of a language list, at most LANGUAGE_CHARS characters (RFC 5646), e.g. "en-GB"."""
    tag = value.partition(",")[0].partition(";")[0].strip()[:LANGUAGE_CHARS]
    return tag if tag.replace("-", "").isalnum() and tag.isascii() else ""

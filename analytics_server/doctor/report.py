"""What `doctor` says, as data: one finding per check, and the report they make.

The JSON form (`--json`) is exactly these structs; docs/cli.md shows it. Fields are only
ever added, and `format` rises if that can't be kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

Status = Literal["ok", "warning", "error"]
Fact = int | float | str | Sequence[str | Mapping[str, int | str]]

Facts = dict[str, Fact]

FORMAT = 1
EXIT_CODES: dict[Status, int] = {"ok": 0, "warning": 1, "error": 2}
"""The status of the whole is that of its worst check; the exit code says which."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One check's result: what is so, and what to do about it ("" when it is well).

    `repaired` says what `--repair` did before this was found. `facts` are the numbers behind the message.
    """

    check: str
    status: Status
    message: str
    remedy: str = ""
    repaired: str = ""
    facts: Facts = {}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All findings, in the order the checks ran. `status` is the worst of them."""

    format: int
    server_version: str
    checked_at: str
    status: Status
    exit_code: int
    findings: tuple[Finding, ...]


class Check(Protocol):
    """Something that can be wrong. `repair` is asked after each `examine` when a repair is wanted.

    It returns what it did, "" if nothing had to or could be done. Both may raise store errors and `OSError`.
    """

    name: str

    async def examine(self) -> Finding:
        """Look, change nothing. Raises a store error or `OSError`."""

    async def repair(self) -> str:
        """Mend what `examine` found; what was done, "" for nothing. Raises a store error or `OSError`."""


class BaseCheck:
    """Base of checks: findings under the check's name, and no repair unless there is one."""

    name = ""

    async def repair(self) -> str:
        """Nothing can be mended but by a person."""
        return ""

    def ok(self, message: str, **facts: Fact) -> Finding:
        """A finding that all is well."""
        return Finding(check=self.name, status="ok", message=message, facts=facts)

    def warning(self, message: str, remedy: str, **facts: Fact) -> Finding:
        """A finding that needs a look."""
        return Finding(check=self.name, status="warning", message=message, remedy=remedy, facts=facts)

    def error(self, message: str, remedy: str, **facts: Fact) -> Finding:
        """A finding that needs a repair."""
        return Finding(check=self.name, status="error", message=message, remedy=remedy, facts=facts)


def worst(findings: Sequence[Finding]) -> Status:
    """The status of a report."""
    order: tuple[Status, ...] = ("ok", "warning", "error")
    return order[max((order.index(finding.status) for finding in findings), default=0)]


def count(number: int, noun: str, plural: str = "") -> str:
    """ "1 event", "2,000 events"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def span(seconds: float) -> str:
    """A duration as people say it: "3 s", "12 min", "5 h", "9 days"."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def size(number: float) -> str:
    """Bytes as people say them."""
    for unit, step in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if number >= step:
            return f"{number / step:.1f} {unit}"
    return f"{number:.0f} bytes"

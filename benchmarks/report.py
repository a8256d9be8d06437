"""What a benchmark hands back, and how it is shown and kept.

Owns the table on the terminal and the JSON under `benchmarks/results/`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from benchmarks.machine import Machine

Number = int | float | str


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What a figure must reach: at least, below, or exactly."""

    kind: Literal["at least", "below", "exactly"]
    value: float

    def met(self, measured: float) -> bool:
        """Is the figure good enough?"""
        if self.kind == "at least":
            return measured >= self.value
        return measured < self.value if self.kind == "below" else measured == self.value


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured number."""

    name: str
    value: float
    unit: str
    target: Target | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.target.met(self.value)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of one benchmark, with the single runs in `details`."""

    benchmark: str
    figures: list[Figure]
    details: dict[str, object] = {}
    seconds: float = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One call of `python -m benchmarks`."""

    at: str
    quick: bool
    machine: Machine
    results: list[Result]


def at_least(value: float) -> Target:
    return Target(kind="at least", value=value)


def below(value: float) -> Target:
    return Target(kind="below", value=value)


def exactly(value: float) -> Target:
    return Target(kind="exactly", value=value)


def table(results: Iterable[Result]) -> str:
    """The figures as text, one line each."""
    lines = []
    for result in results:
        lines += ["", f"{result.benchmark}  ({result.seconds:.0f} s)"]
        width = max((len(figure.name) for figure in result.figures), default=0)
        for figure in result.figures:
            line = f"  {figure.name:<{width}}  {show(figure.value):>12} {figure.unit:<12}"
            if figure.target is not None:
                verdict = "met" if figure.met else "MISSED"
                line += f"  {figure.target.kind} {show(figure.target.value)}: {verdict}"
            if figure.note:
                line += f"  ({figure.note})"
            lines.append(line.rstrip())
    return "\n".join(lines).lstrip("\n")


def show(value: float) -> str:
    """A number with as many digits as it deserves."""
    if value == int(value) or abs(value) >= 1000:
        return f"{round(value):,}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def save(report: Report, directory: Path) -> Path:
    """Write the JSON; the name is the time."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{report.at.replace(':', '').replace('-', '')}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return path


def now_text() -> str:
    """The time as in the file names, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

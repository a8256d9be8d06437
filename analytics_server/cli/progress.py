"""How commands tell how far long work is: lines on standard error, which leave standard output as it is.

A line stands for something that has moved on; nothing is told by time alone, so a command that a timer starts is quiet
where there is little to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import click


class PhaseLines:
    """Tells each phase when it begins, once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, phase: str) -> None:
        """The phase begins, or is still under way."""
        if phase not in self._told:
            self._told.add(phase)
            _tell(f"{phase} …")


class AmountLines:
    """Tells an amount that grows whenever another `step` is reached; `shown` makes its text."""

    def __init__(self, step: int, shown: Callable[[int], str]) -> None:
        self._step = step
        self._shown = shown
        self._told = 0

    def reach(self, amount: int) -> None:
        """So much is done in all."""
        if amount // self._step > self._told // self._step:
            self._told = amount
            _tell(f"{self._shown(amount)} …")


def _tell(line: str) -> None:
    """Standard error may be closed: that ends no work."""
    with contextlib.suppress(OSError):
        click.echo(line, err=True)

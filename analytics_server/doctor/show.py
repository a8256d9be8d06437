"""Rendering of a report on a terminal, and the progress of a long check.

Colours only where there is a terminal; elsewhere the same lines as plain text, so that a
mail from cron reads well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from io import StringIO
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from analytics_server.doctor.report import Finding, Report, count

MARKS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "error": ("ERROR", "bold red")}
QUIET_S = 5.0
"""A run that is over sooner says nothing of its progress where there is no terminal."""


def show(report: Report, stream: TextIO) -> None:
    """Print a report for a person."""
    terminal = stream.isatty()
    console = Console(file=stream if terminal else StringIO(), highlight=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for finding in report.findings:
        mark, style = MARKS[finding.status]
        table.add_row(Text(mark, style=style), finding.check, _said(finding))
    console.print(table)
    console.print()
    console.print(_summary(report))
    if isinstance(console.file, StringIO):
        stream.writelines(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def _said(finding: Finding) -> Text:
    text = Text(finding.message)
    if finding.repaired:
        text.append(f"\nRepaired: {finding.repaired}.", style="cyan")
    if finding.remedy:
        text.append(f"\n→ {finding.remedy}", style="bold")
    return text


def _summary(report: Report) -> Text:
    warnings = sum(finding.status == "warning" for finding in report.findings)
    errors = sum(finding.status == "error" for finding in report.findings)
    repaired = sum(bool(finding.repaired) for finding in report.findings)
    parts = [count(errors, "error")] if errors else []
    parts += [count(warnings, "warning")] if warnings else []
    said = f"{' and '.join(parts)}." if parts else "All is well."
    if repaired:
        said = f"{count(repaired, 'repair')} made. {said}"
    return Text(said, style=MARKS[report.status][1])


class ProgressLine:
    """One line on a terminal that is overwritten and vanishes; elsewhere a plain line now and then."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._console = Console(file=stream)
        self._status = self._console.status("Looking") if stream.isatty() else None
        self._next = clock() + QUIET_S

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def advance(self, what: str, done: int, total: int) -> None:
        """Told before each step of a check."""
        line = f"{what}, {done + 1} of {total}"
        if self._status is not None:
            self._status.update(line)
        elif self._clock() >= self._next:
            self._next = self._clock() + QUIET_S
            print(line, file=self._stream, flush=True)

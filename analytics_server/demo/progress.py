"""Progress of the filling: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

STEPS = 10
STEPS_OF_BAR = 500


class Meter(Protocol):
    """Told of sessions done and events written."""

    def advance(self, sessions: int, events: int) -> None:
        """So many sessions and events more are done."""


class Bar:
    """A context that shows the progress of `total` sessions on `stream` (standard error)."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._total = total
        self._sessions = self._events = 0
        self._started = 0.0
        self._shown = self._reported = self._next = 0
        self._progress: Progress | None = None

    def __enter__(self) -> Bar:
        if self._stream.isatty():
            self._progress = Progress(
                TextColumn("Filling"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("sessions · {task.fields[events]:,} events · {task.fields[rate]:,}/s"),
                TimeRemainingColumn(),
                console=Console(file=self._stream),
            )
            self._progress.add_task("sessions", total=self._total, events=0, rate=0)
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def advance(self, sessions: int, events: int) -> None:
        """So many sessions and events more are done; shown now and then."""
        self._started = self._started or time.perf_counter()
        self._sessions += sessions
        self._events += events
        if self._sessions < self._next and self._sessions < self._total:
            return
        done, self._next = self._sessions - self._reported, self._sessions + self._total // STEPS_OF_BAR
        self._reported = self._sessions
        rate = round(self._events / max(1e-9, time.perf_counter() - self._started))
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], advance=done, events=self._events, rate=rate)
            return
        step = self._sessions * STEPS // max(1, self._total)
        if step > self._shown:
            self._shown = step
            print(
                f"{step * 100 // STEPS:3d} %  {self._sessions:,} sessions, {self._events:,} events, {rate:,}/s",
                file=self._stream,
                flush=True,
            )

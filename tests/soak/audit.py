"""The audit: what ClickHouse holds against the ledger, the rollups against the events, and the table.

The invariant: each acknowledged event is in `events` exactly once and counted exactly once in
every rollup; one that was not acknowledged is there at most once; nothing that was dropped or
rejected is there; no answer is a 5xx other than 503.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import clickhouse_connect

from tests.clickhouse import ClickHouseFront
from tests.faults.event_counts import counts_of
from tests.server import RunningServer
from tests.server import stored as rows_of
from tests.soak.ledger import Ledger
from tests.soak.traffic import MARK_PATH

QUESTIONS = (
    f"SELECT substring(path, {len(MARK_PATH) + 1}), count() FROM events GROUP BY path",
    "SELECT count() FROM events",
    "SELECT sum(events) FROM sessions",
    "SELECT sum(events) FROM traffic",
    "SELECT sum(events) FROM openings",
    "SELECT count(), countIf(openings > 1) FROM (SELECT uniqExact(opened_at) AS openings FROM sessions "
    "WHERE NOT match(session_id, '^s[0-9a-f]{16}$') GROUP BY site_id, session_id)",
)
SHOWN = 10


@dataclass(slots=True, kw_only=True)
class Stored:
    """What ClickHouse holds in the end."""

    marks: dict[str, int]
    events: int
    sessions: int
    traffic: int
    openings: int
    wrong: list[str]
    tabs: int = 0
    tabs_split: int = 0


def read_stored(server: RunningServer, front: ClickHouseFront | None) -> Stored:
    """Read a stopped server's ClickHouse. Blocking."""
    if front is None:
        answers: Sequence[Sequence[Sequence[Any]]] = rows_of(server.data_dir, *QUESTIONS)
    else:
        client: Any = clickhouse_connect.get_client(dsn=server.environment()["ANALYTICS_CLICKHOUSE_URL"])
        try:
            answers = [client.query(question).result_rows for question in QUESTIONS]
        finally:
            client.close()
    marks, events, sessions, traffic, openings, tabs = answers
    return Stored(
        marks={str(mark): int(times) for mark, times in marks},
        events=int(events[0][0]),
        sessions=int(sessions[0][0]),
        traffic=int(traffic[0][0]),
        openings=int(openings[0][0]),
        wrong=counts_of(server).wrong,
        tabs=int(tabs[0][0]),
        tabs_split=int(tabs[0][1]),
    )


@dataclass(slots=True, kw_only=True)
class Verdict:
    """A stage's numbers; `breaches` is empty when the invariant held."""

    backend: str
    seconds: float
    ledger: Ledger
    stored: Stored
    troubles: Counter[str] = field(default_factory=Counter)
    bad_ends: list[str] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    own_lag_s: float = 0.0
    longest: tuple[float, str] = (0.0, "none")
    peak_rss_mb: float = 0.0
    counted: Counter[str] = field(default_factory=Counter)
    set_aside: list[str] = field(default_factory=list)
    crashes: int = 0

    @property
    def lost(self) -> list[str]:
        return [mark for mark in self.ledger.acknowledged if mark not in self.stored.marks]

    @property
    def twice(self) -> list[str]:
        return [mark for mark, times in self.stored.marks.items() if times > 1]

    @property
    def foreign(self) -> list[str]:
        """Stored, and never sent, or sent so that it must not be kept."""
        ledger = self.ledger
        return [mark for mark in self.stored.marks if mark in ledger.unwanted or mark not in ledger.sends]

    @property
    def server_errors(self) -> int:
        return sum(number for status, number in self.ledger.statuses.items() if status >= 500 and status != 503)

    def rows(self) -> list[tuple[str, str]]:
        """The table: what, and how many."""
        ledger, stored = self.ledger, self.stored
        wanted = {mark for mark in ledger.sends if mark not in ledger.unwanted}
        repeated = [mark for mark in wanted if ledger.sends[mark] > 1]
        lags = sorted(self.lags) or [0.0]
        faults = sorted((what, number) for what, number in self.troubles.items())
        return [
            ("seconds", f"{self.seconds:.0f}"),
            ("requests, good / bad", f"{ledger.requests} / {ledger.bad_requests}"),
            ("requests without an answer", str(ledger.unanswered)),
            ("events sent", str(len(wanted))),
            ("  acknowledged", str(len(ledger.acknowledged))),
            ("  stored", str(stored.events)),
            ("  counted in sessions / traffic / openings", f"{stored.sessions} / {stored.traffic} / {stored.openings}"),
            ("  lost", str(len(self.lost))),
            ("  stored twice", str(len(self.twice))),
            ("  stored without acknowledgement", str(len(stored.marks.keys() & wanted - ledger.acknowledged))),
            ("repeats sent", str(ledger.repeats_sent)),
            (
                "  events sent repeatedly / of them stored once",
                f"{len(repeated)} / {sum(stored.marks.get(mark) == 1 for mark in repeated)}",
            ),
            ("dropped or rejected / of them stored", f"{len(ledger.unwanted)} / {len(self.foreign)}"),
            ("rollup keys that differ from events", str(len(stored.wrong))),
            ("tabs / with more than one session", f"{stored.tabs} / {stored.tabs_split}"),
            ("503 answers", str(ledger.statuses[503])),
            ("5xx other than 503", str(self.server_errors)),
            ("answers against the contract", str(len(ledger.odd))),
            ("segments set aside", str(len(self.set_aside))),
            ("crashes in the log", str(self.crashes)),
            ("bad ends", str(len(self.bad_ends))),
            *((what, str(number)) for what, number in faults),
            *((f"counter {name}", str(number)) for name, number in sorted(self.counted.items())),
            (
                "event loop lag, ms: median / 99 % / most",
                " / ".join(f"{1000 * lag:.0f}" for lag in (statistics.median(lags), _share(lags, 0.99), lags[-1])),
            ),
            ("the soak's own lag, ms: most", f"{1000 * self.own_lag_s:.0f}"),
            ("longest trouble", f"{self.longest[1]} {self.longest[0]:.1f} s"),
            ("peak resident memory, MB", f"{self.peak_rss_mb:.0f}"),
        ]

    def breaches(self) -> list[str]:
        """What is wrong, a line each."""
        stored = self.stored
        found = [
            f"{len(marks)} events {what}, such as {sorted(marks)[:3]}"
            for what, marks in (
                ("acknowledged and lost", self.lost),
                ("stored more than once", self.twice),
                ("stored that must not be", self.foreign),
            )
            if marks
        ]
        found += [
            f"{name} counts {number} events of {stored.events}"
            for name, number in (
                ("sessions", stored.sessions),
                ("traffic", stored.traffic),
                ("openings", stored.openings),
            )
            if number != stored.events
        ]
        found += [f"rollup: {line[:300]}" for line in stored.wrong[:SHOWN]]
        found += [f"answer: {line}" for line in self.ledger.odd[:SHOWN]]
        found += [f"set aside: {name}" for name in self.set_aside[:SHOWN]]
        found += self.bad_ends
        if self.server_errors:
            found.append(f"{self.server_errors} answers were 5xx other than 503")
        if self.crashes:
            found.append(f"the server's log tells of {self.crashes} crashes")
        if not self.ledger.acknowledged:
            found.append("nothing was acknowledged: the soak proves nothing")
        return found


def _share(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(verdicts: list[Verdict]) -> str:
    """All stages side by side."""
    columns = [dict(verdict.rows()) for verdict in verdicts]
    names: list[str] = []
    for verdict in verdicts:
        names += [name for name, _ in verdict.rows() if name not in names]
    lines = [["", *(verdict.backend for verdict in verdicts)]]
    lines += [[name, *(column.get(name, "–") for column in columns)] for name in names]
    widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )

"""The soak's audit finds what it is there to find: each kind of wrong count is a breach."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.soak.audit import Stored, Verdict, table
from tests.soak.ledger import Event, Ledger


def counts_in_order() -> Verdict:
    """Three events: two acknowledged, one of them sent twice, one without an answer; and one that was dropped."""
    ledger = Ledger()
    for mark in ("a", "b", "b", "c", "dropped"):
        ledger.send(Event(mark, f"id of {mark}", {}))
    for mark in ("a", "b"):
        ledger.accept(Event(mark, "", {}))
    ledger.unwanted.add("dropped")
    stored = Stored(marks={"a": 1, "b": 1, "c": 1}, events=3, sessions=3, traffic=3, openings=3, wrong=[])
    return Verdict(backend="embedded", seconds=1.0, ledger=ledger, stored=stored)


def lose(verdict: Verdict) -> None:
    del verdict.stored.marks["a"]


def double(verdict: Verdict) -> None:
    verdict.stored.marks["c"] = 2


def keep_what_was_dropped(verdict: Verdict) -> None:
    verdict.stored.marks["dropped"] = 1


def keep_what_nobody_sent(verdict: Verdict) -> None:
    verdict.stored.marks["x"] = 1


def count_too_few(verdict: Verdict) -> None:
    verdict.stored.openings = 2


def differ(verdict: Verdict) -> None:
    verdict.stored.wrong.append("sessions (…): events: 2 instead of 1")


def answer_500(verdict: Verdict) -> None:
    verdict.ledger.statuses[500] += 1


def answer_oddly(verdict: Verdict) -> None:
    verdict.ledger.wonder("gzip bomb: 202")


def set_aside(verdict: Verdict) -> None:
    verdict.set_aside.append("1.wal")


def crash(verdict: Verdict) -> None:
    verdict.crashes = 1


def end_badly(verdict: Verdict) -> None:
    verdict.bad_ends.append("exit code 1 after SIGTERM")


def acknowledge_nothing(verdict: Verdict) -> None:
    verdict.ledger.acknowledged.clear()


FAULTS: list[Callable[[Verdict], None]] = [
    lose,
    double,
    keep_what_was_dropped,
    keep_what_nobody_sent,
    count_too_few,
    differ,
    answer_500,
    answer_oddly,
    set_aside,
    crash,
    end_badly,
    acknowledge_nothing,
]


def test_counts_that_agree_are_no_breach() -> None:
    verdict = counts_in_order()
    verdict.ledger.statuses[503] += 1

    assert verdict.breaches() == []
    assert dict(verdict.rows())["  stored without acknowledgement"] == "1"
    assert dict(verdict.rows())["  events sent repeatedly / of them stored once"] == "1 / 1"


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_wrong_counts_are_a_breach(spoil: Callable[[Verdict], None]) -> None:
    verdict = counts_in_order()
    spoil(verdict)

    assert len(verdict.breaches()) == 1


def test_the_table_has_a_column_for_each_backend() -> None:
    other = counts_in_order()
    other.backend = "server"
    other.troubles["kill -9 of ClickHouse"] = 3

    lines = table([counts_in_order(), other]).splitlines()

    assert lines[0].split() == ["embedded", "server"]
    assert next(line for line in lines if line.startswith("kill -9 of ClickHouse")).split()[-2:] == ["–", "3"]

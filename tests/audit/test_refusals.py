"""A flood of refusals is counted by the minute and can fill neither the log nor the memory."""

from __future__ import annotations

from analytics_server.audit.refusals import MINUTE_US, MOST_SINGLE, Refusals
from analytics_server.http.audit import AuditEntry

START = 1_000 * MINUTE_US


def refusal(operation: str = "query") -> AuditEntry:
    return AuditEntry(action="query_site", operation=operation, outcome="unauthorized", resource="somewhere")


def test_a_few_refusals_have_an_entry_each() -> None:
    refusals = Refusals()

    assert all(refusals.is_single(refusal(), START + each) for each in range(MOST_SINGLE))
    assert not refusals.is_counting


def test_a_flood_becomes_one_entry_a_minute_and_kind() -> None:
    refusals = Refusals()
    single = sum(refusals.is_single(refusal(("query", "sql")[each % 2]), START + each) for each in range(10_000))

    assert list(refusals.due(START + MINUTE_US - 1)) == []
    due = list(refusals.due(START + MINUTE_US))
    assert single == MOST_SINGLE
    assert {(one.operation, one.details["times"]) for one in due} == {("query", "4995"), ("sql", "4995")}
    assert {one.resource for one in due} == {""}
    assert list(refusals.due(START + MINUTE_US)) == []


def test_a_flood_does_not_hide_whom_others_concern() -> None:
    """A link for a new password may be asked for by anyone, and its entry says for whom."""
    refusals = Refusals()
    for each in range(1_000):
        refusals.is_single(AuditEntry(action="view_self", operation="request_reset"), START + each)  # of no account
    for person in ("anna", "ben", "anna"):
        asked = AuditEntry(action="view_self", operation="request_reset", resource=person)
        assert not refusals.is_single(asked, START + 1_000)

    due = [(one.resource, one.details["times"]) for one in refusals.due(START + MINUTE_US)]
    assert due == [("", str(1_000 - MOST_SINGLE)), ("anna", "2"), ("ben", "1")]


def test_after_a_flood_refusals_have_an_entry_each_again() -> None:
    refusals = Refusals()
    for each in range(100):
        refusals.is_single(refusal(), START + each)
    list(refusals.due(START + MINUTE_US))

    assert refusals.is_single(refusal(), START + MINUTE_US)

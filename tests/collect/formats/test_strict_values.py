"""Only what the documentation says is read as a number, a time or a currency: Python's own readers take more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.collect.enrich.values import revenue_of
from analytics_server.collect.formats.beacon import parse_event_id, parse_timestamp
from tests.collect.world import World, answered


@pytest.mark.parametrize(
    "amount",
    [
        "1_000",
        "\u0661",
        "\uff11\uff12",
        "1e3",
        "1E+3",
        "inf",
        "-Infinity",
        "nan",
        "sNaN",
        "0x10",
        " 12",
        "12 ",
        "1\n",
        "",
        ".",
        "1.",
        ".5",
        "--1",
        "1.2.3",
        "\u22121",
        "1" * 41,
    ],
)
def test_an_amount_is_plain_digits(amount: str) -> None:
    assert revenue_of(amount, "EUR") is None


@pytest.mark.parametrize(
    ("amount", "kept"),
    [("12.50", "12.5000"), ("-3", "-3.0000"), ("+7", "7.0000"), ("007", "7.0000"), (12, "12.0000"), (1e3, "1000.0000")],
)
def test_amounts_that_are_numbers(amount: float | str, kept: str) -> None:
    assert revenue_of(amount, "eur") == (kept, "EUR")


@given(amount=st.text(max_size=12))
def test_any_text_is_an_amount_of_ascii_digits_or_refused(amount: str) -> None:
    if revenue_of(amount, "EUR") is None:
        return
    assert set(amount) <= set("+-.0123456789")


@pytest.mark.parametrize(
    "currency", ["\u00dfU", "EU", "EURO", "", " EUR", "EUR ", "E1R", "\u0130UR", "\ufb01U", "eu\u0280"]
)
def test_a_currency_is_three_ascii_letters(currency: str) -> None:
    assert revenue_of(1, currency) is None


@pytest.mark.parametrize(
    "text",
    [
        "2025-01-01_10:00",
        "2025-01-01\u00a010:00",
        "\u0662\u0660\u0662\u0665-01-01",
        "1_700_000_000_000",
        "2025-01-01x10:00",
        "",
        " 2025-01-01",
        "2025-01-01 ",
        "2025-01-01T10:00:00Z\n",
        "2025-01-01T10:00:00\u0661",
    ],
)
def test_a_time_has_no_other_characters(text: str) -> None:
    assert parse_timestamp(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "2025-01-01T10:00:00Z",
        "2025-01-01T10:00:00.123Z",
        "2025-01-01 10:00:00+02:00",
        "2025-01-01T10:00:00.123456-0530",
        "2025-01-01",
        "20250101T100000Z",
        "2025-W01-3T10:00:00Z",
        "2025-01-01T10:00",
    ],
)
def test_times_as_iso_8601_writes_them(text: str) -> None:
    assert parse_timestamp(text) is not None


@pytest.mark.parametrize("text", ["\u0661" * 32, "1" * 31 + "_", "{" + "1" * 30 + "}"])
def test_an_event_id_has_hexadecimal_digits(text: str) -> None:
    assert parse_event_id(text) is None


@pytest.mark.parametrize("field", ["scroll_depth", "engagement_ms"])
@pytest.mark.parametrize("value", ["\u0665", "1_0", "0x10", "inf", "NaN", True, [1]])
async def test_what_is_no_plain_number_is_left_out(field: str, value: object) -> None:
    world = World()
    answer = answered(await world.send({"site": "a.example", "name": "x", field: value}))

    assert [(one["field"], one["code"]) for one in answer["warnings"]] == [(field, "left_out")]
    assert [row[field] for row in world.events] == [0]


async def test_a_site_that_is_a_path_is_refused() -> None:
    world = World()
    for site in ("x/../../y", "..", "a\\b", "a%2fb"):
        answer = answered(await world.send({"site": site, "name": "x"}))
        assert [one["code"] for one in answer["rejected"]] == ["bad_site"]
    assert world.sites.all() == []

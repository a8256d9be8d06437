"""Batch ids: order, uniqueness, times, and that no other module takes their bits apart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import analytics_server
from analytics_server import batch_ids
from analytics_server.batch_ids import created_ms, derived_batch_id, first_batch_id, is_historic, new_batch_id

NOW = 1_762_000_000.0


def test_batch_ids_grow_with_time_and_fit_into_63_bits() -> None:
    ids = [new_batch_id(NOW + number) for number in range(1_000)]

    assert ids == sorted(set(ids))
    assert all(0 < batch_id < 1 << 63 for batch_id in (*ids, new_batch_id(4_102_444_800.0)))


def test_an_id_is_later_than_the_one_before_even_if_the_clock_was_set_back() -> None:
    before = new_batch_id(NOW)

    assert new_batch_id(NOW - 3_600, before) > before


@pytest.mark.parametrize("historic", [True, False])
def test_an_id_tells_when_it_was_made_and_whether_it_is_historic(historic: bool) -> None:
    batch_id = new_batch_id(NOW + 0.25, historic=historic)

    assert created_ms(batch_id) == (NOW + 0.25) * 1000
    assert is_historic(batch_id) is historic


@given(batch_id=st.integers(0, 2**63 - 1))
def test_the_first_id_of_a_millisecond_is_not_above_any_other_of_it(batch_id: int) -> None:
    first = first_batch_id(created_ms(batch_id) / 1000)

    assert first <= batch_id or created_ms(first) - created_ms(batch_id) <= 1  # a float may round up


@pytest.mark.parametrize("moment_s", [0.0, -1e12, batch_ids.EPOCH_S - 0.001])
def test_before_2020_all_batches_have_arrived_since(moment_s: float) -> None:
    assert first_batch_id(moment_s) == 0


@given(batch_id=st.integers(0, 2**63 - 1))
def test_a_derived_id_is_another_of_the_same_millisecond(batch_id: int) -> None:
    derived = derived_batch_id(batch_id, purpose=b"test")

    assert derived != batch_id
    assert created_ms(derived) == created_ms(batch_id)
    assert derived == derived_batch_id(batch_id, purpose=b"test")


def test_only_this_module_knows_the_layout() -> None:
    """Neither the shift of 22 bits nor the epoch stands elsewhere."""
    package = Path(analytics_server.__file__).parent
    layout = re.compile(r"(<<|>>) *22\b|1_?577_?836_?800")
    found = [path for path in package.rglob("*.py") if layout.search(path.read_text(encoding="utf-8"))]

    assert found == [package / "batch_ids.py"]

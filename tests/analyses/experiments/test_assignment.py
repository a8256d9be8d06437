"""The same variant for the same subject, everywhere and at any time; shares as weighted; few move."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.analyses.experiments.assignment import assign
from analytics_server.analyses.experiments.proportions import split_test

HALVES = [("a", 1.0), ("b", 1.0)]
SUBJECTS = [f"u-{number}" for number in range(100_000)]


@pytest.mark.parametrize(
    ("key", "subject", "variant"),
    [
        ("cta", "u-1", "c"),
        ("cta", "u-2", "c"),
        ("cta", "u-3", "c"),
        ("cta", "größe ✓", "b"),
        ("Überschrift", "u-1", "a"),
        ("cta", "\0\n'", "a"),
    ],
)
def test_never_changes(key: str, subject: str, variant: str) -> None:
    """Fixed for good, and the same by the JavaScript in docs/experiments.md: a change would mix running experiments."""
    assert assign(key, subject, [("a", 1.0), ("b", 1.0), ("c", 2.5)]) == variant


def test_shares_are_as_weighted() -> None:
    for weights in ([1.0, 1.0], [0.9, 0.1], [1.0, 2.0, 3.0, 0.5]):
        variants = [(f"v{index}", weight) for index, weight in enumerate(weights)]
        found = Counter(assign("shares", subject, variants) for subject in SUBJECTS)
        _, p_value = split_test([found[name] for name, _ in variants], weights) or (0.0, 0.0)
        assert p_value > 0.001, found


def test_experiments_are_independent() -> None:
    found = Counter((assign("one", subject, HALVES), assign("two", subject, HALVES)) for subject in SUBJECTS)
    _, p_value = split_test(list(found.values()), [1.0] * 4) or (0.0, 0.0)
    assert len(found) == 4
    assert p_value > 0.001, found


def test_a_new_variant_takes_its_share_and_moves_nobody_else() -> None:
    more = [*HALVES, ("c", 1.0)]
    moved = Counter((assign("x", subject, HALVES), assign("x", subject, more)) for subject in SUBJECTS)
    assert moved["a", "b"] == moved["b", "a"] == 0
    assert moved["a", "c"] + moved["b", "c"] == pytest.approx(len(SUBJECTS) / 3, rel=0.03)


def test_a_greater_weight_only_draws() -> None:
    before, after = [("a", 1.0), ("b", 1.0), ("c", 1.0)], [("a", 2.0), ("b", 1.0), ("c", 1.0)]
    for subject in SUBJECTS[:20_000]:
        was, is_ = assign("x", subject, before), assign("x", subject, after)
        assert is_ in (was, "a")


def test_neither_order_nor_scale_of_weights_matters() -> None:
    for subject in SUBJECTS[:5_000]:
        chosen = assign("x", subject, [("a", 1.0), ("b", 2.0)])
        assert chosen == assign("x", subject, [("b", 2.0), ("a", 1.0)])
        assert chosen == assign("x", subject, [("a", 4.0), ("b", 8.0)])


def test_without_weight_nobody_is_shown_anything() -> None:
    assert {assign("x", subject, [("a", 0.0), ("b", 1.0)]) for subject in SUBJECTS[:500]} == {"b"}
    assert assign("x", "u", [("a", 0.0)]) is None
    assert assign("x", "u", []) is None


@given(key=st.text(), subject=st.text(st.characters()), weight=st.floats(0.000_001, 1_000_000))
def test_any_text_has_a_variant(key: str, subject: str, weight: float) -> None:
    assert assign(key, subject, [("a", weight), ("b", 1.0)]) in ("a", "b")


def test_lone_surrogates_have_one_too() -> None:
    assert assign("x", "\ud800", HALVES) in ("a", "b")

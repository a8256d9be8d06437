"""The generation cache remembers what is used and stays within its capacity."""

from __future__ import annotations

import pytest

from analytics_server.collect.enrich.cache import MAX_KEY_CHARS, GenerationCache


@pytest.mark.parametrize("capacity", [2, 3, 10, 101])
def test_never_holds_more_than_its_capacity(capacity: int) -> None:
    cache: GenerationCache[str, int] = GenerationCache(capacity)
    for number in range(capacity * 5):
        cache.put(str(number), number)
        assert len(cache) <= capacity
        assert cache.get(str(number)) == number


def test_what_is_used_survives_the_change_of_generations() -> None:
    cache: GenerationCache[str, int] = GenerationCache(10)
    cache.put("hot", 1)
    for number in range(1_000):
        cache.put(str(number), number)
        assert cache.get("hot") == 1
    assert cache.get("0") is None


def test_long_keys_are_not_kept() -> None:
    cache: GenerationCache[str, int] = GenerationCache(10)
    cache.put("x" * (MAX_KEY_CHARS + 1), 1)
    assert len(cache) == 0


def test_clear_forgets_all() -> None:
    cache: GenerationCache[int, int] = GenerationCache(10)
    cache.put(1, 1)
    cache.clear()
    assert cache.get(1) is None

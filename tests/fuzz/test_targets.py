"""A bounded number of the inputs of `make fuzz`, and every input that once was a finding."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.findings import examine
from tests.fuzz.mutation import mutate
from tests.fuzz.targets import MAKERS, Target

CORPUS = Path(__file__).parent / "corpus"
INPUTS = 150


@pytest.mark.parametrize("name", MAKERS)
def test_mutations_are_read_or_refused(name: str) -> None:
    target = MAKERS[name]()
    rand = random.Random(name)
    for data in [*target.seeds[:50], *(mutate(rand, target.seeds) for _ in range(INPUTS))]:
        finding = examine(target, data)
        assert finding is None, finding


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_what_was_once_found_is_mended(path: Path) -> None:
    finding = examine(MAKERS[path.name.rpartition("-")[0]](), path.read_bytes())
    assert finding is None, finding


def crash(data: bytes) -> None:
    if b"x" in data:
        raise KeyError(data)


def refuse(data: bytes) -> None:
    raise ValueError(data)


def test_a_crash_is_found_and_a_declared_error_is_not() -> None:
    found = examine(Target(name="crash", read=crash, seeds=()), b"axb")
    assert found is not None
    assert (found.data, "KeyError: b'axb'" in found.what) == (b"axb", True)
    assert examine(Target(name="refuse", read=refuse, seeds=(), declared=(ValueError,)), b"x") is None

"""The people on both engines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.analyses.sessions.places import Place, place_on


@pytest.fixture(scope="package", params=["embedded", "server"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from place_on(request, "cohorts_of_people")

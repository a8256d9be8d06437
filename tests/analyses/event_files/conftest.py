"""The people of the sessions' tests on both engines, and a small server of the routes on the one in process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.analyses.sessions.places import Place, place_on


@pytest.fixture(scope="package", params=["embedded", "server"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from place_on(request, "files_of_events")

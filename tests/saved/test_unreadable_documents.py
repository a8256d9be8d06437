"""A saved thing whose document can't be read is left out, named once and counted; it costs the others nothing."""

from __future__ import annotations

from typing import cast

import pytest

from analytics_server.saved.store import Kind, Saved
from analytics_server.store import Store
from tests.access.test_unreadable import DAMAGED, Table, Watch, encoded


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture) -> Watch:
    return Watch(caplog)


@pytest.mark.parametrize("document", DAMAGED)
@pytest.mark.parametrize("kind", [*Kind, "invention"])
async def test_a_saved_thing(watch: Watch, document: str, kind: str) -> None:
    good = encoded({"name": "good", "body": {}, "created_at_ms": 1, "updated_at_ms": 1})
    rows: list[tuple[object, ...]] = [
        (kind, "a.example", "bad", document, 0, 1),
        (Kind.GOAL, "a.example", "good", good, 0, 1),
        (Kind.GOAL, "b.example", "other", good, 0, 1),
    ]
    saved = Saved(cast(Store, Table(rows)), unreadable=watch.documents)
    for _ in range(2):
        await saved.load()
    assert [thing.id for thing in saved.all(Kind.GOAL, "a.example")] == ["good"]
    assert [thing.id for thing in saved.all(Kind.GOAL, "b.example")] == ["other"]
    assert watch.named == [(kind, "bad")]
    assert watch.count(kind) == 1

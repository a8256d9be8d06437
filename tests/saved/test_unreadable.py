"""A saved thing that can't be read is left out of the list; asked for by its id it says so, and it can be deleted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from analytics_server.saved.store import Kind, Saved
from tests.saved.api import KINDS, SITE, Api

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAMAGED = [[], {"invented": 1}, {"date": "2026-11-31", "text": "No such day."}]
KIND = {"goals": Kind.GOAL, "segments": Kind.SEGMENT, "annotations": Kind.ANNOTATION, "queries": Kind.QUERY}


@pytest.mark.parametrize("body", DAMAGED)
@pytest.mark.parametrize("kind", KINDS)
async def test_the_others_are_listed(api: Api, kind: str, body: object) -> None:
    made = await api.make(kind)
    damaged = await Saved(api.service.context.store).put(KIND[kind], SITE + api.own, "Damaged", body)
    status, refusal = await api("GET", f"{kind}/{damaged.id}")  # this server learns of it
    assert (status, "error" in refusal) == (400, True)
    assert await api("GET", f"{kind}?site_id={SITE}", token="read") == (200, {kind: [made]})
    assert await api("DELETE", f"{kind}/{damaged.id}") == (204, None)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_damaged_document_can_be_deleted_by_those_who_may(api: Api, kind: str) -> None:
    store, site_id = api.service.context.store, SITE + api.own
    row = (str(KIND[kind]), site_id, "d4a6ed", "{", 0, datetime.now(UTC))
    columns = ("kind", "site_id", "id", "document", "deleted", "updated_at")
    await store.insert("saved", columns, [[value] for value in row])
    for token, expected in (("read", 403), ("elsewhere", 404), ("admin", 204), ("admin", 404)):
        assert (await api("DELETE", f"{kind}/d4a6ed", token=token))[0] == expected
    other = Saved(store)
    await other.load()
    assert other.place(KIND[kind], "d4a6ed") is None

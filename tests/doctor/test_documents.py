"""Doctor names the stored documents that can't be read, each by its kind and id."""

from __future__ import annotations

from datetime import UTC, datetime

from analytics_server.access.gate import Gate
from analytics_server.access.principals import Role
from analytics_server.config import SitesSection
from analytics_server.doctor.documents import BODIES, DocumentsCheck
from analytics_server.saved.store import Kind, Saved
from tests.doctor.place import Place

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_every_kind_has_a_body() -> None:
    assert set(BODIES) == set(Kind)


async def test_unreadable_documents_are_named(any_place: Place) -> None:
    store = any_place.store
    check = DocumentsCheck(store, SitesSection())
    await Gate(store).create(Role.READ)
    saved = Saved(store)
    sound = await saved.put(Kind.GOAL, "a.example", "Signup", {"event": "signup"})
    assert (await check.examine()).status == "ok"

    bodies = {kind: await saved.put(kind, "a.example", "Damaged", {"invented": 1}) for kind in Kind}
    own = await saved.put(Kind.QUERY, "a.example", "Damaged", {"invented": 1}, owner="p2")
    await saved.put(Kind.QUERY, "a.example", "Rows", {"sql": "SELECT 1"}, owner="p2")
    await store.insert(
        "saved",
        ("kind", "site_id", "id", "document", "deleted", "updated_at"),
        [["alert"], ["a.example"], ["x"], ["{}"], [0], [NOW]],
    )
    columns = ("document", "deleted", "updated_at")
    await store.insert("sites", ("site_id", *columns), [["b.example"], ["{"], [0], [NOW]])
    await store.insert("tokens", ("token_hash", *columns), [["0" * 64], ["null"], [0], [NOW]])
    people: list[list[object]] = [["person", "share_link"], ["p1", "l1"], ["{", "{"], [0, 0], [NOW, NOW]]
    await store.insert("people", ("kind", "id", *columns), people)
    session: list[list[object]] = [["5" * 64], ['{"ends_at_s":4000000000}'], [0], [NOW]]
    await store.insert("person_sessions", ("session_hash", *columns), session)
    await store.insert("erasures", ("id", *columns), [["e1"], ["{"], [0], [NOW]])
    await store.insert("opt_outs", ("user_hash", "site_id", *columns), [["u1"], [""], ["{"], [0], [NOW]])
    await store.insert("archive_roots", ("root", "site_id", *columns), [["r1"], [""], ["{"], [0], [NOW]])

    found = await check.examine()
    assert found.status == "warning"
    named = found.facts["unreadable"]
    assert isinstance(named, list)
    assert set(named) == {
        *("alert x", "site b.example", f"token {'0' * 12}", "person p1", "share_link l1", "session 55555555"),
        *("erasure e1", "opt_out u1", "archive_root r1", f"private_query p2/{own.id}"),
        *(f"{kind} {thing.id}" for kind, thing in bodies.items()),
    }
    assert sound.id not in found.message
    assert bodies[Kind.EXPERIMENT].id in found.message

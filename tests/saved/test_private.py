"""Queries that people save for themselves: a whole server, two viewers, an editor, an owner and tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from analytics_server.query.saved_kinds.queries import MAX_PRIVATE
from analytics_server.saved.store import MAX_PER_SITE
from tests.e2e.conftest import running
from tests.saved.api import QUESTION
from tests.server import Client, Reply, RunningServer, wait_for
from tests.whole import complete_server

PASSWORD = "seven green umbrellas"
SITE, OTHER_SITE = "a.example", "b.example"
in_one_loop = pytest.mark.asyncio(loop_scope="module")
pytestmark = in_one_loop


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who is signed in."""

    client: Client
    id: str
    headers: dict[str, str]

    async def __call__(self, method: str, path: str, body: object = None) -> Reply:
        data = None if body is None else msgspec.json.encode(body)
        return await self.client.request(method, f"/api/v1/{path}", data, self.headers)

    async def save(self, name: str, **more: Any) -> dict[str, Any]:
        reply = await self("POST", "queries", query(name, **more))
        assert reply.status == 201, reply.body
        return dict(reply.json)

    async def names(self, site: str = SITE) -> list[tuple[str, bool]]:
        """Name and `private` of all that is listed."""
        reply = await self("GET", f"queries?site_id={site}")
        assert reply.status == 200, reply.body
        return [(one["name"], one.get("private", False)) for one in reply.json["queries"]]


@dataclass(frozen=True, slots=True)
class World:
    """A server and who asks it."""

    server: RunningServer
    client: Client
    anna: Person
    ben: Person
    editor: Person
    owner: Person

    @property
    def others(self) -> tuple[Person, ...]:
        """All but Anna."""
        return self.ben, self.editor, self.owner

    async def person(self, name: str, **rights: Any) -> Person:
        return await signed_in(self.client, self.server, name, rights)

    async def token(self, **wanted: Any) -> str:
        return str((await self.client.call("POST", "/api/v1/tokens", wanted)).json["token"])


def query(name: str, **more: Any) -> dict[str, Any]:
    return {"site_id": SITE, "name": name, "request": {**QUESTION, "site_id": more.get("site_id", SITE)}, **more}


async def signed_in(client: Client, server: RunningServer, name: str, rights: dict[str, Any]) -> Person:
    email = f"{name}@example.org"
    made = await client.call("POST", "/api/v1/people", {"email": email, "password": PASSWORD, **rights})
    assert made.status == 201, made.body
    sent = msgspec.json.encode({"email": email, "password": PASSWORD})
    reply = await client.request("POST", "/api/v1/session", sent, {"Origin": server.url})
    cookie = reply.headers["Set-Cookie"].partition(";")[0]
    return Person(client, made.json["person_id"], {"Origin": server.url, "Cookie": cookie})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("private")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(server: RunningServer) -> AsyncIterator[World]:
    async with Client(server) as client:
        for site in (SITE, OTHER_SITE):
            assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status == 201
        rights: tuple[dict[str, Any], ...] = (
            {"roles": {SITE: "viewer"}},
            {"roles": {SITE: "viewer", OTHER_SITE: "viewer"}},
            {"roles": {SITE: "editor", OTHER_SITE: "viewer"}},
            {"owner": True},
        )
        names = ("anna", "ben", "editor", "owner")
        people = [await signed_in(client, server, *each) for each in zip(names, rights, strict=True)]
        yield World(server, client, *people)


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_is_left(world: World) -> AsyncIterator[None]:
    """Each test begins with nothing saved by those who stay."""
    yield
    for person in (world.anna, world.ben, world.editor, world.owner):
        for site in (SITE, OTHER_SITE):
            reply = await person("GET", f"queries?site_id={site}")
            for one in reply.json["queries"] if reply.status == 200 else ():
                if one.get("private") or person is world.owner:
                    assert (await person("DELETE", f"queries/{one['id']}")).status == 204


async def test_a_viewer_saves_reads_changes_and_deletes_for_themselves(world: World) -> None:
    anna = world.anna
    made = await anna.save("Week")
    address = f"queries/{made['id']}"

    assert made["private"] is True
    assert (await anna("GET", address)).json == made
    assert (await anna("GET", f"queries?site_id={SITE}")).json == {"queries": [made]}
    changed = await anna("PUT", address, {"name": "Month"})
    assert (changed.status, changed.json["name"], changed.json["private"]) == (200, "Month", True)
    assert changed.json["created_at_ms"] == made["created_at_ms"]
    assert (await anna("PUT", address, {"private": False})).code == "unknown_key"
    assert (await anna("POST", "query", changed.json["request"])).status == 200
    assert (await anna("DELETE", address)).status == 204
    assert ((await anna("GET", address)).code, await anna.names()) == ("unknown_query", [])


async def test_sql_and_an_explicit_private_are_taken_and_what_is_wrong_is_refused(world: World) -> None:
    sql = {"site_id": SITE, "name": "Rows", "sql": "SELECT count() FROM events", "private": True}
    assert (await world.anna("POST", "queries", sql)).json["private"] is True
    for body, code in (
        (query("Rows"), "name_taken"),
        (query(" x"), "bad_name"),
        (query("x", private="yes"), "bad_request"),
        (query("x", request={"site_id": SITE, "metrics": ["nothing"], "date_range": "7d"}), "unknown_metric"),
    ):
        assert (await world.anna("POST", "queries", body)).code == code


async def test_to_everyone_else_it_is_as_if_not_there(world: World) -> None:
    made = await world.anna.save("Anna's secret")
    address, secret = f"queries/{made['id']}", [made["id"].encode(), b"Anna's secret"]
    tokens = [await world.token(role=role) for role in ("admin", "editor", "viewer")]

    async def of_token(token: str, method: str, body: object = None) -> Reply:
        return await world.client.call(method, f"/api/v1/{address}", body, token=token)

    for person in world.others:
        for method, body in (("GET", None), ("PUT", {"name": "Mine"}), ("DELETE", None)):
            reply = await person(method, address, body)
            assert (reply.status, reply.code) == (404, "unknown_query"), method
        assert await person.names() == []
    for token in tokens:
        for method, body in (("GET", None), ("PUT", {"name": "Mine"}), ("DELETE", None)):
            assert (await of_token(token, method, body)).status in (403, 404), method
    assert (await of_token(tokens[0], "DELETE")).code == "unknown_query"
    for kind in ("goals", "segments", "annotations", "funnels", "experiments"):
        assert (await world.anna("GET", f"{kind}/{made['id']}")).status == 404
    for endpoint in complete_server().endpoints():
        left_out = endpoint.method != "GET" or "{" in endpoint.path or endpoint.tag == "pages"
        if left_out or endpoint.name in ("watch_live", "get_audit"):  # the log names ids, and asks for a socket
            continue
        for person in (world.ben, world.owner):
            reply = await world.client.get(f"{endpoint.path}?site_id={SITE}", person.headers)
            assert not any(text in reply.body for text in secret), endpoint.name
    assert (await world.anna("GET", address)).json == made


async def test_a_name_may_be_that_of_a_shared_one_or_of_another_s(world: World) -> None:
    await world.anna.save("Week")
    await world.ben.save("Week")
    shared = await world.editor.save("Week")
    assert "private" not in shared

    assert await world.anna.names() == [("Week", True), ("Week", False)]
    assert await world.ben.names() == [("Week", True), ("Week", False)]
    assert await world.owner.names() == [("Week", False)]
    for person in (world.anna, world.editor):
        assert (await person("POST", "queries", query("Week"))).code == "name_taken"
    other = await world.anna.save("Other")
    assert (await world.anna("PUT", f"queries/{other['id']}", {"name": "Week"})).code == "name_taken"


async def test_who_may_edit_saves_shared_ones_and_private_ones_on_request(world: World) -> None:
    shared = await world.editor.save("Shared")
    also_shared = await world.editor.save("Also shared", private=False)
    own = await world.editor.save("Own", private=True)
    elsewhere = await world.editor.save("Elsewhere", site_id=OTHER_SITE)

    assert {"private"} & {*shared, *also_shared} == set()
    assert own["private"] is elsewhere["private"] is True
    assert await world.editor.names() == [("Also shared", False), ("Own", True), ("Shared", False)]
    assert await world.anna.names() == await world.owner.names() == [("Also shared", False), ("Shared", False)]
    assert await world.ben.names(OTHER_SITE) == []


async def test_a_viewer_changes_nothing_that_is_shared(world: World) -> None:
    shared = await world.editor.save("Shared")

    for method, path, body in (
        ("PUT", f"queries/{shared['id']}", {"name": "Mine"}),
        ("DELETE", f"queries/{shared['id']}", None),
        ("POST", "queries", query("x", private=False)),
        ("POST", "goals", {"site_id": SITE, "name": "x", "event": "x"}),
        ("POST", "segments", {"site_id": SITE, "name": "x", "filters": [["is", "visit:device", ["TV"]]]}),
    ):
        reply = await world.anna(method, path, body)
        assert (reply.status, reply.code) == (403, "forbidden"), path
        assert "role viewer; this call needs editor" in reply.json["error"]["message"]
    assert (await world.anna("GET", f"queries/{shared['id']}")).json == shared
    reply = await world.anna("POST", "queries", query("x", site_id=OTHER_SITE))
    assert (reply.status, "does not cover the site" in reply.json["error"]["message"]) == (403, True)


async def test_tokens_have_nothing_of_their_own(world: World) -> None:
    for wanted, status in (({"role": "viewer"}, 403), ({"role": "read"}, 403), ({"role": "editor"}, 400)):
        token = await world.token(**wanted)
        reply = await world.client.call("POST", "/api/v1/queries", query("x", private=True), token=token)
        assert reply.status == status, reply.body
    viewer, scoped = await world.token(role="viewer"), await world.token(scopes=["edit_saved"])
    reply = await world.client.call("POST", "/api/v1/queries", query("x"), token=viewer)
    assert reply.json["error"]["message"].startswith("This token has the role viewer; this call needs editor")
    assert (await world.client.call("POST", "/api/v1/tokens", {"scopes": ["save_own"]})).code == "bad_scope"
    made = await world.client.call("POST", "/api/v1/queries", query("x"), token=scoped)
    assert (made.status, "private" in made.json) == (201, False)


async def test_a_share_link_neither_saves_nor_sees(world: World) -> None:
    await world.anna.save("Week")
    made = await world.client.call("POST", "/api/v1/share-links", {"site_id": SITE, "name": "x"})
    sent = msgspec.json.encode({"secret": made.json["link"].rpartition("/")[2]})
    reply = await world.client.request("POST", "/api/v1/share/open", sent, {"Origin": world.server.url})
    assert reply.status == 200, reply.body
    link = Person(world.client, "", {"Origin": world.server.url, "Authorization": f"Bearer {reply.json['token']}"})

    for method, path, body in (("POST", "queries", query("x")), ("GET", f"queries?site_id={SITE}", None)):
        assert (await link(method, path, body)).status == 403


async def test_the_bound_is_each_person_s_own_on_each_site(world: World) -> None:
    person = await world.person("many", roles={SITE: "viewer", OTHER_SITE: "viewer"})
    for number in range(MAX_PRIVATE - 1):
        await person.save(str(number))
    last = await person.save("last")

    refused = await person("POST", "queries", query("one more"))
    assert (refused.status, refused.code) == (400, "too_many")
    assert str(MAX_PRIVATE) in refused.json["error"]["message"]
    assert (await person("PUT", f"queries/{last['id']}", {"name": "renamed"})).status == 200
    await person.save("elsewhere", site_id=OTHER_SITE)
    await world.ben.save("of another")
    assert (await person("DELETE", f"queries/{last['id']}")).status == 204
    await person.save("again")
    assert await world.owner.names() == []
    assert MAX_PRIVATE < MAX_PER_SITE  # the site's own bound counts shared ones alone: test_private_store.py


async def test_who_loses_the_site_loses_sight_of_it_and_a_role_that_changes_takes_nothing(world: World) -> None:
    person = await world.person("moved", roles={SITE: "viewer", OTHER_SITE: "viewer"})
    made = await person.save("Week")
    address = f"queries/{made['id']}"

    async def roles(**given: str | None) -> None:
        changes = {SITE if site == "a" else OTHER_SITE: role for site, role in given.items()}
        reply = await world.client.call("PUT", f"/api/v1/people/{person.id}", {"roles": changes})
        assert reply.status == 200, reply.body

        async def is_known() -> bool:
            shown = (await person("GET", "session")).json["roles"]
            return all(shown.get(site) == role for site, role in changes.items())

        await wait_for(is_known)

    await roles(a="editor")
    assert (await person("GET", address)).json == made
    await roles(a=None)
    for method, body in (("GET", None), ("PUT", {"name": "x"}), ("DELETE", None)):
        assert (await person(method, address, body)).code == "unknown_query", method
    assert (await person("GET", f"queries?site_id={SITE}")).status == 403
    await roles(a="viewer")
    assert (await person("GET", address)).json == made


async def test_a_removed_person_s_are_deleted_soon(world: World) -> None:
    person = await world.person("leaver", roles={SITE: "viewer"})
    await person.save("Week")
    assert (await world.client.call("DELETE", f"/api/v1/people/{person.id}")).status == 204

    async def are_deleted() -> bool:
        return "private things of removed people are deleted" in world.server.log

    await wait_for(are_deleted, what="the deletion of what was theirs")


async def test_a_deleted_site_s_go_with_its_data(world: World) -> None:
    site = "going.example"
    assert (await world.client.call("POST", "/api/v1/sites", {"site_id": site})).status == 201
    person = await world.person("visitor", roles={site: "viewer", SITE: "viewer"})
    made, kept = await person.save("Week", site_id=site), await person.save("Week")
    assert (await world.client.call("DELETE", f"/api/v1/sites/{site}?data=erase")).status in (202, 204)

    async def is_erased() -> bool:
        return "a deleted site's data is removed" in world.server.log

    await wait_for(is_erased, what="the removal of the site's data")
    await world.client.call("POST", "/api/v1/sites", {"site_id": site})
    assert (await person("GET", f"queries/{made['id']}")).status == 404
    assert await person.names() == [("Week", True)]
    assert (await person("DELETE", f"queries/{kept['id']}")).status == 204


async def test_the_audit_log_says_who_did_it_by_which_right(world: World) -> None:
    made = await world.anna.save("Week")
    shared = await world.editor.save("Shared")
    await world.anna("PUT", f"queries/{made['id']}", {"name": "Month"})
    await world.anna("DELETE", f"queries/{made['id']}")
    await world.anna("DELETE", f"queries/{shared['id']}")

    async def entries(id_: str) -> list[tuple[str, str, str, str]]:
        reply = await world.client.call("GET", f"/api/v1/privacy/audit?site_id={SITE}&limit=200")
        found = [one for one in reply.json["entries"] if one["resource"] == id_]
        return sorted((one["action"], one["operation"], one["outcome"], one["principal_id"]) for one in found)

    async def are_written() -> bool:
        return len(await entries(shared["id"])) == 2 and len(await entries(made["id"])) == 3

    await wait_for(are_written)
    assert await entries(made["id"]) == [
        ("save_own", f"{what}_saved_query", "ok", world.anna.id) for what in ("change", "create", "delete")
    ]
    assert await entries(shared["id"]) == [
        ("edit_saved", "create_saved_query", "ok", world.editor.id),
        ("edit_saved", "delete_saved_query", "forbidden", world.anna.id),
    ]

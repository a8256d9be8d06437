"""A real server answers as its document says: every operation, its successes and its refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.http.openapi.conftest import SITE
from tests.http.openapi.document import Described, Document
from tests.server import Client, Reply, RunningServer

ASSISTANT = "ask_assistant"
"""Names sites in its messages, and answers 404 for an unknown method alone."""

LIVE = "watch_live"
ROLES = ("viewer", "editor", "admin", "owner")
OF_OWN_SITES = {
    *("list_tokens", "list_people", "list_invitations"),
    *("export_person", "erase_person", "list_erasures", "list_opt_outs", "add_opt_out", "remove_opt_out"),
}
OF_A_PERSON = {
    **dict.fromkeys(("sign_out", "list_own_sessions", "end_own_session", "sign_out_everywhere"), 403),
    "change_password": 403,
    **dict.fromkeys(("begin_second_factor", "confirm_second_factor", "remove_second_factor"), 403),
    "sign_in": 401,
    "accept_invitation": 404,
    "request_reset": 403,
    "open_share_link": 404,
}
"""What a token, and an example's e-mail address and link, are answered with."""

OF_NO_CHAIN = {"retire_audit_chain": 404}
"""What an example that names nothing which is there is answered with."""

ANY_TOKEN = {"who_am_i", "plan_experiment"}
"""Arithmetic: any token will do."""
TOO_LARGE = b" " * 300_000


async def ask(client: Client, operation: Described, address: str, body: object, *, token: str | None = None) -> Reply:
    headers = {} if token == "" else {"Authorization": f"Bearer {token}"}
    sent = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
    return await client.request(operation.method, address, sent, headers)


def order(operation: Described) -> tuple[int, int]:
    """Make, ask, delete; sites last."""
    if operation.method == "DELETE":
        return 2, int(operation.path.startswith("/api/v1/sites"))
    return (0 if 201 in operation.successes else 1), 0


def made_at(made: Mapping[str, Any], path: str) -> dict[str, str]:
    """What was made at the nearest address above: the values of the path's parameters."""
    above = [address for address in made if path.startswith(address + "/")]
    return made[max(above, key=len)] if above else {}


async def test_every_operation_answers_its_examples_as_it_says(
    client: Client, document: Document, server: RunningServer
) -> None:
    made: dict[str, Any] = {}
    for operation in sorted(document.operations, key=order):
        if operation.name == LIVE:
            continue
        values = made_at(made, operation.path)
        for body in operation.bodies:
            for optional in (True, False):
                if not optional and (operation.method in ("POST", "DELETE") or "parameters" not in operation.spec):
                    continue
                reply = await ask(
                    client, operation, operation.address(values, optional=optional), body, token=server.token
                )
                document.check(operation, reply)
                expected = operation.successes | ({404} if operation.spec["tags"] == ["pages"] else set())
                expected |= {status for name, status in (OF_A_PERSON | OF_NO_CHAIN).items() if name == operation.name}
                assert reply.status in expected, (operation.name, reply.body)
                if operation.name == "erase_person":
                    made["/api/v1/privacy/erasures"] = {"erasure_id": reply.json["id"]}
                if reply.status == 201:
                    made[operation.path] = {key: value for key, value in reply.json.items() if key != "token"}
    assert len(made) >= 6


async def test_the_live_socket_sends_what_the_document_says(server: RunningServer, document: Document) -> None:
    (live,) = (operation for operation in document.operations if operation.name == LIVE)
    headers = {"Authorization": f"Bearer {server.token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.url}{live.address({})}", headers=headers) as socket,
    ):
        message = await socket.receive_json(timeout=10)

    schema = live.spec["responses"]["101"]["content"]["application/json"]["schema"]
    assert document.problems(schema, message, closed=True) == []


async def test_without_a_token_every_operation_that_wants_one_says_so(client: Client, document: Document) -> None:
    for operation in document.operations:
        if operation.role in ROLES and operation.name != LIVE:
            for token in ("", "wrong"):
                reply = await ask(client, operation, operation.address({}), operation.bodies[0], token=token)
                assert reply.status == 401, operation.name
                document.check(operation, reply)


@pytest.mark.parametrize(
    ("token", "wanted"),
    [
        ({"role": "collect"}, ROLES),
        ({"role": "read"}, ROLES[1:]),
        ({"role": "admin", "sites": ["elsewhere.example"]}, ROLES[1:]),
    ],
    ids=["collect", "read", "admin of another site"],
)
async def test_a_token_without_the_right_is_refused(
    client: Client, document: Document, token: dict[str, Any], wanted: tuple[str, ...]
) -> None:
    made = (await client.call("POST", "/api/v1/tokens", token)).json["token"]
    for operation in document.operations:
        if operation.role in wanted and operation.name not in {
            LIVE,
            *ANY_TOKEN,
            *(OF_OWN_SITES if "sites" in token else ()),
        }:
            reply = await ask(client, operation, operation.address({}), operation.bodies[0], token=made)
            # Which site it is about is known only where there is such a thing, and whether there is one is not told.
            hidden = "{" in operation.path and (reply.status == 404 or reply.code == "site_needed")
            assert reply.status == 403 or hidden, (operation.name, reply.body)
            document.check(operation, reply)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"nonsense": 1}', b'{"a": "\\ud800"}', b"\xff", b"[" * 60_000])
async def test_a_body_that_can_not_be_read_is_refused(
    client: Client, document: Document, server: RunningServer, body: bytes
) -> None:
    for operation in document.operations:
        if operation.role in ROLES and "requestBody" in operation.spec:
            reply = await ask(client, operation, operation.address({"id": "0" * 12}), body, token=server.token)
            assert reply.status in (400, 404), (operation.name, reply.body)
            document.check(operation, reply)


async def test_a_body_that_is_too_large_is_refused(client: Client, document: Document, server: RunningServer) -> None:
    for operation in document.operations:
        if operation.role in ROLES and "requestBody" in operation.spec:
            reply = await ask(client, operation, operation.address({"id": "0" * 12}), TOO_LARGE, token=server.token)
            assert reply.status == 413 or ("{" in operation.path and reply.status == 404), operation.name
            document.check(operation, reply)


async def test_a_site_or_thing_that_does_not_exist_is_not_found(
    client: Client, document: Document, server: RunningServer
) -> None:
    nowhere = {"site_id": "nowhere.example", "id": "0" * 12, "token_id": "0" * 12}
    for operation in document.operations:
        if "404" not in operation.spec["responses"] or operation.role not in ROLES or operation.name == ASSISTANT:
            continue
        body = msgspec.json.encode(operation.bodies[0]).replace(SITE.encode(), nowhere["site_id"].encode())
        reply = await ask(client, operation, operation.address(nowhere), body, token=server.token)
        expected = OF_A_PERSON.get(operation.name, 404)
        assert reply.status == expected or reply.code == "site_needed", (operation.name, reply.body)
        document.check(operation, reply)


async def test_another_method_is_answered_with_those_that_are_allowed(client: Client, document: Document) -> None:
    by_path: dict[str, set[str]] = {}
    for operation in document.operations:
        by_path.setdefault(operation.address({}, optional=False), set()).add(operation.method)
    for path, methods in by_path.items():
        reply = await client.request("PATCH", path)
        assert (reply.status, reply.code) == (405, "method_not_allowed"), path
        allowed = {method.strip() for method in reply.headers["Allow"].split(",")}
        assert methods <= allowed, path


async def test_an_address_that_is_none_is_not_found(client: Client) -> None:
    for method in ("GET", "PATCH"):
        reply = await client.request(method, "/api/v1/nothing")
        assert (reply.status, reply.code) == (404, "not_found")

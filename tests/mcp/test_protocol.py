"""The protocol over plain HTTP: versions, notifications, batches, and everything that a client should never send."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from analytics_server.app import Server
from analytics_server.config import Config, LimitsSection, McpSection
from tests.mcp.assistant import MODERN, SITE, VERSIONS, call, post, request
from tests.server import Client, RunningServer, raw

ABILITIES = "io.modelcontextprotocol/clientCapabilities"
VERSION = "io.modelcontextprotocol/protocolVersion"


async def tell(client: Client, server: RunningServer, message: object, **headers: str) -> Any:
    return await post(client, message, headers, token=server.token)


@pytest.mark.parametrize(("wanted", "agreed"), [*zip(VERSIONS, VERSIONS, strict=True), ("2024-11-05", VERSIONS[-1])])
async def test_a_version_is_agreed_on(client: Client, server: RunningServer, wanted: str, agreed: str) -> None:
    reply = await tell(client, server, request("initialize", {"protocolVersion": wanted, "capabilities": {}}))

    assert (reply.status, reply.json["result"]["protocolVersion"]) == (200, agreed)
    assert "Mcp-Session-Id" not in reply.headers


async def test_an_unknown_version_is_refused_with_those_that_are_known(client: Client, server: RunningServer) -> None:
    reply = await tell(client, server, request("ping", id_="a"), **{"MCP-Protocol-Version": "1999-01-01"})

    assert (reply.status, reply.json["id"], reply.json["error"]["code"]) == (400, "a", -32022)
    assert reply.json["error"]["data"] == {"supported": [*VERSIONS, MODERN], "requested": "1999-01-01"}


async def test_an_unknown_version_may_be_any_bytes(server: RunningServer) -> None:
    body = msgspec.json.encode(request("ping"))
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.token}\r\n"
        f"Content-Length: {len(body)}\r\nMCP-Protocol-Version: "
    )
    for version, shown in ((b"\xe9", rb'"requested":"\\udce9"'), ("é".encode(), '"requested":"é"'.encode())):
        reply = await raw(server, head.encode() + version + b"\r\n\r\n" + body, enough=b"}}}")
        assert reply.startswith(b"HTTP/1.1 400 "), reply
        assert shown in reply, reply


async def test_notifications_and_answers_are_taken(client: Client, server: RunningServer) -> None:
    for message in (
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/unheard-of", "params": {}},
        {"jsonrpc": "2.0", "id": 7, "result": {}},
        {"jsonrpc": "2.0", "id": 7, "error": {"code": 1, "message": "no"}},
    ):
        reply = await tell(client, server, message)
        assert (reply.status, reply.body) == (202, b"")


async def test_null_parameters_and_arguments_are_none(client: Client, server: RunningServer) -> None:
    for message in (
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": None},
        request("tools/call", {"name": "list_sites", "arguments": None}),
    ):
        reply = await tell(client, server, message)
        assert (reply.status, "result" in reply.json) == (200, True), reply.body


@pytest.mark.parametrize("id_", [0, 1, -5, "a", ""])
async def test_ping_is_answered_with_its_id(client: Client, server: RunningServer, id_: object) -> None:
    reply = await tell(client, server, request("ping", id_=id_))

    assert reply.json == {"jsonrpc": "2.0", "id": id_, "result": {}}


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        (b"", 400, -32700),
        (b"{", 400, -32700),
        (b"\xff\xfe", 400, -32700),
        (b"[" * 5_000, 400, -32700),
        (b"7", 400, -32600),
        (b'"ping"', 400, -32600),
        (b"null", 400, -32600),
        ({}, 400, -32600),
        ({"id": 1, "method": "ping"}, 400, -32600),
        ({"jsonrpc": "1.0", "id": 1, "method": "ping"}, 400, -32600),
        ({"jsonrpc": "2.0", "id": None, "method": "ping"}, 400, -32600),
        ({"jsonrpc": "2.0", "id": True, "method": "ping"}, 400, -32600),
        ({"jsonrpc": "2.0", "id": 1.5, "method": "ping"}, 400, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": 7}, 400, -32600),
        ({"jsonrpc": "2.0", "id": 1}, 400, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]}, 400, -32600),
        (request("tools/destroy"), 200, -32601),
        (request("prompts/list"), 200, -32601),
        (request("tools/list", {"cursor": "x"}), 200, -32602),
        (request("tools/call"), 200, -32602),
        (request("tools/call", {"name": 7}), 200, -32602),
        (request("tools/call", {"name": "list_sites", "arguments": []}), 200, -32602),
        (request("tools/call", {"name": "no such tool" * 100}), 200, -32602),
        (request("resources/read"), 200, -32002),
        (request("resources/read", {"uri": "file:///etc/passwd"}), 200, -32002),
    ],
)
async def test_bad_messages_are_refused_by_number(
    client: Client, server: RunningServer, message: object, status: int, code: int
) -> None:
    reply = await tell(client, server, message)

    assert (reply.status, reply.json["error"]["code"]) == (status, code), reply.body
    assert len(reply.body) < 1_000


async def test_a_message_may_be_as_long_as_a_query_and_no_longer(client: Client, server: RunningServer) -> None:
    most = LimitsSection().query_bytes
    message = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"%s"}}'
    for size, status in ((most, 200), (most + 1, 413)):
        reply = await tell(client, server, message.replace(b"%s", b"x" * (size - len(message) + 2)))
        assert reply.status == status


async def test_batches_are_refused(client: Client, server: RunningServer) -> None:
    for headers in ({}, {"MCP-Protocol-Version": "2025-06-18"}):
        reply = await tell(client, server, [request("ping")], **headers)
        assert (reply.status, reply.json["error"]["code"]) == (400, -32600)
        assert "one message at a time" in reply.json["error"]["message"]


async def test_other_methods_are_not_allowed(client: Client) -> None:
    for method in ("GET", "DELETE", "PUT"):
        reply = await client.request(method, "/mcp", None, {"Accept": "text/event-stream"})
        assert (reply.status, reply.headers["Allow"]) == (405, "POST")


def test_there_is_no_such_address_where_it_is_switched_off() -> None:
    for enabled in (True, False):
        paths = {one.path for one in Server(Config(mcp=McpSection(enabled=enabled))).endpoints()}
        assert ("/mcp" in paths) == enabled


async def test_pages_of_other_addresses_are_refused(client: Client, server: RunningServer) -> None:
    for origin, status in ((server.url, 200), ("https://evil.example", 403), ("null", 403), ("http://[", 403)):
        reply = await tell(client, server, request("ping"), Origin=origin)
        assert reply.status == status, origin
    assert reply.code == "bad_origin"


async def test_a_page_whose_name_leads_here_is_refused(client: Client, server: RunningServer) -> None:
    for host, status in (
        ("evil.example", 403),
        (f"evil.example:{server.port}", 403),
        (f"localhost:{server.port}", 200),
        (f"127.0.0.1:{server.port}", 200),
        (f"[::1]:{server.port}", 200),
    ):
        reply = await tell(client, server, request("ping"), Host=host, Origin=f"http://{host}")
        assert reply.status == status, host
    program = await tell(client, server, request("ping"), Host="evil.example")
    assert program.status == 200


def modern(method: str, *, version: str = MODERN, **params: object) -> dict[str, object]:
    return request(method, {**params, "_meta": {VERSION: version, ABILITIES: {}}})


async def test_the_stateless_version_says_everything_with_each_request(client: Client, server: RunningServer) -> None:
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "=?base64?bGlzdF9zaXRlcw==?="}
    right = await tell(client, server, modern("tools/call", name="list_sites", arguments={}), **headers)
    found = await tell(
        client,
        server,
        modern("server/discover"),
        **{"MCP-Protocol-Version": MODERN, "Mcp-Method": "server/discover"},
    )

    assert (right.status, right.json["result"]["resultType"]) == (200, "complete")
    assert found.json["result"]["supportedVersions"] == [*VERSIONS, MODERN]
    assert found.json["result"]["cacheScope"] == "private"


@pytest.mark.parametrize(
    ("message", "headers", "status", "code"),
    [
        (request("tools/list"), {}, 400, -32602),
        (request("tools/list", {"_meta": {VERSION: MODERN}}), {}, 400, -32602),
        (modern("tools/list"), {"Mcp-Method": "ping"}, 400, -32020),
        (modern("tools/list", version="2025-11-25"), {}, 400, -32020),
        (modern("tools/call", name="live"), {"Mcp-Method": "tools/call", "Mcp-Name": "sql"}, 400, -32020),
        (modern("tools/call", name="live"), {"Mcp-Method": "tools/call", "Mcp-Name": "=?base64?!?="}, 400, -32020),
        (modern("tools/never"), {"Mcp-Method": "tools/never"}, 404, -32601),
        (modern("resources/read", uri="x"), {"Mcp-Method": "resources/read", "Mcp-Name": "x"}, 200, -32002),
    ],
)
async def test_the_stateless_version_refuses_contradictions(
    client: Client, server: RunningServer, message: dict[str, Any], headers: dict[str, str], status: int, code: int
) -> None:
    sent = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list", **headers}
    reply = await tell(client, server, message, **sent)

    assert (reply.status, reply.json["error"]["code"]) == (status, code), reply.body


async def test_what_a_tool_asks_is_in_the_audit_log_as_the_endpoint_is(client: Client, server: RunningServer) -> None:
    await tell(client, server, call("funnel", site_id=SITE, date_range="7d", steps=[{"name": "a"}]))

    found = (await client.call("GET", f"/api/v1/privacy/audit?site_id={SITE}")).json["entries"]

    assert ("funnel", "query_site", "bad_funnel") in {(e["operation"], e["action"], e["outcome"]) for e in found}


async def test_the_messages_own_entry_names_the_tool_and_the_refusal(client: Client, server: RunningServer) -> None:
    token = (await client.call("POST", "/api/v1/tokens", {"scopes": ["viewer"], "name": "entries"})).json["token"]
    messages: list[tuple[dict[str, object], dict[str, str], str]] = [
        (call("list_sites"), {"tool": "list_sites"}, "ok"),
        (call("list_sites", limit=1), {"tool": "list_sites"}, "unknown_key"),
        (call("funnel", site_id=SITE, date_range="7d", steps=[]), {"tool": "funnel"}, "bad_funnel"),
        (call("create_site", site_id="x"), {"tool": "create_site"}, "-32602"),
        (call("ast_no_such_tool"), {}, "-32602"),
        (request("tools/call", {"name": "sql", "arguments": []}), {"tool": "sql"}, "-32602"),
        (request("tools/destroy"), {}, "-32601"),
        (request("ping"), {}, "ok"),
    ]
    for message, _, _ in messages:
        assert (await post(client, message, token=token)).status == 200

    found = (await client.call("GET", "/api/v1/privacy/audit?limit=100")).json["entries"]
    own = [each for each in found if (each["principal_name"], each["operation"]) == ("entries", "ask_assistant")]
    assert [(each["details"], each["outcome"]) for each in reversed(own)] == [
        (details, outcome) for _, details, outcome in messages
    ]

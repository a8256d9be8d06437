"""The command that an assistant starts: the official client on its input and output, and what goes wrong there."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analytics_server.cli.mcp import LINE_BYTES
from analytics_server.mcp.answers import DECODER
from analytics_server.mcp.versions import VERSION_KEY
from tests.mcp.assistant import MODERN, SITE, ask, call, made_token, over_http, over_stdio, request, text_of
from tests.server import Client, RunningServer

COMMAND = [sys.executable, "-m", "analytics_server", "mcp"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_asks_the_same_by_the_command(
    server: RunningServer, client: Client, mode: str
) -> None:
    token = await made_token(client, "viewer", sites=(SITE,))
    arguments: dict[str, Any] = {"site_id": SITE, "metrics": ["visitors"], "date_range": "7d"}
    async with over_stdio(server, token, mode=mode) as assistant, over_http(server, token) as other:
        assert (assistant.protocol_version == MODERN) == (mode == "auto")
        assert [tool.name for tool in (await assistant.list_tools()).tools] == [
            tool.name for tool in (await other.list_tools()).tools
        ]
        here, there = await ask(assistant, "query", **arguments), await ask(other, "query", **arguments)
        refused = await assistant.call_tool("query", {**arguments, "site_id": "foreign.example"})
        resource = await assistant.read_resource("analytics://metrics")

    assert here["answer"]["results"] == there["answer"]["results"]
    assert "does not cover the site 'foreign.example'" in text_of(refused)
    assert resource.contents


async def talk(lines: bytes, environment: dict[str, str], *options: str) -> tuple[int, list[Any], str]:
    """Exit code, messages and standard error of the command."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    out, err = await process.communicate(lines)
    assert process.returncode is not None
    return process.returncode, [DECODER.decode(line) for line in out.splitlines()], err.decode()


async def test_bad_lines_are_answered_and_the_rest_goes_on(server: RunningServer) -> None:
    note = msgspec.json.encode({"jsonrpc": "2.0", "method": "notifications/initialized"})
    unknown = {"_meta": {VERSION_KEY: "1999-01-01"}}
    other_note = msgspec.json.encode({"jsonrpc": "2.0", "method": "notifications/x", "params": unknown})
    other = msgspec.json.encode(request("ping", unknown, "other"))
    lines = [b"{", b"", note, other_note, b"7", other, msgspec.json.encode(request("ping", id_="last"))]

    code, answers, err = await talk(b"\n".join(lines) + b"\n", server.environment(), "--url", server.url)

    assert (code, err) == (0, "")
    told = {answer["id"]: answer.get("result", answer.get("error", {}).get("code")) for answer in answers}
    assert (told["last"], told["other"]) == ({}, -32022)
    assert sorted(answer["error"]["code"] for answer in answers if answer["id"] is None) == [-32700, -32600]


async def test_a_line_that_is_too_long_is_one_error(server: RunningServer) -> None:
    ping = msgspec.json.encode(request("ping"))
    longest = ping.replace(b"}", b" " * (LINE_BYTES - len(ping)) + b"}")

    _, answers, _ = await talk(
        b"\n".join([b"x" * (LINE_BYTES + 1), b"x" * 3 * LINE_BYTES, longest, ping]), server.environment()
    )

    told = [(answer["id"], answer.get("error", {}).get("code")) for answer in answers]
    assert sorted(told, key=str) == [(1, -32000), (1, None), (None, -32600), (None, -32600)]


async def test_a_refused_token_and_a_server_that_is_gone_are_told_as_errors(server: RunningServer) -> None:
    ping = msgspec.json.encode(request("ping")) + b"\n"

    _, (refused,), _ = await talk(ping, server.environment(), "--url", server.url, "--token", "wrong")
    _, (gone,), _ = await talk(ping, server.environment(), "--url", "http://127.0.0.1:9")

    assert (refused["id"], refused["error"]["code"]) == (1, -32000)
    assert "token" in refused["error"]["message"]
    assert "can't be reached" in gone["error"]["message"]


async def test_without_a_server_or_a_token_it_says_what_is_missing(server: RunningServer, tmp_path: Path) -> None:
    nothing = {**server.environment(), "ANALYTICS_SERVER_DATA_DIR": str(tmp_path / "none")}
    no_token = {name: text for name, text in server.environment().items() if name != "ANALYTICS_ADMIN_TOKEN"}

    code, answers, err = await talk(b"", nothing)
    other_code, _, other = await talk(b"", no_token)

    assert (code, answers, other_code) == (1, [], 1)
    assert "--url (or ANALYTICS_URL)" in err
    assert "needs --token" in other


async def test_it_finds_the_server_of_its_own_directory(server: RunningServer) -> None:
    statement = "SELECT toDecimal64('123456789012.12345', 5) AS amount"
    lines = [request("ping"), {**call("sql", site_id=SITE, query=statement), "id": 2}]
    code, answers, err = await talk(b"\n".join(map(msgspec.json.encode, lines)), server.environment())
    ping, exact = sorted(answers, key=lambda answer: int(answer["id"]))

    assert (code, ping, err) == (0, {"jsonrpc": "2.0", "id": 1, "result": {}}, "")
    assert exact["result"]["structuredContent"]["answer"]["rows"] == [[Decimal("123456789012.12345")]]
    assert "[[123456789012.12345]]" in exact["result"]["content"][0]["text"]

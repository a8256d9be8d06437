"""`analytics-server mcp`: the Model Context Protocol on standard input and output, for assistants that start programs.

It forwards each line to a running server's `/mcp` and writes what that answers: the server alone knows the protocol's
methods and the tools. Standard output carries messages only; what goes wrong at the start is told on standard error.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import click
import msgspec

from analytics_server.cli.context import config_option, read_config, run_async
from analytics_server.cli.running import CONNECT_S, AskedServer, checked_url, running_server
from analytics_server.errors import AnalyticsError
from analytics_server.mcp.answers import DECODER, ENCODER
from analytics_server.mcp.messages import (
    INVALID_REQUEST,
    MessageId,
    RpcError,
    awaits_answer,
    decode_body,
    id_of,
    refusal,
)
from analytics_server.mcp.versions import METHOD_HEADER, NAME_HEADER, NAMED, VERSION_HEADER, VERSION_KEY, header_text

PATH = "/mcp"
NOT_ANSWERED = -32000
"""The protocol's code for an error of one's own: the server can't be reached, or refused the request as a whole."""

AT_ONCE = 8
"""Messages that wait for the server's answer at once; further lines are read when one has come."""

LINE_BYTES = 4 * 1024 * 1024


@click.command()
@config_option
@click.option(
    "--url",
    default="",
    envvar="ANALYTICS_URL",
    callback=checked_url,
    help="A running server, e.g. https://stats.example.com. Also: ANALYTICS_URL. Default: this one.",
)
@click.option(
    "--token",
    default="",
    envvar=["ANALYTICS_TOKEN", "ANALYTICS_ADMIN_TOKEN"],
    help="A token that may read the sites. Also: ANALYTICS_TOKEN, ANALYTICS_ADMIN_TOKEN.",
)
def mcp(config_path: str | None, url: str, token: str) -> None:
    """Answer an AI assistant on standard input and output, by asking a running server."""
    config = read_config(config_path)
    server = running_server(config, url, token, needed="one of a role that reads")
    if server is None:
        raise AnalyticsError(
            f"No server runs on {config.data_dir}: start one, or name it by --url (or ANALYTICS_URL).",
            code="no_server",
        )
    run_async(Forwarder(server).run())


class Forwarder:
    """Takes lines, asks the server, writes answers; one of them may overtake another, as their ids tell."""

    def __init__(self, server: AskedServer) -> None:
        self._server = server
        self._version = ""
        self._waiting: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Until standard input ends, and what was asked is answered."""
        reader = asyncio.StreamReader(limit=LINE_BYTES)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        headers = {"Authorization": f"Bearer {self._server.token}", "Content-Type": "application/json"}
        async with aiohttp.ClientSession(timeout=timeout, headers=headers) as client:
            async for line in _lines(reader):
                if line is None:
                    _write(refusal(None, RpcError(INVALID_REQUEST, f"A line may have {LINE_BYTES} bytes.")))
                elif line.strip():
                    await self._places.acquire()
                    task = asyncio.create_task(self._forward(client, line.strip()), name="forward")
                    self._waiting.add(task)
                    task.add_done_callback(self._done)
            await asyncio.gather(*self._waiting)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
        self._places.release()

    async def _forward(self, client: aiohttp.ClientSession, line: bytes) -> None:
        try:
            message = decode_body(line)
        except RpcError as error:
            _write(refusal(None, error))
            return
        try:
            async with client.post(self._server.url + PATH, data=line, headers=self._headers(message)) as response:
                body = await response.read()
                status = response.status
        except (aiohttp.ClientError, aiohttp.InvalidURL, TimeoutError) as error:
            why = f"The server at {self._server.url} can't be reached: {str(error) or type(error).__name__}."
            _refuse(message, why)
            return
        if status == 202:
            return
        try:
            answer = DECODER.decode(body)
        except msgspec.DecodeError:
            answer = None
        if not isinstance(answer, dict) or "jsonrpc" not in answer:
            _refuse(message, _told(answer, status))
            return
        if not awaits_answer(message):  # as where a notification is of a version that the server does not speak
            return
        if "error" in answer and answer.get("id") is None:
            answer["id"] = id_of(message)
        self._note_version(answer)
        _write_line(ENCODER.encode(answer))

    def _headers(self, message: Any) -> dict[str, str]:
        """What the protocol wants beside the message over HTTP."""
        if not isinstance(message, dict):
            return {}
        params, method = message.get("params"), message.get("method")
        params = params if isinstance(params, dict) else {}
        meta = params.get("_meta")
        own = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
        if not isinstance(own, str):
            return {VERSION_HEADER: self._version} if self._version else {}
        headers = {VERSION_HEADER: header_text(own), METHOD_HEADER: header_text(str(method))}
        if isinstance(name := params.get(NAMED.get(str(method), "")), str):
            headers[NAME_HEADER] = header_text(name)
        return headers

    def _note_version(self, answer: Any) -> None:
        """Of an answer to `initialize`: what was agreed on."""
        result = answer.get("result") if isinstance(answer, dict) else None
        version = result.get("protocolVersion") if isinstance(result, dict) else None
        if isinstance(version, str):
            self._version = version


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes | None]:
    """Each line of the input; None, once, for one that is longer than the reader's limit."""
    is_rest = False
    while True:
        try:
            line = await reader.readuntil()
        except asyncio.LimitOverrunError as error:
            await reader.readexactly(error.consumed)
            if not is_rest:
                yield None
            is_rest = True
            continue
        except asyncio.IncompleteReadError as error:
            if error.partial and not is_rest:
                yield error.partial
            return
        if not is_rest:
            yield line
        is_rest = False


def _told(answer: Any, status: int) -> str:
    """What the server said in its own form of errors."""
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return str(message) if message else f"The server answered with status {status}."


def _refuse(message: Any, why: str) -> None:
    """Answer in the server's place what awaits an answer."""
    each_message = message if isinstance(message, list) else [message]
    ids: list[MessageId | None] = [id_of(each) for each in each_message if awaits_answer(each)]
    for id_ in ids:
        if id_ is not None:
            _write(refusal(id_, RpcError(NOT_ANSWERED, why)))


def _write(value: object) -> None:
    _write_line(msgspec.json.encode(value))


def _write_line(text: bytes) -> None:
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.buffer.flush()

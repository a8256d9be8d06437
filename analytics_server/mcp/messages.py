"""JSON-RPC 2.0 as the Model Context Protocol uses it: reading one message, and writing what answers it. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
RESOURCE_NOT_FOUND = -32002
HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022

Json = dict[str, Any]
MessageId = int | str
SHOWN_CHARS = 120


class RpcError(Exception):
    """A message is answered with an error of the protocol; `code` is one of this module's."""

    def __init__(self, code: int, message: str, data: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A request; without `id` a notification, and without `method` an answer, of which this server asks for none."""

    id: MessageId | None
    method: str
    params: Json


class MessageError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong: a number for programs, and a sentence."""

    code: int
    message: str
    data: Json | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a message that is refused. `id` null: the message's own can't be told."""

    jsonrpc: str = "2.0"
    id: MessageId | None
    error: MessageError


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a request."""

    jsonrpc: str = "2.0"
    id: MessageId
    result: Json


def decode_body(body: bytes) -> Any:
    """The JSON of a body: a message, or a list of them. Raises `RpcError`."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RpcError(PARSE_ERROR, f"The body is no readable JSON: {error}.") from error


def read_message(value: Any) -> Message:
    """One message. Raises `RpcError`."""
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'A message is an object with "jsonrpc": "2.0".')
    id_, method, params = value.get("id"), value.get("method"), value.get("params")
    if "id" in value and (isinstance(id_, bool) or not isinstance(id_, int | str)):
        raise RpcError(INVALID_REQUEST, "A message's id is a text or a whole number.")
    if "method" not in value and "id" in value and ("result" in value or "error" in value):
        return Message(id=id_, method="", params={})
    if not isinstance(method, str) or not method:
        raise RpcError(INVALID_REQUEST, "A message's method is a text.")
    if params is not None and not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "A message's params are an object.")
    return Message(id=id_, method=method, params=params or {})


def id_of(value: Any) -> MessageId | None:
    """The id of a message that can't be read, where it has one."""
    found = value.get("id") if isinstance(value, dict) else None
    return found if isinstance(found, int | str) and not isinstance(found, bool) else None


def refusal(id_: MessageId | None, error: RpcError) -> Refusal:
    """What answers a message with an error."""
    return Refusal(id=id_, error=MessageError(code=error.code, message=error.message, data=error.data))

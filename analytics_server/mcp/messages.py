"""JSON-RPC 2.0 as the Model Context Protocol uses it: reading one message, and writing what answers it. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

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
    """A request, or without `id` a notification. `params` null: none, as some programs write it."""

    jsonrpc: Literal["2.0"]
    method: Annotated[str, Meta(min_length=1)]
    id: MessageId | UnsetType = UNSET
    params: Json | UnsetType | None = UNSET

    @property
    def arguments(self) -> Json:
        """Its parameters, none if it has none."""
        return self.params if isinstance(self.params, dict) else {}


class MessageError(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong: a number for programs, and a sentence."""

    code: int
    message: str
    data: Json | UnsetType = UNSET


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a request: a result, or an error. `id` null: the message's own can't be told."""

    jsonrpc: Literal["2.0"] = "2.0"
    id: MessageId | None
    result: Json | UnsetType = UNSET
    error: MessageError | UnsetType = UNSET


def decode_body(body: bytes) -> Any:
    """The JSON of a message. Raises `RpcError`."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RpcError(PARSE_ERROR, f"The body is no readable JSON: {error}.") from error


def read_message(value: Any) -> Message | None:
    """One message; None for an answer, as this server asks nothing. Raises `RpcError`."""
    if isinstance(value, list):
        raise RpcError(INVALID_REQUEST, "Batches are not taken: send one message at a time.")
    if _is_answer(value):
        return None
    try:
        return msgspec.convert(value, Message)
    except msgspec.ValidationError as error:
        raise RpcError(INVALID_REQUEST, f"This is no message of JSON-RPC 2.0: {error}.") from error


def awaits_answer(value: Any) -> bool:
    """Is the message, also one that can't be read, anything but a notification or an answer?"""
    is_notification = isinstance(value, dict) and isinstance(value.get("method"), str) and "id" not in value
    return not (is_notification or _is_answer(value))


def _is_answer(value: Any) -> bool:
    return (
        isinstance(value, dict) and "method" not in value and "id" in value and bool(value.keys() & {"result", "error"})
    )


def id_of(value: Any) -> MessageId | None:
    """The id of a message, also of one that can't be read, where it has one."""
    found = value.get("id") if isinstance(value, dict) else None
    return found if isinstance(found, int | str) and not isinstance(found, bool) else None


def refusal(id_: MessageId | None, error: RpcError) -> Answered:
    """What answers a message with an error."""
    data = UNSET if error.data is None else error.data
    return Answered(id=id_, error=MessageError(code=error.code, message=error.message, data=data))

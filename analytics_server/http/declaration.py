"""How a room says what its routes take and give: one `Operation` per method and path.

Stands beside the room's `routes()`; the document of all of them is assembled in `app.py`.
Shapes are the structs that requests are decoded to and answers are encoded from, so they
can't differ from what the code does. A leaf: it knows no room and no web framework.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

JSON = "application/json"

Role = Literal["", "read", "admin", "collect"]
"""Who may call: nobody is asked for a token, a token that reads, one that manages, or one that is optional."""


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong. `code` is stable and meant for programs, `message` for people: what, where, how to mend it."""

    code: Annotated[str, Meta(pattern="^[a-z0-9_]+$")]
    message: str


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to every request that fails."""

    error: ErrorDetail


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A part of the path or of the query string. `type`: as for msgspec, constraints included."""

    name: str
    about: str
    type: Any = str
    required: bool = False
    example: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What is sent. Several types: one of them. `examples`: by a word that says what each one shows."""

    types: tuple[Any, ...]
    examples: Mapping[str, object] = field(default_factory=dict)
    about: str = ""
    content_type: str = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that is no error. `type` None: no body, or one that is no JSON. `formats`: other content types.

    `headers`: those that mean something to the client, and what.
    """

    about: str
    status: int = 200
    type: Any = None
    formats: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    example: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path, as the route table writes it.

    `name` is unique among all. `errors`: the codes of each status beyond those that follow from `role`, `body` and
    `asks_store`, and from `takes_turns` where a site's questions wait for each other. Parameters whose names stand in
    the path belong there, all others to the query string.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    replies: tuple[Reply, ...]
    about: str = ""
    role: Role = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    errors: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    asks_store: bool = False
    takes_turns: bool = False

    @property
    def route(self) -> tuple[str, str]:
        """Method and path as OpenAPI writes it: `{name:.+}` becomes `{name}`."""
        return self.method.upper(), plain_path(self.path)

    def all_errors(self) -> dict[int, tuple[str, ...]]:
        """The codes of each status that this operation may answer with, sorted."""
        found: dict[int, set[str]] = {status: set(codes) for status, codes in self.errors.items()}

        def add(status: int, *codes: str) -> None:
            found.setdefault(status, set()).update(codes)

        if self.role and all(reply.status != 101 for reply in self.replies):  # a WebSocket says so by its close code
            add(401, "unauthorized")
            add(403, "forbidden")
        if self.body is not None:
            add(400, "bad_body")
            add(413, "too_large")
        if self.asks_store:
            add(503, "store_error", "store_unavailable", "store_ambiguous")
            add(504, "query_timeout")
        if self.takes_turns:
            add(429, "too_many_queries")
        return {status: tuple(sorted(codes)) for status, codes in sorted(found.items())}


def plain_path(path: str) -> str:
    """A route's path without the patterns of its variable parts."""
    return re.sub(r"\{(\w+):[^{}]*\}", r"{\1}", path)

"""What an endpoint is declared with: parameters, body, replies, and the one shape of errors.

Shapes are the structs that requests are decoded to and answers are encoded from, so that the API description
can't differ from what the code does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from msgspec import Meta

JSON = "application/json"


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong. `code` is stable, for programs; `message` tells people what, where, and how to mend it."""

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


SITE = Parameter(
    name="site_id",
    about="The site.",
    type=Annotated[str, Meta(min_length=1, pattern=r"\S")],
    required=True,
    example="example.com",
)
"""The parameter of a query string that names the site."""


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


def plain_path(path: str) -> str:
    """A route's path without the patterns of its variable parts."""
    return re.sub(r"\{(\w+):[^{}]*\}", r"{\1}", path)

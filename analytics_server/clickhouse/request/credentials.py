"""Authentication as ClickHouse's clients do it: a token takes the place of the password."""

from __future__ import annotations

import base64
import binascii

from aiohttp import web

KEY_HEADER = "X-ClickHouse-Key"


def credential(request: web.Request) -> str | None:
    """The token as an `Authorization` value; None where there is none. The user's name is not looked at.

    Bearer or Basic, `X-ClickHouse-Key`, or the parameter `password`. Cookies count for nothing here.
    """
    authorization = request.headers.get("Authorization", "")
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return authorization
    token = request.headers.get(KEY_HEADER, "") or request.query.get("password", "")
    if scheme.lower() == "basic":
        token = _password(rest)
    return f"Bearer {token}" if token else None


def _password(encoded: str) -> str:
    """The password of a Basic value; of one that can't be read, a text that is no token."""
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""

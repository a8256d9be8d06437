"""Parser of the heads of ordinary HTTP/1.1 requests, without the web framework; and where a request ends.

In doubt a head is not read: nothing is guessed about where one request ends and the next begins, so that no bytes
of one request are ever taken for the start of another. Only Content-Length tells.
"""

from __future__ import annotations

import re

MAX_HEAD_BYTES = 8_192
MAX_LENGTH_DIGITS = 8

_UNUSUAL = frozenset({"transfer-encoding", "expect", "upgrade", "te", "trailer", "proxy-connection", "content-range"})
_FRAMED_OTHERWISE = frozenset({"transfer-encoding", "upgrade"})


def parse(data: bytes) -> tuple[dict[str, str], bytes] | None:
    """Headers (lower-case names) and body of exactly one ordinary request, or None: then it's aiohttp's."""
    found = _read_head(data)
    if found is None:
        return None
    headers, start = found
    body = data[start:]
    length = headers.get("content-length", "")
    if (
        not _is_length(length)
        or int(length) != len(body)
        or not _UNUSUAL.isdisjoint(headers)
        or "host" not in headers
        or headers.get("connection", "keep-alive").lower() != "keep-alive"
    ):
        return None
    return headers, body


def size_of(data: bytes) -> int:
    """Bytes of the request that begins here, head and body; 0 when that can't be told for certain."""
    found = _read_head(data)
    if found is None or _START_LINE.match(data) is None:
        return 0
    headers, start = found
    if not _FRAMED_OTHERWISE.isdisjoint(headers):
        return 0
    length = headers.get("content-length", "0")
    return start + int(length) if _is_length(length) else 0


def _read_head(data: bytes) -> tuple[dict[str, str], int] | None:
    """Headers of an ordinary head, none of them twice, and where the body begins; None for any other."""
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
    if end < 0 or (not data.isascii() and not data[:end].isascii()):
        return None
    lines = data[:end].decode("ascii").split("\r\n")
    if not "".join(lines).isprintable():  # a tab, which is allowed, is rare
        return None
    del lines[0]
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        known = _NAMES.get(name) or _learn_name(name)
        if not known or not colon:
            return None
        headers[known] = value.strip(" ")
    return (headers, end + 4) if headers and len(headers) == len(lines) else None


def _learn_name(name: str) -> str:
    """A header's name in lower case, remembered while they are few; empty when it is none."""
    if _NAME.fullmatch(name) is None:
        return ""
    lowered = name.lower()
    if len(_NAMES) < MOST_NAMES and len(name) <= MOST_NAME_CHARS:
        _NAMES[name] = lowered
    return lowered


def _is_length(text: str) -> bool:
    return text.isdecimal() and len(text) <= MAX_LENGTH_DIGITS


_START_LINE = re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS) [!-~]+ HTTP/1\.1\r\n")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_NAMES: dict[str, str] = {}
"""Headers' names as clients spell them, in lower case: they are few."""
MOST_NAMES = 1_000
MOST_NAME_CHARS = 64

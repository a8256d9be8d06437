"""Entity tags, and whether the client has the body already (`If-None-Match`, RFC 9110, 13.1.2).

The comparison is the weak one: proxies that compress turn `"x"` into `W/"x"`, and a client sends
back what it was given. A field may name several tags, stand more than once, or say `*`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

DIGEST_CHARS = 20
_LIST = re.compile(r'[\s,]*(?:(?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*"[ \t]*(?:,[\s,]*|\Z))+')
_TAG = re.compile(r'"[^"]*"')


def entity_tag(body: bytes) -> str:
    """A strong entity tag of the body, quotes included, as the `ETag` header wants it."""
    return f'"{hashlib.sha256(body).hexdigest()[:DIGEST_CHARS]}"'


def is_unchanged(if_none_match: Iterable[str], etag: str) -> bool:
    """True if one of the header's values names the tag; `etag` is a strong one. What can't be read names none."""
    text = ",".join(if_none_match).strip()
    return text == "*" or (etag in text and _LIST.fullmatch(text) is not None and etag in _TAG.findall(text))

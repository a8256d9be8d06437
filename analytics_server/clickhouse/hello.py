"""The handshake query of clients of the format Native: answered at their own revision.

clickhouse-go asks `SELECT displayName(), version(), revision(), timezone()`, reads the one block at its own revision,
and every later one at the revision that the block names. So this block is written here, and names revision 0.
"""

from __future__ import annotations

from analytics_server.clickhouse.catalog import DISPLAY_NAME, REVISION
from analytics_server.clickhouse.formats import words_of

WITH_CUSTOM_SERIALIZATION = 54_454
"""From this revision on a byte behind a column's type says whether its values are written in another way."""

_ASKED = tuple("SELECT displayName ( ) , version ( ) , revision ( ) , timezone ( )".lower().split())


def is_hello(text: str) -> bool:
    """Does a client begin with this text?"""
    return tuple(word.text.lower() for word in words_of(text)) == _ASKED


def hello_block(version: str, revision: int) -> bytes:
    """The answer's one row, as a reader of that revision expects it."""
    columns = (
        ("displayName()", "String", _text(DISPLAY_NAME)),
        ("version()", "String", _text(version)),
        ("revision()", "UInt32", REVISION.to_bytes(4, "little")),
        ("timezone()", "String", _text("UTC")),
    )
    info = b"\x01\x00\x02\xff\xff\xff\xff\x00" if revision else b""  # no overflow row, no bucket
    mark = b"\x00" if revision >= WITH_CUSTOM_SERIALIZATION else b""
    block = bytearray(info + bytes((len(columns), 1)))
    for name, type_, value in columns:
        block += _text(name) + _text(type_) + mark + value
    return bytes(block)


def _text(value: str) -> bytes:
    """A text behind its length; none here has 128 bytes or more."""
    encoded = value.encode()[:127]
    return bytes((len(encoded),)) + encoded

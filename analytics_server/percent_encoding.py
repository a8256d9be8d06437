"""Normalization of percent-encoded paths: to the one spelling that people read.

Servers and browsers write `/café`, `/caf%C3%A9` and `/caf%c3%a9` for the same page (RFC 3986, section 6.2.2). Events
are stored with the first; filters find all three, also in what older versions stored as it was sent. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

RESERVED = frozenset(";/?:@&=+$,#%\\")
"""What has a meaning in addresses stays encoded, as with JavaScript's `decodeURI`."""

_JOINERS = "\u200c\u200d"
"""Invisible, but scripts and emoji need them."""

_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_STRAY = re.compile(r"%(?![0-9A-Fa-f]{2})")
_AS_SENT = "".join(map(chr, range(0x21, 0x7F))).translate({ord(char): None for char in '"<>`{}'})
"""What browsers send as it is (WHATWG URL, path percent-encode set)."""


def readable(text: str) -> str:
    """Percent-decoded where that gives valid UTF-8 that can be seen; the rest in upper case escapes.

    A `%` that begins no escape becomes `%25`. Reading twice changes nothing.
    """
    if "%" not in text:
        return text
    return _ESCAPES.sub(_decoded, _STRAY.sub("%25", text))


def spellings(text: str, *, case_sensitive: bool = True) -> tuple[str, ...]:
    """A value of a filter and the other ways to write it: at most four, the given one first.

    Not `case_sensitive`: escapes in upper and in lower case are one, so there are three at most.
    """
    if "%" not in text and " " not in text and text.isascii():
        return (text,)
    shown = readable(text)
    sent = quote(shown, safe=_AS_SENT, errors="surrogatepass")
    found = [text, shown, sent]
    if case_sensitive:
        found.append(_ESCAPES.sub(lambda match: match[0].lower(), sent))
    return tuple(dict.fromkeys(found))


def _decoded(match: re.Match[str]) -> str:
    text = bytes.fromhex(match[0].replace("%", "")).decode("utf-8", "surrogateescape")
    return "".join(char if _is_kept(char) else _encoded(char) for char in text)


def _is_kept(char: str) -> bool:
    return char not in RESERVED and (char.isprintable() or char in _JOINERS or unicodedata.category(char) == "Zs")


def _encoded(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))

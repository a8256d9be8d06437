"""A request's body, decompressed within bounds.

gzip and deflate, any number of members up to a limit; the output never grows past
`most` whatever the input promises. Anything else is refused with 415.
"""

from __future__ import annotations

import zlib

from analytics_server.errors import RequestError, TooLarge, UnsupportedMedia

MAX_MEMBERS = 64
GZIP_BITS = 31
DEFLATE_BITS = 15
RAW_DEFLATE_BITS = -15


def decompress(body: bytes, encoding: str, most: int) -> bytes:
    """The plain body. Raises `UnsupportedMedia`, `TooLarge` or `RequestError`."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding in ("gzip", "x-gzip"):
        return _inflate(body, GZIP_BITS, most)
    if encoding == "deflate":
        wrapped = len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0  # RFC 1950
        return _inflate(body, DEFLATE_BITS if wrapped else RAW_DEFLATE_BITS, most)
    raise UnsupportedMedia(f"Content-Encoding {encoding[:40]!r} is not supported: use gzip, deflate or none.")


def _inflate(body: bytes, bits: int, most: int) -> bytes:
    plain = bytearray()
    rest = body
    for _ in range(MAX_MEMBERS):
        inflater = zlib.decompressobj(bits)
        try:
            plain += inflater.decompress(rest, most - len(plain) + 1)
        except zlib.error as error:
            raise RequestError(f"The compressed body can't be read: {error}.", code="bad_encoding") from error
        if len(plain) > most:
            raise TooLarge(f"The body has more than {most} bytes when decompressed.")
        if not inflater.eof:
            raise RequestError("The compressed body ends too early.", code="bad_encoding")
        rest = inflater.unused_data
        if not rest:
            return bytes(plain)
    raise RequestError(f"The compressed body has more than {MAX_MEMBERS} members.", code="bad_encoding")

"""When a certificate in PEM form is valid: the two times of X.509 (RFC 5280, 4.1), read from its DER.

The standard library tells them of a verified peer only. Read is no more than the lengths on the way to them; whether
the rest is a certificate, OpenSSL decides when it is loaded. Pure.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

_FIRST = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _UTC_TIME, _LONG_TIME = 0xA0, 0x17, 0x18
_BEFORE_VALIDITY = 3
"""Serial number, signature, issuer."""


@dataclass(frozen=True, slots=True)
class Validity:
    """The first and the last moment of a certificate."""

    since: datetime
    until: datetime


def read_validity(pem: bytes) -> Validity | None:
    """Of the first certificate, which is the server's own; None where there is none that can be read."""
    found = _FIRST.search(pem)
    if found is None:
        return None
    try:
        der = ssl.PEM_cert_to_DER_cert(found[0].decode("ascii"))
        body = _inside(_inside(der))
        kind, _, rest = _element(body)
        if kind == _VERSION:
            body = rest
        for _ in range(_BEFORE_VALIDITY):
            _, _, body = _element(body)
        since_kind, since, rest = _element(_inside(body))
        until_kind, until, _ = _element(rest)
        return Validity(_time(since_kind, since), _time(until_kind, until))
    except (ValueError, IndexError):
        return None


def _inside(data: bytes) -> bytes:
    return _element(data)[1]


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Kind and content of the first element, and what follows it. Raises `IndexError` or `ValueError`."""
    size, start = data[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        raise ValueError("cut off")
    return data[0], data[start : start + size], data[start + size :]


def _time(kind: int, value: bytes) -> datetime:
    form = {_UTC_TIME: "%y%m%d%H%M%SZ", _LONG_TIME: "%Y%m%d%H%M%SZ"}.get(kind)
    if form is None:
        raise ValueError("no time")
    return datetime.strptime(value.decode("ascii"), form).replace(tzinfo=UTC)

"""Mutations of known inputs, reproducible by a seed: bytes are flipped, cut, doubled, spliced, and words put in."""

from __future__ import annotations

import random
from collections.abc import Sequence

MOST_BYTES = 65_536
"""As much as a beacon may have, or a head and a query: what is longer, limits refuse before it is read."""
WORDS = (
    *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xc3", b"\xe2\x80\xae", b"\r\n", b"\r\n\r\n", b"\t"),
    *(b'"', b"'", b"`", b"\\", b"\\u0000", b"\\ud800", b"{", b"}", b"[", b"]", b":", b",", b"/", b"//", b"%", b"%00"),
    *(b"%ff", b"%25", b"..", b"?", b"#", b"&", b"=", b"@", b";", b"(", b")", b"*", b"0", b"-1", b"1e999", b"NaN"),
    *(b"9007199254740993", b"true", b"null", b"xn--", b"xn--a-", b"http://", b"javascript:", b"[::1]", b"::ffff:"),
    *(b"Mozilla/5.0 ", b"Chrome/", b"bot", b"(compatible; ", b"utm_source=", b"a@b.example", b"SELECT ", b" UNION "),
)
REPEATS = (2, 8, 64, 1_000, 10_000)
"""A part that is repeated often finds what takes the square of its length."""


def mutate(rand: random.Random, seeds: Sequence[bytes]) -> bytes:
    """An input made of one or two seeds by one to eight changes."""
    data = bytearray(rand.choice(seeds))
    for _ in range(rand.choice((1, 1, 1, 2, 3, 5, 8))):
        at = rand.randrange(len(data) + 1)
        end = min(len(data), at + rand.choice((1, 1, 2, 4, 16, 64, 1_024)))
        match rand.randrange(8):
            case 0 if at < len(data):
                data[at] ^= 1 << rand.randrange(8)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end]
            case 3:
                data[at:at] = rand.choice(WORDS)
            case 4:
                data[at:at] = rand.randbytes(rand.choice((1, 2, 4, 16)))
            case 5:
                other = rand.choice(seeds)
                start = rand.randrange(len(other) + 1)
                data[at:end] = other[start : start + rand.choice((1, 8, 64, 512))]
            case 6:
                part = bytes(data[at:end]) if rand.random() < 0.5 else rand.choice(WORDS)
                data[at:end] = part * rand.choice(REPEATS)
            case _:
                del data[at:]
        del data[MOST_BYTES:]
    return bytes(data)

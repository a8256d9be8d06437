"""Variant assignment: a deterministic hash, so that servers, restarts and languages agree without asking anyone.

For each variant: u = the first 52 bits of SHA-256(key ‖ NUL ‖ variant ‖ NUL ‖ subject) as a number in (0, 1),
score = −ln(u) / weight; the lowest score wins. Texts are UTF-8. Each variant wins in proportion to its weight
("weighted rendezvous hashing", after C. Schindelhauer and G. Schomaker, "Weighted distributed hash tables", 2005).

Why not buckets on a line: here a subject only ever moves to a variant whose weight grew relative to its own, so
a new variant takes its share evenly from the others and moves no subject between those. Another key is another draw:
experiments are independent.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

_BITS = 52


def assign(key: str, subject: str, variants: Sequence[tuple[str, float]]) -> str | None:
    """The subject's variant of (name, weight); None when no weight is above zero."""
    scores = [(_score(key, subject, name, weight), name) for name, weight in variants if weight > 0]
    return min(scores)[1] if scores else None


def _score(key: str, subject: str, variant: str, weight: float) -> float:
    text = f"{key}\0{variant}\0{subject}".encode("utf-8", "surrogatepass")
    bits = int.from_bytes(hashlib.sha256(text).digest()[:8]) >> (64 - _BITS)
    return -math.log((bits + 0.5) / (1 << _BITS)) / weight
